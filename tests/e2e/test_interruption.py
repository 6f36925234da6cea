"""A killed run loses nothing, and the next one finishes what it began."""

import pytest

from tests.e2e.docker_host import Events
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker


@pytest.mark.parametrize(
    ("service", "moment"),
    [
        # The old one is on its way out, and may hold the only open handle on its volume.
        ("garage", "kill"),
        # Created, not yet started: it holds the name, and the state knows nothing of it.
        ("postgres", "create"),
        # Running, not yet healthy.
        ("server", "start"),
    ],
)
def test_up_recovers_from_being_killed(deployment: Stack, events: Events, service: str, moment: str) -> None:
    traces = deployment.leave_traces()
    before = deployment.outputs()
    limits = deployment.settings()["memory_mib"]
    deployment.configure(memory_mib={**limits, service: limits[service] + 16})

    run = deployment.start("up")
    events.wait_for(moment, service, timeout_seconds=120)
    assert not run.is_over
    assert run.kill() >= 5  # the engine, the program and the plugins

    output = deployment.up()
    assert "interrupted" in output, output
    deployment.wait_until_healthy()
    assert deployment.containers()[service]["HostConfig"]["Memory"] == (limits[service] + 16) * 1024 * 1024
    assert deployment.outputs() == before
    assert traces.are_found_in(deployment)
    assert deployment.broken_wires() == {}
    assert deployment.planned(refresh=True) == {}


def test_up_recovers_when_only_the_engine_is_killed(deployment: Stack, events: Events) -> None:
    # Its plugins live on for a while and finish what they are at, behind its back.
    before = deployment.ids()
    limits = deployment.settings()["memory_mib"]
    deployment.configure(memory_mib={**limits, "web": limits["web"] + 16})

    run = deployment.start("up")
    events.wait_for("create", "web", timeout_seconds=120)
    run.kill_only("pulumi")
    assert run.finish(60).status != 0

    deployment.up()
    run.kill()
    deployment.wait_until_healthy()
    after = deployment.ids()
    assert {service for service in before if before[service] != after[service]} == {"web"}
    assert deployment.broken_wires() == {}
    assert deployment.planned(refresh=True) == {}
