"""What components hand to each other: small typed values, named for what they are.

A field `ready` is the resource after which the thing can be used. Consumers put it into `depends_on`; the values alone
are known earlier than the thing works.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_docker as docker

from components.daemon import Daemon


@dataclass(frozen=True, kw_only=True)
class DockerHost:
    """A Docker host with its networks, ready to run containers."""

    prefix: str
    """What every name on the host starts with: `<project>-<stack>`."""
    deployment: pulumi.Output[str]
    """What tells it apart from another state's stack of the same name: 16 hex digits."""
    daemon: Daemon
    networks: Mapping[str, docker.Network]
    """By role, see `host.NETWORKS`."""
    internal_networks: frozenset[str]
    """The roles without a route out."""
    hooks: pulumi.ResourceHookBinding
    """What every container made there is guarded by."""
    health_interval_seconds: int
    startup_limit_seconds: int
    """The longest any service may take until its failed health checks count."""
    memory_mib: Mapping[str, int]
    """Memory limit by service."""

    services: dict[str, Mapping[str, pulumi.Input[str]]] = field(default_factory=dict)
    """What runs here, for the stack's outputs: service → container, image, address, health. `service()` adds to it."""

    def container_name(self, service: str) -> str:
        """Return the name of the container of `service`."""
        return f"{self.prefix}-{service}"


@dataclass(frozen=True, kw_only=True)
class CertificateHandle:
    """A leaf with its key."""

    common_name: str
    """Of the leaf's subject."""
    certificate_pem: pulumi.Output[str]
    """Leaf first, then what a client needs to reach a root it trusts."""
    private_key_pem: pulumi.Output[str] = field(repr=False)
    """Secret."""
    expires: pulumi.Output[str]
    """RFC 3339 time."""


@dataclass(frozen=True, kw_only=True)
class TrustBundle:
    """The roots our own processes trust besides the public ones."""

    pem: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class Database:
    """One consumer's database and role."""

    url: pulumi.Output[str] = field(repr=False)
    """`postgresql://role:password@host:port/name`, secret."""
    ready: pulumi.Resource


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Redis; it has no password because Reflector cannot use one: the network is its fence."""

    host: str
    port: int
    ready: pulumi.Resource

    def url(self, database: int | None = None) -> str:
        """Return the redis URL, of one numbered database or of the default one."""
        return f"redis://{self.host}:{self.port}" + ("" if database is None else f"/{database}")


@dataclass(frozen=True, kw_only=True)
class ObjectStore:
    """A bucket with a key for it; nobody after this knows whether Garage or S3 made it."""

    endpoint: str
    """URL inside the stack, served by the edge as the public one; empty where the store is elsewhere."""
    public_endpoint: str
    """URL that works inside and outside, the one presigned URLs carry; empty means AWS."""
    region: pulumi.Input[str]
    bucket: pulumi.Input[str]
    access_key_id: pulumi.Input[str]
    secret_access_key: pulumi.Input[str] = field(repr=False)
    """Secret."""
    ready: Sequence[pulumi.Resource]


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """An OpenAI-compatible endpoint and the model to ask for."""

    url: str
    """Including /v1."""
    model: str
    api_key: pulumi.Input[str] = field(repr=False)
    context_tokens: int
    ready: Sequence[pulumi.Resource]


@dataclass(frozen=True, kw_only=True)
class SpeechServices:
    """The speech service, or none where the models run inside the backend."""

    url: str
    """Empty: in-process."""
    api_key: pulumi.Input[str] | None = field(repr=False)
    whisper_model: str
    """Only in-process."""
    hf_token: pulumi.Input[str] | None = field(repr=False)
    ready: Sequence[pulumi.Resource]


@dataclass(frozen=True, kw_only=True)
class WorkflowEngine:
    """Hatchet, with a token for its workers."""

    server_url: str
    host_port: str
    token: pulumi.Output[str] = field(repr=False)
    """Secret."""
    ready: pulumi.Resource
