"""What unit tests build components with: a host, and stand-ins for what other components would hand over."""

import asyncio
import json
import os
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import pulumi

import components
from components.handover import (
    Cache,
    CertificateHandle,
    Database,
    DockerHost,
    LanguageModel,
    ObjectStore,
    SpeechServices,
    TrustBundle,
    WorkflowEngine,
)
from components.s3 import S3, S3Args
from settings.load import MEMORY_MIB
from tests.unit.engine import Engine, Registered

CONTAINER: Final = "docker:index/container:Container"
VOLUME: Final = "docker:index/volume:Volume"
NETWORK: Final = "docker:index/network:Network"
COMMAND: Final = "command:local:Command"
IMAGE_ID: Final = f"sha256:{'a' * 64}"
PREFIX: Final = "reflector-test"

# Recognisable, so that a test can look for them where they must not be.
DATABASE_PASSWORD: Final = "HandedDatabasePassword"
HATCHET_TOKEN: Final = "eyJHandedToken"
STORE_SECRET: Final = "HandedStoreSecret"
MODEL_KEY: Final = "HandedModelKey"
SPEECH_KEY: Final = "HandedSpeechKey"
HF_TOKEN: Final = "HandedHuggingFaceToken"
LEAF_KEY: Final = "-----BEGIN EC PRIVATE KEY-----\nHandedLeafKey\n-----END EC PRIVATE KEY-----\n"
HANDED_SECRETS: Final = (
    DATABASE_PASSWORD, HATCHET_TOKEN, STORE_SECRET, MODEL_KEY, SPEECH_KEY, HF_TOKEN, "HandedLeafKey",
)  # fmt: skip


class Anchor(pulumi.CustomResource):
    """A parent, and something to wait for."""

    def __init__(self, name: str = "anchor") -> None:
        super().__init__("test:building:Anchor", name, {})


def host_args(
    address: str = "unix:///var/run/docker.sock", prefix: str = PREFIX, startup_limit_seconds: int = 3600
) -> components.HostArgs:
    """Return the arguments of a host with every network."""
    return components.HostArgs(
        prefix=prefix,
        daemon=components.Daemon(address=address),
        networks=frozenset({"application", "database", "cache", "storage"}),
        health_interval_seconds=10,
        startup_limit_seconds=startup_limit_seconds,
        memory_mib=MEMORY_MIB,
    )


def host(name: str = "host", prefix: str = PREFIX) -> DockerHost:
    """Return a host with every network."""
    return components.Host(name, host_args(prefix=prefix)).handle


def trust() -> TrustBundle:
    return TrustBundle(pem=pulumi.Output.from_input("-----BEGIN CERTIFICATE-----\nRoot\n-----END CERTIFICATE-----\n"))


def reflector_args(
    handle: DockerHost,
    ready: pulumi.Resource,
    *,
    password_login: bool = True,
    speech: SpeechServices | None = None,
    language_model: bool = True,
) -> components.ReflectorArgs:
    """Return the arguments of a Reflector whose every neighbour is ready once `ready` is."""
    return components.ReflectorArgs(
        host=handle,
        backend_image=IMAGE_ID,
        frontend_image=IMAGE_ID,
        frontend_command=(),
        url="https://reflector.test",
        password_login=password_login,
        admin_email="admin@reflector.test",
        trust=trust(),
        database=Database(
            url=pulumi.Output.secret(f"postgresql://reflector:{DATABASE_PASSWORD}@postgres:5432/reflector"), ready=ready
        ),
        cache=Cache(host="redis", port=6379, ready=ready),
        object_store=ObjectStore(
            endpoint="http://garage:3900",
            public_endpoint="https://s3.reflector.test",
            region="garage",
            bucket="media",
            access_key_id="GK00",
            secret_access_key=pulumi.Output.secret(STORE_SECRET),
            ready=[ready],
        ),
        speech=speech
        or SpeechServices(
            url="https://speech.test",
            api_key=pulumi.Output.secret(SPEECH_KEY),
            whisper_model="",
            hf_token=pulumi.Output.secret(HF_TOKEN),
            ready=(),
        ),
        language_model=LanguageModel(
            url="https://models.test/v1",
            model="some-model",
            api_key=pulumi.Output.secret(MODEL_KEY),
            context_tokens=8192,
            ready=[ready],
        )
        if language_model
        else None,
        workflow=WorkflowEngine(
            server_url="http://hatchet:8888",
            host_port="hatchet:7077",
            token=pulumi.Output.secret(HATCHET_TOKEN),
            ready=ready,
        ),
    )


def caddy_args(handle: DockerHost, ready: pulumi.Resource, *, with_store: bool = True) -> components.CaddyArgs:
    return components.CaddyArgs(
        host=handle,
        image=IMAGE_ID,
        app_names=["reflector.test", "127.0.0.1", "::1"],
        s3_name="s3.reflector.test" if with_store else "",
        s3_upstream="http://garage:3900" if with_store else "",
        bind_addresses=["127.0.0.1", "192.0.2.1"],
        https_port=8443,
        http_port=8080,
        certificate=CertificateHandle(
            common_name="reflector.test",
            certificate_pem=pulumi.Output.from_input("-----BEGIN CERTIFICATE-----\nLeaf\n-----END CERTIFICATE-----\n"),
            private_key_pem=pulumi.Output.secret(LEAF_KEY),
            expires=pulumi.Output.from_input("2027-01-01T00:00:00Z"),
        ),
        ready=[ready],
    )


Build = Callable[[str, DockerHost, pulumi.Resource], pulumi.ComponentResource]

