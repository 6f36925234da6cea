"""What unit tests build components with: a host, and stand-ins for what other rooms would hand over."""

import asyncio
import base64
import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

import pulumi
import pulumi_docker as docker

from components.application.reflector import MemoryMib, Reflector, ReflectorArgs
from components.base.daemon import Daemon
from components.base.handles import (
    Cache,
    CertificateHandle,
    Database,
    DockerHost,
    IdentityProvider,
    Image,
    LanguageModel,
    ObjectStore,
    Route,
    Service,
    Site,
    SpeechServices,
    TrustBundle,
    WorkflowEngine,
)
from components.data.postgres import Postgres, PostgresArgs
from components.data.redis import Redis, RedisArgs
from components.edge.caddy import Caddy, CaddyArgs
from components.hosts.host import NETWORKS, Host, HostArgs
from components.hosts.trust import HostTrust, HostTrustArgs
from components.images.image import ImageArgs, Images, ImagesArgs
from components.language_model.ollama import Ollama, OllamaArgs
from components.pki.authority import Authority, AuthorityArgs
from components.pki.certificate import Certificate, CertificateArgs
from components.providers.swarm import SwarmSecrets, SwarmSecretsArgs
from components.relays.relay import Relay, RelayArgs
from components.sign_in.authentik import Authentik, AuthentikArgs
from components.sign_in.password import PasswordSignIn, PasswordSignInArgs
from components.speech.transcription import Transcription, TranscriptionArgs
from components.storage.garage import Garage, GarageArgs
from components.storage.s3 import S3, S3Args
from components.workflow.hatchet import Hatchet, HatchetArgs
from rendering import authentik
from rendering.caddyfile import PAGES
from testing.engine import Engine, Registered, fake_secret

CONTAINER: Final = "docker:index/container:Container"
VOLUME: Final = "docker:index/volume:Volume"
NETWORK: Final = "docker:index/network:Network"
IMAGE: Final = "docker:index/remoteImage:RemoteImage"
COMMAND: Final = "command:local:Command"
PASSWORD: Final = "random:index/randomPassword:RandomPassword"
IMAGE_ID: Final = f"sha256:{'a' * 64}"
PREFIX: Final = "reflector-test"

# Recognisable, so that a test can look for them where they must not be.
DATABASE_PASSWORD: Final = "HandedDatabasePassword"
HATCHET_TOKEN: Final = "eyJHandedToken"
STORE_SECRET: Final = "HandedStoreSecret"
MODEL_KEY: Final = "HandedModelKey"
SPEECH_KEY: Final = "HandedSpeechKey"
HF_TOKEN: Final = "HandedHuggingFaceToken"
LEAF_KEY: Final = "HandedLeafKey"
ADMIN_HASH: Final = "HandedPasswordHash"
HANDED_SECRETS: Final = (
    DATABASE_PASSWORD, HATCHET_TOKEN, STORE_SECRET, MODEL_KEY, SPEECH_KEY, HF_TOKEN, LEAF_KEY, ADMIN_HASH,
)  # fmt: skip


class Anchor(pulumi.CustomResource):
    """A parent, and something to wait for."""

    def __init__(self, name: str = "anchor") -> None:
        super().__init__("test:building:Anchor", name, {})


def host_args(
    name: str = "host", *, address: str = "unix:///var/run/docker.sock", prefix: str = PREFIX, **given: Any
) -> HostArgs:
    """Return the arguments of a host with every network, and make its provider."""
    usual: dict[str, Any] = {
        "networks": frozenset(NETWORKS),
        "health_interval_seconds": 10,
        "startup_limit_seconds": 3600,
    }
    return HostArgs(
        provider=docker.Provider(f"{name}-provider", host=address),
        prefix=prefix,
        daemon=Daemon(address=address),
        **{**usual, **given},
    )


