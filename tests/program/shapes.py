"""The documented shapes of a stack, each run once as the engine would run it."""

import asyncio
import json
import runpy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final
from unittest import mock

import pulumi
import yaml

from settings import PROJECT, Settings, path_of
from settings import images as image_settings
from settings import program as program_settings
from settings.schema import config_block
from testing import engine as recording
from testing.building import CONTAINER
from testing.certificates import CLIENT, certificate, issue, rsa_public_key
from testing.engine import Engine, Registered
from testing.sources import ROOT


@dataclass(frozen=True)
class Encrypted:
    """A value that is encrypted in the stack file; only the engine knows it."""

    value: object


# Recognisable, so that they can be looked for where they must not be.
CONFIGURED_SECRETS: Final[Mapping[str, str]] = {
    "speech key": "ConfiguredSpeechKey",
    "Hugging Face token": "ConfiguredHuggingFaceToken",
    "model key": "ConfiguredModelKey",
    "store secret": "ConfiguredStoreSecret",
    "proxy password": "ConfiguredProxyPassword",
    "registry password": "ConfiguredRegistryPassword",
    "client secret": "ConfiguredClientSecret",
    "account key": "ConfiguredAccountKey",
}
DOCKER_AUTHORITY, _ = certificate("authority of a Docker host")
DOCKER_CERTIFICATE, DOCKER_KEY = certificate("client of a Docker host", usages=[CLIENT])

ROOT_OF_A_COMPANY: Final = issue("root of a company", now=datetime.now(UTC), ca=True, to_days=3000)
OTHER_ROOT: Final = issue("root of another", now=datetime.now(UTC), ca=True, to_days=3000)
AUTHORITY_OF_A_COMPANY: Final = issue(
    "authority of a company", ROOT_OF_A_COMPANY, now=datetime.now(UTC), ca=True, to_days=1000
)
OWN: Final = issue(
    "reflector.example.com",
    AUTHORITY_OF_A_COMPANY,
    now=datetime.now(UTC),
    sans=["reflector.example.com", "*.reflector.example.com"],
)
"""What a company gives for one server: it covers all that the edge serves there."""

_ELSEWHERE: Final[Mapping[str, Any]] = {
    "speech": {
        "mode": "hosted",
        "url": "https://speech.example.com",
        "api_key": Encrypted(CONFIGURED_SECRETS["speech key"]),
        "hf_token": Encrypted(CONFIGURED_SECRETS["Hugging Face token"]),
    },
    "language_model": {
        "mode": "external",
        "url": "https://models.example.com/v1",
        "model": "some-model",
        "api_key": Encrypted(CONFIGURED_SECRETS["model key"]),
    },
    "storage": {
        "mode": "external",
        "region": "eu-central-1",
        "endpoint": "https://objects.example.com",
        "access_key_id": "AKIA0",
        "secret_access_key": Encrypted(CONFIGURED_SECRETS["store secret"]),
    },
}
ENCRYPTED: Final[Mapping[str, Any]] = {
    # Ordinary settings, each of a kind that ends up somewhere else: in a name, an address, a number, a list, a label.
    "hosts": {"main": {"address": Encrypted("ssh://hidden-user@hidden-host")}},
    "edge": {
        "domain": Encrypted("hidden-domain.example.com"),
        "extra_names": [Encrypted("DNS:hidden-name.example.com"), Encrypted("IP:192.0.2.77")],
        "bind_addresses": [Encrypted("192.0.2.88")],
        "https_port": Encrypted(48443),
        "http_port": 80,
    },
    "sign_in": {"mode": "password", "admin_email": Encrypted("hidden-admin@example.com")},
    "language_model": {"mode": "ollama", "model": Encrypted("hidden-model:7b"), "context_tokens": Encrypted(1048577)},
    "storage": {
        "mode": "garage",
        "bucket": Encrypted("hidden-bucket"),
        "domain": Encrypted("hidden-store.example.com"),
    },
    "data": {"postgres": {"memory_mib": Encrypted(2777)}},
}
HIDDEN: Final = (
    "hidden-user", "hidden-host", "hidden-domain", "hidden-name", "192.0.2.77", "192.0.2.88", "48443", "hidden-admin",
    "hidden-model", "1048577", "hidden-bucket", "hidden-store", "2777",
)  # fmt: skip
"""What of ENCRYPTED may be seen nowhere."""

