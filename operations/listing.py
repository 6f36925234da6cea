"""What a Docker daemon lists of its containers and volumes, in one answer each."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from components.base.ownership import LABEL_STACK, Owner

CONTAINERS: Final = ("ps", "--all", "--no-trunc", "--format", "{{json .}}")
"""Arguments of `docker` that list every container."""
_EVERY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One container of the host."""

    id: str
    name: str
    owner: Owner
    state: str
    """running, exited, restarting, paused, created or dead."""
    health: str
    """healthy, unhealthy or starting; empty without a health check."""
    networks: frozenset[str]
    """Names of those it is on."""
    ports: str
    """Docker's own notation, e.g. `127.0.0.1:8443->8443/tcp`."""

    def publishes(self, port: int, protocol: str, addresses: Iterable[str]) -> bool:
        """Return whether it holds `port` on one of `addresses` of the host."""
        wanted = set(addresses)
        for published in self.ports.split(", "):
            outside, _, inside = published.partition("->")
            if not inside.endswith(f"/{protocol}"):
                continue
            address, _, numbers = outside.rpartition(":")
            # Docker writes neighbouring ports as one range, 8442-8444.
            first, _, last = numbers.partition("-")
            shared = address.strip("[]") in wanted | _EVERY_ADDRESS or bool(wanted & _EVERY_ADDRESS)
            if shared and int(first) <= port <= int(last or first):
                return True
        return False

    @property
    def works(self) -> bool:
        """Whether it runs, and is not known to be unhealthy."""
        return self.state == "running" and self.health != "unhealthy"


def containers(lines: str) -> Iterator[Listing]:
    """Yield what the answer to CONTAINERS lists."""
    for line in lines.splitlines():
        found: Mapping[str, Any] = json.loads(line)
        # Such as `Up 2 hours (healthy)`, `Up 3 seconds (health: starting)`, `Exited (137) 2 minutes ago`.
        note = found["Status"].partition("(")[2].rstrip(")")
        yield Listing(
            id=found["ID"],
            name=found["Names"],
            owner=Owner.of(_labels(found)),
            state=found["State"],
            health=note.removeprefix("health: ") if found["State"] == "running" else "",
            networks=frozenset(found["Networks"].split(",")),
            ports=found["Ports"],
        )


VOLUMES: Final = ("volume", "ls", "--format", "{{json .}}")
"""Arguments of `docker` that list all volumes."""


def volumes_of(stack: str) -> tuple[str, ...]:
    """Return the arguments of `docker` that list the volumes of the stack with that prefix."""
    return ("volume", "ls", "--filter", f"label={LABEL_STACK}={stack}", "--format", "{{json .}}")


def volumes(lines: str) -> Mapping[str, Owner]:
    """Return what the answer to `volumes_of` or VOLUMES lists: names, and whom they belong to."""
    return {found["Name"]: Owner.of(_labels(found)) for found in map(json.loads, lines.splitlines())}


def _labels(found: Mapping[str, Any]) -> Mapping[str, str]:
    return dict(label.partition("=")[::2] for label in found["Labels"].split(","))