def host(name: str = "host", **given: Any) -> DockerHost:
    """Return a host with every network."""
    return Host(name, host_args(name, **given)).handle


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """What other rooms would hand over to one component; every value says whose neighbour it is from.

    A component's own services are called by their default names where `prefix` is empty.
    """

    host: DockerHost
    ready: pulumi.Resource
    """Everything handed over is ready once this is."""
    prefix: str = ""

    def named(self, service: str) -> Mapping[str, str]:
        """Return the argument that names a component's service, where it is not the default."""
        return {"service": f"{self.prefix}{service}"} if self.prefix else {}

    def domain(self, label: str = "") -> str:
        """Return a public DNS name, or one below it."""
        return f"{label}.{self.domain()}" if label else f"{self.prefix}reflector.test"

    def _secret(self, text: str) -> pulumi.Output[str]:
        return pulumi.Output.secret(f"{text}{self.prefix}")

    def image(self, *command: str) -> Image:
        """Return an image."""
        return Image(id=IMAGE_ID, command=command)

    def trust(self) -> TrustBundle:
        """Return a bundle of one root."""
        pem = f"-----BEGIN CERTIFICATE-----\n{self.prefix}Trusted\n-----END CERTIFICATE-----\n"
        return TrustBundle(certificates=[pulumi.Output.from_input(pem)])

    def database(self, name: str = "reflector") -> Database:
        """Return a database called `name`."""
        return Database(
            host=f"{self.prefix}sql",
            port=15432,
            name=name,
            user=f"{name}-user",
            password=self._secret(DATABASE_PASSWORD),
            network="database",
            ready=self.ready,
        )

    def cache(self) -> Cache:
        """Return a cache."""
        host = f"{self.prefix}keys"
        container = cast(docker.Container, self.ready)
        keeper = Service(name=host, address=host, host=self.host, container=container, health_test="ping", port=16379)
        return Cache(host=host, port=16379, network="cache", service=keeper)

    def certificate(self, name: str = "edge-certificate", *names: str) -> CertificateHandle:
        """Return a certificate called `name`."""
        own = f"{self.prefix}{name}"
        return CertificateHandle(
            name=own,
            common_name=self.domain(),
            names=names or [f"DNS:{self.domain()}"],
            certificate_pem=pulumi.Output.from_input(
                f"-----BEGIN CERTIFICATE-----\nLeaf {own}\n-----END CERTIFICATE-----\n"
            ),
            private_key_pem=pulumi.Output.secret(
                f"-----BEGIN EC PRIVATE KEY-----\n{LEAF_KEY}{own}\n-----END EC PRIVATE KEY-----\n"
            ),
            expires=pulumi.Output.from_input("2027-01-01T00:00:00Z"),
        )

    def object_store(self) -> ObjectStore:
        """Return a bucket of a store elsewhere."""
        return ObjectStore(
            public_endpoint=f"https://{self.domain('s3')}",
            region="nowhere-1",
            bucket=f"{self.prefix}media",
            access_key_id=f"{self.prefix}AKIA00",
            secret_access_key=self._secret(STORE_SECRET),
            ready=[self.ready],
        )

    def speech(self) -> SpeechServices:
        """Return a speech service that wants a key."""
        return SpeechServices(
            url=f"https://{self.domain('speech')}",
            api_key=self._secret(SPEECH_KEY),
            hf_token=self._secret(HF_TOKEN),
            ready=[self.ready],
        )

    def language_model(self) -> LanguageModel:
        """Return a model that wants a key."""
        return LanguageModel(
            url=f"https://{self.domain('models')}/v1",
            model=f"{self.prefix}some-model",
            api_key=self._secret(MODEL_KEY),
            context_tokens=8192,
            ready=[self.ready],
        )

    def workflow(self) -> WorkflowEngine:
        """Return a workflow engine."""
        return WorkflowEngine(
            server_url=f"http://{self.prefix}flow:18888",
            host_port=f"{self.prefix}flow:17077",
            token=self._secret(HATCHET_TOKEN),
            ready=self.ready,
        )

    def identity(self) -> IdentityProvider:
        """Return an identity provider with a variable for each kind of process."""
        return IdentityProvider(
            backend={"BACKEND_SIGN_IN": f"{self.prefix}backend"},
            server={"SERVER_SIGN_IN": self._secret(ADMIN_HASH)},
            web={"WEB_SIGN_IN": f"{self.prefix}web"},
            admin_email=f"admin@{self.domain()}",
            ready=[self.ready],
        )

    def sites(self) -> list[Site]:
        """Return two sites, one of pages and one that is served as it is, each with a certificate of its own."""
        return [
            Site(
                names=[self.domain(), "127.0.0.1", "::1"],
                certificate=self.certificate("edge-certificate"),
                routes=[
                    Route(paths=["/v1/*", "/health"], upstream=f"http://{self.prefix}api:11250"),
                    Route(upstream=f"http://{self.prefix}pages:13000"),
                ],
                policy=PAGES,
                ready=[self.ready],
            ),
            Site(
                names=[self.domain("s3")],
                certificate=self.certificate("store-certificate"),
                routes=[Route(upstream=f"http://{self.prefix}store:13900")],
                network="storage",
                ready=[self.ready],
            ),
        ]


