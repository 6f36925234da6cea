"""Container providers: Docker hosts, Swarm managers and Kubernetes clusters, and what is shown to them."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from settings.authorities import Authority
from settings.base import REMOVE, Conflict, Instant, Model, Path
from settings.material import FILE, materials, wrong
from settings.references import AnyAuthorityName, HandedOverCertificateName, OwnClientCertificateName
from settings.registry import External, Imported, Issued
from settings.values import FilePath, ProviderAddress, ProviderKind

ProviderName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]

SWARM: Final = "swarm"
KUBERNETES: Final = "kubernetes"
_AUTHORITY: Final = "server_authority"
_OF_CLUSTERS: Final = ("https", "server", "client")
_OF_DAEMONS: Final = ("tcp", "docker-hosts", "docker-hosts")


class ContainerProvider(Model):
    """Something that runs containers for whoever shows it the right certificate."""

    kind: ProviderKind = Field(
        description="docker: a Docker daemon; swarm: a manager of a Swarm; kubernetes: a cluster"
    )
    address: ProviderAddress = Field(
        description="Where it is reached: tcp://<host>:<port> of a daemon, https://<host>:<port> of a cluster. Its "
        "certificate has to be for that host"
    )
    client_certificate: OwnClientCertificateName = Field(
        description="Which of pki.certificates is shown to it; one that is issued here has an authority with the "
        "purpose docker-hosts for a daemon, and client for a cluster"
    )
    server_authority: AnyAuthorityName | None = Field(
        default=None,
        description="Which of pki.authorities has signed what it shows: one with the purpose docker-hosts for a "
        "daemon, and server for a cluster",
    )
    server_authority_file: FilePath | None = Field(
        default=None, description="The same where nobody here has: file with the authorities, PEM, DER or PKCS #7"
    )
    secrets: Annotated[tuple[HandedOverCertificateName, ...], Field(strict=False)] = Field(
        default=(),
        description="Which of pki.certificates a Swarm is given as secrets, key and certificate each, for its services",
    )

    @property
    def needs(self) -> tuple[str, str, str]:
        """Scheme of its address, and the purposes of the authorities of its server and of its clients."""
        return _OF_CLUSTERS if self.kind == KUBERNETES else _OF_DAEMONS

    def server_authorities(self, now: Instant) -> tuple[str, ...] | list[tuple[str, str]]:
        """Return whom the file says to trust at `now`, PEM of each, or what is wrong with it; empty without a file."""
        from pki.trust import Source, authorities  # a tenth of a second, for those who bring any

        if self.server_authority_file is None or self.server_authority is not None:
            return ()
        found, problems = materials(self, (_AUTHORITY,))
        data = found.get(_AUTHORITY)
        if problems or data is None:
            return problems
        read = authorities([Source(name=_AUTHORITY, data=data)], now)
        return read if isinstance(read, list) else read.certificates

    def conflicts_at(self, now: Instant) -> Iterator[Conflict]:
        """Yield why the file with authorities does not do at `now`."""
        found = self.server_authorities(now)
        yield from wrong(self, found if isinstance(found, list) else (), "authorities, in their time, and nothing else")

    def conflicts(self) -> Iterator[Conflict]:
        """Yield an address of another kind, two authorities or none, and secrets where there are none."""
        scheme = self.needs[0]
        if isinstance(self.address, str) and not self.address.startswith(f"{scheme}://"):  # it may be encrypted
            yield Conflict(
                path=("address",),
                others=(("kind",),),
                given=f"{self.address!r}, while kind is {self.kind}",
                allowed=f"{scheme}://<host>:<port>",
                remedy=f"Set it: pulumi config set --path {{path}} {scheme}://<host>:<port>",
            )
        file = _AUTHORITY + FILE
        if self.server_authority is not None and self.server_authority_file is not None:
            yield Conflict(
                path=(file,),
                others=((_AUTHORITY,),),
                given=f"set beside {_AUTHORITY}",
                allowed=f"one of {_AUTHORITY} and {file}",
                remedy=REMOVE,
            )
        if self.server_authority is None and self.server_authority_file is None:
            yield Conflict(
                path=(_AUTHORITY,),
                others=((file,),),
                given="nothing",
                allowed=f"the authority of its server, or {file}: whoever it is shown to has to know it",
                remedy="Set it: pulumi config set --path {path} <name>",
            )
        if self.secrets and self.kind != SWARM:
            yield Conflict(
                path=("secrets",),
                others=(("kind",),),
                given=f"set while kind is {self.kind}",
                allowed="only for a swarm: no other keeps secrets of that kind",
                remedy=REMOVE,
            )
        for index, name in enumerate(self.secrets):
            if name in self.secrets[:index]:
                yield Conflict(
                    path=("secrets", index),
                    others=(("secrets", self.secrets.index(name)),),
                    given=f"{name!r}, which is there already",
                    allowed="each name once",
                    remedy=REMOVE,
                )


ContainerProviders = dict[ProviderName, ContainerProvider]


def conflicts(
    providers: Mapping[str, ContainerProvider],
    certificates: Mapping[str, Issued | Imported | External],
    authorities: Mapping[str, Authority],
) -> Iterator[Conflict]:
    """Yield what providers name that is there, and is not for that; with places below the top."""
    for name, one in sorted(providers.items()):
        place: Path = ("container_providers", name)
        _, server, client = one.needs
        authority = authorities.get(one.server_authority or "")
        if authority is not None and authority.purpose != server:
            yield _unfit(
                (*place, _AUTHORITY), f"{one.server_authority!r}, whose purpose is {authority.purpose}", one, server,
                [other for other, each in authorities.items() if each.purpose == server],
            )  # fmt: skip
        elif authority is not None and not authority.trusted:
            yield Conflict(
                path=(*place, _AUTHORITY),
                others=(("pki", "authorities"),),
                given=f"{one.server_authority!r}, which has no trusted generation",
                allowed="an authority with one: nobody could be trusted",
                remedy="Set it: pulumi config set --path {path} <name>",
            )
        shown = certificates.get(one.client_certificate)
        if not isinstance(shown, Issued) or shown.kind == "server" or shown.authority not in authorities:
            continue  # which is said already, or nobody here knows
        purpose = authorities[shown.authority].purpose
        if purpose != client:
            fitting = [
                other
                for other, each in certificates.items()
                if isinstance(each, Issued)
                and each.kind != "server"
                and each.authority in authorities
                and authorities[each.authority].purpose == client
            ]
            given = f"{one.client_certificate!r}, signed by {shown.authority}, whose purpose is {purpose}"
            yield _unfit((*place, "client_certificate"), given, one, client, fitting)


def _unfit(path: Path, given: str, one: ContainerProvider, purpose: str, fitting: list[str]) -> Conflict:
    what = "one" if path[-1] == _AUTHORITY else "one of an authority"
    return Conflict(
        path=path,
        others=((*path[:-1], "kind"), ("pki", "authorities"), ("pki", "certificates")),
        given=given,
        allowed=f"for kind {one.kind} {what} with the purpose {purpose}: {', '.join(fitting) or 'there is none'}",
        remedy="Set it: pulumi config set --path {path} <name>",
    )
