"""Two of anything can stand on one host, and neither knows of the other."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from components.edge.caddy import Caddy
from components.hosts.host import Host
from components.relays.relay import Relay
from testing import building
from testing.building import COMPONENTS, Anchor, Neighbours
from testing.engine import Engine, Registered

ONE, TWO = "alpha", "omega"
PORTS = {ONE: (443, 80), TWO: (8443, 8080)}


MAKE: dict[str, Callable[[str, Neighbours], object]] = {
    **COMPONENTS,
    # Two of these need to be told ports of their own, as two of anything on one address do.
    "Caddy": lambda name, near: Caddy(
        name,
        building.caddy_args(near, public_port=PORTS[name][0], https_port=PORTS[name][0], http_port=PORTS[name][1]),
    ),
    "Relay": lambda name, near: Relay(
        name, building.relay_args(near, service=f"{near.prefix}relay-{name}", port=PORTS[name][0])
    ),
}


def two(make: Callable[[str, Neighbours], object]) -> Engine:
    """Return the record of two, called ONE and TWO, made on one host, each with neighbours of its own."""

    def both(near: Neighbours) -> None:
        for name in (ONE, TWO):
            make(name, Neighbours(host=near.host, ready=Anchor(f"{name}-ready"), prefix=f"{name}-"))

    return building.build(both).engine


def collisions(resources: Sequence[Registered]) -> Iterator[str]:
    """Yield what two resources have that there can be only one of."""
    taken: list[tuple[str, str]] = [("URN", resource.urn) for resource in resources]
    for resource in resources:
        if resource.type in {building.CONTAINER, building.VOLUME, building.NETWORK}:
            taken.append((resource.type, resource.plain("name")))
        if resource.type == building.CONTAINER:
            taken += [
                (f"alias on {network}", alias)
                for network, aliases in building.networks_of(resource).items()
                for alias in aliases
            ]
            ports: list[dict[str, Any]] = resource.plain("ports") if "ports" in resource.inputs else []
            taken += [("port", f"{port['ip']}:{int(port['external'])}/{port['protocol']}") for port in ports]
    yield from (f"{kind}: {name}" for (kind, name), times in Counter(taken).items() if times > 1)


def references(engine: Engine, name: str, other: str) -> list[str]:
    """Return what of the component called `name` knows of `other`: by a name, an address, a secret or a wait."""
    secrets = [building.searchable(value) for owner, value in engine.secrets.items() if other in owner]
    urns = {resource.urn for resource in engine.resources if other in resource.name}
    return [
        resource.name
        for resource in building.below(engine, name)
        if any(sought in resource.text() for sought in (other, *secrets)) or urns & set(resource.request.dependencies)
    ]


@pytest.mark.parametrize("component", sorted(MAKE))
def test_two_of_each_stand_on_one_host_and_know_nothing_of_each_other(component: str) -> None:
    engine = two(MAKE[component])
    assert len(building.below(engine, ONE)) == len(building.below(engine, TWO)) > 0
    assert list(collisions(engine.resources)) == []
    assert references(engine, TWO, ONE) == []
    assert references(engine, ONE, TWO) == []


def test_two_hosts_of_one_stack_have_daemons_of_their_own() -> None:
    addresses = {ONE: "ssh://one@alpha.test", TWO: "ssh://two@omega.test"}
    engine = building.build(
        lambda _: [Host(name, building.host_args(name, address=address)) for name, address in addresses.items()]
    ).engine
    assert references(engine, TWO, ONE) == references(engine, ONE, TWO) == []
    urns = [resource.urn for resource in engine.resources]
    assert len(urns) == len(set(urns))
    for name, address in addresses.items():
        assert engine.named(f"{name}-provider").plain("host") == address
        for network in building.below(engine, name):
            if network.type == building.NETWORK:
                assert f"::{name}-provider::" in network.request.provider, "it would be made on the other host"


def test_two_hosts_have_hooks_of_their_own() -> None:
    engine = building.build(lambda _: [Host(name, building.host_args(name)) for name in (ONE, TWO)]).engine
    assert len([hook for hook in engine.hooks if hook.startswith((ONE, TWO))]) == 8


# --- The rules themselves can fail ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("component", "found"),
    [
        ("Postgres", {"URN", building.CONTAINER, building.VOLUME, "alias on reflector-test-database"}),
        ("Caddy", {"URN", building.CONTAINER, building.VOLUME, "alias on reflector-test-application", "port"}),
    ],
)
def test_two_of_the_same_names_are_found(component: str, found: set[str]) -> None:
    def make(name: str, near: Neighbours) -> None:
        usual = Neighbours(host=near.host, ready=near.ready)
        COMPONENTS[component]("same", usual)

    collided = {collision.rpartition(": ")[0].split(": ")[0] for collision in collisions(two(make).resources)}
    assert found <= collided


def relay(name: str, near: Neighbours, port: int) -> Relay:
    """Return a relay."""
    return Relay(name, building.relay_args(near, service=f"{near.prefix}relay-{name}", port=port))


def test_ports_taken_twice_are_found() -> None:
    engine = two(lambda name, near: relay(name, near, 3478))
    assert list(collisions(engine.resources)) == ["port: 127.0.0.1:3478/tcp"]


def test_one_that_uses_what_is_the_others_is_found() -> None:
    engine = two(
        lambda name, near: relay(name, Neighbours(host=near.host, ready=Anchor(f"{ONE}-{name}"), prefix=f"{ONE}-"), 1)
    )
    assert set(references(engine, TWO, ONE)) == {f"{TWO}-container", f"{TWO}-config", f"{TWO}-release"}
