"""What rooms hand to each other: small typed values, named for what they are; who made it does not show.

A field `ready` is what has to be there before the thing can be used. Consumers put it into `depends_on`; the values
alone are known earlier than the thing works.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

import pulumi
import pulumi_docker as docker

from components.base.daemon import Daemon
from rendering.caddyfile import NOTHING, Policy

if TYPE_CHECKING:
    from pki.crl import Revoked


class MemoryLimits(Enum):
    """What of memory the kernel of a host can limit."""

    MEMORY_AND_SWAP = "memory-and-swap"
    MEMORY = "memory"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class DockerHost:
    """A Docker host with its networks, ready to run containers."""

    provider: docker.Provider
    """What every resource on this host is made by."""
    prefix: str
    """What every name on the host starts with: `<project>-<stack>`."""
    deployment: pulumi.Output[str]
    """What tells it apart from another state's stack of the same name: 16 hex digits."""
    daemon: Daemon
    networks: Mapping[str, docker.Network]
    """By role, see `hosts.NETWORKS`."""
    removal: pulumi.Resource
    """What removes the networks at the end; whoever is on one depends on it, and is gone before."""
    internal_networks: frozenset[str]
    """The roles without a route out."""
    proxy: "Environment" = field(default_factory=dict, repr=False)
    """What tells a service that fetches something which way out to take; empty: the direct one."""
    hooks: pulumi.ResourceHookBinding
    """What every container made there is guarded by."""
    volume_hooks: pulumi.ResourceHookBinding
    """What every volume made there is guarded by."""
    memory_limits: MemoryLimits
    health_interval_seconds: int
    start_interval_seconds: int | None
    """Between two checks while a service starts; None: as ever."""
    startup_limit_seconds: int
    """The longest any service may take until its failed health checks count."""

    def container_name(self, service: str) -> str:
        """Return the name of the container of `service`."""
        return f"{self.prefix}-{service}"

    def subnets(self, role: str) -> pulumi.Output[list[str]]:
        """Return the address ranges of the network in a role, each as <address>/<bits>; known once it is made."""
        return self.networks[role].ipam_configs.apply(lambda configs: _subnets(role, configs))


def _subnets(role: str, configs: Sequence[docker.outputs.NetworkIpamConfig]) -> list[str]:
    subnets = sorted(config.subnet for config in configs or () if config.subnet)
    if not subnets:
        raise RuntimeError(f"the network {role} has no address range in the state; run: make up ARGS=--refresh")
    return subnets


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image on the host, and how it is made to play a part."""

    id: pulumi.Input[str]
    """`sha256:…`, a digest or an exact tag."""
    command: Sequence[str] = ()
    """Arguments that make it play the part; empty where its own command is right."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running container."""

    name: str
    """In the stack."""
    address: str
    """Host name others on its networks reach it by."""
    host: DockerHost
    container: docker.Container
    health_test: str
    """The command that finds out whether it works."""
    port: int | None
    """What it answers on first of all; None: it only calls others."""
    networks: Sequence[str] = ()
    """Roles of the networks it is on."""

    def url(self, port: int, scheme: str = "http") -> str:
        """Return the URL it is reached at inside the stack."""
        return f"{scheme}://{self.address}:{port}"

    @property
    def ready(self) -> pulumi.Resource:
        """Made once it is healthy."""
        return self.container

    @property
    def described(self) -> Mapping[str, pulumi.Input[str]]:
        """What the stack's outputs tell of it."""
        return {
            "container": self.host.container_name(self.name),
            "image": self.container.image,
            "address": f"{self.address}:{self.port}" if self.port else "",
            "health": self.health_test,
        }


@dataclass(frozen=True, kw_only=True)
class CertificateHandle:
    """A leaf with its key."""

    name: str
    """Under which it is known, and delivered."""
    common_name: str
    """Of the leaf's subject."""
    names: Sequence[str]
    """Its alternative names, each DNS:<name> or IP:<address>."""
    certificate_pem: pulumi.Output[str]
    """Leaf first, then what a client needs to reach a root it trusts."""
    private_key_pem: pulumi.Output[str] = field(repr=False)
    """Secret."""
    expires: pulumi.Output[str]
    """RFC 3339 time; of a chain that was brought that of the first to end."""
    source: str = "private"
    """Where it comes from, as `certificate.mode` has it: private, signed-by or own."""
    chain_expires: pulumi.Input[str] | None = None
    """RFC 3339 time of the earliest end of all a client goes through, the root included; None: `expires`."""
    renew_at: pulumi.Input[str] | None = None
    """RFC 3339 time from which a run issues a new one; None: no run of this program ever does."""
    kind: str = "server"
    """What it is for: server, client, or peer, which is both."""
    authority: str = ""
    """Which of `pki.authorities` signed it; empty: none of them."""
    generation: str = ""
    """Which generation of it, such as g1."""
    client_authorities: Sequence[str] = ()
    """PEM of each authority that came along with it to judge those it is shown to."""


