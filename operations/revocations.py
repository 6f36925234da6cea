"""What is known of certificates issued here, and what of the settings' revocations is to be said before a run.

A state has the last certificate of each name alone. Those before it are in the states the engine has kept of earlier
runs, where it keeps them in files: nothing else is written down anywhere.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from operations import inventory
from operations.healing import Resource
from operations.inventory import Certificate
from operations.state import Damaged, mentions, read_checkpoint
from settings import Problem, Settings
from settings.base import dotted
from settings.references import CERTIFICATES, uses
from settings.registry import Issued, resource_name


@dataclass(frozen=True, kw_only=True)
class Known:
    """A certificate that was issued under some name."""

    serial: str
    """Hexadecimal."""
    authority: str
    generation: str
    expires: datetime
    is_current: bool
    """Whether it is the last one of its name."""


@dataclass(frozen=True, kw_only=True)
class Issues:
    """All that is known to have been issued under a name."""

    known: Sequence[Known]
    """The current one first, then the others by their ends, the last to end first."""
    unreadable: Sequence[str] = ()
    """States of earlier runs that cannot be looked into, and why."""


def issues_of(name: str, current: Iterable[Certificate], past: Iterable[Path]) -> Issues:
    """Return what was issued under `name`, by the inventory of now and the states of earlier runs."""
    found = {one.serial: one for one in _known(name, current, is_current=True)}
    unreadable: list[str] = []
    for path in past:
        try:
            if not mentions(path, name):
                continue
            listed = inventory.listed_in(read_checkpoint(path).get("resources") or ())
        except (Damaged, OSError) as error:
            unreadable.append(f"{path.name} {error}")
            continue
        if listed is None:
            unreadable.append(f"{path.name} is encrypted")
            continue
        for one in _known(name, listed, is_current=False):
            found.setdefault(one.serial, one)
    known = sorted(found.values(), key=lambda one: (one.is_current, one.expires), reverse=True)
    return Issues(known=known, unreadable=unreadable)


def _known(name: str, listed: Iterable[Certificate], *, is_current: bool) -> Iterator[Known]:
    for one in listed:
        if name in {one.registered, one.name} and one.serial and one.authority and one.expires and not one.is_authority:
            yield Known(
                serial=one.serial,
                authority=one.authority,
                generation=one.generation,
                expires=one.expires,
                is_current=is_current,
            )


def revoked_by(settings: Settings) -> dict[tuple[str, int], str]:
    """Return the labels of revocations by authority and serial number."""
    return {(one.authority, int(one.serial, 16)): label for label, one in settings.pki.revocations.items()}


def problems(settings: Settings, resources: Sequence[Resource]) -> Iterator[Problem]:
    """Yield what shows a certificate as its own that is revoked: nobody may take it."""
    revoked = _still_used(settings, resources)
    for use in uses(settings):
        if use.names.table == CERTIFICATES and use.names.with_key and use.name in revoked:
            serial, label = revoked[use.name]
            setting = dotted(use.path)
            yield Problem(
                setting=setting,
                given=f"{use.name!r}, whose serial number {serial} {_place(label)} has revoked",
                allowed="a certificate that is not revoked",
                remedy=f"Make it anew: make pki ARGS='rotate {use.name}' STACK={settings.stack}",
            )


def hints(settings: Settings, resources: Sequence[Resource], past: Sequence[Path]) -> Iterator[str]:
    """Yield the names whose certificate is revoked and stays, and new revocations of what nobody here has issued."""
    own = {one.name for one in uses(settings) if one.names.table == CERTIFICATES and one.names.with_key}
    for name, (serial, label) in _still_used(settings, resources).items():
        if name not in own:
            yield (
                f"pki.certificates.{name}: its serial number {serial} is revoked by {_place(label)}, so it lets nobody "
                f"in; a new key for it: make pki ARGS='rotate {name}' STACK={settings.stack}"
            )
    listed = inventory.listed_in(resources)
    if not listed or not settings.pki.revocations:
        return
    from pki.facts import hexadecimal  # a tenth of a second, for those who have revoked any

    deployed = {(one.authority, int(serial, 16)) for one in listed for serial in one.revoked}
    there = {(one.authority, int(one.serial, 16)) for one in listed if one.serial}
    for (authority, number), label in revoked_by(settings).items():
        serial = hexadecimal(number)
        if (authority, number) in deployed | there or any(_mentions(path, serial) for path in past):
            continue
        yield (
            f"{_place(label)}.serial: nothing with the serial number {serial} is known to have been issued here; if "
            f"that is a mistake, the right one is in: make pki ARGS='revoke <name>' STACK={settings.stack}"
        )


def _still_used(settings: Settings, resources: Sequence[Resource]) -> dict[str, tuple[str, str]]:
    """Return serial number and label by names whose deployed certificate is revoked, and that is not made anew."""
    revoked = revoked_by(settings)
    names = {str(one["urn"]).rpartition("::")[2] for one in resources}
    found = {}
    for one in (inventory.listed_in(resources) or ()) if revoked else ():
        entry = settings.pki.every_certificate.get(one.registered)
        label = revoked.get((one.authority, int(one.serial, 16))) if one.serial else None
        if label is None or not isinstance(entry, Issued):
            continue
        if f"{resource_name(one.registered)}-{entry.issue}-key" in names:
            found[one.registered] = (one.serial, label)
    return found


def _place(label: str) -> str:
    return dotted(("pki", "revocations", label))


def _mentions(path: Path, text: str) -> bool:
    try:
        return mentions(path, text)
    except OSError:  # gone or damaged: nothing is said of what it would have told
        return True


def of_no_use(known: Known, settings: Settings, now: datetime) -> str:
    """Return why a certificate lets nobody in whether it is revoked or not, or nothing."""
    authority = settings.pki.every_authority.get(known.authority)
    if authority is None:
        return f"{known.authority} is no authority of the settings any more"
    if known.generation and known.generation not in authority.trusted:
        return f"{known.generation} of {known.authority} is not trusted any more"
    if known.expires <= now:
        return f"it ended on {known.expires.astimezone(UTC):%Y-%m-%d}"
    return ""
