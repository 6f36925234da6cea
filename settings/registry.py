"""The registry: certificates by name, for whatever of the stack or beside it shows one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from pydantic import Field, StringConstraints

from settings.authorities import STACK, Authority
from settings.base import REMOVE, Conflict, Instant, Model, Path, dotted
from settings.certificate import ISSUE, BroughtCertificate
from settings.material import choices, materials, wrong
from settings.values import (
    Brought,
    CertificateKind,
    Endpoint,
    EntryName,
    FilePath,
    HostName,
    IpAddress,
    Issue,
    KeyKind,
    RegisteredName,
    RekeyDays,
    RenewalHours,
    ValidityHours,
)

if TYPE_CHECKING:
    from pki.server import ServerCertificate

CertificateName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]

_KIND: Final = "What it is for: server, client, or peer, which is both"
SIGNED_FOR: Final[Mapping[str, tuple[str, ...]]] = {
    "server": ("server",),
    "client": ("client", "peer"),
    "docker-hosts": ("server", "client"),
}
"""What kinds of certificates an authority of each purpose signs.

A peer is let in as a client, so the authority of its clients signs for it: were it the one that everybody trusts for
servers, that would have to be trusted for clients as well.
"""


class Issued(Model):
    """Issued by an authority of the stack."""

    mode: Literal["issued"] = "issued"
    authority: EntryName = Field(default=STACK, description="Which of pki.authorities signs it")
    kind: CertificateKind = Field(default="server", description=_KIND)
    names: Annotated[tuple[RegisteredName, ...], Field(strict=False)] = Field(
        default=(),
        description="Names and addresses it is for, each DNS:<name>, IP:<address> or URI:<uri>; of a client there may "
        "be none",
    )
    key_type: KeyKind = Field(
        default="P256",
        description="Kind of its key; no browser takes Ed25519, so servers cannot have it",
    )
    validity_hours: ValidityHours | None = Field(
        default=None, description="Its life in hours; by default pki.certificate_validity_hours"
    )
    renewal_hours: RenewalHours | None = Field(
        default=None,
        description="Time in hours before its end in which any `up` issues a new one; by default pki.renewal_hours",
    )
    rekey_days: RekeyDays | None = Field(
        default=None,
        description="Age in days from which a renewal makes a new key as well; by default pki.rekey_days",
    )
    issue: Issue = Field(default=1, description=ISSUE)

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a server nobody can ask for, a name that is there twice, and a key servers cannot have."""
        if self.kind != "client" and not any(name.startswith(("DNS:", "IP:")) for name in self.names):
            yield Conflict(
                path=("names",),
                others=(("kind",),),
                given="no host name and no address",
                allowed=f"one or more of them for a {self.kind}: clients look for the name they asked for",
                remedy="Set it: pulumi config set --path {path}[0] DNS:<host name>",
            )
        yield from _twins(self.names)
        if self.key_type == "Ed25519" and self.kind == "server":
            yield Conflict(
                path=("key_type",),
                others=(("kind",),),
                given="Ed25519 for a server",
                allowed="P256, P384, RSA-2048 or RSA-3072 for a server: no browser takes Ed25519",
                remedy="Set it: pulumi config set --path {path} P256",
            )