@dataclass(frozen=True, kw_only=True)
class OrderedCertificate:
    """Certificates the edge orders itself, of an authority that speaks ACME, and renews itself."""

    name: str
    """Under which they are known."""
    names: Sequence[str]
    """What they are for, each DNS:<name> or IP:<address>."""
    directory: str
    """URL of the ACME directory."""
    email: str | None = None
    """Address the authority may write to."""
    account_key_id: str | None = None
    """Of an external account."""
    account_key: pulumi.Output[str] | None = field(default=None, repr=False)
    """Secret."""
    trusted: Sequence[pulumi.Input[str]] = ()
    """PEM of each authority the edge trusts when it asks there, besides the public ones."""
    source: str = "acme"


EdgeCertificate = CertificateHandle | OrderedCertificate
"""What the edge shows."""


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A certificate as it was just signed."""

    certificate_pem: pulumi.Output[str]
    """Leaf first, then what a client needs to reach a root it trusts."""
    expires: pulumi.Output[str]
    """RFC 3339 time."""
    renew_at: pulumi.Output[str]
    """RFC 3339 time from which a run issues a new one."""


class Issuer(Protocol):
    """Signs certificates; its key never leaves it."""

    @property
    def common_name(self) -> str:
        """Subject of the root."""

    @property
    def certificate_pem(self) -> pulumi.Output[str]:
        """The root, PEM."""

    @property
    def expires(self) -> pulumi.Output[str]:
        """RFC 3339 time of the root's end."""

    @property
    def kind(self) -> str:
        """root, or intermediate where one stands above it."""

    def sign(
        self,
        name: str,
        *,
        request_pem: pulumi.Input[str],
        uses: Sequence[str],
        validity_hours: int,
        renewal_hours: int,
        opts: pulumi.ResourceOptions,
    ) -> Signed:
        """Return what a certificate request becomes: a leaf for `uses`, renewed on a plain `up` near its end."""

    def list_revoked(
        self, name: str, *, revoked: Sequence["Revoked"], opts: pulumi.ResourceOptions
    ) -> "RevocationList":
        """Return the list of what it has signed and is not to be taken any more; it may be empty."""


@dataclass(frozen=True, kw_only=True)
class RevocationList:
    """A revocation list (CRL) of one generation of an authority."""

    name: str
    """Under which it is known."""
    pem: pulumi.Output[str]
    expires: pulumi.Output[str]
    """RFC 3339 time of its next update: whoever checks it takes nobody after that."""
    renew_at: pulumi.Output[str]
    """RFC 3339 time from which a run makes the next one."""


@dataclass(frozen=True, kw_only=True)
class TrustBundle:
    """The authorities our own processes trust besides the public ones."""

    certificates: Sequence[pulumi.Input[str]]
    """PEM of each; there may be none."""

    @property
    def pem(self) -> pulumi.Output[str]:
        """All of them, PEM."""
        return pulumi.Output.all(*self.certificates).apply(_joined)


NOBODY: Final = TrustBundle(certificates=())
"""Whom a process trusts besides the public authorities where nobody was named."""


@dataclass(frozen=True, kw_only=True)
class TrustingHost:
    """What of a Docker host itself trusts the stack's roots."""

    names: Sequence[str] = ()
    """Of the hosts; empty: none does."""
    ready: Sequence[pulumi.Resource] = ()
    """Made once they do."""
    pulls: pulumi.Output[str] | None = None
    """Known once its daemon trusts the registries it is to; None: it is told of none."""


NO_HOST_TRUST: Final = TrustingHost()
"""Where no host is made to trust anybody."""


@dataclass(frozen=True, kw_only=True)
class AuthorityHandle:
    """An authority by its name: who signs, and whom those have to trust who rely on it."""

    name: str
    """In `pki.authorities`."""
    purpose: str
    """server, client or docker-hosts: what it signs for."""
    issuer: Issuer
    """Its active generation."""
    generation: str
    """Which one that is, such as g1."""
    trusted: TrustBundle
    """The generations that are trusted, the active one among them, by age."""
    lists: Mapping[str, RevocationList]
    """The revocation list of each of these by its generation, in the same order; none where nobody looks at any
    (server)."""
    issuers: Mapping[str, Issuer]
    """Every generation that is trusted, by its name in the inventory."""
    generations: Mapping[str, str]
    """Which one each of these is, such as g1, by the same name."""
    certificates: Mapping[str, pulumi.Input[str]]
    """PEM of who signs for each generation that is trusted, and of the root clients have instead where that is
    another, such as g1."""

    @property
    def crls(self) -> pulumi.Output[str]:
        """PEM of all revocation lists, empty where there is none."""
        return pulumi.Output.concat(*(one.pem for one in self.lists.values()))


def _joined(pems: Sequence[str]) -> str:
    return "".join(f"{pem.strip()}\n" for pem in pems)


