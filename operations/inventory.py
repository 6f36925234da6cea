"""The certificates of a stack, as its output `pki_inventory` lists them, and what each end means now."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

from operations.healing import Resource, of_type
from operations.resource_types import SELF_SIGNED_TYPE, STACK_TYPE
from operations.stack import Stack
from settings import Settings

WARNING: Final = timedelta(days=30)
CRITICAL: Final = timedelta(days=7)
_CRITICAL_SHARE: Final = 4
"""Of a renewal window shorter than usual, the last quarter is critical."""

LIST: Final = "crl"
"""The kind of a revocation list: its end is its next update."""
LIST_WARNING: Final = timedelta(days=3)
LIST_CRITICAL: Final = timedelta(days=1)
"""A list lives for two weeks and is made anew in the second: the days of certificates would always warn."""
NOT_KNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What the engine writes for a value it does not know (UnknownStringValue of its sdk's resource/plugin)."""
TOKEN: Final = "token"
"""The kind of what is no certificate and ends all the same."""
_LEASE_NAME: Final = "-token-lease"


class Level(IntEnum):
    """How things are, in the exit codes of monitoring plugins (Nagios, Icinga and their kin)."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """An entry of the inventory."""

    name: str
    kind: str
    """root, intermediate, server, client or peer; `token` and `crl` for what is no certificate and ends like one."""
    source: str
    """private, own, acme, signed-by of what the edge shows, else issued, imported or external: who issues it."""
    names: Sequence[str] = ()
    """Alternative names, each DNS:<name>, IP:<address> or URI:<uri>."""
    expires: datetime | None = None
    """Its own end; None where only the edge knows it (ACME)."""
    chain_expires: datetime | None = None
    """The earliest end of it and all above it: from then on clients refuse it."""
    renew_at: datetime | None = None
    """From when on a renewal issues a new one; None: none of ours ever does."""
    registered: str = ""
    """What it is called in the registry; empty: it is none of that."""
    subject: str = ""
    authority: str = ""
    """Which of pki.authorities signed it, or it is a root of; empty: none of them."""
    purpose: str = ""
    """What an authority is for: server, client or docker-hosts; empty: it is none of pki.authorities."""
    generation: str = ""
    key: str = ""
    """Kind of its key, such as P-256."""
    serial: str = ""
    """Hexadecimal."""
    sha256: str = ""
    """Fingerprint, hexadecimal with colons."""
    starts: datetime | None = None
    users: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Who uses it, by kind: edge, relays, services, hosts, container_providers."""
    endpoint: str = ""
    """Where somebody else shows it."""
    is_revoked: bool = False
    """Whether a list of its authority has it."""
    number: int | None = None
    """Of a revocation list: greater than that of each before it."""
    revoked: Sequence[str] = ()
    """Serial numbers in a revocation list, hexadecimal."""

    @property
    def is_authority(self) -> bool:
        """Whether it signs others."""
        return self.kind in {"root", "intermediate"}

    @property
    def is_list(self) -> bool:
        """Whether it is no certificate, but the list of those that are revoked."""
        return self.kind == LIST

    @property
    def told(self) -> str:
        """What it is for, in words: its names, or what a list holds; empty where it is for nothing."""
        if self.is_list:
            return f"number {self.number}, {len(self.revoked)} revoked"
        return ", ".join(name.partition(":")[2] for name in self.names)

    @property
    def called(self) -> str:
        """What people call it."""
        return self.registered or self.name

    @property
    def is_ours(self) -> bool:
        """Whether a renewal of ours can issue a new one."""
        return self.renew_at is not None

    @property
    def server_name(self) -> str | None:
        """The name to ask the edge for it by, see `server_name`."""
        return server_name(self.names)

    def days_left(self, now: datetime) -> float | None:
        """Return the days until clients refuse it, negative after that."""
        return None if self.chain_expires is None else (self.chain_expires - now) / timedelta(days=1)

    def is_due(self, now: datetime) -> bool:
        """Return whether it is inside its window."""
        return self.renew_at is not None and now >= self.renew_at

    def level(self, now: datetime) -> Level:
        """Return how near its end is: 30 days are a warning, 7 are critical; what is revoked is at its end.

        One that is renewed later than that by itself, as its whole life is short, is measured by its own window.
        """
        if self.is_revoked:
            return Level.CRITICAL
        if self.chain_expires is None:
            return Level.OK
        warning, critical = WARNING, CRITICAL
        if self.is_list:
            warning, critical = LIST_WARNING, LIST_CRITICAL
        elif self.renew_at is not None and self.expires is not None and self.renew_at < self.expires:
            window = self.expires - self.renew_at
            warning, critical = min(WARNING, window), min(CRITICAL, window / _CRITICAL_SHARE)
        left = self.chain_expires - now
        return Level.CRITICAL if left <= critical else Level.WARNING if left <= warning else Level.OK


def server_name(names: Sequence[str]) -> str | None:
    """Return what a client asks for something with these names by; None: an address, which it names nothing by."""
    hosts = [name.removeprefix("DNS:") for name in names if name.startswith("DNS:")]
    return next((name for name in hosts if "*" not in name), None)


def resources_of(stack: Stack) -> Sequence[Resource]:
    """Return the resources in the state, wherever that is; none of a stack that was never deployed."""
    known = stack.resources()
    return stack.exported_resources() if known is None else known