COMPONENTS: Final[Mapping[str, Build]] = {
    "Authority": lambda name, _host, _ready: components.Authority(
        name, components.AuthorityArgs(common_name="Test root")
    ),
    "Certificate": lambda name, _host, _ready: components.Certificate(
        name,
        components.CertificateArgs(
            dns_names=["reflector.test"],
            ip_addresses=["127.0.0.1"],
            authority_certificate_pem="-----BEGIN CERTIFICATE-----\nRoot\n",
            authority_private_key_pem=LEAF_KEY,
        ),
    ),
    "Images": lambda name, _host, _ready: components.Images(
        name,
        components.ImagesArgs(
            images={
                "base": components.ImageArgs(reference=f"base:{'0' * 12}", context="images/base"),
                "made": components.ImageArgs(reference=f"made:{'1' * 12}", context="images/made", base="base"),
                "pulled": components.ImageArgs(reference="postgres:17.2-alpine"),
            }
        ),
    ),
    "Postgres": lambda name, host, _ready: components.Postgres(
        name,
        components.PostgresArgs(host=host, image=IMAGE_ID, databases=("reflector", "hatchet")),
    ),
    "Redis": lambda name, host, _ready: components.Redis(name, components.RedisArgs(host=host, image=IMAGE_ID)),
    "Garage": lambda name, host, _ready: components.Garage(
        name,
        components.GarageArgs(
            host=host,
            image=IMAGE_ID,
            bucket="media",
            capacity_gib=2,
            public_url="https://s3.reflector.test",
            origins=("https://reflector.test",),
        ),
    ),
    "S3": lambda name, _host, _ready: S3(name, S3Args(bucket=f"media-{name}", origins=("https://reflector.test",))),
    "Transcription": lambda name, host, _ready: components.Transcription(
        name, components.TranscriptionArgs(host=host, image=IMAGE_ID, command=(), trust=trust(), hf_token=HF_TOKEN)
    ),
    "Ollama": lambda name, host, _ready: components.Ollama(
        name, components.OllamaArgs(host=host, image=IMAGE_ID, model="qwen2.5:14b", context_tokens=16384)
    ),
    "Hatchet": lambda name, host, ready: components.Hatchet(
        name,
        components.HatchetArgs(
            host=host,
            image=IMAGE_ID,
            database=Database(
                url=pulumi.Output.secret(f"postgresql://hatchet:{DATABASE_PASSWORD}@postgres:5432/hatchet"), ready=ready
            ),
        ),
    ),
    "Reflector": lambda name, host, ready: components.Reflector(name, reflector_args(host, ready)),
    "Caddy": lambda name, host, ready: components.Caddy(name, caddy_args(host, ready)),
}
"""Every component but the host, each with usual arguments."""


@dataclass(frozen=True)
class Built:
    """A component, and the engine that recorded how it was made."""

    engine: Engine
    component: Any


@cache
def built(component: str) -> Built:
    """Return a component by its class's name, called `it`, with a host and a neighbour called `anchor`.

    Made once for all tests, which only look at the record.
    """
    asyncio.set_event_loop(asyncio.new_event_loop())
    engine = Engine()
    return Built(engine, engine.run(lambda: COMPONENTS[component]("it", host(), Anchor())))


def below(engine: Engine, name: str) -> list[Registered]:
    """Return what was registered under the component called `name`, at any depth."""
    urns = {engine.named(name).urn}
    found: list[Registered] = []
    for resource in engine.resources:
        if resource.parent in urns:
            urns.add(resource.urn)
            found.append(resource)
    return found


def environment_of(container: Registered) -> dict[str, str]:
    """Return a container's environment."""
    return dict(variable.split("=", 1) for variable in container.plain("envs") or ())


def depends_on(engine: Engine, dependent: Registered, name: str) -> bool:
    """Return whether `dependent` waits for the resource called `name`, directly or through others."""
    by_urn = {resource.urn: resource for resource in engine.resources}
    goal = engine.named(name).urn
    waiting, seen = [dependent.urn], set[str]()
    while waiting:
        urn = waiting.pop()
        if urn == goal:
            return True
        if urn not in seen and urn in by_urn:
            seen.add(urn)
            waiting += by_urn[urn].request.dependencies
    return False


def fake_command(folder: Path, name: str, answers: Mapping[str, Any]) -> Path:
    """Put a program called `name` into `folder` that answers by its arguments, and return the log of its calls.

    `answers` maps a prefix of the joined arguments to what it prints: text, or {"stdout", "stderr", "status"}. A call
    nobody foresaw fails with status 97.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    log.touch()
    table = {key: value if isinstance(value, dict) else {"stdout": value} for key, value in answers.items()}
    program = folder / name
    program.write_text(
        f"""#!{sys.executable} -IS
import json, os, sys
arguments = sys.argv[1:]
stdin = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
with open({str(log)!r}, "a") as log:
    log.write(json.dumps({{"arguments": arguments, "stdin": stdin, "environment": dict(os.environ)}}) + "\\n")
table = json.loads({json.dumps(table)!r})
for prefix in sorted(table, key=len, reverse=True):
    if " ".join(arguments).startswith(prefix):
        answer = table[prefix]
        sys.stdout.write(answer.get("stdout", ""))
        sys.stderr.write(answer.get("stderr", ""))
        sys.exit(answer.get("status", 0))
sys.stderr.write("unforeseen call: " + " ".join(arguments))
sys.exit(97)
""",
        encoding="utf-8",
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return log


def calls(log: Path) -> list[dict[str, Any]]:
    """Return the calls a fake command got: arguments, stdin, environment."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def path_with(folder: Path) -> str:
    """Return PATH with `folder` first."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
