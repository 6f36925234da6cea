"""Settings that name a certificate or an authority: the way their users are known, and what they name is there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args

from pydantic.fields import FieldInfo

from settings.authorities import Authority
from settings.base import Conflict, Model, Path, dotted
from settings.registry import External, Imported, Issued
from settings.values import EntryName
from settings.walk import active

CERTIFICATES: Final = "certificates"
AUTHORITIES: Final = "authorities"


@dataclass(frozen=True, kw_only=True)
class Names:
    """Marks a setting that names an entry of pki: whoever has such a setting uses what it names."""

    table: str
    """CERTIFICATES or AUTHORITIES."""
    kinds: Sequence[str]
    """Kinds of certificates, or purposes of authorities, that fit."""
    with_key: bool = False
    """Whether the key of a certificate has to be here."""
    purposes: Sequence[str] = ()
    """Purposes of the authorities that may have issued a certificate; empty: any."""


_NOT_DOCKERS: Final = ("server", "client")
"""What a docker-hosts authority has signed is for Docker daemons and those who command them, and nothing else."""

ServerCertificateName = Annotated[
    EntryName, Names(table=CERTIFICATES, kinds=("server", "peer"), with_key=True, purposes=_NOT_DOCKERS)
]
"""Names what a server shows."""
OwnServerCertificateName = Annotated[EntryName, Names(table=CERTIFICATES, kinds=("server",), with_key=True)]
"""Names what a server shows whose clients are everybody: whom they trust for it signs for servers alone."""
ClientCertificateName = Annotated[EntryName, Names(table=CERTIFICATES, kinds=("client", "peer"))]
"""Names a client."""
AnyCertificateName = Annotated[EntryName, Names(table=CERTIFICATES, kinds=("server", "client", "peer"))]
"""Names a certificate, of which only that it exists counts."""
ClientAuthorityName = Annotated[EntryName, Names(table=AUTHORITIES, kinds=("client",))]
"""Names an authority whose certificates let clients in."""
OwnClientCertificateName = Annotated[EntryName, Names(table=CERTIFICATES, kinds=("client", "peer"), with_key=True)]
"""Names what is shown as a client."""
HandedOverCertificateName = Annotated[
    EntryName,
    Names(table=CERTIFICATES, kinds=("server", "client", "peer"), with_key=True, purposes=_NOT_DOCKERS),
]
"""Names a certificate that goes elsewhere with its key."""
AnyAuthorityName = Annotated[EntryName, Names(table=AUTHORITIES, kinds=("server", "client", "docker-hosts"))]
"""Names an authority, of which the one who names it says what it has to be for."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """A setting that names an entry."""

    path: Path
    """Of the setting."""
    user: Path
    """Of the group it is in."""
    names: Names
    name: str
    """What it names."""


def uses(settings: Model) -> Iterator[Use]:
    """Yield every setting in use that names a certificate or an authority."""
    for place, model in active(settings):
        for name, field in type(model).model_fields.items():
            found = marks(field)
            value = getattr(model, name)
            if not found or value is None:
                continue
            items: Mapping[Path, Any] = {(name,): value}
            if isinstance(value, tuple):
                items = {(name, index): one for index, one in enumerate(value)}
            for steps, one in items.items():
                if isinstance(one, str):  # what is still encrypted names nothing
                    yield Use(path=(*place, *steps), user=place, names=found[0], name=one)


def marks(field: FieldInfo) -> list[Names]:
    """Return how a setting is marked; empty if it names nothing."""
    return [*_marks(field.annotation), *(one for one in field.metadata if isinstance(one, Names))]


def _marks(annotation: Any) -> list[Names]:
    """Return the marks within a type, such as that of a list's items."""
    found = [one for one in getattr(annotation, "__metadata__", ()) if isinstance(one, Names)]
    return found + [mark for inner in get_args(annotation) if inner is not annotation for mark in _marks(inner)]


def conflicts(
    settings: Model,
    certificates: Mapping[str, Issued | Imported | External],
    authorities: Mapping[str, Authority],
) -> Iterator[Conflict]:
    """Yield what is named and is not there, with all who name it, and what is there and does not fit."""
    every = list(uses(settings))
    known: Mapping[str, Mapping[str, object]] = {CERTIFICATES: certificates, AUTHORITIES: authorities}
    for table, entries in known.items():
        missing = dict.fromkeys(one.name for one in every if one.names.table == table and one.name not in entries)
        for name in missing:
            users = [one for one in every if one.names.table == table and one.name == name]
            yield Conflict(
                path=("pki", table, name),
                others=tuple(one.path for one in users),
                given=f"missing, used by {', '.join(dict.fromkeys(dotted(one.user) for one in users))}",
                allowed=f"one of {', '.join(entries)}" if entries else "an entry, and there is none",
                remedy=f"Bring it back, or name another there: pulumi config set --path {dotted(users[0].path)} <name>",
            )
    for one in every:
        if one.names.table == CERTIFICATES and one.name in certificates:
            yield from _unfit(one, certificates[one.name].kind, "kind", certificates, authorities)
            if one.names.with_key and isinstance(certificates[one.name], External):
                yield Conflict(
                    path=one.path,
                    others=(("pki", CERTIFICATES, one.name),),
                    given=f"{one.name!r}, which is external: its key is elsewhere",
                    allowed="a certificate that is issued or imported",
                    remedy="Set it: pulumi config set --path {path} <name>",
                )
            yield from _wrongly_signed(one, certificates[one.name], authorities)
        elif one.names.table == AUTHORITIES and one.name in authorities:
            yield from _unfit(one, authorities[one.name].purpose, "purpose", certificates, authorities)


def _unfit(
    one: Use,
    kind: str,
    called: str,
    certificates: Mapping[str, Issued | Imported | External],
    authorities: Mapping[str, Authority],
) -> Iterator[Conflict]:
    if kind in one.names.kinds:
        return
    fitting = [name for name, other in certificates.items() if other.kind in one.names.kinds]
    if one.names.table == AUTHORITIES:
        fitting = [name for name, other in authorities.items() if other.purpose in one.names.kinds]
    yield Conflict(
        path=one.path,
        others=(("pki", one.names.table, one.name),),
        given=f"{one.name!r}, whose {called} is {kind}",
        allowed=f"one whose {called} is {' or '.join(one.names.kinds)}"
        + (f": {', '.join(fitting)}" if fitting else ", and there is none"),
        remedy="Set it: pulumi config set --path {path} <name>",
    )


def _wrongly_signed(
    one: Use, certificate: Issued | Imported | External, authorities: Mapping[str, Authority]
) -> Iterator[Conflict]:
    """Yield that who signed a certificate signs for something else."""
    if not isinstance(certificate, Issued) or certificate.kind not in one.names.kinds:
        return
    signer = authorities.get(certificate.authority)
    if signer is not None and one.names.purposes and signer.purpose not in one.names.purposes:
        yield Conflict(
            path=one.path,
            others=(("pki", CERTIFICATES, one.name), ("pki", AUTHORITIES)),
            given=f"{one.name!r}, signed by {certificate.authority}, whose purpose is {signer.purpose}",
            allowed=f"one of an authority whose purpose is {' or '.join(one.names.purposes)}",
            remedy="Set it: pulumi config set --path {path} <name>",
        )


def unused(settings: Model, certificates: Mapping[str, Issued | Imported | External]) -> list[str]:
    """Return the certificates no setting names, but for those that are only looked at."""
    named = {one.name for one in uses(settings) if one.names.table == CERTIFICATES}
    return [name for name, one in certificates.items() if name not in named and not isinstance(one, External)]
