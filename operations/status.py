"""How a stack is: its certificates and when each ends, its services, its volumes. Looks, and changes nothing."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from components.base.daemon import Daemon, DaemonError
from operations import inventory, listing, renewal
from operations.inventory import Certificate, Level
from operations.renewal import Attempt
from operations.served import Place, edge_of
from operations.stack import Stack
from pki.moments import rfc3339
from settings import Settings, masked

_SIZES_SECONDS: Final = 300
"""Docker adds the files of every volume up; a store with months of recordings takes a while."""
_SIZE: Final = re.compile(r"(?P<number>[\d.]+)(?P<unit>[kMGTP]?)B")
_UNITS: Final = ("", "k", "M", "G", "T", "P")
"""Of a thousand each, as `docker system df` counts."""
_DATE: Final = "%Y-%m-%d %H:%M"


class NoStatus(RuntimeError):
    """There is nothing to tell of; the text is one line."""


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """A service and its container."""

    name: str
    container: str
    state: str
    """As Docker says: running, exited …; `missing` where there is no container."""
    health: str
    """healthy, unhealthy or starting; empty where Docker says nothing."""

    @property
    def works(self) -> bool:
        """Whether it runs, and is not known to be unhealthy."""
        return self.state == "running" and self.health != "unhealthy"

    @property
    def level(self) -> Level:
        """A service that starts is a warning, one that does not work critical."""
        if not self.works:
            return Level.CRITICAL
        return Level.WARNING if self.health == "starting" else Level.OK


@dataclass(frozen=True, kw_only=True)
class Uploads:
    """Uploads to the object store that were begun and never ended; no listing of objects shows them."""

    count: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a stack is."""

    stack: str
    at: datetime
    certificates: Sequence[Certificate]
    services: Sequence[ServiceStatus] = ()
    volumes: Mapping[str, int | None] = field(default_factory=dict)
    """Size in bytes by name, None where it was not looked at."""
    unfinished_uploads: Uploads | None = None
    """None where there is no store on the host, or it does not answer."""
    renewal: Attempt | None = None
    """The last one from this machine."""
    faults: Sequence[str] = ()
    """What could not be looked at, and why."""

    @property
    def level(self) -> Level:
        """The worst of all."""
        levels = [one.level(self.at) for one in self.certificates] + [one.level for one in self.services]
        if self.renewal is not None and not self.renewal.succeeded:
            levels.append(Level.WARNING)
        return max([*levels, *(Level.CRITICAL for _ in self.faults)], default=Level.OK)


def collect(stack: Stack, settings: Settings, *, place: Place | None = None, sizes: bool = True) -> Status:
    """Look at everything; `sizes` asks for those of volumes as well.

    Raises: NoStatus; StateError for a state that cannot be read; CalledProcessError if the engine fails.
    """
    certificates = inventory.read(stack, settings, inventory.resources_of(stack))
    if not certificates:
        raise NoStatus(f"the stack {stack.name} is not deployed; make up STACK={stack.name}")
    where = place or edge_of(settings)
    certificates = [renewal.as_served(one, where) if one.expires is None else one for one in certificates]
    daemon = Daemon(address=settings.host.address, certificates=settings.host.certificates or "")
    faults: list[str] = []
    services: list[ServiceStatus] = []
    volumes: dict[str, int | None] = {}
    uploads = None
    try:
        with ThreadPoolExecutor(2) as pool:
            containers, listed = pool.map(
                lambda question: daemon.run(*question), (listing.CONTAINERS, listing.volumes_of(settings.prefix))
            )
        services = list(_services(settings, containers))
        volumes = dict.fromkeys(sorted(listing.volumes(listed)))
        if "garage" in settings.services:
            uploads = _uploads(daemon, settings, faults)
        if sizes:
            volumes |= _sizes(daemon, volumes, faults)
    except DaemonError as error:
        faults.append(f"Docker on {settings.host.address}: {error}")
    return Status(
        stack=stack.name,
        at=datetime.now(UTC),
        certificates=certificates,
        services=services,
        volumes=volumes,
        unfinished_uploads=uploads,
        renewal=renewal.last_attempt(stack),
        faults=faults,
    )


def _services(settings: Settings, lines: str) -> Iterator[ServiceStatus]:
    there = {one.name: one for one in listing.containers(lines) if one.owner.stack == settings.prefix}
    for name in sorted(settings.services):
        container = f"{settings.prefix}-{name}"
        found = there.get(container)
        yield ServiceStatus(
            name=name,
            container=container,
            state=found.state if found is not None else "missing",
            health=found.health if found is not None else "",
        )