def read(stack: Stack, settings: Settings, resources: Sequence[Resource]) -> list[Certificate]:
    """Return the certificates of a deployed stack, and the tokens that end like them; none of one that is not deployed.

    Raises: subprocess.CalledProcessError if the engine cannot tell; it has said why.
    """
    if not resources:
        return []
    outputs = json.loads(stack.ask("stack", "output", "--json", "--show-secrets"))
    entries = outputs.get("pki_inventory") or ()
    listed = certificates(entries if entries != NOT_KNOWN else (), renewal_hours=settings.pki.renewal_hours)
    return [*listed, *tokens(resources)] if listed else []


def tokens(resources: Sequence[Resource]) -> list[Certificate]:
    """Return the tokens that end with a lease (docs/decisions/0006), which secures nothing: no output has it."""
    leases = (one for one in of_type(resources, SELF_SIGNED_TYPE) if one["urn"].endswith(_LEASE_NAME))
    return [
        Certificate(
            name=lease["urn"].rpartition("::")[2].removesuffix("-lease"),
            kind=TOKEN,
            source="hatchet",
            expires=(end := _moment(lease["outputs"]["validityEndTime"])),
            chain_expires=end,
        )
        for lease in leases
    ]


def certificates(entries: Sequence[Mapping[str, Any]], *, renewal_hours: int) -> list[Certificate]:
    """Return the entries of the output; `renewal_hours` is for those of an earlier release, without a window.

    Those of what is not made yet are left out: where a run that was kept to some resources (operations/bulk.py) was the
    last one, the engine's word for what nobody knows stands in them.
    """
    found = []
    for entry in entries:
        if NOT_KNOWN in entry.values():
            continue
        details = entry.get("details") or {}
        expires, renew_at = _moment(entry.get("expires")), _moment(entry.get("renew_at"))
        source = str(entry.get("source", "private"))
        number = details.get("number")
        if "source" not in entry and entry["kind"] == "server" and expires is not None:
            renew_at = expires - timedelta(hours=renewal_hours)
        found.append(
            Certificate(
                name=entry["name"],
                kind=entry["kind"],
                source=source,
                names=tuple(entry.get("names") or ()),
                expires=expires,
                chain_expires=_moment(entry.get("chain_expires")) or expires,
                renew_at=renew_at,
                registered=str(entry.get("certificate", "")),
                subject=str(entry.get("subject", "")),
                authority=str(entry.get("authority", "")),
                purpose=str(entry.get("purpose", "")),
                generation=str(entry.get("generation", "")),
                key=str(details.get("key", "")),
                serial=str(details.get("serial", "")),
                sha256=str(details.get("sha256", "")),
                starts=_moment(details.get("not_before") or details.get("this_update")),
                users=_users(entry),
                endpoint=str(entry.get("endpoint", "")),
                number=None if number is None else int(number),
                revoked=tuple(details.get("revoked") or ()),
            )
        )
    revoked = {(one.authority, serial) for one in found for serial in one.revoked}
    return [replace(one, is_revoked=(one.authority, one.serial) in revoked) for one in found]


def _users(entry: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    users = entry.get("users")
    if users is None and entry["kind"] == "server" and "certificate" not in entry:
        # Earlier releases had certificates of the edge alone.
        return {"edge": ("edge",)}
    return {kind: tuple(names) for kind, names in (users or {}).items()}


def ends_first(certificate: Certificate, all_of_them: Sequence[Certificate]) -> str:
    """Return the name of what above `certificate` ends before it, empty if it is itself what ends first."""
    end = certificate.chain_expires
    if end is None or certificate.expires is None or end >= certificate.expires:
        return ""
    above = (one.name for one in all_of_them if one is not certificate and one.expires == end)
    return next(above, "an authority above it")


def state(certificate: Certificate, all_of_them: Sequence[Certificate], now: datetime) -> str:
    """Return how a certificate is, in words: its level, and what it is about to come to."""
    words = [certificate.level(now).name.lower(), *(["revoked"] if certificate.is_revoked else [])]
    left = certificate.days_left(now)
    if left is not None and left <= 0:
        words.append("out of date" if certificate.is_list else "expired")
    elif certificate.is_due(now):
        words.append("due for renewal")
    above = ends_first(certificate, all_of_them)
    if above:
        words.append(f"ends with {above}")
    return ", ".join(words)


def described(certificate: Certificate) -> dict[str, Any]:
    """Return what identifies a certificate and who uses it, for JSON; None for what nobody knows.

    Of a revocation list `not_before` is when it was made.
    """
    starts = certificate.starts
    return {
        "certificate": certificate.registered or None,
        "subject": certificate.subject or None,
        "authority": certificate.authority or None,
        "generation": certificate.generation or None,
        "key": certificate.key or None,
        "serial": certificate.serial or None,
        "sha256": certificate.sha256 or None,
        "not_before": None if starts is None else starts.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "users": {kind: list(names) for kind, names in certificate.users.items()},
        "endpoint": certificate.endpoint or None,
        "number": certificate.number,
        "revoked": list(certificate.revoked) if certificate.is_list else None,
    }


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None


def listed_in(resources: Iterable[Resource], renewal_hours: int = 0) -> list[Certificate] | None:
    """Return what the inventory in a state lists; None where it is encrypted, as some of the settings are.

    `renewal_hours` is as in `certificates`. After a first run that was kept to some resources there is nothing yet.
    """
    for one in of_type(resources, STACK_TYPE):
        entries = (one.get("outputs") or {}).get("pki_inventory")
        if isinstance(entries, Mapping):
            return None
        return certificates(entries if isinstance(entries, list) else (), renewal_hours=renewal_hours)
    return []