class Imported(BroughtCertificate):
    """Brought along, with its key."""

    mode: Literal["imported"] = "imported"
    kind: CertificateKind = Field(default="server", description=_KIND)
    names: Annotated[tuple[RegisteredName, ...], Field(strict=False)] = Field(
        default=(), description="Names and addresses it has to be for, each DNS:<name>, IP:<address> or URI:<uri>"
    )
    client_authority_file: FilePath | None = Field(
        default=None,
        description="File with the authorities clients need a certificate of, where it is shown: PEM, DER or PKCS #7",
    )
    client_authority: Brought | None = Field(default=None, description="The same, encrypted in the stack file")

    @property
    def used_as(self) -> str:
        """What it has to be for."""
        return self.kind

    @property
    def says_who_comes_in(self) -> bool:
        """Whether clients need a certificate of authorities that came with it."""
        return self.client_authority_file is not None or self.client_authority is not None

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is set twice, or not at all."""
        yield from super().conflicts()
        yield from choices(self, "client_authority")
        yield from _twins(self.names)

    def conflicts_at(self, now: Instant) -> Iterator[Conflict]:
        """Yield why it does not do at `now`, or its clients' authorities do not."""
        brought = self.read(covered(self.names), now)
        yield from self.wrong(brought if isinstance(brought, list) else ())
        found = self.client_authorities(now)
        yield from wrong(self, found if isinstance(found, list) else (), "authorities, in their time, and nothing else")

    def client_authorities(self, now: Instant) -> tuple[str, ...] | list[tuple[str, str]]:
        """Return whom its clients need a certificate of, PEM of each, or what is wrong with them."""
        from pki.trust import Source, authorities

        name = "client_authority"
        found, problems = materials(self, (name,))
        data = found.get(name)
        if problems or data is None:
            return problems or ()
        read = authorities([Source(name=name, data=data)], now)
        return read if isinstance(read, list) else read.certificates


