"""The root of the stack is rolled over in four steps while people use the edge, and they do not notice."""

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.e2e.edge import Listener, Visitor
from tests.e2e.processes import Run
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

PROVIDERS = ("pulumi:providers:pulumi", "pulumi:providers:tls")
"""Which the engine adds by itself as it runs."""
AT = "pki.authorities.stack.generations"


def generations(**states: str) -> Mapping[str, object]:
    return {AT: {name: {"mode": "created", "state": state} for name, state in states.items()}}


def held(stack: Stack) -> Mapping[str, object]:
    """Return what the state says of each resource that is something, in whatever order it stands there."""
    resources = stack.resources(show_secrets=True)  # encrypted anew, each looks like another
    # A component without inputs holds nothing.
    kept = [one for one in resources if one["type"] not in PROVIDERS and (one.get("id") or one.get("inputs"))]
    return {one["urn"]: (one.get("id"), one.get("inputs")) for one in kept}


def wait_until_written(stack: Stack, run: Run) -> None:
    """Wait until a run has begun to change something, which it writes into the state first."""
    deadline = time.monotonic() + 120
    while not re.search(rb'"type": *"creating"', stack.checkpoint.read_bytes()):
        assert not run.is_over, f"it ended before it changed anything: {run.output()}"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_jump_is_refused_by_the_engine_alone_in_a_preview_and_without_one_and_nothing_is_touched(
    deployment: Stack,
) -> None:
    before = held(deployment)
    file = deployment.checkout.stack_file(deployment.name)
    text = file.read_text(encoding="utf-8")
    deployment.settled = False
    for command, states, said in (
        (
            ("preview",),
            {"g1": "trusted", "g2": "active"},
            f"{AT}.g2.state: active, and it was never deployed; allowed: trusted",
        ),
        (
            ("up", "--yes", "--skip-preview"),
            {"g1": "retired", "g2": "active"},
            f"{AT}.g1.state: retired, and it is deployed as active; allowed: trusted",
        ),
    ):
        deployment.checkout.configure(deployment.name, generations(**states))
        assert said in deployment.pulumi(*command).failed().output
    file.write_text(text, encoding="utf-8")
    assert held(deployment) == before
    # Without a preview the component of the generation that was refused is in the state, with nothing in it.
    deployment.up()
    assert held(deployment) == before
    deployment.settled = True


def test_the_root_is_rolled_over_there_and_back_and_the_edge_answers_all_the_time(
    deployment: Stack, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """There and back, so that the shared stack ends as it was."""
    file = deployment.checkout.stack_file(deployment.name)
    text = file.read_text(encoding="utf-8")
    deployment.settled = False
    first = deployment.outputs()["ca_certificate"]

    def step(**states: str) -> str:
        deployment.checkout.configure(deployment.name, generations(**states))
        deployment.up()
        told: str = deployment.outputs()["ca_certificate"]
        return told

    both = step(g1="active", g2="trusted")
    assert both.startswith(first)
    assert both.count("BEGIN CERTIFICATE") == 2
    deployment.__dict__.pop("edge", None)  # of somebody who was told of both
    page = "/v1/config"
    digest = hashlib.sha256(deployment.edge.ask("GET", page).body).hexdigest()
    pages = [Visitor(deployment.edge, page, digest, keep_alive=keep_alive) for keep_alive in (False, True)]
    visitors = [*pages, Listener(deployment.edge, deployment.log_in())]
    containers = deployment.ids()
    for visitor in visitors:
        visitor.start()
    # Killed while it is at the leaf, which has an issuer already that the record of what is deployed does not know.
    deployment.checkout.configure(deployment.name, generations(g1="trusted", g2="active"))
    killed = deployment.start("up")
    wait_until_written(deployment, killed)
    killed.kill()
    assert step(g1="trusted", g2="active") == both
    assert "interrupted" in deployment.console[-1]
    assert deployment.planned() == {}
    assert deployment.broken_wires() == {}
    elsewhere = tmp_path / "elsewhere.pem"
    connection = deployment.edge.connect()
    elsewhere.write_text(connection.certificate_pem, encoding="ascii")
    connection.close()
    assert step(g1="active", g2="trusted") == both
    traffic = [visitor.stop() for visitor in visitors]
    requests = sum(one.requests for one in traffic)
    record_property("requests", requests)
    failures = [failure for one in traffic for failure in one.failures]
    assert failures == [], f"{len(failures)} of {requests} requests failed"
    assert len(pages[0].traffic.serials) >= 2
    assert deployment.ids() == containers, "who trusts both before and after is left alone"

    # What the second root has signed is taken for somebody else's, whom nobody here issues another for.
    external = {"mode": "external", "certificate_file": str(elsewhere)}
    retired = {**generations(g1="active", g2="retired"), "pki.certificates.elsewhere": external}
    deployment.checkout.configure(deployment.name, retired)
    said = f"{AT}.g2.state: retired, and it has signed pki.certificates.elsewhere; allowed: trusted as long as"
    for refused in (deployment.pulumi("preview"), deployment.run("up")):
        assert refused.status != 0
        assert said in refused.output
    deployment.checkout.configure(deployment.name, {}, without=["pki.certificates.elsewhere"])
    assert step(g1="active", g2="retired") == first
    file.write_text(text, encoding="utf-8")
    deployment.up()
    assert not [one for one in deployment.resources() if "::authority-2" in one["urn"]]
    deployment.__dict__.pop("edge", None)
    assert deployment.edge.ask("GET", page).status == 200
    assert deployment.broken_wires() == {}
    deployment.settled = True


def test_make_up_refuses_a_jump_before_the_engine_is_asked(deployment: Stack) -> None:
    """So that not even an empty component of the refused generation is left, as by the engine alone."""
    before = [one["urn"] for one in deployment.resources()]
    file = deployment.checkout.stack_file(deployment.name)
    text = file.read_text(encoding="utf-8")
    deployment.settled = False
    deployment.checkout.configure(deployment.name, generations(g1="trusted", g2="active"))
    refused = deployment.run("up").failed()
    file.write_text(text, encoding="utf-8")
    assert f"{AT}.g2.state: active, and it was never deployed; allowed: trusted" in refused.output
    assert [one["urn"] for one in deployment.resources()] == before
    deployment.settled = True