def reflector_args(near: Neighbours, **given: Any) -> ReflectorArgs:
    """Return the arguments of a Reflector."""
    usual: dict[str, Any] = {
        "host": near.host,
        "backend": near.image(),
        "frontend": near.image("serve", "pages"),
        "memory_mib": MemoryMib(server=501, worker=502, beat=503, hatchet_worker_llm=504, web=505),
        "worker_processes": 3,
        "url": f"https://{near.domain()}",
        "origins": [f"https://{near.domain()}"],
        "names": [near.domain(), "127.0.0.1"],
        "certificate": near.certificate(),
        "trust": near.trust(),
        "database": near.database(),
        "cache": near.cache(),
        "identity": near.identity(),
        "object_store": near.object_store(),
        "speech": near.speech(),
        "language_model": near.language_model(),
        "workflow": near.workflow(),
        "service_prefix": near.prefix,
    }
    return ReflectorArgs(**{**usual, **given})


def caddy_args(near: Neighbours, **given: Any) -> CaddyArgs:
    """Return the arguments of an edge with two sites."""
    usual: dict[str, Any] = {
        "host": near.host,
        "image": IMAGE_ID,
        "memory_mib": 512,
        "sites": near.sites(),
        "bind_addresses": ["127.0.0.1", "192.0.2.1"],
        "public_port": 443,
        "https_port": 8443,
        "http_port": 8080,
        **near.named("caddy"),
    }
    return CaddyArgs(**{**usual, **given})


def relay_args(near: Neighbours, **given: Any) -> RelayArgs:
    """Return the arguments of a relay in front of the application, for whom anybody is a client."""
    usual: dict[str, Any] = {
        "host": near.host,
        "image": IMAGE_ID,
        "memory_mib": 128,
        "service": f"{near.prefix}relay-it",
        "upstream": f"http://{near.prefix}api:11250",
        "port": 8444,
        "bind_addresses": ["127.0.0.1"],
        "certificate": near.certificate("relay-certificate"),
        "depends_on": [near.ready],
    }
    return RelayArgs(**{**usual, **given})


def swarm_args(name: str, near: Neighbours, **given: Any) -> SwarmSecretsArgs:
    """Return the arguments of a Swarm's secrets, with two certificates, and make its provider."""
    usual: dict[str, Any] = {
        "provider": docker.Provider(f"provider-of-{name}", host="tcp://swarm.test:2376"),
        "prefix": f"{near.prefix}{PREFIX}",
        "deployment": "0123456789abcdef",
        "certificates": {one: near.certificate(f"certificate-{one}") for one in ("api", "web")},
    }
    return SwarmSecretsArgs(**{**usual, **given})


def garage_args(near: Neighbours, **given: Any) -> GarageArgs:
    """Return the arguments of a Garage."""
    usual: dict[str, Any] = {
        "host": near.host,
        "image": near.image(),
        "memory_mib": 512,
        "bucket": f"{near.prefix}media",
        "capacity_gib": 2,
        "domain": near.domain("s3"),
        "url": f"https://{near.domain('s3')}",
        "certificate": near.certificate(),
        "origins": [f"https://{near.domain()}"],
        **near.named("garage"),
    }
    return GarageArgs(**{**usual, **given})


def ollama_args(near: Neighbours, **given: Any) -> OllamaArgs:
    """Return the arguments of an Ollama."""
    usual: dict[str, Any] = {
        "host": near.host,
        "image": near.image(),
        "memory_mib": 2048,
        "model": "qwen2.5:14b",
        "context_tokens": 16384,
        **near.named("ollama"),
    }
    return OllamaArgs(**{**usual, **given})


def transcription_args(near: Neighbours, **given: Any) -> TranscriptionArgs:
    """Return the arguments of a speech service."""
    usual: dict[str, Any] = {
        "host": near.host,
        "image": near.image("start", "speech"),
        "memory_mib": 4096,
        "trust": near.trust(),
        "hf_token": f"{HF_TOKEN}{near.prefix}",
        **near.named("transcription"),
    }
    return TranscriptionArgs(**{**usual, **given})


