"""New keys by their age: which certificates get one with the renewal they are due for.

The engine notes when it made a key, and makes one anew on being told to; what follows from it, the certificate and its
delivery, it finds by itself. So a period needs no clock in the program, and a run in which nothing is due changes
nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from operations.healing import Resource, of_type
from operations.resource_types import KEY_TYPE, LEAF_TYPE, REQUEST_TYPE
from settings import Settings
from settings.certificate import Private, SignedBy
from settings.registry import Issued, resource_name

EDGE: Final = "edge-certificate"


@dataclass(frozen=True, kw_only=True)
class Aged:
    """A certificate that is due for renewal, and whose key is older than it may become."""

    name: str
    """As the engine calls it."""
    days: int
    """Age of the key."""
    leaf: str
    """URN."""

    @property
    def key(self) -> str:
        """URN."""
        return self._beside_the_leaf(KEY_TYPE, "key")

    @property
    def request(self) -> str:
        """URN of what stands between these: the key's request for a certificate."""
        return self._beside_the_leaf(REQUEST_TYPE, "request")

    def _beside_the_leaf(self, type_: str, part: str) -> str:
        return self.leaf.replace(LEAF_TYPE, type_).removesuffix("certificate") + part

    @property
    def made_anew(self) -> list[str]:
        """URNs of all that is made anew with the key."""
        return [self.key, self.request, self.leaf]

    def __str__(self) -> str:
        return f"{self.name} is due for renewal, and its key is {self.days} days old: it gets a new one"


def periods(settings: Settings) -> Mapping[str, int]:
    """Return how old in days a key may become, by names as the engine has them, of all that is issued here."""
    return {name: period for name, (_, period) in _issued(settings).items()}


def _issued(settings: Settings) -> Mapping[str, tuple[int, int]]:
    """Return number and period by the same names."""
    found = {}
    if isinstance(settings.certificate, Private | SignedBy):
        found[EDGE] = (settings.certificate.issue, settings.pki.rekey_days)
    for name, one in settings.pki.every_certificate.items():
        if isinstance(one, Issued):
            found[resource_name(name)] = (one.issue, one.rekey_days or settings.pki.rekey_days)
    return found


def aged(settings: Settings, resources: Sequence[Resource], now: datetime) -> list[Aged]:
    """Return what is to get a new key at `now`. One whose number was raised gets one anyway, under another name."""
    keys = _by_name(of_type(resources, KEY_TYPE))
    leaves = _by_name(of_type(resources, LEAF_TYPE))
    found = []
    for name, (number, period) in _issued(settings).items():
        key, leaf = keys.get(f"{name}-{number}-key"), leaves.get(f"{name}-{number}-certificate")
        if key is None or leaf is None or "created" not in key or not _is_due(leaf, now):
            continue
        age = now - datetime.fromisoformat(key["created"]).astimezone(UTC)
        if age >= timedelta(days=period):
            found.append(Aged(name=name, days=age.days, leaf=leaf["urn"]))
    return found


def flags(every: Iterable[Aged]) -> list[str]:
    """Return what makes the engine make the keys anew in a run over everything."""
    return [part for one in every for part in ("--replace", one.key)]


def _by_name(resources: Iterable[Resource]) -> dict[str, Resource]:
    return {str(one["urn"]).rpartition("::")[2]: one for one in resources}


def _is_due(leaf: Resource, now: datetime) -> bool:
    """Return whether the provider sees a leaf inside its window, as it decides."""
    ends = datetime.fromisoformat(leaf["outputs"]["validityEndTime"]).astimezone(UTC)
    return now >= ends - timedelta(hours=leaf["outputs"].get("earlyRenewalHours") or 0)
