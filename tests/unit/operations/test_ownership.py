"""Whose things are on a host, and how a state takes over what another one left."""

import pytest

from operations import checks
from settings import Settings
from testing.docker import free_port
from tests.unit.operations.stand_ins import Docker, listed, listed_volume, settings_of

STACK = "reflector-test"
OWN, OTHER = "12ab12ab12ab12ab", "fedcba9876543210"


def settings(adopt: str | None = None) -> Settings:
    """Return the settings of a stack that adopts a deployment, or none."""
    more = {"hosts": {"main": {"adopt": adopt}}} if adopt else {}
    return settings_of(free_port(), free_port(), **more)


def problems(deployment: str, adopt: str | None = None) -> list[str]:
    """Return what keeps a state off the host."""
    resources = [{"urn": "urn::host-deployment", "type": "", "outputs": {"hex": deployment}}] if deployment else []
    return [f"{one}" for one in checks.look_at_host(settings(adopt), resources).problems]


def refusal(things: str, marks: str) -> str:
    """Return what is said where somebody else's things are there."""
    return (
        "STACK: a stack of this name is on unix:///var/run/docker.sock already, and this state knows nothing of it: "
        f"{things}; allowed: a stack this checkout or backend has deployed itself, or a name nobody else uses. Go on "
        "where it was deployed, or use another stack name; if its state is lost, take it over: "
        f"pulumi config set --path hosts.main.adopt {marks} (docs/deploy.md)"
    )


def test_data_of_a_lost_state_is_not_taken_over_without_a_word(docker: Docker) -> None:
    docker(volumes=listed_volume("reflector-test-postgres", STACK, OTHER))
    assert problems("") == [refusal("reflector-test-postgres", OTHER)]
    assert problems(OWN) == [refusal("reflector-test-postgres", OTHER)]


def test_data_of_a_lost_state_is_taken_over_on_purpose(docker: Docker) -> None:
    docker(volumes=listed_volume("reflector-test-postgres", STACK, OTHER))
    assert problems("", adopt=OTHER) == []
    assert problems(OTHER, adopt=OTHER) == [], "the setting may stay"
    assert problems("", adopt=OWN) == [refusal("reflector-test-postgres", OTHER)]


def test_what_still_runs_of_a_lost_state_is_taken_over_with_its_data(docker: Docker) -> None:
    docker(
        listed("reflector-test-web", "", STACK, OTHER), volumes=listed_volume("reflector-test-postgres", STACK, OTHER)
    )
    assert problems("") == [refusal("reflector-test-postgres, reflector-test-web", OTHER)]
    assert problems("", adopt=OTHER) == []


def test_data_of_an_earlier_release_is_taken_over_too(docker: Docker) -> None:
    docker(volumes=listed_volume("reflector-test-postgres", STACK))
    assert problems("") == [refusal("reflector-test-postgres", "0000000000000000")]
    assert problems("", adopt="0000000000000000") == []
    assert problems(OWN) == [], "a state with a deployment has made them itself, before they were marked"


def test_each_of_several_deployments_is_named(docker: Docker) -> None:
    docker(volumes=listed_volume("a", STACK, OTHER) + listed_volume("b", STACK, OWN))
    assert problems("") == [refusal("a, b", f"{OWN} or {OTHER}")]


def test_a_state_with_a_deployment_of_its_own_adopts_none(docker: Docker) -> None:
    docker()
    assert problems(OWN, adopt=OTHER) == [
        f"hosts.main.adopt: {OTHER}, while this state has a deployment of its own, {OWN}; "
        "allowed: a deployment for a state that has none. Remove it: pulumi config rm --path hosts.main.adopt"
    ]


@pytest.mark.parametrize("deployment", ["", OWN])
def test_volumes_of_nobody_are_in_nobodys_way(docker: Docker, deployment: str) -> None:
    docker()
    assert problems(deployment) == []
