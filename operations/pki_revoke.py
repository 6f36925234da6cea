"""Taken back: what is written into the stack file so that the next `up` has a certificate let nobody in any more."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

from operations import inventory, pki_material, pki_rotate, revocations
from operations.healing import Resource
from operations.revocations import Issues, Known, of_no_use
from operations.stack import Stack
from operations.state import StateError
from settings import Settings
from settings.base import dotted

_LABEL_LENGTH = 63
_SHORT = 8
"""Digits of a serial number in a label."""


def revoke(stack: Stack, settings: Settings, arguments: argparse.Namespace) -> int:
    """Write down that certificates of a name are revoked, and return the exit status.

    Raises: StateError, CalledProcessError.
    """
    resources = inventory.resources_of(stack)
    current = inventory.read(stack, settings, resources)
    if not current:
        raise StateError(f"the stack {stack.name} is not deployed; make up STACK={stack.name}")
    issues = revocations.issues_of(arguments.name, current, stack.past_states)
    _see_that_it_can_be_revoked(arguments.name, settings, issues)
    now = datetime.now(UTC)
    revoked = revocations.revoked_by(settings)
    live = [one for one in issues.known if not of_no_use(one, settings, now)]
    _show(stack, arguments.name, live, issues, revoked)
    chosen = _chosen(arguments, settings, issues, live, now)
    todo = [one for one in chosen if (one.authority, int(one.serial, 16)) not in revoked]
    if not todo:
        print("nothing was changed: " + ("it is" if len(chosen) == 1 else "all of them are") + " revoked already")
        return 0
    for one in todo:
        _write(stack, settings, arguments.name, one, arguments.reason, now)
    if any(one.is_current for one in todo):
        _have_it_made_anew(stack, settings, arguments.name, resources)
    print(f"Nobody is refused yet. `make up STACK={stack.name}` makes the lists and tells the relays.")
    return 0


def _see_that_it_can_be_revoked(name: str, settings: Settings, issues: Issues) -> None:
    clients = [one for one, authority in settings.pki.every_authority.items() if authority.revokes]
    for one in issues.known:
        authority = settings.pki.every_authority.get(one.authority)
        if one.is_current and authority is not None and not authority.revokes:
            raise StateError(
                f"{name} is signed by {one.authority}, whose purpose is {authority.purpose}: nobody asks for a list of "
                f"it; allowed: what an authority of clients has signed ({', '.join(clients) or 'there is none'}). "
                f"For a new key: pki rotate {name}"
            )
    if issues.known:
        return
    entry = settings.pki.every_certificate.get(name)
    if entry is not None and entry.mode != "issued":
        raise StateError(
            f"{name} is {entry.mode}: it is not issued here. If one of pki.authorities has signed it all the same, its "
            "serial number can be revoked: docs/pki.md"
        )
    found = ", ".join(one for one, each in settings.pki.every_certificate.items() if each.mode == "issued")
    raise StateError(f"no certificate called {name} is known to have been issued; there are: {found or 'none'}")


def _show(stack: Stack, name: str, live: Sequence[Known], issues: Issues, revoked: dict[tuple[str, int], str]) -> None:
    print(f"{name} has these certificates that are in their time:" if live else f"{name} has none in its time")
    for one in live:
        label = revoked.get((one.authority, int(one.serial, 16)))
        words = [
            one.serial,
            f"{one.authority} {one.generation}".strip(),
            f"ends {one.expires.astimezone(UTC):%Y-%m-%d}",
            "the one in use" if one.is_current else "an earlier one",
            *([f"revoked by {dotted(('pki', 'revocations', label))}"] if label is not None else []),
        ]
        print(f"  {', '.join(words)}")
    if not stack.keeps_state_in_files:
        print("Earlier ones are not known here: the engine keeps the states of earlier runs elsewhere.")
    for fault in issues.unreadable:
        print(f"There may be more: {fault}")


def _chosen(
    arguments: argparse.Namespace, settings: Settings, issues: Issues, live: Sequence[Known], now: datetime
) -> list[Known]:
    name = arguments.name
    if arguments.serial:
        known = {int(one.serial, 16): one for one in issues.known}
        chosen = []
        for text in arguments.serial:
            try:
                one = known.get(int(text.replace(":", ""), 16))
            except ValueError:
                raise StateError(f"--serial: {text!r}; allowed: hexadecimal digits, with or without colons") from None
            if one is None:
                raise StateError(
                    f"--serial: {text}, and nobody here has issued it to {name}; known are: "
                    f"{', '.join(each.serial for each in issues.known)}. Nothing was changed"
                )
            if why := of_no_use(one, settings, now):
                raise StateError(f"--serial: {text} lets nobody in any more: {why}. Nothing was changed")
            chosen.append(one)
        return chosen
    if not live:
        why = of_no_use(issues.known[0], settings, now)
        raise StateError(f"nothing of {name} lets anybody in: {why}. Nothing was changed")
    revoked = revocations.revoked_by(settings)
    left = [one for one in live if (one.authority, int(one.serial, 16)) not in revoked]
    if arguments.all or len(live) == 1 or not left:
        return list(live)
    raise StateError(
        f"{name} has {len(live)} certificates in their time; say which is to be revoked (--serial SERIAL, any number "
        "of times), or --all. Nothing was changed"
    )


def _write(stack: Stack, settings: Settings, name: str, one: Known, reason: str, now: datetime) -> None:
    label = _label(name, one.serial[:_SHORT])
    if label in settings.pki.revocations:
        label = _label(name, one.serial)
    values = {
        "authority": one.authority,
        "serial": one.serial,
        "on": f"{now:%Y-%m-%d}",
        "reason": reason,
    }
    for setting, value in values.items():
        # As text: a serial number of digits alone would be taken for a number.
        path = dotted(("pki", "revocations", label, setting))
        stack.ask("config", "set", "--path", path, value, "--type", "string")
    print(f"{dotted(('pki', 'revocations', label))}: {one.serial} of {one.authority}, {reason}")


def _label(name: str, digits: str) -> str:
    return f"{name.lower()[: _LABEL_LENGTH - len(digits) - 1]}-{digits.lower()}"


def _have_it_made_anew(stack: Stack, settings: Settings, name: str, resources: Sequence[Resource]) -> None:
    """Raise the number of a certificate that is in use, unless somebody has done so since it was deployed."""
    for place in pki_rotate.places(settings):
        names = dict(zip(place.names, place.resources, strict=True))
        resource = names.get(name) or (name if name in place.resources else None)
        if resource is None:
            continue
        deployed, _ = pki_material.issue_of(resource, resources)
        if place.number > deployed:
            print(f"{place.path}: {place.number} already, for a new key in the next run")
        else:
            pki_rotate.raise_numbers(stack, settings, [place])
        return
    print(f"{name} is not in the settings any more, so there is nothing to be made anew.")
