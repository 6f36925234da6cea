"""Two stacks share one Docker host."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from testing.docker import free_port
from tests.e2e.stack import DOMAIN, Checkout, Stack

pytestmark = pytest.mark.docker

BUCKET = "an-encrypted-bucket"
"""The name of the second stack's bucket, which is an ordinary setting."""


def test_a_second_stack_lives_beside_the_first_and_recovers_from_a_killed_first_up(
    deployment: Stack, checkout: Checkout
) -> None:
    before = deployment.ids()
    second = Stack(checkout=checkout, name="e2e-second", host=deployment.host)
    second.host.erase(second.prefix)
    checkout.add_stack(
        second.name,
        {
            "edge.domain": DOMAIN,
            "edge.https_port": free_port(),
            "edge.http_port": free_port(),
            # As behind a router that leads from the usual port to ours.
            "edge.public_port": 443,
            # As on a host whose kernel limits no swap: it would report the same.
            "hosts.main.memory_limits": "memory",
            "health.interval_seconds": 2,
            "sign_in": {"mode": "public", "everybody_reads_everything": True},
        },
        without=["speech"],
    )
    try:
        second.pulumi("stack", "init").succeeded()
        second.pulumi("config", "set", "--secret", "--path", "storage.bucket", BUCKET).succeeded()
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
        people_see_the_public_port(second)
        what_was_encrypted_stays_secret(second)
        assert second.planned() == {}
        assert deployment.ids() == before
        assert deployment.broken_wires() == {}
        a_lost_state_is_replaced_on_purpose(second)
        second.run("down").succeeded()
        assert deployment.ids() == before
        assert deployment.edge.ask("GET", "/health").status == 200
    finally:
        second.host.erase(second.prefix)


def a_lost_state_is_replaced_on_purpose(stack: Stack) -> None:
    """Fail unless data whose state is lost are refused, taken over when told so, and no longer open to the old keys."""
    traces = stack.leave_traces()
    lost = {one["urn"].rpartition("::")[2]: one.get("outputs", {}) for one in stack.resources(show_secrets=True)}
    before = stack.ids()
    stack.forget()
    output = stack.run("up").failed().output
    assert "this state knows nothing of it" in output
    assert f"{stack.prefix}-garage-data" in output, "volumes count as well as containers"
    assert f"hosts.main.adopt {lost['host-deployment']['hex']}" in output
    assert stack.ids() == before, "nothing was touched"

    stack.configure({"hosts.main.adopt": lost["host-deployment"]["hex"]})
    stack.up()
    stack.wait_until_healthy()
    assert traces.are_found_in(stack)
    # Hatchet never changes the password of its administrator, whom nobody uses.
    (seed,) = stack.broken_wires().pop("hatchet").values()
    assert "the seed never changes an old one" in seed
    assert stack.broken_wires().keys() == {"hatchet"}
    assert stack.planned(refresh=True) == {}
    old_password = plaintext(lost["postgres-reflector"]["result"])
    assert "password authentication failed" in stack.refusal_of_postgres("reflector", old_password)
    assert stack.refusal_of_postgres("reflector", plaintext(now(stack, "postgres-reflector")["result"])) == ""
    allowed = stack.inside("garage", "/garage", "bucket", "info", BUCKET)
    assert f"GK{plaintext(now(stack, 'garage-key-id')['result'])}" in allowed
    assert f"GK{plaintext(lost['garage-key-id']['result'])}" not in allowed


def now(stack: Stack, name: str) -> dict[str, Any]:
    """Return the outputs of a resource, secrets in the clear but wrapped."""
    (found,) = (one for one in stack.resources(show_secrets=True) if one["urn"].endswith(f"::{name}"))
    outputs: dict[str, Any] = found["outputs"]
    return outputs


def plaintext(secret: Mapping[str, str]) -> str:
    """Return what is in a secret of an export."""
    return str(json.loads(secret["plaintext"]))


def people_see_the_public_port(stack: Stack) -> None:
    """Fail unless URLs have the port people see, and what they lead to is reached by the published one."""
    assert stack.outputs()["url"] == f"https://{DOMAIN}", "443 is not written"
    assert f"Reflector is up: https://{DOMAIN}\n" in stack.console[-1]
    assert stack.outputs()["storage"]["endpoint"] == f"https://s3.{DOMAIN}"
    assert stack.edge.ask_plainly("/x?y=1").headers["location"] == f"https://{DOMAIN}/x?y=1"
    assert 'h3=":443"' in stack.edge.ask("GET", "/health").headers["alt-svc"]
    assert 1 in stack.edge.quic_versions()
    # The same URL of an object is good outside, by the published port, and inside, by the public one.
    assert stack.leave_traces().are_found_in(stack)
    assert stack.wiring("worker")["storage"]["detail"]["presigned_host"] == f"s3.{DOMAIN}"
    headers = {"Origin": f"https://{DOMAIN}", "Access-Control-Request-Method": "PUT"}
    assert stack.edge.ask("OPTIONS", f"/{BUCKET}/any", headers=headers, name=f"s3.{DOMAIN}").status == 200


def what_was_encrypted_stays_secret(stack: Stack) -> None:
    """Fail unless the name of the bucket is used, and shown to nobody who does not ask for secrets."""
    assert stack.outputs()["storage"]["bucket"] == BUCKET
    assert stack.wiring("server")["storage"]["detail"]["bucket"] == BUCKET
    assert BUCKET in stack.pulumi("stack", "export", "--show-secrets").succeeded().output, "the search works"
    assert BUCKET not in stack.pulumi("stack", "export").succeeded().output
    assert BUCKET not in stack.pulumi("stack", "output", "--json").succeeded().output
    assert BUCKET not in stack.run("preview").succeeded().output
    assert not [text for text in stack.console if BUCKET in text]
    assert not [name for name, text in stack.files() if BUCKET in text]


def test_a_stack_that_another_checkout_deployed_is_not_taken_over(deployment: Stack, tmp_path: Path) -> None:
    before = deployment.ids()
    traces = deployment.leave_traces()
    ports = {"edge.https_port": free_port(), "edge.http_port": free_port()}
    other = Checkout(tmp_path / "other")
    same = Stack(checkout=other, name=deployment.name, host=deployment.host)
    other.add_stack(same.name, {"edge.domain": DOMAIN, **ports})

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