class External(Model):
    """Somebody else's, who keeps its key: looked at, and never delivered."""

    mode: Literal["external"] = "external"
    kind: CertificateKind = Field(default="server", description=_KIND)
    names: Annotated[tuple[RegisteredName, ...], Field(strict=False)] = Field(
        default=(), description="Names and addresses it has to be for, each DNS:<name>, IP:<address> or URI:<uri>"
    )
    certificate_file: FilePath | None = Field(
        default=None, description="File with the certificate and its chain: PEM, DER or PKCS #7"
    )
    endpoint: Endpoint | None = Field(
        default=None,
        description="Where it is shown, <host>:<port>: `make pki` asks there, and `make` before a root "
        "is retired; the program does not",
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield both places, or none, and what nobody shows to whoever asks."""
        if (self.certificate_file is None) == (self.endpoint is None):
            both = self.endpoint is not None
            yield Conflict(
                path=("endpoint",) if both else ("certificate_file",),
                others=(("certificate_file",) if both else ("endpoint",),),
                given="set beside certificate_file" if both else "nothing",
                allowed="one of certificate_file and endpoint",
                remedy=REMOVE if both else "Set it: pulumi config set --path {path} <file>",
            )
        if self.endpoint is not None and self.kind == "client":
            yield Conflict(
                path=("endpoint",),
                others=(("kind",),),
                given="set for a client",
                allowed="only for what listens: a client shows its certificate to nobody who asks",
                remedy=REMOVE,
            )
        yield from _twins(self.names)

    def read(self, now: Instant) -> "ServerCertificate | list[tuple[str, str]] | None":
        """Return what is in the file, or what is wrong with it; None where there is none."""
        from pki.server import server_certificate

        found, problems = materials(self, ("certificate",))
        if problems:
            return problems
        data = found["certificate"]
        if data is None:
            return None
        return server_certificate(data, None, served=covered(self.names), now=now, used_as=self.kind, keyless=True)

    def conflicts_at(self, now: Instant) -> Iterator[Conflict]:
        """Yield why it does not do at `now`."""
        found = self.read(now)
        yield from wrong(
            self, found if isinstance(found, list) else (), f"a certificate for a {self.kind}, in its time"
        )


RegisteredCertificate: TypeAlias = Annotated[Issued | Imported | External, Field(discriminator="mode")]
Certificates = dict[CertificateName, RegisteredCertificate]


class FleetService(Model):
    """A service that has a certificate as a server, and one as a client."""

    aliases: Annotated[tuple[HostName, ...], Field(strict=False)] = Field(
        default=(), description="Further host names others reach it by"
    )
    addresses: Annotated[tuple[IpAddress, ...], Field(strict=False)] = Field(
        default=(), description="Addresses of the hosts it runs on"
    )
    issue: Issue = Field(default=1, description=f"{ISSUE}; it is the number of both")


class Fleet(Model):
    """Services that get a certificate each as a server and as a client, in a line for each."""

    services: dict[EntryName, FleetService] = Field(
        default={}, description="Services by name, from which <service>-server and <service>-client come"
    )
    domain: HostName = Field(default="internal", description="What stands behind a service's name in its host name")
    authority: EntryName = Field(default=STACK, description="Which of pki.authorities signs for the servers")
    client_authority: EntryName | None = Field(
        default=None, description="Which of pki.authorities signs for the clients; without one there are none"
    )

    @property
    def certificates(self) -> dict[str, Issued]:
        """What the services have, by names of the registry."""
        found: dict[str, Issued] = {}
        for service, one in self.services.items():
            name = f"DNS:{service}.{self.domain}"
            hosts = (name, *(f"DNS:{alias}" for alias in one.aliases), *(f"IP:{address}" for address in one.addresses))
            found[f"{service}-server"] = Issued(
                authority=self.authority, names=tuple(dict.fromkeys(hosts)), issue=one.issue
            )
            if self.client_authority is not None:
                found[f"{service}-client"] = Issued(
                    authority=self.client_authority, kind="client", names=(name,), issue=one.issue
                )
        return found


@dataclass(frozen=True, kw_only=True)
class Read:
    """What was read of the registry's files and secrets, by names of certificates."""

    imported: "Mapping[str, ServerCertificate]"
    """Without what is not decrypted yet."""
    external: "Mapping[str, ServerCertificate]"
    """As far as there is a file."""
    client_authorities: Mapping[str, tuple[str, ...]]
    """PEM of each that came along with one that is imported."""

    @property
    def chains(self) -> Mapping[str, str]:
        """What nobody here issues anew: PEM of each with those over it but for the root, by its setting."""
        return {entry_setting(name): one.chain for name, one in {**self.imported, **self.external}.items()}


def read(certificates: Mapping[str, Issued | Imported | External], now: Instant) -> Read:
    """Return what files and secrets have at `now`, without what is wrong with them: that is said elsewhere."""
    imported = {name: one for name, one in certificates.items() if isinstance(one, Imported)}
    external = {name: one for name, one in certificates.items() if isinstance(one, External)}
    authorities = {name: one.client_authorities(now) for name, one in imported.items()}
    return Read(
        imported=_usable({name: one.read(covered(one.names), now) for name, one in imported.items()}),
        external=_usable({name: one.read(now) for name, one in external.items()}),
        client_authorities={name: one for name, one in authorities.items() if one and not isinstance(one, list)},
    )


def _usable(found: "Mapping[str, ServerCertificate | list[tuple[str, str]] | None]") -> "dict[str, ServerCertificate]":
    return {name: one for name, one in found.items() if one is not None and not isinstance(one, list)}


def resource_name(name: str) -> str:
    """Return under which name a certificate of the registry is known to the engine and in the inventory."""
    return f"certificate-{name}"


def entry_setting(name: str) -> str:
    """Return which setting a certificate of the registry is."""
    return dotted(("pki", "certificates", name))


def covered(names: Sequence[str]) -> tuple[str, ...]:
    """Return names as clients ask for them: without what marks their kind."""
    return tuple(name.partition(":")[2] for name in names)


def _twins(names: Sequence[str]) -> Iterator[Conflict]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Conflict(
                path=("names", index),
                others=(("names", names.index(name)),),
                given=f"{name}, which is there already",
                allowed="each name once",
                remedy=REMOVE,
            )


# --- Between certificates and authorities -----------------------------------------------------------------------------


def registry_conflicts(
    certificates: Mapping[str, Issued | Imported | External],
    fleet: Fleet,
    authorities: Mapping[str, Authority],
    hours: tuple[int, int],
) -> Iterator[Conflict]:
    """Yield what is wrong between certificates and who is to sign them, with places below `pki`.

    `hours` are life and renewal where an entry says nothing.
    """
    for name, one in certificates.items():
        if isinstance(one, Issued):
            place: Path = ("certificates", name)
            yield from _signer_conflicts((*place, "authority"), (*place, "kind"), one.authority, one.kind, authorities)
            yield from _life_conflicts(place, one, authorities.get(one.authority), hours)
    every = {**certificates, **fleet.certificates}
    for name, one in every.items():
        if isinstance(one, Issued) and one.issue > 1 and f"{name}-{one.issue}" in every:
            place = ("certificates", name, "issue")
            if name not in certificates:
                place = ("fleet", "services", name.rpartition("-")[0], "issue")
            yield Conflict(
                path=place,
                others=(("certificates", f"{name}-{one.issue}"), ("fleet", "services")),
                given=f"{one.issue}, while another certificate is called {name}-{one.issue}",
                allowed="a number that makes no other's name: the engine knows each by name and number",
                remedy=f"Set it: pulumi config set --path {{path}} {one.issue + 1}",
            )
    if not fleet.services:
        return
    yield from _signer_conflicts(("fleet", "authority"), None, fleet.authority, "server", authorities)
    if fleet.client_authority is not None:
        place = ("fleet", "client_authority")
        yield from _signer_conflicts(place, None, fleet.client_authority, "client", authorities)
    for name in sorted(fleet.certificates.keys() & certificates.keys()):
        yield Conflict(
            path=("certificates", name),
            others=(("fleet", "services"),),
            given="a name that pki.fleet.services gives as well",
            allowed="each name once",
            remedy="Rename it in the stack file, or its service",
        )


def _signer_conflicts(
    place: Path, kind_place: Path | None, name: str, kind: str, authorities: Mapping[str, Authority]
) -> Iterator[Conflict]:
    fitting = [other for other, one in authorities.items() if kind in SIGNED_FOR[one.purpose]]
    others: tuple[Path, ...] = (("authorities",),) if kind_place is None else (("authorities",), kind_place)
    if name in fitting:
        return
    if name in authorities:
        purpose = authorities[name].purpose
        given = f"{name!r}, whose purpose is {purpose}, for a {kind}"
    else:
        given = f"{name!r}, and there is none"
    if fitting:
        allowed = f"an authority that signs for a {kind}: {', '.join(fitting)}"
        remedy = f"Set it: pulumi config set --path {{path}} {fitting[0]}"
    else:
        purpose = next(purpose for purpose, kinds in SIGNED_FOR.items() if kind in kinds)
        allowed = f"an authority that signs for a {kind}, and there is none"
        remedy = f"Add one: pulumi config set --path pki.authorities.<name>.purpose {purpose}"
    yield Conflict(path=place, others=others, given=given, allowed=allowed, remedy=remedy)


def _life_conflicts(
    place: Path, one: Issued, authority: Authority | None, hours: tuple[int, int]
) -> Iterator[Conflict]:
    validity, renewal = one.validity_hours or hours[0], one.renewal_hours or hours[1]
    if renewal >= validity:
        yield Conflict(
            path=(*place, "renewal_hours"),
            others=((*place, "validity_hours"), ("renewal_hours",), ("certificate_validity_hours",)),
            given=f"{renewal}, of a life of {validity} hours",
            allowed="less than its life: it would be issued anew at every run",
            remedy="Set it: pulumi config set --path {path} <hours>",
        )
    life = authority.life_hours if authority is not None else None
    if life is not None and validity >= life:
        yield Conflict(
            path=(*place, "validity_hours"),
            others=((*place, "authority"), ("authorities",), ("certificate_validity_hours",)),
            given=f"a life of {validity} hours under an authority of {life}",
            allowed="less than the life of the authority that signs it",
            remedy="Set it: pulumi config set --path {path} <hours>",
        )