def authentik_args(near: Neighbours, **given: Any) -> AuthentikArgs:
    """Return the arguments of an Authentik that knows the administrator and one more person."""
    usual: dict[str, Any] = {
        "host": near.host,
        "image": near.image("ak"),
        "server_memory_mib": 601,
        "worker_memory_mib": 602,
        "database": near.database("authentik"),
        "domain": near.domain("auth"),
        "url": f"https://{near.domain('auth')}:8443",
        "certificate": near.certificate(),
        "application": application(near.domain()),
        **near.named("authentik"),
    }
    return AuthentikArgs(**{**usual, **given})


def application(domain: str = "reflector.test", **given: Any) -> authentik.Application:
    """Return Reflector as an application at `domain`, which one person besides the administrator may enter."""
    usual: dict[str, Any] = {
        "slug": "reflector",
        "title": "Meetings",
        "url": f"https://{domain}:8443",
        "access_token_minutes": 15,
        "refresh_token_days": 30,
        "administrator": authentik.Person(
            user_name="admin",
            name="Administrator",
            email=f"admin@{domain}",
            groups=("staff",),
            subject=f"local:admin@{domain}",
        ),
        "others": (
            authentik.Person(user_name="jane", name="Jane", email="jane@example.com", groups=("staff",)),
            authentik.Person(user_name="joe", name="Joe", email="joe@example.org"),
        ),
        "groups": ("staff",),
        "access_group": "staff",
    }
    return authentik.Application(**{**usual, **given})


def host_trust_args(near: Neighbours, **given: Any) -> HostTrustArgs:
    """Return the arguments of a host that is to trust one root, in its store and at a registry."""
    body = base64.b64encode(f"{near.prefix}Root".encode()).decode()
    usual: dict[str, Any] = {
        "host": near.host,
        "authorities": [("stack", pulumi.Output.from_input(pem_of(body)))],
        "system_store": True,
        "registries": ["registry.test:5000"],
    }
    return HostTrustArgs(**{**usual, **given})


def pem_of(body: str) -> str:
    """Return what looks like a certificate."""
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


def certificate_args(name: str, **given: Any) -> CertificateArgs:
    """Return the arguments of a certificate called `name`, and make the authority that signs it."""
    usual: dict[str, Any] = {
        "issuer": Authority(f"authority-of-{name}", AuthorityArgs(common_name=f"Root of {name}")).issuer,
        "dns_names": [f"{name}.test"],
        "ip_addresses": ["127.0.0.1"],
        "validity_hours": 2160,
        "renewal_hours": 720,
    }
    return CertificateArgs(**{**usual, **given})


Build = Callable[[str, Neighbours], pulumi.ComponentResource]

COMPONENTS: Final[Mapping[str, Build]] = {
    "Host": lambda name, near: Host(name, host_args(f"of-{name}", prefix=f"{near.prefix}{PREFIX}")),
    "HostTrust": lambda name, near: HostTrust(name, host_trust_args(near)),
    "Images": lambda name, near: Images(
        name,
        ImagesArgs(
            host=near.host,
            images={
                "base": ImageArgs(reference=f"base:{'0' * 12}", context="images/base"),
                "made": ImageArgs(reference=f"made:{'1' * 12}", context="images/made", base="base"),
                "pulled": ImageArgs(reference="postgres:17.2-alpine"),
            },
        ),
    ),
    "Authority": lambda name, _near: Authority(name, AuthorityArgs(common_name=f"Root {name}")),
    "Certificate": lambda name, _near: Certificate(name, certificate_args(name)),
    "Postgres": lambda name, near: Postgres(
        name,
        PostgresArgs(
            host=near.host,
            image=near.image(),
            memory_mib=1024,
            connections=50,
            databases=["reflector", "hatchet"],
            **near.named("postgres"),
        ),
    ),
    "Redis": lambda name, near: Redis(
        name, RedisArgs(host=near.host, image=near.image(), memory_mib=256, **near.named("redis"))
    ),
    "Garage": lambda name, near: Garage(name, garage_args(near)),
    "S3": lambda name, near: S3(name, S3Args(bucket=f"{near.prefix}media", origins=[f"https://{near.domain()}"])),
    "Transcription": lambda name, near: Transcription(name, transcription_args(near)),
    "Ollama": lambda name, near: Ollama(name, ollama_args(near)),
    "Hatchet": lambda name, near: Hatchet(
        name,
        HatchetArgs(
            host=near.host,
            image=near.image(),
            memory_mib=1024,
            database=near.database("hatchet"),
            trust=near.trust(),
            **near.named("hatchet"),
        ),
    ),
    "Authentik": lambda name, near: Authentik(name, authentik_args(near)),
    "PasswordSignIn": lambda name, near: PasswordSignIn(name, PasswordSignInArgs(admin_email=f"admin@{near.domain()}")),
    "Reflector": lambda name, near: Reflector(name, reflector_args(near)),
    "Caddy": lambda name, near: Caddy(name, caddy_args(near)),
    "Relay": lambda name, near: Relay(name, relay_args(near)),
    "SwarmSecrets": lambda name, near: SwarmSecrets(name, swarm_args(name, near)),
}
"""Every component, each with usual arguments."""


