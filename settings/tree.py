"""All settings of a stack as one typed tree, and the rules between its branches."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field, PrivateAttr

from rendering import connections
from rendering.caddyfile import LOOPBACK_PORT, bracketed
from settings import providers, references, registry, sign_in, storage
from settings.application import WORKER_PROCESS_MIB, Application
from settings.authorities import ACTIVE, STACK, ImportedGeneration
from settings.base import REMOVE, Conflict, Instant, Model, Path, dotted
from settings.certificate import Acme, Own, Private, SignedBy, is_public, not_public, stranger
from settings.data import Data
from settings.edge import Edge, Place
from settings.health import Health
from settings.hosts import MAIN, Host, Hosts
from settings.identity import Certificate, Named
from settings.images import Images, ImageSources, Upstream
from settings.language_model import LanguageModel, Ollama
from settings.pki import Pki, fitting_hours
from settings.providers import ContainerProviders
from settings.proxy import Proxy
from settings.published import Published, meet
from settings.registry import External, Imported, Issued
from settings.relays import SERVICE_PREFIX, Relay, Relays
from settings.sign_in import AUTHENTIK_SERVER_MIB, AUTHENTIK_WORKER_MIB, Authentik, Password, SignIn
from settings.speech import InProcess, Speech
from settings.storage import Garage, Storage
from settings.trust import TrustedAuthorities, trusted
from settings.values import HOST_NAME_MAX_LENGTH, host_of, port_of
from settings.walk import active, classes
from settings.workflow import Workflow

if TYPE_CHECKING:
    from pki.server import ServerCertificate
    from pki.signer import Signer
    from pki.trust import Authorities


@dataclass(frozen=True, kw_only=True)
class _Brought:
    """What settings bring of certificates, as it is at one moment."""

    now: Instant
    own: "ServerCertificate | None"
    signer: "Signer | None"
    authorities: "Authorities | None"
    problems: Sequence[tuple[str, str]]
    """What is wrong with the certificate or the signer, see `Own.read`."""
    conflicts: Sequence[Conflict]
    """What is wrong with the authorities."""


NAMELESS: Final = "reflector.localhost"
"""What stands for a domain where the edge has an address alone."""


class Settings(Model):
    """Everything a stack can be told, checked."""

    hosts: Annotated[Hosts, Field(min_length=1)] = Field(
        default={MAIN: Host()},
        description="The Docker hosts by name; for now one, called main, on which everything runs",
    )
    images: Images = Field(default=Upstream(), description="Where the images come from")
    edge: Edge = Field(default=Edge(), description="What is reachable from outside, and by which names")
    certificate: Certificate = Field(default=Private(), description="Which certificate the edge shows")
    trusted_authorities: TrustedAuthorities = Field(
        default={}, description="Authorities that are trusted besides the public ones, by names of your own"
    )
    pki: Pki = Field(default=Pki(), description="The private authorities and what they issue")
    relays: Relays = Field(
        default={}, description="Relays with TLS, and where it is wanted mutual TLS, by names of your own"
    )
    container_providers: ContainerProviders = Field(
        default={},
        description="Docker hosts, Swarm managers and Kubernetes clusters that take certificates of pki, by names of "
        "your own",
    )
    sign_in: SignIn = Field(default=Password(), description="Who may use it")
    speech: Speech = Field(default=InProcess(), description="Where speech becomes text")
    language_model: LanguageModel = Field(default=Ollama(), description="Where summaries and topics come from")
    storage: Storage = Field(default=Garage(), description="Where audio and derived files are kept")
    application: Application = Field(default=Application(), description="Reflector's own processes")
    data: Data = Field(default=Data(), description="PostgreSQL and Redis")
    workflow: Workflow = Field(default=Workflow(), description="Hatchet, the workflow engine")
    proxy: Proxy = Field(default=Proxy(), description="The way out, where the Docker host has none of its own")
    health: Health = Field(default=Health(), description="Health checks, and how long a start may take")

    _project: str = PrivateAttr("")
    _stack: str = PrivateAttr("")
    _sources: ImageSources = PrivateAttr(ImageSources(images={}, parts={}))
    _encrypted: frozenset[str] = PrivateAttr(frozenset())
    _now: Instant | None = PrivateAttr(None)
    _read: "_Brought | None" = PrivateAttr(None)

    @property
    def stack(self) -> str:
        """Name of the stack."""
        return self._stack

    @property
    def prefix(self) -> str:
        """What every name on a Docker host starts with."""
        return f"{self._project}-{self._stack}"

    @property
    def host(self) -> Host:
        """The host everything runs on."""
        return self.hosts[MAIN]

    @property
    def sources(self) -> ImageSources:
        """The images of this stack."""
        return self._sources

    @property
    def encrypted(self) -> frozenset[str]:
        """Values of ordinary settings that somebody encrypted all the same, as text."""
        return self._encrypted

    @property
    def url(self) -> str:
        """Reflector's URL as people see it, without a trailing slash."""
        return self.edge.url(self.edge.domain)

    @property
    def storage_domain(self) -> str | None:
        """Name or address of the object store at the edge; None where it is not on this host."""
        if not isinstance(self.storage, Garage):
            return None
        return self.storage.domain or (f"s3.{self.edge.domain}" if self.edge.has_name else self.edge.domain)

    @property
    def sign_in_domain(self) -> str | None:
        """Name or address people sign in at, at the edge; None where that is not on this host."""
        if not isinstance(self.sign_in, Authentik):
            return None
        return self.sign_in.domain or (f"auth.{self.edge.domain}" if self.edge.has_name else self.edge.domain)

    @property
    def storage_port(self) -> int | None:
        """HTTPS port that is the object store's own; None where its name tells it apart."""
        if not isinstance(self.storage, Garage) or self.edge.has_name:
            return None
        return self.storage.https_port or storage.DEFAULT_HTTPS_PORT

    @property
    def storage_url(self) -> str | None:
        """URL of the object store at the edge, without a trailing slash."""
        return self.edge.url(self.storage_domain, self.storage_port) if self.storage_domain else None

    @property
    def storage_place(self) -> Place | None:
        """Where the edge serves the object store; None where that is not on this host."""
        domain, url = self.storage_domain, self.storage_url
        return Place(domain=domain, url=url, own_port=self.storage_port) if domain and url else None

    @property
    def sign_in_port(self) -> int | None:
        """HTTPS port that is Authentik's own; None where its name tells it apart."""
        if not isinstance(self.sign_in, Authentik) or self.edge.has_name:
            return None
        return self.sign_in.https_port or sign_in.DEFAULT_HTTPS_PORT

    @property
    def sign_in_url(self) -> str | None:
        """URL people sign in at, at the edge, without a trailing slash."""
        return self.edge.url(self.sign_in_domain, self.sign_in_port) if self.sign_in_domain else None

    @property
    def sign_in_place(self) -> Place | None:
        """Where the edge serves what people sign in at; None where that is not on this host."""
        domain, url = self.sign_in_domain, self.sign_in_url
        return Place(domain=domain, url=url, own_port=self.sign_in_port) if domain and url else None

    @property
    def _further_domains(self) -> tuple[str, ...]:
        """Host names of what the edge serves besides the application, and not by a port of its own."""
        return tuple(
            name
            for name, port in ((self.storage_domain, self.storage_port), (self.sign_in_domain, self.sign_in_port))
            if name and port is None
        )

    @property
    def now(self) -> Instant:
        """When the settings were read, for what has dates."""
        assert self._now is not None, "these settings were read without a moment"
        return self._now

    @property
    def application_names(self) -> tuple[str, ...]:
        """DNS names of the application, the domain first; localhost only where the stack's own authority signs."""
        first = (self.edge.domain,) if self.edge.has_name else ()
        here = ("localhost",) if isinstance(self.certificate, Private) else ()
        return tuple(dict.fromkeys((*first, *here, *self.edge.names)))

    @property
    def application_hosts(self) -> tuple[str, ...]:
        """Every name and address of the application, the domain first."""
        return tuple(dict.fromkeys((self.edge.domain, *self.application_names, *self.addresses)))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses of the application; both loopbacks only where the stack's own authority signs."""
        here = ("127.0.0.1", "::1") if isinstance(self.certificate, Private) else ()
        return tuple(dict.fromkeys((*here, *self.edge.addresses)))

    @property
    def dns_names(self) -> tuple[str, ...]:
        """Every DNS name the edge serves: the domain first, those of other sites, localhost, and the extra ones."""
        first = (self.edge.domain,) if self.edge.has_name else ()
        return tuple(dict.fromkeys((*first, *self._further_domains, *self.application_names)))

    @property
    def served(self) -> tuple[str, ...]:
        """Every name and address the edge is asked by."""
        return (*self.dns_names, *self.addresses)

    @property
    def named(self) -> Issued | Imported | External | None:
        """The certificate of the registry that the edge shows; None where it has one to itself, or there is none."""
        if not isinstance(self.certificate, Named):
            return None
        return self.pki.every_certificate.get(self.certificate.name)

    def _brought(self, now: Instant) -> "_Brought":
        """Return what certificates these settings bring, as they are at `now`; read once for that moment."""
        if self._read is None or self._read.now != now:
            mode = self.certificate
            entry = self.named if isinstance(self.named, Imported) else None
            own = mode.read(self.served, now) if isinstance(mode, Own) else None
            if entry is not None:
                own = entry.read(self.served, now)
            signer = mode.read(self.served, now) if isinstance(mode, SignedBy) else None
            authorities = trusted(self.trusted_authorities, now) if self.trusted_authorities else None
            self._read = _Brought(
                now=now,
                own=None if isinstance(own, list) else own,
                signer=None if isinstance(signer, list) else signer,
                authorities=None if isinstance(authorities, list) else authorities,
                problems=next((one for one in (own, signer) if isinstance(one, list)), []),
                conflicts=authorities if isinstance(authorities, list) else [],
            )
        return self._read

    @property
    def trusted(self) -> "Authorities | None":
        """Whom `trusted_authorities` say to trust now; None where there is nobody, or it is not decrypted yet."""
        return self._brought(self.now).authorities if self.trusted_authorities else None

    @property
    def trusted_certificates(self) -> tuple[str, ...]:
        """The same, PEM of each."""
        return self.trusted.certificates if self.trusted is not None else ()

    @property
    def trusted_by_name(self) -> tuple[tuple[str, str], ...]:
        """The same, each with the name it has in `trusted_authorities`, in the same order."""
        return tuple(zip(self.trusted.sources, self.trusted_certificates, strict=True)) if self.trusted else ()

    @property
    def own(self) -> "ServerCertificate | None":
        """The certificate of the edge that is brought along; None where there is none, or it is not decrypted yet."""
        return self._brought(self.now).own

    @property
    def signer(self) -> "Signer | None":
        """The authority that is brought along; None where there is none, or it is not decrypted yet."""
        return self._brought(self.now).signer if isinstance(self.certificate, SignedBy) else None

    @cached_property
    def registered(self) -> registry.Read:
        """What the certificates of the registry bring along."""
        return registry.read(self.pki.certificates, self.now)

    @cached_property
    def container_authorities(self) -> Mapping[str, tuple[str, ...]]:
        """Whom files say to trust as container providers, PEM of each, by names of these."""
        found = {name: one.server_authorities(self.now) for name, one in self.container_providers.items()}
        return {name: one for name, one in found.items() if one and not isinstance(one, list)}

    @cached_property
    def signers(self) -> "Mapping[str, Mapping[str, Signer]]":
        """The generations that are brought along, by authority and number; none that is not decrypted yet."""
        found: dict[str, dict[str, Signer]] = {}
        for name, authority in self.pki.every_authority.items():
            for generation, one in authority.generations.items():
                if isinstance(one, ImportedGeneration):
                    made = one.read(self.now, used_as=self.pki.used_as(name), revokes=authority.revokes)
                    if made is not None and not isinstance(made, list):
                        found.setdefault(name, {})[generation] = made
        return found

    def hours_of(self, authority: str) -> tuple[int, int]:
        """Return for how many hours a leaf of an authority is issued, and in how many before its end it is renewed."""
        signer = self.signers.get(authority, {}).get(self.pki.every_authority[authority].active)
        if signer is None:
            return self.pki.certificate_validity_hours, self.pki.renewal_hours
        return fitting_hours(self.pki, signer.expiry, self.now)

    @property
    def leaf_hours(self) -> tuple[int, int]:
        """For how many hours the edge's certificate is issued, and in how many before its end it is renewed."""
        if self.signer is None:
            return self.hours_of(STACK)
        return fitting_hours(self.pki, self.signer.expiry, self.now)

    @property
    def reached_directly(self) -> tuple[str, ...]:
        """What no proxy stands before: every name that means something inside the stack, and what is excluded.

        Not the edge's further names, nor relays: nothing inside gets to them, and a new one would replace every
        container.
        """
        return (*ALL_SERVICES, self.edge.domain, *self._further_domains, *self.proxy.exclude)

    @property
    def admin_email(self) -> str | None:
        """E-mail address of the administrator; None where nobody is one, or somebody else says who."""
        if not isinstance(self.sign_in, Password | Authentik):
            return None
        # An address is no domain of e-mail, to browsers and to Authentik.
        return self.sign_in.admin_email or f"admin@{self.edge.domain if self.edge.has_name else NAMELESS}"

    @property
    def optional_databases(self) -> tuple[str, ...]:
        """Databases of what can be switched off."""
        return ("authentik",) if isinstance(self.sign_in, Authentik) else ()

    @property
    def connections(self) -> Mapping[str, int]:
        """How many connections to PostgreSQL each of its consumers may hold at the most."""
        pool, maintenance = connections.HATCHET_POOL, connections.HATCHET_MAINTENANCE_POOL
        authentik = {"authentik": connections.AUTHENTIK} if isinstance(self.sign_in, Authentik) else {}
        return {
            **authentik,
            "hatchet": connections.HATCHET_SERVERS * (pool + maintenance),
            "hatchet-worker-llm": connections.HATCHET_WORKER_SLOTS * connections.HATCHET_WORKER_POOL,
            "server": connections.SERVER_POOL,
            "worker": self.application.worker.processes * connections.WORKER_POOL,
            "spare": connections.SPARE,
        }

    @cached_property
    def services(self) -> frozenset[str]:
        """The services these settings ask for."""
        own = (service for _, model in active(self) for service in model.SERVICES)
        return frozenset((*own, *self.relay_services.values()))

    @property
    def relay_services(self) -> Mapping[str, str]:
        """The services that are relays, by the names these have in the settings."""
        return {name: f"{SERVICE_PREFIX}{name}" for name in self.relays}

    @property
    def published(self) -> tuple[Published, ...]:
        """Every port the Docker host publishes."""
        edge, where = self.edge.bind_addresses, ("edge", "bind_addresses")
        https: tuple[tuple[Path, int | None], ...] = (
            (("edge", "https_port"), self.edge.https_port),
            (("storage", "https_port"), self.storage_port),
            (("sign_in", "https_port"), self.sign_in_port),
        )
        return (
            *(
                Published(setting, port, protocol, edge, where)
                for setting, port in https
                if port is not None
                for protocol in ("tcp", "udp")
            ),
            Published(("edge", "http_port"), self.edge.http_port, "tcp", edge, where),
            *(
                Published(("relays", name, "port"), relay.port, "tcp", relay.bind_addresses,
                          ("relays", name, "bind_addresses"))
                for name, relay in sorted(self.relays.items())
            ),
        )  # fmt: skip

    @cached_property
    def networks(self) -> frozenset[str]:
        """The roles of the networks they are on."""
        return frozenset(role for _, model in active(self) for role in model.NETWORKS)

    @cached_property
    def needed_images(self) -> frozenset[str]:
        """The parts images have to play for them."""
        return frozenset(part for _, model in active(self) for part in model.IMAGES)

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is wrong between branches, each of which is right by itself."""
        for name in sorted(self.hosts.keys() - {MAIN}):
            yield Conflict(
                path=("hosts", name),
                given="another host" if MAIN in self.hosts else f"a host, and none is called {MAIN}",
                allowed=f"one host, called {MAIN}",
                remedy=REMOVE if MAIN in self.hosts else "Rename it in the stack file",
            )
        if isinstance(self.images, Upstream):
            # What is measured of the real software; what plays it in development needs a tenth.
            yield from self._memory_conflicts()
        yield from self._domain_conflicts()
        yield from self._own_port_conflicts()
        if isinstance(self.certificate, Acme):
            yield from self._acme_conflicts(self.certificate)
            yield from self._host_trust_conflicts()
        if isinstance(self.certificate, Named) and isinstance(self.named, Issued) and self.named.kind == "server":
            yield from self._named_conflicts(self.certificate.name, self.named)
        yield from self._administrator_conflicts()
        yield from self._calls_to_itself()
        for name, relay in sorted(self.relays.items()):
            yield from self._relay_conflicts(name, relay)
        yield from self._port_conflicts()
        yield from references.conflicts(self, self.pki.every_certificate, self.pki.every_authority)
        yield from providers.conflicts(self.container_providers, self.pki.every_certificate, self.pki.every_authority)

    def _named_conflicts(self, name: str, entry: Issued) -> Iterator[Conflict]:
        """Yield what is served and the certificate that is shown there is not issued for."""
        served = (*(f"DNS:{one}" for one in self.dns_names), *(f"IP:{one}" for one in self.addresses))
        if missing := [one for one in served if one not in entry.names]:
            yield Conflict(
                path=("pki", "certificates", name, "names"),
                others=(("certificate", "name"), ("edge", "domain"), ("edge", "extra_names")),
                given=f"without {', '.join(missing)}",
                allowed="every name and address that is served: the edge shows it",
                remedy=f"Add it: pulumi config set --path {{path}}[{len(entry.names)}] {missing[0]}",
            )

    def conflicts_at(self, now: Instant) -> Iterator[Conflict]:
        """Yield certificates that do not do at `now`."""
        brought = self._brought(now)
        for conflict in brought.conflicts:
            yield replace(conflict, path=("trusted_authorities", *conflict.path))
        yield from self._constraint_conflicts(now)
        if isinstance(self.certificate, Own | SignedBy):
            for conflict in self.certificate.wrong(brought.problems):
                yield replace(conflict, path=("certificate", *conflict.path))
        elif isinstance(self.certificate, Named) and not any(self.named.conflicts_at(now) if self.named else ()):
            for _, reason in brought.problems:
                yield Conflict(
                    path=("certificate", "name"),
                    others=(("pki", "certificates", self.certificate.name), ("edge", "domain")),
                    given=f"{self.certificate.name!r}: {reason}",
                    allowed=f"a certificate for every name and address that is served: {', '.join(self.served)}",
                    remedy="Set it: pulumi config set --path {path} <name>",
                )
        if brought.own is None or brought.conflicts:
            return
        lacking = [*self._host_trust_conflicts()]
        if lacking and (not brought.own.root or is_public(brought.own.root)):
            yield from lacking
        called = tuple(dict.fromkeys(one for one in (self.storage_domain, self.sign_in_domain) if one))
        if called and (unknown := stranger(brought.own.chain, brought.authorities)):
            yield Conflict(
                path=("trusted_authorities",),
                others=(("certificate",), ("storage",), ("sign_in",)),
                given=f"nothing with {unknown}, who signed for what certificate.certificate shows",
                allowed=f"every authority containers meet: they call {' and '.join(called)} as everybody does",
                remedy="Add it: pulumi config set --path trusted_authorities.own.path <file>",
            )

    def _constraint_conflicts(self, now: Instant) -> Iterator[Conflict]:
        """Yield what the stack's own authority may not sign for, and the edge is to be asked by."""
        authority = self.pki.every_authority[STACK]
        signing = next((name for name, one in authority.generations.items() if one.state == ACTIVE), None)
        if not isinstance(self.certificate, Private) or signing is None:
            return
        place: Path = ("pki", "authorities", STACK, "generations", signing)
        generation = authority.generations[signing]
        if isinstance(generation, ImportedGeneration):
            known = {*generation.wrong(now)}
            for conflict in generation.wrong(now, self.served):
                if conflict not in known:
                    yield replace(conflict, path=(*place, *conflict.path))
            return
        if not (generation.permitted_names or generation.permitted_addresses):
            return  # it may sign for anything, and who has set nothing need not wait for the library that says so
        permitted = generation.permitted(loopback=True)
        if refused := [name for name in self.served if permitted.forbidden(name)]:
            setting = "permitted_names" if any(name in self.dns_names for name in refused) else "permitted_addresses"
            yield Conflict(
                path=(*place, setting),
                others=(("edge",), ("storage",), ("sign_in",)),
                given=f"{', '.join(getattr(generation, setting)) or 'nothing'}, while the edge is asked by "
                f"{', '.join(refused)}",
                allowed="every name and address the edge is asked by, for this authority signs for it",
                remedy="Set them: pulumi config set --path {path}[0] <domain or network>",
            )

    def _host_trust_conflicts(self) -> Iterator[Conflict]:
        """Yield hosts that are to trust somebody and have nobody to, where the edge has no root that is not public."""
        for name, host in sorted(self.hosts.items()):
            if host.trust.is_on and not self.trusted_authorities:
                yield Conflict(
                    path=("trusted_authorities",),
                    others=(("hosts", name, "trust"), ("certificate",)),
                    given=f"nothing, while hosts.{name}.trust is set and the stack has no root that is not public",
                    allowed="authorities the host is to trust",
                    remedy="Set it: pulumi config set --path trusted_authorities.own.path <file>",
                )

    def _acme_conflicts(self, acme: Acme) -> Iterator[Conflict]:
        """Yield what a public authority cannot sign for, and ports it does not ask."""
        if not acme.is_public:
            return
        names = not_public(self.dns_names)
        if names:
            yield Conflict(
                path=("edge", "domain"),
                others=(("edge", "extra_names"), ("storage",), ("sign_in",), ("certificate",)),
                given=f"{', '.join(names)}, while Let's Encrypt is to sign for it",
                allowed="names that are somebody's in public DNS: no other can be shown to be yours",
                remedy="Set them: pulumi config set --path {path} <host name>; or choose: pulumi config set --path "
                "certificate.mode private",
            )
        of_names = "names: of an address it makes no certificate that lives as long as those of names"
        if not self.edge.has_name:
            yield Conflict(
                path=("edge", "domain"),
                others=(("certificate",),),
                given=f"{self.edge.domain!r}, while Let's Encrypt is to sign for it",
                allowed=of_names,
                remedy="Set one: pulumi config set --path {path} <host name>; or choose: pulumi config set --path "
                "certificate.mode private",
            )
        for index, extra in enumerate(self.edge.extra_names):
            if extra.startswith("IP:"):
                yield Conflict(
                    path=("edge", "extra_names", index),
                    others=(("certificate",),),
                    given=f"{extra!r}, while Let's Encrypt is to sign for it",
                    allowed=of_names,
                    remedy=REMOVE,
                )
        if self.edge.http_port != 80 and self.edge.url_port != 443:
            yield Conflict(
                path=("edge", "http_port"),
                others=(("edge", "https_port"), ("edge", "public_port"), ("certificate",)),
                given=f"{self.edge.http_port}, and {self.edge.url_port} for https, while Let's Encrypt is to sign",
                allowed="80, or 443 for https: it asks there whether the names are yours (RFC 8555, 8.3; RFC 8737)",
                remedy="Set one of them: pulumi config set --path {path} 80",
            )

    def _domain_conflicts(self) -> Iterator[Conflict]:
        """Yield sites under one name, and names made of the domain that are longer than any may be."""
        taken: dict[str, Path] = {self.edge.domain: ("edge", "domain")} if self.edge.has_name else {}
        for index, extra in enumerate(self.edge.extra_names):
            taken.setdefault(extra.removeprefix("DNS:"), ("edge", "extra_names", index))
        sites: tuple[tuple[Path, str | None, str, str], ...] = (
            (("storage", "domain"), self.storage_domain, "s3", "a signed URL fixes its whole path"),
            (("sign_in", "domain"), self.sign_in_domain, "auth", "Authentik has all paths to itself"),
        )
        for place, name, prefix, why in sites:
            if name is None or not self.edge.has_name:
                continue
            if name in taken:
                yield Conflict(
                    path=place,
                    others=(taken[name],),
                    given=repr(name),
                    allowed=f"a host name other than {dotted(taken[name])}: {why}",
                    remedy="Set it: pulumi config set --path {path} <host name>",
                )
            taken.setdefault(name, place)
            if len(name) > HOST_NAME_MAX_LENGTH:
                yield Conflict(
                    path=place,
                    others=(("edge", "domain"),),
                    given=f"nothing, and {prefix}.<domain> has {len(name)} characters",
                    allowed=f"a host name of its own, of {HOST_NAME_MAX_LENGTH} characters or fewer",
                    remedy="Set it: pulumi config set --path {path} <host name>",
                )

    def _own_port_conflicts(self) -> Iterator[Conflict]:
        """Yield names and ports of what the edge serves besides the application that do not go with its domain."""
        taken = {"edge.https_port": self.edge.https_port, "edge.http_port": self.edge.http_port}
        for place, model, port, default in (
            ("storage", self.storage, self.storage_port, storage.DEFAULT_HTTPS_PORT),
            ("sign_in", self.sign_in, self.sign_in_port, sign_in.DEFAULT_HTTPS_PORT),
        ):
            if not isinstance(model, Garage | Authentik):
                continue
            if self.edge.has_name:
                if model.https_port is not None:
                    yield Conflict(
                        path=(place, "https_port"),
                        others=(("edge", "domain"),),
                        given=f"{model.https_port}, while edge.domain is {self.edge.domain!r}",
                        allowed="nothing beside a name: by names it is told apart on edge.https_port",
                        remedy=REMOVE,
                    )
                continue
            assert port is not None
            if model.domain is not None:
                yield Conflict(
                    path=(place, "domain"),
                    others=(("edge", "domain"),),
                    given=f"{model.domain!r}, while edge.domain is {self.edge.domain!r}",
                    allowed=f"nothing beside an address: it is served there, by {place}.https_port",
                    remedy=REMOVE,
                )
            if ":" in self.edge.domain:
                yield Conflict(
                    path=("edge", "domain"),
                    others=((place,),),
                    given=f"{self.edge.domain!r}, while {place}.mode is {model.mode!r}",
                    allowed="an IPv4 address, or a name: containers have IPv4 alone, and get there as everybody does; "
                    "the IPv6 address may be one of edge.extra_names",
                    remedy="Set one: pulumi config set --path {path} <address>",
                )
            others = [name for name, other in taken.items() if other == port]
            if others or port == LOOPBACK_PORT:
                whose = f"which {others[0]} is too" if others else "on which Caddy listens for itself"
                yield Conflict(
                    path=(place, "https_port"),
                    others=(*((tuple(others[0].split(".")),) if others else ()), ("edge", "domain")),
                    given=f"{port}, {whose}" if model.https_port else f"nothing, and {default} is meant, {whose}",
                    allowed="a port of its own, while edge.domain is an address",
                    remedy="Set it: pulumi config set --path {path} <port>",
                )
            taken.setdefault(f"{place}.https_port", port)

    def _administrator_conflicts(self) -> Iterator[Conflict]:
        """Yield what would give the administrator's address to somebody else, or keep the administrator out."""
        if not isinstance(self.sign_in, Authentik):
            return
        email = (self.admin_email or "").lower()
        domain = self.sign_in.access.email_domain
        if domain is not None and email.rpartition("@")[2] != domain:
            yield Conflict(
                path=("sign_in", "access", "email_domain"),
                others=(("sign_in", "admin_email"), ("edge", "domain")),
                given=repr(domain),
                allowed="the domain of sign_in.admin_email, or the administrator could not enter",
                remedy="Set one of them: pulumi config set --path {path} <domain>",
            )
        if self.sign_in.admin_email is None and email in map(str.lower, self.sign_in.addresses):
            yield Conflict(
                path=("sign_in", "admin_email"),
                others=(("sign_in", "users"), ("edge", "domain")),
                given=f"nothing, and a user has {email!r}",
                allowed="an address of one person",
                remedy="Set it: pulumi config set --path {path} <address>",
            )

    def _memory_conflicts(self) -> Iterator[Conflict]:
        # Where it is not known what is run, nothing can be said of what that needs.
        others = (("application", "worker", "processes"), ("images", "mode"))
        needed, given = self.application.worker.processes * WORKER_PROCESS_MIB, self.application.worker.memory_mib
        if given < needed:
            yield Conflict(
                path=("application", "worker", "memory_mib"),
                others=others,
                given=str(given),
                allowed=f"{needed} or more, {WORKER_PROCESS_MIB} for each of application.worker.processes",
                remedy="Set it, or have fewer: pulumi config set --path {path} <number>",
            )
        yield from self._authentik_memory_conflicts(others)
        total = sum(self.connections.values())
        needed, given = connections.needed_memory_mib(total), self.data.postgres.memory_mib
        if given < needed:
            shares = ", ".join(f"{consumer} {share}" for consumer, share in self.connections.items())
            yield Conflict(
                path=("data", "postgres", "memory_mib"),
                others=others,
                given=str(given),
                allowed=f"{needed} or more, for {total} connections of {connections.MIB_EACH} MiB each ({shares})",
                remedy="Set it: pulumi config set --path {path} <number>",
            )

    def _authentik_memory_conflicts(self, others: tuple[Path, ...]) -> Iterator[Conflict]:
        if not isinstance(self.sign_in, Authentik):
            return
        for part, given, needed in (
            ("server", self.sign_in.server.memory_mib, AUTHENTIK_SERVER_MIB),
            ("worker", self.sign_in.worker.memory_mib, AUTHENTIK_WORKER_MIB),
        ):
            if given < needed:
                yield Conflict(
                    path=("sign_in", part, "memory_mib"),
                    others=others[1:],
                    given=str(given),
                    allowed=f"{needed} or more, as was measured of Authentik",
                    remedy="Set it: pulumi config set --path {path} <number>",
                )

    def _calls_to_itself(self) -> Iterator[Conflict]:
        """Yield every URL of something elsewhere by whose host name containers get to this stack's own services."""
        services = {*ALL_SERVICES, *self.relay_services.values()}
        own = {*services, *((self.edge.domain,) if self.edge.has_name else ()), *self._further_domains}
        # By an address containers get to the Docker host, where others may listen as well.
        ports = () if self.edge.has_name else {one.port for one in self.published}
        address = bracketed(self.edge.domain)
        for place, model in active(self):
            if isinstance(model, Relay):  # which may stand in front of these
                continue
            for name in type(model).model_fields:
                value = getattr(model, name)
                if not isinstance(value, str) or not value.startswith(("http://", "https://")):
                    continue
                if host_of(value) in own or (host_of(value) == address and port_of(value) in ports):
                    yield Conflict(
                        path=(*place, name),
                        others=() if host_of(value) in services else (("edge", "domain"), ("storage", "domain")),
                        given=repr(value),
                        allowed="the URL of something elsewhere: inside the stack its host is one of the stack's own "
                        "services; what runs on the Docker host is reached by its address, or by another name of it",
                        remedy="Set it: pulumi config set --path {path} <URL>",
                    )

    def brings_its_clients(self, relay: Relay) -> bool:
        """Return whether a relay's certificate came with the authorities its clients need a certificate of."""
        entry = self.pki.every_certificate.get(relay.certificate)
        return isinstance(entry, Imported) and entry.says_who_comes_in

    def _relay_conflicts(self, name: str, relay: Relay) -> Iterator[Conflict]:
        """Yield what a relay names and is not there, or is not for that."""
        place = ("relays", name)
        fronted = self.services - {*self.relay_services.values()}
        if relay.upstream_host in {*ALL_SERVICES, *self.relay_services.values()} - fronted:
            yield Conflict(
                path=(*place, "upstream"),
                given=repr(relay.upstream),
                allowed=f"the URL of something elsewhere, or of a service this stack has: {_listed(fronted)}",
                remedy="Set it: pulumi config set --path {path} <URL>",
            )
        authorities = self.pki.every_authority
        authority, brought = relay.client_authority, self.brings_its_clients(relay)
        if relay.allow and authority is None and not brought:
            yield Conflict(
                path=(*place, "client_authority"),
                others=((*place, "allow"), (*place, "certificate")),
                given="nothing, while allow names certificates",
                allowed="the authority that signs for clients",
                remedy="Set it: pulumi config set --path {path} <name>",
            )
        if authority is not None and brought:
            yield Conflict(
                path=(*place, "client_authority"),
                others=((*place, "certificate"), ("pki", "certificates", relay.certificate, "client_authority")),
                given=f"{authority!r}, while {relay.certificate} was brought with a client_authority of its own",
                allowed="one of them: who comes in is said in one place",
                remedy=REMOVE,
            )
        for index, one in enumerate(relay.allow):
            entry = self.pki.every_certificate.get(one)
            if not isinstance(entry, Issued) or entry.kind == "server":  # which is said already
                continue
            signed_by = relay.certificate if brought else authority
            if brought or authority not in {None, entry.authority}:
                yield Conflict(
                    path=(*place, "allow", index),
                    others=(("pki", "certificates"), (*place, "client_authority")),
                    given=f"{one!r}, which {entry.authority} signs",
                    allowed=f"certificates of {'what came with ' if brought else ''}{signed_by}: no other gets as far "
                    "as that",
                    remedy=REMOVE,
                )
        if authority in authorities and not authorities[authority].trusted:
            yield Conflict(
                path=(*place, "client_authority"),
                others=(("pki", "authorities"),),
                given=f"{authority!r}, which has no trusted generation",
                allowed="an authority with one: nobody could be let in",
                remedy="Set it: pulumi config set --path {path} <name>",
            )

    def _port_conflicts(self) -> Iterator[Conflict]:
        """Yield ports of relays that somebody else has, and names that would lead browsers to the wrong one of two.

        A browser asks for a name on a connection it has to another, if the port, the address and the certificate are
        right for both (RFC 9113 §9.1.1): the relay's requests would go to the edge, and show it no certificate.
        """
        known = [one for one in self.published if one.protocol == "tcp"]
        for index, one in enumerate(known):
            if one.setting[0] != "relays":
                continue
            for other in known[:index]:
                if one.port == other.port and meet(one.addresses, other.addresses):
                    yield Conflict(
                        path=one.setting,
                        others=(other.setting, one.addresses_setting, other.addresses_setting),
                        given=f"{one.port}, as {dotted(other.setting)}",
                        allowed="a port of its own, or addresses of its own",
                        remedy="Set it: pulumi config set --path {path} <port>",
                    )
        for name, relay in sorted(self.relays.items()):
            entry = self.pki.every_certificate.get(relay.certificate)
            if relay.port != self.edge.https_port or not isinstance(entry, Issued):
                continue
            for shared in sorted({one.partition(":")[2] for one in entry.names} & {*self.served}):
                yield Conflict(
                    path=("relays", name, "port"),
                    others=(("edge", "https_port"), ("edge", "domain"), ("pki", "certificates")),
                    given=f"{relay.port}, which the edge has, and its certificate shares the name {shared} with the "
                    "edge's",
                    allowed="a port of its own, or a certificate without a name of the edge: a browser would send what "
                    "is meant for one to the other",
                    remedy="Set it: pulumi config set --path {path} <port>",
                )

    def hints(self) -> Iterator[str]:
        """Yield what is not wrong in these settings, and may not do what is expected of it."""
        if self._now is not None:
            yield from self._certificate_hints()
        for name, relay in sorted(self.relays.items()):
            if relay.client_authority is not None or self.brings_its_clients(relay):
                yield (
                    f"relays.{name}: Safari on iPhone and iPad shows no certificate when it opens a WebSocket, so its "
                    "pages reach none through this relay; programs and browsers on computers do (docs/relays.md)"
                )
        if idle := references.unused(self, self.pki.certificates):
            yield (
                f"pki.certificates: nothing of the stack uses {', '.join(idle)}; what is for others is handed over by "
                "make pki ARGS='export <name> --pem <file>'"
            )
        for name in self.dns_names:
            if name.endswith(".local") and name.count(".") > 1:
                yield (
                    f"{name} has a dot before .local, and names of multicast DNS have none: give it to the clients "
                    "by other means (DNS, hosts file), or set names that have none"
                )

    def _certificate_hints(self) -> Iterator[str]:
        if self.trusted is not None:
            yield from (f"trusted_authorities: {warning}" for warning in self.trusted.warnings)
        for brought in (self.own, self.signer):
            if brought is not None:
                yield from (f"certificate: {warning}" for warning in brought.warnings)
        for name, one in {**self.registered.imported, **self.registered.external}.items():
            yield from (f"pki.certificates.{name}: {warning}" for warning in one.warnings)
        hours, wanted = self.leaf_hours[0], self.pki.certificate_validity_hours
        if self.signer is not None and hours < wanted:
            yield (
                f"certificate: the authority ends on {self.signer.expiry:%Y-%m-%d}, so what it signs lives {hours} "
                f"hours instead of {wanted}"
            )


ALL_SERVICES: Final[tuple[str, ...]] = tuple(
    dict.fromkeys(service for model in classes(Settings) for service in model.SERVICES)
)
"""Every service any stack can have."""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "there is none"


def finished(
    settings: Settings,
    *,
    project: str,
    stack: str,
    sources: ImageSources,
    encrypted: frozenset[str],
    now: Instant | None = None,
) -> Settings:
    """Return `settings` with what does not stand in a stack file."""
    private: Mapping[str, Any] = {
        "_project": project, "_stack": stack, "_sources": sources, "_encrypted": encrypted,
        "_now": now,
    }  # fmt: skip
    for name, value in private.items():
        setattr(settings, name, value)
    return settings
