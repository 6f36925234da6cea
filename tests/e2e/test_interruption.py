"""A killed run loses nothing, and the next one finishes what it began."""

import pytest

from tests.e2e import chaos
from tests.e2e.docker_host import Events
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker


@pytest.mark.parametrize(
    ("service", "concern", "moment"),
    [
        # The old one is on its way out, and may hold the only open handle on its volume.
        ("garage", "storage", "kill"),
        # Created, not yet started: it holds the name, and the state knows nothing of it.
        ("postgres", "data.postgres", "create"),
        # Running, not yet healthy.
        ("server", "application.server", "start"),
    ],
)
def test_up_recovers_from_being_killed(
    deployment: Stack, events: Events, service: str, concern: str, moment: str
) -> None:
    traces = deployment.leave_traces()
    before = deployment.outputs()
    limit = deployment.setting(f"{concern}.memory_mib") + 16
    deployment.configure({f"{concern}.memory_mib": limit})

    run = deployment.start("up")
    events.wait_for(moment, service, timeout_seconds=120)
    assert not run.is_over
    assert run.kill() >= 5  # the engine, the program and the plugins

    output = deployment.up()
    assert "interrupted" in output, output
    deployment.wait_until_healthy()
    assert deployment.containers()[service]["HostConfig"]["Memory"] == limit * 1024 * 1024
    assert deployment.outputs() == before
    assert traces.are_found_in(deployment)
    assert deployment.broken_wires() == {}
    assert deployment.planned(refresh=True) == {}


def test_up_recovers_when_only_the_engine_is_killed(deployment: Stack, events: Events) -> None:
    # Its plugins live on for a while and finish what they are at, behind its back.
    before = deployment.ids()
    limit = deployment.setting("application.web.memory_mib") + 16
    deployment.configure({"application.web.memory_mib": limit})

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


def test_of_two_at_once_one_goes_on_and_the_other_says_who_is_at_work(deployment: Stack) -> None:
    limit = deployment.setting("application.web.memory_mib") + 16
    deployment.configure({"application.web.memory_mib": limit})
    runs = [deployment.start("up"), deployment.start("up")]
    ended = sorted((run.finish(300) for run in runs), key=lambda finished: finished.status)
    assert [finished.status for finished in ended] == [0, 1]
    (line,) = ended[1].output.splitlines()
    assert line.startswith(f"error: The stack {deployment.name} is in use by ")
    assert deployment.containers()["web"]["HostConfig"]["Memory"] == limit * 1024 * 1024
    deployment.wait_until_healthy()
    assert deployment.planned(refresh=True) == {}


def test_a_state_that_was_cut_off_is_brought_back(deployment: Stack) -> None:
    before = deployment.outputs()
    chaos.cut_off(deployment.checkpoint)
    (line,) = deployment.run("up").failed().output.splitlines()
    assert line.startswith(
        f"error: The state of the stack {deployment.name} is damaged: {deployment.checkpoint} is cut"
    )
    said = deployment.run("recover").succeeded().output
    assert "lost" not in said
    assert deployment.planned(refresh=True) == {}
    assert deployment.outputs() == before
