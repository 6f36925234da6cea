"""Two stacks share one Docker host."""

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