SHAPES: Final[Mapping[str, Mapping[str, Any]]] = {
    # The first three are the committed stack files; the others say which concerns differ from the production one.
    "dev": {},
    "dev-authentik": {},
    "selfhosted": {},
    "elsewhere": _ELSEWHERE,
    "s3": {"storage": {"mode": "s3", "region": "eu-central-1", "bucket": "reflector-example"}},
    "public": {"sign_in": {"mode": "public", "everybody_reads_everything": True}},
    "authentik": {
        "sign_in": {
            "mode": "authentik",
            "users": {"jane": {"name": "Jane", "email": "jane@example.com"}},
            "groups": {"staff": {"members": ["admin", "jane"]}},
            "access": {"group": "staff"},
        }
    },
    "oidc": {
        "sign_in": {
            "mode": "oidc",
            "issuer": "https://login.example.com/realms/company",
            "token_url": "https://login.example.com/realms/company/protocol/openid-connect/token",
            "client_id": "reflector",
            "client_secret": Encrypted(CONFIGURED_SECRETS["client secret"]),
            "public_key": rsa_public_key(),
        }
    },
    "remote": {"hosts": {"main": {"address": "tcp://docker.example.com:2376"}}},
    "speech-container": {
        "speech": {"mode": "container"},
        "images": {"mode": "upstream", "references": {"transcription": "speech:1.2.3"}},
    },
    "behind-a-router": {
        "edge": {"domain": "reflector.example.com", "https_port": 8443, "http_port": 8080, "public_port": 443}
    },
    "company": {
        "hosts": {
            "main": {
                "subnets": "10.213.0.0/20",
                "trust": {"system_store": True, "registries": ["mirror.example.com:5000"]},
            }
        },
        "trusted_authorities": {"company": {"certificates": Encrypted(ROOT_OF_A_COMPANY.pem.decode())}},
        "proxy": {
            "http": "http://proxy.example.com:3128",
            "https": "http://proxy.example.com:3128",
            "login": {"username": "me", "password": Encrypted(CONFIGURED_SECRETS["proxy password"])},
            "exclude": [".example.com"],
        },
        "speech": {"mode": "container"},
        "images": {
            "mode": "upstream",
            "references": {"transcription": "mirror.example.com:5000/speech:1.2.3"},
            "registries": {
                "mirror.example.com:5000": {
                    "username": "me",
                    "password": Encrypted(CONFIGURED_SECRETS["registry password"]),
                }
            },
        },
    },
    "own": {
        "edge": {"domain": "reflector.example.com"},
        "certificate": {
            "mode": "own",
            "certificate": Encrypted(OWN.pem.decode()),
            "chain": Encrypted(AUTHORITY_OF_A_COMPANY.pem.decode()),
            "key": Encrypted(OWN.key_pem.decode()),
        },
        "trusted_authorities": {
            "company": {"certificates": Encrypted(ROOT_OF_A_COMPANY.pem.decode())},
            "another": {"certificates": Encrypted(OTHER_ROOT.pem.decode())},
        },
    },
    "acme": {
        "edge": {"domain": "reflector.example.com"},
        "certificate": {
            "mode": "acme",
            "email": "me@example.com",
            "directory": "https://ca.example.com/acme/directory",
            "account_key_id": "reflector",
            "account_key": Encrypted(CONFIGURED_SECRETS["account key"]),
        },
        "trusted_authorities": {"company": {"certificates": Encrypted(ROOT_OF_A_COMPANY.pem.decode())}},
    },
    "lets-encrypt": {"edge": {"domain": "reflector.example.com"}, "certificate": {"mode": "acme"}},
    "signed-by": {
        "edge": {"domain": "reflector.example.com"},
        "certificate": {
            "mode": "signed-by",
            "authority": Encrypted((AUTHORITY_OF_A_COMPANY.pem + ROOT_OF_A_COMPANY.pem).decode()),
            "key": Encrypted(AUTHORITY_OF_A_COMPANY.key_pem.decode()),
        },
    },
    "registry": {
        "pki": {
            "authorities": {"clients": {"purpose": "client"}},
            "certificates": {
                "api": {"mode": "issued", "names": ["DNS:api.internal", "IP:192.0.2.7"]},
                "agent": {"mode": "issued", "kind": "client", "authority": "clients"},
                "corp": {
                    "mode": "imported",
                    "certificate": Encrypted((OWN.pem + AUTHORITY_OF_A_COMPANY.pem).decode()),
                    "key": Encrypted(OWN.key_pem.decode()),
                    "client_authority": Encrypted(ROOT_OF_A_COMPANY.pem.decode()),
                },
                "db": {"mode": "external", "endpoint": "db.internal:5432", "names": ["DNS:db.internal"]},
            },
            "fleet": {"client_authority": "clients", "services": {"vault": {"aliases": ["secrets"]}}},
            "revocations": {"lost": {"authority": "clients", "serial": "0A", "on": "2026-11-28"}},
        },
    },
    "relay": {
        "pki": {
            "authorities": {"clients": {"purpose": "client"}},
            "certificates": {
                "api": {"mode": "issued", "names": ["DNS:api.internal"]},
                "agent": {"mode": "issued", "kind": "client", "authority": "clients"},
                "corp": {
                    "mode": "imported",
                    "certificate": Encrypted((OWN.pem + AUTHORITY_OF_A_COMPANY.pem).decode()),
                    "key": Encrypted(OWN.key_pem.decode()),
                    "client_authority": Encrypted(ROOT_OF_A_COMPANY.pem.decode()),
                },
            },
        },
        "relays": {
            "agents": {
                "upstream": "http://server:1250",
                "port": 8444,
                "certificate": "api",
                "client_authority": "clients",
                "allow": ["agent"],
            },
            "company": {"upstream": "http://server:1250", "port": 8447, "certificate": "corp"},
        },
    },
    "named": {
        "certificate": {"mode": "named", "name": "web"},
        "pki": {
            "certificates": {
                "web": {
                    "mode": "issued",
                    "names": ["DNS:reflector.example.com", "DNS:s3.reflector.example.com"],
                },
            },
        },
    },
    "container-providers": {
        "pki": {
            "authorities": {"clusters": {"purpose": "client"}, "docker": {"purpose": "docker-hosts"}},
            "certificates": {
                "daemon": {"mode": "issued", "names": ["DNS:nas.internal", "IP:192.0.2.7"], "authority": "docker"},
                "deployer": {"mode": "issued", "kind": "client", "authority": "docker"},
                "admin": {"mode": "issued", "kind": "client", "authority": "clusters"},
                "api": {"mode": "issued", "names": ["DNS:api.internal"]},
            },
        },
        "container_providers": {
            "nas": {
                "kind": "docker",
                "address": "tcp://nas.internal:2376",
                "client_certificate": "deployer",
                "server_authority": "docker",
            },
            "managers": {
                "kind": "swarm",
                "address": "tcp://swarm.internal:2376",
                "client_certificate": "deployer",
                "server_authority": "docker",
                "secrets": ["api"],
            },
            "cluster": {
                "kind": "kubernetes",
                "address": "https://192.0.2.8:6443",
                "client_certificate": "admin",
                "server_authority": "stack",
            },
        },
    },
    "encrypted": ENCRYPTED,
}
_FILES: Final[Mapping[str, str]] = {"dev": "dev", "dev-authentik": "authentik"}
"""The stack files of shapes that are not made of the production one."""
WITHOUT_GARAGE: Final = frozenset({"elsewhere", "s3"})
WITHOUT_OLLAMA: Final = frozenset({"elsewhere"})
WITH_AUTHENTIK: Final = frozenset({"authentik", "dev-authentik"})
WITH_TRANSCRIPTION: Final = frozenset({"dev", "dev-authentik", "speech-container", "company"})


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shape, and what the program asked the engine for."""

    name: str
    engine: Engine
    settings: Settings

    def of_type(self, type_: str) -> list[Registered]:
        return self.engine.of_type(type_)

    @property
    def containers(self) -> Mapping[str, Registered]:
        """Containers by service."""
        return {
            container.plain("name").removeprefix("reflector-test-"): container for container in self.of_type(CONTAINER)
        }

    @property
    def services(self) -> frozenset[str]:
        return frozenset(self.containers)

    @property
    def names(self) -> set[str]:
        """Names of all resources."""
        return {resource.name for resource in self.engine.resources}


def _staged() -> Path:
    """Return a checkout with build contexts staged in it, as `make images` does."""
    root = Path(mkdtemp())
    manifest = root / image_settings.STAGED / "manifest.json"
    manifest.parent.mkdir(parents=True)
    names = ("base", "postgres", "redis", "garage", "caddy", "ollama", "probe")
    manifest.write_text(
        json.dumps(
            {
                name: {
                    "context": name,
                    "base": None if name in {"base", "postgres", "redis"} else "base",
                    "sha256": f"{index:x}" * 64,
                }
                for index, name in enumerate(names, start=1)
            }
        ),
        encoding="utf-8",
    )
    return root


def _certificates() -> str:
    folder = Path(mkdtemp())
    for name, content in (("ca.pem", DOCKER_AUTHORITY), ("cert.pem", DOCKER_CERTIFICATE), ("key.pem", DOCKER_KEY)):
        (folder / name).write_text(content, encoding="ascii")
    return str(folder)


def settings_of(name: str) -> dict[str, Any]:
    """Return the settings of a shape, as they are in its stack file, with what is encrypted still to be encrypted."""
    file = path_of(_FILES.get(name, "selfhosted"), ROOT)
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["config"]
    prefix = f"{PROJECT}:"
    committed = {key.removeprefix(prefix): value for key, value in content.items() if key.startswith(prefix)}
    tree: dict[str, Any] = {**committed, **SHAPES[name]}
    if name == "remote":
        tree["hosts"]["main"]["certificates"] = _certificates()
    return tree


def _opened(content: Any) -> Any:
    """Return settings as the engine has them."""
    if isinstance(content, Mapping):
        return {key: _opened(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_opened(value) for value in content]
    return content.value if isinstance(content, Encrypted) else content


def _written(content: Any) -> Any:
    """Return settings as they are in the stack file."""
    if isinstance(content, Mapping):
        return {key: _written(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_written(value) for value in content]
    return {"secure": "v1:ciphertext"} if isinstance(content, Encrypted) else content


def run(tree: Mapping[str, Any], root: Path = ROOT) -> tuple[Engine, Settings]:
    """Run the program of the checkout at `root` with these settings, and return the record and what it read."""
    folder = Path(mkdtemp())
    file = {"config": {f"{PROJECT}:{name}": _written(content) for name, content in tree.items()}}
    path_of(recording.STACK, folder).write_text(yaml.safe_dump(file), encoding="utf-8")
    # The engine hands everything over as text, opened, with the project's defaults for what is not in the file.
    defaults = {name: entry["default"] for name, entry in config_block().items()}
    handed = {f"{PROJECT}:{name}": json.dumps(_opened(content)) for name, content in {**defaults, **tree}.items()}
    secret = [f"{PROJECT}:{name}" for name, content in tree.items() if _written(content) != content]
    read: list[Settings] = []

    def load() -> Settings:
        read.append(loaded())
        return read[0]

    loaded = program_settings.load
    asyncio.set_event_loop(asyncio.new_event_loop())
    engine = Engine()
    with (
        mock.patch.object(image_settings, "ROOT", _staged()),
        mock.patch.object(program_settings, "ROOT", folder),
        mock.patch.object(program_settings, "load", load),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", DeprecationWarning)  # of the SDK of AWS, about itself
        pulumi.runtime.config.set_all_config(handed, secret)
        engine.run(lambda: runpy.run_path(str(root / "__main__.py")))
    return engine, read[0]


@cache
def shape(name: str) -> Shape:
    """Return the shape called `name`, run once for all tests, which only look at the record."""
    engine, settings = run(settings_of(name))
    return Shape(name=name, engine=engine, settings=settings)