def _uploads(daemon: Daemon, settings: Settings, faults: list[str]) -> Uploads | None:
    bucket = json.dumps({"globalAlias": settings.storage.bucket})
    try:
        told = json.loads(
            daemon.run("exec", f"{settings.prefix}-garage", "/garage", "json-api", "GetBucketInfo", bucket)
        )
        return Uploads(count=int(told["unfinishedUploads"]), bytes=int(told["unfinishedMultipartUploadBytes"]))
    except DaemonError:
        return None  # its container is among the services, and says more
    except (ValueError, KeyError, TypeError) as error:
        faults.append(f"Garage's answer about the bucket {settings.storage.bucket}: {type(error).__name__} {error}")
        return None


def _sizes(daemon: Daemon, names: Iterable[str], faults: list[str]) -> dict[str, int | None]:
    try:
        told = daemon.run("system", "df", "--verbose", "--format", "{{json .}}", timeout_seconds=_SIZES_SECONDS)
    except DaemonError as error:
        faults.append(f"sizes of volumes: {error}")
        return {}
    known = {volume["Name"]: in_bytes(volume["Size"]) for volume in json.loads(told)["Volumes"]}
    return {name: known.get(name) for name in names}


def in_bytes(text: str) -> int | None:
    """Return a size as Docker writes it, such as `56.4MB`, in bytes; None for `N/A`."""
    found = _SIZE.fullmatch(text)
    return round(float(found["number"]) * 1000 ** _UNITS.index(found["unit"])) if found else None


# --- For people and programs ------------------------------------------------------------------------------------------


def as_json(status: Status) -> str:
    """Return all of it as JSON: times in RFC 3339, sizes in bytes, levels as words."""
    content: dict[str, Any] = {
        "stack": status.stack,
        "at": rfc3339(status.at),
        "level": status.level.name.lower(),
        "certificates": [
            {
                "name": one.name,
                "kind": one.kind,
                "source": one.source,
                "names": list(one.names),
                "expires": _moment(one.expires),
                "chain_expires": _moment(one.chain_expires),
                "ends_with": inventory.ends_first(one, status.certificates) or None,
                "renew_at": _moment(one.renew_at),
                "days_left": _days(one, status.at),
                "level": one.level(status.at).name.lower(),
                **inventory.described(one),
            }
            for one in status.certificates
        ],
        "services": [
            {
                "name": one.name,
                "container": one.container,
                "state": one.state,
                "health": one.health or None,
                "level": one.level.name.lower(),
            }
            for one in status.services
        ],
        "volumes": [{"name": name, "bytes": size} for name, size in status.volumes.items()],
        "unfinished_uploads": None
        if status.unfinished_uploads is None
        else {"count": status.unfinished_uploads.count, "bytes": status.unfinished_uploads.bytes},
        "renewal": None
        if status.renewal is None
        else {
            "at": rfc3339(status.renewal.at),
            "succeeded": status.renewal.succeeded,
            "message": status.renewal.message,
        },
        "faults": list(status.faults),
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def as_text(status: Status) -> str:
    """Return all of it as tables."""
    certificates = [
        (
            one.name,
            one.kind,
            one.source,
            one.told or "-",
            "?" if (days := _days(one, status.at)) is None else f"{days:.1f}",
            "-" if one.renew_at is None else f"{one.renew_at:{_DATE}}",
            inventory.state(one, status.certificates, status.at),
        )
        for one in status.certificates
    ]
    parts = [
        table(("CERTIFICATE", "KIND", "SOURCE", "NAMES", "DAYS LEFT", "RENEW AT (UTC)", "STATE"), certificates),
        table(
            ("SERVICE", "CONTAINER", "STATE"),
            [(one.name, one.container, ", ".join(filter(None, (one.state, one.health)))) for one in status.services],
        ),
        table(
            ("VOLUME", "SIZE"),
            [(name, "?" if size is None else _readable(size)) for name, size in status.volumes.items()],
        ),
    ]
    uploads = status.unfinished_uploads
    if uploads is not None:
        parts.append(f"Unfinished uploads: {uploads.count}, {_readable(uploads.bytes)} (removed after a week)")
    if status.renewal is not None:
        ended = "" if status.renewal.succeeded else " FAILED"
        parts.append(f"Last renewal: {status.renewal.at:{_DATE}} UTC{ended}: {status.renewal.message}")
    parts += [f"Could not be looked at: {fault}" for fault in status.faults]
    parts.append(f"{status.stack}: {status.level.name}")
    return "\n\n".join(filter(None, parts))


def shown(status: Status, settings: Settings, *, json_wanted: bool) -> str:
    """Return what to print, with nothing in it that is encrypted in the settings."""
    return masked(as_json(status) if json_wanted else as_text(status), settings.encrypted)


def _days(certificate: Certificate, now: datetime) -> float | None:
    left = certificate.days_left(now)
    return None if left is None else round(left, 1)


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _readable(size: float) -> str:
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.3g} {unit}B"
        size /= 1000
    return f"{size:.3g} {_UNITS[-1]}B"


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under their heading, each column as wide as it has to be; nothing where there is no row."""
    if not rows:
        return ""
    lines = [heading, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
