"""Ports the Docker host publishes, and addresses that are the same."""

from collections.abc import Iterable
from typing import NamedTuple

from settings.base import Path


class Published(NamedTuple):
    """A port of the Docker host."""

    setting: Path
    """Where it is set."""
    port: int
    protocol: str
    """tcp or udp."""
    addresses: tuple[str, ...]
    """Of the host, on which it is published."""
    addresses_setting: Path


def meet(some: Iterable[str], others: Iterable[str]) -> bool:
    """Return whether two lists of addresses have one in common; 0.0.0.0 and :: are all of their kind."""
    return any(_covers(one, other) or _covers(other, one) for one in some for other in others)


def _covers(one: str, other: str) -> bool:
    return one == other or one == ("::" if ":" in other else "0.0.0.0")
