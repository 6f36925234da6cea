"""New keys: what is written into the stack file so that the next `up` makes certificates and their keys anew."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from operations import checks, inventory, pki_material
from operations.healing import Resource
from operations.rekeying import EDGE, periods
from operations.stack import Stack
from operations.state import StateError
from settings import Settings
from settings.base import dotted
from settings.certificate import Private, SignedBy
from settings.registry import Issued, resource_name


@dataclass(frozen=True, kw_only=True)
class Place:
    """A number in the settings, and the certificates it is the number of."""

    path: str
    number: int
    names: tuple[str, ...]
    """As people call them."""
    resources: tuple[str, ...]
    """As the engine does."""


def places(settings: Settings) -> list[Place]:
    """Return the number of every certificate that is issued here."""
    found = []
    if isinstance(settings.certificate, Private | SignedBy):
        found.append(
            Place(path="certificate.issue", number=settings.certificate.issue, names=(EDGE,), resources=(EDGE,))
        )
    for name, one in settings.pki.certificates.items():
        if isinstance(one, Issued):
            path = dotted(("pki", "certificates", name, "issue"))
            found.append(Place(path=path, number=one.issue, names=(name,), resources=(resource_name(name),)))
    for name, service in settings.pki.fleet.services.items():
        names = tuple(each for each in settings.pki.fleet.certificates if each in {f"{name}-server", f"{name}-client"})
        path = dotted(("pki", "fleet", "services", name, "issue"))
        found.append(Place(path=path, number=service.issue, names=names, resources=tuple(map(resource_name, names))))
    return found


def rotate(stack: Stack, settings: Settings, arguments: argparse.Namespace) -> int:
    """Raise the number of what is asked for, and return the exit status.

    Raises: StateError, CalledProcessError.
    """
    every = places(settings)
    if arguments.all:
        return raise_numbers(stack, settings, every)
    name = arguments.name
    for place in every:
        if name in {*place.names, *place.resources}:
            return raise_numbers(stack, settings, [place])
    other = settings.pki.every_certificate.get(name)
    if other is not None:
        raise StateError(f"{name} is {other.mode}: it is not issued here, so bring another one, then make up")
    names = ", ".join(each for place in every for each in place.names)
    raise StateError(f"no certificate that is issued here is called {name}; there are: {names or 'none'}")


def rekey(stack: Stack, settings: Settings, arguments: argparse.Namespace) -> int:
    """Raise the number of everything whose key is older than it may become, and return the exit status.

    Raises: StateError, CalledProcessError.
    """
    older_than: int | None = arguments.older_than
    if older_than is not None and older_than < 0:
        raise StateError(f"--older-than: {older_than}; allowed: 0 days or more")
    days = {name: own if older_than is None else older_than for name, own in periods(settings).items()}
    now, resources = datetime.now(UTC), inventory.resources_of(stack)
    old = [
        place
        for place in places(settings)
        if any(now - _made(name, resources) >= timedelta(days=days[name]) for name in place.resources)
    ]
    if not old:
        limit = "its rekey_days" if older_than is None else f"{older_than} days"
        print(f"no key is older than {limit}; nothing was changed")
        return 0
    return raise_numbers(stack, settings, old)


def _made(name: str, resources: Sequence[Resource]) -> datetime:
    """Return when the key of a certificate was made, as the engine has noted.

    Raises: StateError.
    """
    _, key = pki_material.issue_of(name, resources)
    if "created" not in key:
        raise StateError(f"the state does not say when the key of {name} was made; make it anew: pki rotate")
    return datetime.fromisoformat(key["created"]).astimezone(UTC)


def raise_numbers(stack: Stack, settings: Settings, chosen: Iterable[Place]) -> int:
    """Have the next `up` make anew what is chosen, say so, and return the exit status."""
    chosen = list(chosen)
    if not chosen:
        print("nothing is issued here; nothing was changed")
        return 0
    taken = settings.pki.every_certificate.keys()
    said = checks.tree_of(stack)
    for place in chosen:
        number = place.number + 1
        # A number that would make another's name is refused by the settings.
        while any(f"{name}-{number}" in taken for name in place.names):
            number += 1
        if place.path == "certificate.issue" and "certificate" not in said:
            # The group is told apart by its mode, which is the default where nothing stands.
            stack.ask("config", "set", "--path", "certificate.mode", str(settings.certificate.mode))
        stack.ask("config", "set", "--path", place.path, str(number), "--type", "int")
        print(f"{place.path}: {place.number} → {number} ({', '.join(place.names)})")
    names = ", ".join(name for place in chosen for name in place.names)
    print(
        f"Nothing is issued yet. `make up STACK={stack.name}` makes key and certificate of {names} anew, delivers them"
        " to all that use them, and takes the old ones away after that. What was exported has to be exported again."
    )
    return 0
