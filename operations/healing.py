"""What of a stack is gone, stopped or broken on its host, and is made again by the next run.

The engine itself looks only when it is asked to refresh, at everything and for many seconds. What the daemon lists
anyway is enough to tell; whatever is found is replaced by its URN in the same run.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from operations.listing import Listing

IMAGE_TYPE: Final = "docker:index/remoteImage:RemoteImage"
CONTAINER_TYPE: Final = "docker:index/container:Container"
NETWORK_TYPE: Final = "docker:index/network:Network"
VOLUME_TYPE: Final = "docker:index/volume:Volume"

Resource = Mapping[str, Any]
"""A resource as it is in the state."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Something of the stack that is not as the state has it."""

    urn: str
    type: str
    name: str
    """On the host."""
    what: str
    """What is wrong with it, after its name: `is gone`."""
    is_gone: bool = False
    """Whether there is nothing left of it on the host."""

    def __str__(self) -> str:
        return f"{self.name} {self.what}"


def of_type(resources: Iterable[Resource], type_: str) -> list[Resource]:
    """Return the resources of one type that are there, and not only on their way out."""
    return [one for one in resources if one.get("type") == type_ and not one.get("delete")]


def damaged_containers(resources: Iterable[Resource], listings: Iterable[Listing]) -> Iterator[Damage]:
    """Yield each container of the state that is not there or does not work."""
    there = {listing.id: listing for listing in listings}
    for resource in of_type(resources, CONTAINER_TYPE):
        outputs = resource["outputs"]
        listing = there.get(resource["id"])
        # A container that is starting is given the time its health check allows.
        if listing is None:
            what = "is gone"
        elif listing.state != "running":
            what = f"does not run ({listing.state})"
        elif not listing.works:
            what = "is unhealthy"
        elif missing := {network["name"] for network in outputs["networksAdvanced"]} - listing.networks:
            what = f"is cut off from {', '.join(sorted(missing))}"
        else:
            continue
        yield _damage(resource, what, is_gone=listing is None)


def missing_networks(resources: Iterable[Resource], ids: Collection[str]) -> Iterator[Damage]:
    """Yield each network of the state that is not among the `ids` on the host. Containers follow one made anew."""
    for resource in of_type(resources, NETWORK_TYPE):
        if resource["id"] not in ids:
            yield _damage(resource, "is gone", is_gone=True)


def missing_volumes(resources: Iterable[Resource], names: Collection[str]) -> Iterator[Damage]:
    """Yield each volume of the state that is not among the `names` on the host."""
    for resource in of_type(resources, VOLUME_TYPE):
        if resource["outputs"]["name"] not in names:
            yield _damage(resource, "is gone, with all that was in it", is_gone=True)


def flags(damage: Iterable[Damage], *, refresh: bool) -> list[str]:
    """Return what makes the engine mend all of it in one run; with `refresh` it looks at everything else as well."""
    damage = list(damage)
    # Most volumes are protected: the engine replaces none, and has to see that it is no more.
    look = refresh or any(one.type == VOLUME_TYPE for one in damage)
    # What it sees to be gone is none of its resources any more, and made anew without being named, which it refuses.
    replaced = [part for one in damage if not (look and one.is_gone) for part in ("--replace", one.urn)]
    return [*(["--refresh"] if look else []), *replaced]


def _damage(resource: Resource, what: str, *, is_gone: bool) -> Damage:
    name = resource["outputs"]["name"]
    return Damage(urn=resource["urn"], type=resource["type"], name=name, what=what, is_gone=is_gone)


def is_up(resources: Sequence[Resource]) -> bool:
    """Return whether the stack is deployed, as opposed to taken down or never made."""
    return bool(of_type(resources, CONTAINER_TYPE))