@dataclass(frozen=True, kw_only=True)
class Database:
    """One consumer's database and role; URLs are made from these fields."""

    host: str
    port: int
    name: str
    user: str
    password: pulumi.Output[str] = field(repr=False)
    """Secret; letters and digits only."""
    network: str
    """Role of the network it is on."""
    ready: pulumi.Resource

    def url(self, scheme: str = "postgresql", **query: str) -> pulumi.Output[str]:
        """Return `scheme://user:password@host:port/name?query`, secret."""
        parameters = "&".join(f"{key}={value}" for key, value in query.items())
        return pulumi.Output.format(
            "{0}://{1}:{2}@{3}:{4}/{5}{6}",
            scheme, self.user, self.password, self.host, self.port, self.name, f"?{parameters}" if parameters else "",
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Redis; it has no password because Reflector cannot use one: the network is its fence."""

    host: str
    port: int
    network: str
    """Role of the network it is on."""
    service: Service
    """What runs of it."""

    @property
    def ready(self) -> pulumi.Resource:
        """Made once it can be used."""
        return self.service.ready

    def url(self, database: int | None = None) -> str:
        """Return the redis URL, of one numbered database or of the default one."""
        return f"redis://{self.host}:{self.port}" + ("" if database is None else f"/{database}")


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where the requests for some paths go."""

    paths: Sequence[str] = ()
    """As Caddy matches them, such as `/v1/*`; empty: all that is left."""
    upstream: str
    """URL inside the stack."""
    canonical: bool = False
    """Whether it is served at the site's canonical name only, and the other names lead there."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """Something the edge serves under names of its own."""

    names: Sequence[str]
    """DNS names and addresses, the canonical name first."""
    certificate: EdgeCertificate
    """Shown to whoever asks for one of the names."""
    routes: Sequence[Route]
    """The first that matches takes a request."""
    closed: Sequence[str] = ()
    """Paths, as Caddy matches them, that the edge refuses whoever asks."""
    policy: Policy = NOTHING
    """What the edge adds to answers."""
    network: str = "application"
    """Role of the network its upstreams are on."""
    own_port: int | None = None
    """The HTTPS port it has to itself, where it shares its names; None: the edge's, where its names tell it apart."""
    ready: Sequence[pulumi.Resource] = ()
    """What has to work before it is served."""


@dataclass(frozen=True, kw_only=True)
class ObjectStore:
    """A bucket with a key for it."""

    public_endpoint: str
    """URL that works inside and outside, the one presigned URLs carry; empty means AWS."""
    region: pulumi.Input[str]
    bucket: pulumi.Input[str]
    access_key_id: pulumi.Input[str]
    secret_access_key: pulumi.Input[str] = field(repr=False)
    """Secret."""
    ready: Sequence[pulumi.Resource] = ()
    sites: Sequence[Site] = ()
    """What of it the edge has to serve."""
    services: Sequence[Service] = ()
    """What of it runs here."""


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """An OpenAI-compatible endpoint and the model to ask for."""

    url: str
    """Including /v1."""
    model: str
    api_key: pulumi.Input[str] = field(repr=False)
    context_tokens: int
    ready: Sequence[pulumi.Resource] = ()
    services: Sequence[Service] = ()


@dataclass(frozen=True, kw_only=True)
class SpeechServices:
    """The speech service, or none where the models run inside the backend."""

    url: str
    """Empty: in-process."""
    api_key: pulumi.Input[str] | None = field(default=None, repr=False)
    whisper_model: str = ""
    """Only in-process."""
    hf_token: pulumi.Input[str] | None = field(default=None, repr=False)
    ready: Sequence[pulumi.Resource] = ()
    services: Sequence[Service] = ()


@dataclass(frozen=True, kw_only=True)
class WorkflowEngine:
    """Hatchet, with a token for its workers."""

    server_url: str
    host_port: str
    token: pulumi.Output[str] = field(repr=False)
    """Secret."""
    ready: pulumi.Resource
    services: Sequence[Service] = ()


Environment = Mapping[str, pulumi.Input[str]]
"""Variables of a container."""


@dataclass(frozen=True, kw_only=True)
class IdentityProvider:
    """Who says who somebody is. Each way of signing in knows what Reflector's processes must be told of it."""

    backend: Environment = field(repr=False)
    """For every backend role."""
    server: Environment = field(repr=False)
    """For the server besides."""
    web: Environment = field(repr=False)
    """For the web frontend."""
    public_key_pem: pulumi.Output[str] | None = None
    """The RSA key backend roles verify tokens with; None where none are signed with one."""
    described: Mapping[str, pulumi.Input[object]] = field(default_factory=dict, repr=False)
    """What the stack's outputs tell of it besides the administrator's name and password."""
    admin_email: str | None = None
    """Login name of the administrator; None where there is none."""
    admin_password: pulumi.Output[str] | None = field(default=None, repr=False)
    """Secret."""
    ready: Sequence[pulumi.Resource] = ()
    sites: Sequence[Site] = ()
    services: Sequence[Service] = ()
