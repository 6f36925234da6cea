"""Many certificates at once, in runs that save the state a single time.

The engine writes the whole state before and after each step, so what many steps cost grows with the square of their
number. It can save at the end of a run alone, which then loses what it has done if it is killed. That is taken here for
what can be done again as if it had never been: making keys, requests and certificates that nobody has been given yet,
and forgetting those that nobody has any more. The former are made first and nothing else is touched; the run that
follows finds them there, delivers them and leaves alone what is then forgotten by the last (docs/decisions/0026).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from operations import inventory
from operations.healing import Resource, of_type
from operations.rekeying import Aged
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
from pki import naming
from settings import PROJECT, Settings
from settings.authorities import ImportedGeneration, number_of
from settings.pki import Pki
from settings.registry import Issued, resource_name

MANY: Final = 25
"""From here on a run of their own, as long as one without changes, takes less time than saving the state for each."""
_AT_ONCE: Final = 2000
"""Certificates in one run: four URNs of 150 bytes for each have to fit into what Linux gives a command, 2 MiB."""
OUTSIDE: Final = tuple(f"**{package}:**" for package in ("aws", "command", "docker", "random"))
"""Patterns of all URNs of what is anything outside the state, or may not be forgotten.

What leaves is taken away by keeping these out, not by naming it: for each that is named the engine goes over all
others.
"""
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
    replaced: Collection[str] = frozenset()
    """Keys among them that are there, and too old."""

    @property
    def is_much(self) -> bool:
        """Whether it is worth a run."""
        return len(self.certificates) >= MANY


def ahead(stack: Stack, settings: Settings, aged: Iterable[Aged] = ()) -> Wanted:
    """Return what is missing or out of date in the registry, if it is much, with new keys for what is `aged`."""
    if sum(isinstance(one, Issued) for one in settings.pki.every_certificate.values()) < MANY:
        return Wanted()
    resources = inventory.resources_of(stack)
    now = datetime.now(UTC)
    found = wanted(settings.pki, resources, project=PROJECT, stack=stack.name, now=now, aged=aged)
    return found if found.is_much else Wanted()


def make(stack: Stack, what: Wanted) -> int:
    """Make certificates without touching anything else, and return the exit status; few are left to the next run."""
    if not what.is_much:
        return 0
    print(f"{len(what.certificates)} certificates are made first, by themselves", flush=True)
    for urns in runs(what):
        status = _run(stack, targets(urns, what.replaced))
        if status != 0:
            return status
    return 0


def left_over(stack: Stack, settings: Settings) -> list[str]:
    """Return the URNs of all that certificates consist of which are in the registry no more, if it is much.

    Where the state is not in files the engine is asked for it, which is only worth it if the registry is large.
    """
    resources = stack.resources()
    if resources is None:
        is_large = len(settings.pki.every_certificate) >= MANY
        resources = inventory.resources_of(stack) if is_large else ()
    return leaving(settings.pki, resources, project=PROJECT, stack=stack.name)


def spared(urns: Iterable[str]) -> list[str]:
    """Return the flags that keep a run from touching what leaves."""
    return [part for urn in urns for part in ("--exclude", urn)]


def forget(stack: Stack, urns: Sequence[str]) -> int:
    """Take out of the state what nobody has any more, and return the exit status."""
    if not urns:
        return 0
    print(f"{sum(_is_whole(urn) for urn in urns)} certificates are taken away last, by themselves", flush=True)
    return _run(stack, spared(OUTSIDE))


def _run(stack: Stack, flags: Sequence[str]) -> int:
    return stack.pulumi("up", "--yes", "--skip-preview", "--suppress-outputs", *flags, saves_at_end=True)


def runs(what: Wanted) -> Iterator[list[str]]:
    """Yield the URNs of each run."""
    for start in range(0, len(what.certificates), _AT_ONCE):
        yield [*what.first, *(urn for one in what.certificates[start : start + _AT_ONCE] for urn in one)]


def targets(urns: Iterable[str], replaced: Collection[str] = ()) -> list[str]:
    """Return the flags that keep a run from touching anything else; those `replaced` are made anew in any case."""
    return [part for urn in urns for part in ("--target-replace" if urn in replaced else "--target", urn)]


def wanted(
    pki: Pki, resources: Sequence[Resource], *, project: str, stack: str, now: datetime, aged: Iterable[Aged] = ()
) -> Wanted:
    """Return what of the registry is missing among `resources`, due at `now`, or signed by another than it is to be.

    So is what is to live for another time, and what is `aged`, which gets a new key. What differs otherwise, such as
    names, is left to the next run. So is what is due where the state has no inventory that can be read.
    """
    there = {one["urn"] for one in resources if not one.get("delete")}
    known = {one.registered: one for one in inventory.listed_in(resources, pki.renewal_hours) or () if one.registered}
    hours = {one["urn"]: _hours(one) for one in of_type(resources, LEAF_TYPE)}
    old = {one.leaf: one for one in aged}
    certificates: list[Sequence[str]] = []
    replaced: set[str] = set()
    first = {f"urn:pulumi:{stack}::{project}::{_GUARD}": None}
    for name, one in pki.every_certificate.items():
        if not isinstance(one, Issued):
            continue
        component, *parts = _parts_of(project, stack, name, one)
        leaf = parts[-1]
        active = pki.every_authority[one.authority].active
        if component not in there:
            certificates.append([component, *parts])
        elif leaf in old:
            certificates.append(old[leaf].made_anew)
            replaced.add(old[leaf].key)
        elif hours.get(leaf, pki.hours_of(one)) != pki.hours_of(one) or (
            (made := known.get(name))
            and (made.is_due(now) or (made.authority, made.generation) != (one.authority, active))
        ):
            certificates.append([leaf])
        else:
            continue
        authority = _authority(pki, one.authority, active, project, stack)
        if authority and authority[0] not in there:
            first |= dict.fromkeys(authority)
    return Wanted(certificates=certificates, first=list(first), replaced=replaced)


def _hours(leaf: Resource) -> tuple[object, object]:
    """Return for how long one was made, and how long before its end it is renewed, as components/pki says it."""
    inputs = leaf.get("inputs") or {}
    return inputs.get("validityPeriodHours"), inputs.get("earlyRenewalHours")


def leaving(pki: Pki, resources: Sequence[Resource], *, project: str, stack: str) -> list[str]:
    """Return the URNs of what certificates consist of that are in the state, and in the registry no more.

    None where they are few. What is signed by an authority that leaves as well goes along with it, in the order the
    engine has for that, so it is not among them.
    """
    kept = {
        _parts_of(project, stack, name, one)[0]
        for name, one in pki.every_certificate.items()
        if isinstance(one, Issued)
    }
    parts: dict[str, list[Resource]] = {
        one["urn"]: [one]
        for one in of_type(resources, CERTIFICATE_TYPE)
        if one["urn"] not in kept and one["urn"].rpartition("::")[2].startswith(resource_name(""))
    }
    if len(parts) < MANY:
        return []
    for one in resources:
        if one.get("parent") in parts:
            parts[one["parent"]].append(one)
    signing = {
        urn
        for name, authority in pki.every_authority.items()
        for generation in authority.generations
        for urn in _authority(pki, name, generation, project, stack)
    }
    free: list[list[str]] = []
    for own in parts.values():
        urns = [one["urn"] for one in own]
        needed = {urn for one in own for urn in one.get("dependencies") or ()}
        if needed <= {*urns, *signing}:
            free.append(urns)
    return [urn for urns in free[:_AT_ONCE] for urn in urns] if len(free) >= MANY else []


def _authority(pki: Pki, name: str, generation: str, project: str, stack: str) -> list[str]:
    """Return the URNs of a generation of an authority; none where it is brought along, and nothing is made of it."""
    if isinstance(pki.every_authority[name].generations[generation], ImportedGeneration):
        return []
    called = naming.authority(name)
    return _urns(project, stack, AUTHORITY_TYPE, called, number_of(generation), _ROOT_PARTS)


def _parts_of(project: str, stack: str, name: str, one: Issued) -> list[str]:
    """Return the URNs of a certificate of the registry: itself, key, request and leaf."""
    return _urns(project, stack, CERTIFICATE_TYPE, resource_name(name), one.issue, _PARTS)


def _is_whole(urn: str) -> bool:
    return f"::{CERTIFICATE_TYPE}::" in urn


def _urns(project: str, stack: str, type_: str, name: str, generation: int, parts: dict[str, str]) -> list[str]:
    """Return the URN of a component, then those of its parts."""
    prefix = f"urn:pulumi:{stack}::{project}::{type_}"
    members = [f"{prefix}${kind}::{naming.member(name, generation, part)}" for part, kind in parts.items()]
    return [f"{prefix}::{naming.whole(name, generation)}", *members]
