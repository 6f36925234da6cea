"""Many certificates at once, in runs that save the state a single time.

The engine writes the whole state before and after each step, so what many steps cost grows with the square of their
number. It can save at the end of a run alone, which then loses what it has done if it is killed. That is taken here for
what can be made again as if it had never been: keys, requests and certificates that nobody has been given yet. They are
made first and nothing else is touched; the run that follows finds them there and delivers them (docs/decisions/0026).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from operations import inventory
from operations.healing import Resource
from operations.resource_types import (
    AUTHORITY_TYPE,
    CERTIFICATE_TYPE,
    KEY_TYPE,
    LEAF_TYPE,
    REQUEST_TYPE,
    ROLLOVER_TYPE,
    SELF_SIGNED_TYPE,
)
from operations.stack import Stack
from settings import PROJECT, Settings
from settings.authorities import STACK, ImportedGeneration, number_of
from settings.pki import Pki
from settings.registry import Issued, resource_name

MANY: Final = 25
"""From here on a run of their own, as long as one without changes, takes less time than saving the state for each."""
_AT_ONCE: Final = 2000
"""Certificates in one run: four URNs of 150 bytes for each have to fit into what Linux gives a command, 2 MiB."""
_ROOT_PARTS: Final = {"key": KEY_TYPE, "certificate": SELF_SIGNED_TYPE}
_PARTS: Final = {"key": KEY_TYPE, "request": REQUEST_TYPE, "certificate": LEAF_TYPE}
_GUARD: Final = f"{ROLLOVER_TYPE}::authorities-declared"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be made, by URNs."""

    certificates: Sequence[Sequence[str]] = ()
    """All that is to be made of each."""
    first: Sequence[str] = ()
    """What they are made by, and what has to agree to it."""


def issue(stack: Stack, settings: Settings) -> int:
    """Make what is missing or out of date in the registry, if it is much, and return the exit status."""
    if sum(isinstance(one, Issued) for one in settings.pki.every_certificate.values()) < MANY:
        return 0
    resources = inventory.resources_of(stack)
    return make(stack, wanted(settings.pki, resources, project=PROJECT, stack=stack.name, now=datetime.now(UTC)))


def make(stack: Stack, what: Wanted) -> int:
    """Make certificates without touching anything else, and return the exit status; few are left to the next run."""
    if len(what.certificates) < MANY:
        return 0
    print(f"{len(what.certificates)} certificates are made first, by themselves", flush=True)
    for urns in runs(what):
        status = stack.pulumi("up", "--yes", "--skip-preview", "--suppress-outputs", *targets(urns), saves_at_end=True)
        if status != 0:
            return status
    return 0


def runs(what: Wanted) -> Iterator[list[str]]:
    """Yield the URNs of each run."""
    for start in range(0, len(what.certificates), _AT_ONCE):
        yield [*what.first, *(urn for one in what.certificates[start : start + _AT_ONCE] for urn in one)]


def targets(urns: Sequence[str]) -> list[str]:
    """Return the flags that keep a run from touching anything else."""
    return [part for urn in urns for part in ("--target", urn)]


def wanted(pki: Pki, resources: Sequence[Resource], *, project: str, stack: str, now: datetime) -> Wanted:
    """Return what of the registry is missing among `resources`, due at `now`, or signed by another than it is to be.

    What differs otherwise, such as names, is left to the next run. So is what is due where the state has no inventory
    that can be read.
    """
    there = {one["urn"] for one in resources if not one.get("delete")}
    known = {one.registered: one for one in inventory.listed_in(resources, pki.renewal_hours) or () if one.registered}
    certificates: list[list[str]] = []
    first = {f"urn:pulumi:{stack}::{project}::{_GUARD}": None}
    for name, one in pki.every_certificate.items():
        if not isinstance(one, Issued):
            continue
        component, *parts = _urns(project, stack, CERTIFICATE_TYPE, resource_name(name), one.issue, _PARTS)
        active = pki.every_authority[one.authority].active
        if component not in there:
            certificates.append([component, *parts])
        elif (made := known.get(name)) and (
            made.is_due(now) or (made.authority, made.generation) != (one.authority, active)
        ):
            certificates.append(parts[-1:])
        else:
            continue
        if not isinstance(pki.every_authority[one.authority].generations[active], ImportedGeneration):
            base = "authority" if one.authority == STACK else f"authority-{one.authority}"
            authority = _urns(project, stack, AUTHORITY_TYPE, base, number_of(active), _ROOT_PARTS)
            if authority[0] not in there:
                first |= dict.fromkeys(authority)
    return Wanted(certificates=certificates, first=list(first))


def _urns(project: str, stack: str, type_: str, name: str, generation: int, parts: dict[str, str]) -> list[str]:
    """Return the URN of a component, then those of its parts, as components/pki/generation.py names them."""
    whole = name if generation == 1 else f"{name}-{generation}"
    prefix = f"urn:pulumi:{stack}::{project}::{type_}"
    return [f"{prefix}::{whole}", *(f"{prefix}${kind}::{name}-{generation}-{part}" for part, kind in parts.items())]