@dataclass(frozen=True)
class Built:
    """A component, and the engine that recorded how it was made."""

    engine: Engine
    component: Any

    def named(self, name: str) -> Registered:
        """Return the one registered resource called `name`."""
        return self.engine.named(name)


@cache
def built(component: str) -> Built:
    """Return a component by its class's name, called `it`, with a host and neighbours that are ready with `anchor`.

    Made once for all tests, which only look at the record.
    """
    return build(lambda near: COMPONENTS[component]("it", near))


def build(make: Callable[[Neighbours], Any]) -> Built:
    """Return what `make` makes beside usual neighbours."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    engine = Engine()
    return Built(engine, engine.run(lambda: make(Neighbours(host=host(), ready=Anchor()))))


def script_of(step: Registered) -> str:
    """Return the script of a step."""
    return str(step.plain("environment")["STEP"])


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


def networks_of(container: Registered) -> dict[str, list[str]]:
    """Return a container's networks, each with its aliases there."""
    return {entry["name"]: entry["aliases"] for entry in container.plain("networksAdvanced")}


def delivered(release: Registered) -> dict[str, str]:
    """Return the files that reach the edge, by name; of what is no text, what can be read of it."""
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(release.plain("stdin")))) as tar:
        return {
            e.name: stream.read().decode(errors="replace")
            for e in tar.getmembers()
            if (stream := tar.extractfile(e)) is not None
        }


def depends_on(engine: Engine, dependent: Registered, name: str) -> bool:
    """Return whether `dependent` waits for the resource called `name`, directly or through others."""
    by_urn = {resource.urn: resource for resource in engine.resources}
    goal = engine.named(name).urn
    waiting, seen = list(dependent.request.dependencies), set[str]()
    while waiting:
        urn = waiting.pop()
        if urn == goal:
            return True
        if urn not in seen and urn in by_urn:
            seen.add(urn)
            waiting += by_urn[urn].request.dependencies
    return False


def password_of(name: str) -> str:
    """Return the password the recording engine generates for the resource called `name`."""
    return fake_secret(PASSWORD, name, {"length": 40})["result"]


def token_of(name: str, size_bytes: int = 32) -> str:
    """Return the token the recording engine generates for the resource called `name`."""
    return fake_secret(PASSWORD, name, {"length": 2 * size_bytes, "overrideSpecial": "0123456789abcdef"})["result"]


def told_by_ids(engine: Engine) -> list[str]:
    """Return the names of the resources whose id holds a secret of any."""
    secrets = [searchable(secret) for secret in engine.secrets.values()]
    return [name for name, id_ in engine.ids.items() if any(secret in id_ for secret in secrets)]


def printed_by(name: str) -> str:
    """Return what the command called `name` prints."""
    return fake_secret(COMMAND, name, {})["stdout"]


def searchable(secret: str) -> str:
    """Return what of a secret can be searched for in JSON text: of a PEM, the line in the middle."""
    return secret.split("\n")[1] if "\n" in secret else secret


def in_the_open(resources: Iterable[Registered], secrets: Iterable[str]) -> list[str]:
    """Return the resources that would write one of the secrets into the state in plain text, itself or in base64."""
    sought = [form for secret in secrets for form in (searchable(secret), base64.b64encode(secret.encode()).decode())]
    return [resource.name for resource in resources if any(form in resource.open_text() for form in sought)]
