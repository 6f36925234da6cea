"""Two stacks share one Docker host."""

from pathlib import Path

import pytest

from tests.e2e.stack import DOMAIN, Checkout, Stack, free_port

pytestmark = pytest.mark.docker


def test_a_second_stack_lives_beside_the_first_and_recovers_from_a_killed_first_up(
    deployment: Stack, checkout: Checkout
) -> None:
    before = deployment.ids()
    second = Stack(checkout=checkout, name="e2e-second", host=deployment.host)
    second.host.erase(second.prefix)
    checkout.add_stack(
        second.name,
        {
            "domain": DOMAIN,
            "https_port": str(free_port()),
            "http_port": str(free_port()),
            "health_interval_seconds": "2",
            "llm": "none",
            "authentication": "none",
        },
        without=["transcription", "llm_model"],
    )
    try:
        # Killed while its database is made for the first time, with passwords nobody has seen yet.
        with second.host.events(second.prefix) as events:
            run = second.start("up")
            events.wait_for("start", "postgres", timeout_seconds=300)
            run.kill()
        second.up()
        second.wait_until_healthy()
        assert second.broken_wires() == {}
        assert second.containers().keys() == second.services
        assert "admin_password" not in second.outputs()  # nobody logs in
        # Each has an authority of its own, and answers on its own ports.
        assert second.outputs()["ca_certificate"] != deployment.outputs()["ca_certificate"]
        assert second.edge.ask("GET", "/health").status == 200
        assert deployment.edge.ask("GET", "/health").status == 200
        assert deployment.ids() == before
        assert deployment.broken_wires() == {}
        second.run("down").succeeded()
        assert deployment.ids() == before
        assert deployment.edge.ask("GET", "/health").status == 200
    finally:
        second.host.erase(second.prefix)


def test_a_stack_that_another_checkout_deployed_is_not_taken_over(deployment: Stack, tmp_path: Path) -> None:
    before = deployment.ids()
    traces = deployment.leave_traces()
    ports = {"https_port": str(free_port()), "http_port": str(free_port())}
    other = Checkout(tmp_path / "other")
    same = Stack(checkout=other, name=deployment.name, host=deployment.host)
    other.add_stack(same.name, {"domain": DOMAIN, **ports, "llm": "none"}, without=["llm_model"])

    output = same.run("up").failed().output
    assert "a stack of this name is on" in output
    assert f"{deployment.prefix}-postgres" in output
    assert not same.checkpoint.exists()

    # The engine itself, without the checks of `make up`, finds out when it is about to make the first network.
    same.pulumi("stack", "init").succeeded()
    output = same.pulumi("up", "--yes", "--skip-preview", timeout_seconds=600).failed().output
    assert "already runs a stack of this name that another state knows" in output

    assert deployment.ids() == before
    assert len(deployment.host.ids("network", deployment.prefix)) == 4
    assert deployment.planned(refresh=True) == {}
    assert deployment.broken_wires() == {}
    assert traces.are_found_in(deployment)
