"""What of a stack is gone, stopped or broken, as told by one listing of the daemon."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operations import checks
from operations.checks import Found
from operations.healing import CONTAINER_TYPE, NETWORK_TYPE, VOLUME_TYPE, flags
from operations.listing import containers, volumes
from testing.docker import free_port
from tests.unit.operations.stand_ins import OLDER, Docker, asked, listed, listed_volume, settings_of

STACK = "reflector-test"
OWN = "12ab12ab12ab12ab"
NETWORK = f"{STACK}-application"


def container(service: str, **more: object) -> dict[str, Any]:
    """Return a container as the state has it."""
    name = f"{STACK}-{service}"
    return {
        "urn": f"urn::{service}",
        "type": CONTAINER_TYPE,
        "id": name.upper(),
        "outputs": {"name": name, "networksAdvanced": [{"name": NETWORK}]},
        **more,
    }


def made(type_: str, name: str) -> dict[str, Any]:
    """Return a network or a volume as the state has it."""
    return {"urn": f"urn::{name}", "type": type_, "id": f"id-of-{name}", "outputs": {"name": f"{STACK}-{name}"}}


DEPLOYMENT = {"urn": "urn::host-deployment", "type": "random:index/randomId:RandomId", "outputs": {"hex": OWN}}
STATE = [
    DEPLOYMENT,
    container("web"),
    container("server"),
    made(NETWORK_TYPE, "application"),
    made(VOLUME_TYPE, "data"),
]
THERE = {"networks": "id-of-application\n", "volumes": listed_volume(f"{STACK}-data", STACK, OWN)}


def line(service: str, **more: Any) -> str:
    """Return what `docker ps` says of a container of the stack that is as it should be, but for `more`."""
    return listed(f"{STACK}-{service}", "", STACK, OWN, **{"networks": NETWORK, **more})


def look(resources: list[dict[str, Any]] | None, ask: Callable[[], list[dict[str, Any]]] = list) -> Found:
    """Return what a look at the host finds."""
    return checks.look_at_host(settings_of(free_port(), free_port()), resources, ask=ask)


def damage(resources: list[dict[str, Any]] | None, ask: Callable[[], list[dict[str, Any]]] = list) -> list[str]:
    """Return what is damaged."""
    found = look(resources, ask)
    assert found.problems == []
    return [f"{one.urn}: {one}" for one in found.damage]


def questions(log: Path) -> list[str]:
    """Return what the daemon was asked for."""
    return [" ".join(call.split()[:2]) for call in asked(log)]


def test_a_stack_that_works_costs_one_listing(docker: Docker) -> None:
    log = docker(line("web") + line("server"), **THERE)
    assert damage(STATE) == []
    assert sorted(questions(log)) == ["info --format", "ps --all", "version --format"]


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"state": "exited", "status": "Exited (137) 2 minutes ago"}, "does not run (exited)"),
        ({"state": "created", "status": "Created"}, "does not run (created)"),
        ({"state": "restarting", "status": "Restarting (1) 3 seconds ago"}, "does not run (restarting)"),
        ({"state": "paused", "status": "Up 2 hours (Paused)"}, "does not run (paused)"),
        ({"state": "dead", "status": "Dead"}, "does not run (dead)"),
        ({"status": "Up 2 hours (unhealthy)"}, "is unhealthy"),
        ({"networks": "bridge"}, f"is cut off from {NETWORK}"),
    ],
)
def test_a_container_that_does_not_work_is_made_again(docker: Docker, how: dict[str, str], what: str) -> None:
    docker(line("web", **how) + line("server"), **THERE)
    assert damage(STATE) == [f"urn::web: {STACK}-web {what}"]


@pytest.mark.parametrize("status", ["Up 3 seconds (health: starting)", "Up 2 hours", "Up About a minute (healthy)"])
def test_a_container_that_starts_or_works_is_left_alone(docker: Docker, status: str) -> None:
    docker(line("web", status=status) + line("server"), **THERE)
    assert damage(STATE) == []


def test_a_container_that_was_removed_or_made_by_hand_is_made_again(docker: Docker) -> None:
    docker(line("web"), **THERE)
    assert damage(STATE) == [f"urn::server: {STACK}-server is gone"]
    docker(line("web") + line("server").replace('"ID": "REFLECTOR-TEST-SERVER"', '"ID": "ANOTHER"'), **THERE)
    assert damage(STATE) == [f"urn::server: {STACK}-server is gone"], "of that name, and not the one that was made"


def test_what_is_only_on_its_way_out_is_not_missed(docker: Docker) -> None:
    docker(line("web"), **THERE)
    assert damage([DEPLOYMENT, container("web"), container("server", delete=True)]) == []


def test_a_network_that_is_gone_is_found_by_the_containers_that_miss_it(docker: Docker) -> None:
    docker(line("web", networks="") + line("server"), volumes=THERE["volumes"])
    assert damage(STATE) == [
        f"urn::web: {STACK}-web is cut off from {NETWORK}",
        f"urn::application: {STACK}-application is gone",
    ]


def test_a_volume_that_is_gone_is_said_before_an_empty_one_takes_its_place(docker: Docker) -> None:
    docker()
    down = [one for one in STATE if one["type"] != CONTAINER_TYPE]
    assert damage(down) == [f"urn::data: {STACK}-data is gone, with all that was in it"]
    docker(**THERE)
    assert damage(down) == []
    docker(line("web"), networks=THERE["networks"])
    assert damage(STATE) == [
        f"urn::server: {STACK}-server is gone",
        f"urn::data: {STACK}-data is gone, with all that was in it",
    ]


def test_a_volume_that_somebody_brought_back_without_our_labels_is_there(docker: Docker) -> None:
    docker(line("web"), networks=THERE["networks"], volumes=json.dumps({"Name": f"{STACK}-data", "Labels": ""}))
    assert damage(STATE) == [f"urn::server: {STACK}-server is gone"]


@pytest.mark.parametrize("refresh", [False, True])
def test_what_the_engine_will_see_to_be_gone_is_not_named_to_it(docker: Docker, refresh: bool) -> None:
    # It refuses a name that its own look has taken out of the state.
    volumes = "" if not refresh else THERE["volumes"]
    docker(line("web", networks=""), volumes=volumes)
    assert flags(look(STATE).damage, refresh=refresh) == ["--refresh", "--replace", "urn::web"]


def test_without_a_look_of_the_engine_all_is_named_to_it(docker: Docker) -> None:
    docker(line("web", networks=""), volumes=THERE["volumes"])
    named = ["--replace", "urn::web", "--replace", "urn::server", "--replace", "urn::application"]
    assert flags(look(STATE).damage, refresh=False) == named


def test_a_stack_that_was_never_made_has_no_damage(docker: Docker) -> None:
    docker()
    assert damage([]) == []
    assert damage(None) == []


def test_a_state_elsewhere_is_only_asked_for_when_something_looks_wrong(docker: Docker) -> None:
    def never() -> list[dict[str, Any]]:
        raise AssertionError("asking the engine takes as long as all other checks together")

    services = sorted(settings_of(443, 80).services)
    whole = "".join(line(service) for service in services)
    docker(whole, version=OLDER, **THERE)
    assert damage(None, never) == []
    docker("", version=OLDER)
    assert damage(None, never) == [], "taken down"
    docker(whole.replace("(healthy)", "(unhealthy)", 1), version=OLDER, **THERE)
    state = [container(service) for service in services]
    assert damage(None, lambda: state) == [f"urn::{services[0]}: {STACK}-{services[0]} is unhealthy"]
    docker("".join(line(service) for service in services[1:]), version=OLDER, **THERE)
    assert damage(None, lambda: state) == [f"urn::{services[0]}: {STACK}-{services[0]} is gone"]


def test_volumes_of_modes_that_are_off_are_those_no_container_has(docker: Docker) -> None:
    log = docker(volumes=listed_volume("b", STACK, OWN) + listed_volume("a", STACK))
    assert checks.forgotten_volumes(settings_of(443, 80)) == ["a", "b"]
    assert asked(log) == [
        f"volume ls --filter label=org.reflector.stack={STACK} --format {{{{json .}}}} --filter dangling=true"
    ]


def test_a_listing_is_read_as_docker_writes_it() -> None:
    (starting,) = containers(listed("x", status="Up 3 seconds (health: starting)", networks="a,b"))
    assert (starting.health, starting.works) == ("starting", True)
    assert starting.networks == {"a", "b"}
    (ended,) = containers(listed("x", state="exited", status="Exited (0) 2 hours ago"))
    assert (ended.health, ended.works) == ("", False)
    assert volumes(listed_volume("v", STACK, OWN))["v"].deployment == OWN
