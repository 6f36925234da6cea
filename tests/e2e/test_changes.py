"""A changed setting touches what it must and nothing else."""

import base64
import json

import pytest

from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

BACKEND = {"server", "worker", "beat", "hatchet-worker-llm"}


def replaced(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Return the services whose container is another one."""
    assert before.keys() == after.keys()
    return {service for service in before if before[service] != after[service]}


def who(stack: Stack) -> str:
    """Return the account the administrator logs in to: everything he owns hangs on it."""
    claims = stack.log_in()["Authorization"].split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"])


def test_another_address_of_the_administrator_is_the_same_person(deployment: Stack) -> None:
    before, traces = who(deployment), deployment.leave_traces()
    old = deployment.outputs()
    deployment.configure({"sign_in": {"mode": "password", "admin_email": "else@reflector.test"}})
    deployment.up()
    assert deployment.outputs()["admin_email"] == "else@reflector.test"
    assert who(deployment) == before
    assert traces.are_found_in(deployment)
    assert deployment.edge.log_in(old["admin_email"], old["admin_password"]).status == 401, "nobody has it any more"
    deployment.configure({"sign_in": {"mode": "password"}})
    deployment.up()
    assert who(deployment) == before
    assert "another address" in deployment.host.logs(f"{deployment.prefix}-server")


def test_another_language_model_replaces_the_backend_only(deployment: Stack) -> None:
    before = deployment.ids()
    model = "tiny-next" if deployment.setting("language_model.model") == "tiny" else "tiny"
    deployment.configure({"language_model.model": model})
    planned = deployment.planned()
    assert planned.keys() == {"ollama-model", *(f"reflector-{role}" for role in BACKEND)}
    deployment.up()
    assert replaced(before, deployment.ids()) == BACKEND
    deployment.wait_until_healthy()
    assert deployment.wiring("server")["llm"]["detail"]["model"] == model
    assert deployment.outputs()["llm"]["model"] == model
    assert f"{model}:latest" in deployment.inside("ollama", "ollama", "list")


def test_another_hatchet_keeps_the_token_its_workers_have(deployment: Stack) -> None:
    before = deployment.ids()
    deployment.configure({"workflow.memory_mib": 320})
    deployment.up()
    assert replaced(before, deployment.ids()) == {"hatchet"}, "a token Hatchet still accepts is not minted again"
    deployment.wait_until_healthy()
    assert deployment.broken_wires() == {}


def test_a_token_that_hatchet_no_longer_accepts_is_minted_again(deployment: Stack) -> None:
    before = deployment.ids()
    deployment.inside("hatchet", "rm", "/config/server.yaml")  # its keys, which it makes anew
    deployment.configure({"workflow.memory_mib": 352})
    deployment.up()
    assert replaced(before, deployment.ids()) == {"hatchet", *BACKEND}
    deployment.wait_until_healthy()
    assert deployment.broken_wires() == {}


def test_another_name_of_the_edge_reaches_the_certificate_and_the_routes_only(deployment: Stack) -> None:
    before = deployment.containers()
    serial = served_serial(deployment)
    name = "extra.reflector.test"
    names = [*deployment.setting("edge.extra_names"), f"DNS:{name}", "IP:192.0.2.7"]
    deployment.configure({"edge.extra_names": names})
    planned = deployment.planned()
    assert planned.keys() == {"edge-certificate-1-request", "edge-certificate-1-certificate", "caddy-release"}
    assert planned["caddy-release"] == "update"
    deployment.up()
    after = deployment.containers()
    assert {s: (c["Id"], c["State"]["StartedAt"]) for s, c in after.items()} == {
        s: (c["Id"], c["State"]["StartedAt"]) for s, c in before.items()
    }
    assert served_serial(deployment) != serial
    for added in (name, "192.0.2.7"):
        assert deployment.edge.ask("GET", "/health", name=added).status == 200
    (entry,) = (entry for entry in deployment.outputs()["pki_inventory"] if entry["kind"] == "server")
    assert {f"DNS:{name}", "IP:192.0.2.7"} <= set(entry["names"])


def test_another_memory_limit_replaces_that_container_only(deployment: Stack) -> None:
    before = deployment.ids()
    deployment.configure({"application.web.memory_mib": 300})
    deployment.up()
    assert replaced(before, deployment.ids()) == {"web"}
    assert deployment.containers()["web"]["HostConfig"]["Memory"] == 300 * 1024 * 1024


def served_serial(stack: Stack) -> str:
    """Return the serial number of the certificate the edge shows."""
    connection = stack.edge.connect()
    try:
        return str(connection.certificate["serialNumber"])
    finally:
        connection.close()
