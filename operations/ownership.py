"""Whose things are on a Docker host: what is in the way of this state, and how it takes over what another left."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from components.base.ownership import Owner
from operations.listing import Listing
from settings import Problem, Settings

_UNMARKED: Final = "0" * 16
"""Adopts what an earlier release left, whose volumes say nothing of their deployment."""


def problems(
    settings: Settings, listings: Iterable[Listing], volumes: Mapping[str, Owner], deployment: str
) -> Iterator[Problem]:
    """Yield what keeps this state, which marks what it makes with `deployment` (empty: none yet), off the host.

    `volumes` are those of a stack of this name, if the state has none itself.
    """
    adopted = settings.host.adopt or ""
    if adopted and deployment and adopted != deployment:
        yield Problem(
            setting="hosts.main.adopt",
            given=f"{adopted}, while this state has a deployment of its own, {deployment}",
            allowed="a deployment for a state that has none",
            remedy="Remove it: pulumi config rm --path hosts.main.adopt",
        )
        return
    own = deployment or adopted
    theirs = {
        **{one.name: one.owner for one in listings if one.owner.stack == settings.prefix},
        # Those of an earlier release are not marked, and belong to whoever has a deployment at all.
        **{name: owner for name, owner in volumes.items() if owner.deployment or not own},
    }
    foreign = {name: owner for name, owner in theirs.items() if owner.deployment != own or not own}
    if not foreign:
        return
    marks = sorted({owner.deployment for owner in foreign.values()} - {""}) or [_UNMARKED]
    yield Problem(
        setting="STACK",
        given=f"a stack of this name is on {settings.host.address} already, and this state knows nothing of it: "
        + ", ".join(sorted(foreign)),
        allowed="a stack this checkout or backend has deployed itself, or a name nobody else uses",
        remedy="Go on where it was deployed, or use another stack name; if its state is lost, take it over: "
        f"pulumi config set --path hosts.main.adopt {' or '.join(marks)} (docs/deploy.md)",
    )


def name_problems(settings: Settings, listings: Iterable[Listing]) -> Iterator[Problem]:
    """Yield each container of somebody else that has a name this stack needs."""
    names = {f"{settings.prefix}-{service}" for service in settings.services}
    for listing in listings:
        if listing.name in names and listing.owner.stack != settings.prefix:
            yield Problem(
                setting="STACK",
                given=f"the container {listing.name} on {settings.host.address} is not this stack's",
                allowed="names nobody else uses",
                remedy=f"Remove it (docker rm {listing.name}), or use another stack name",
            )
