"""The network around the Docker host: a proxy on the way out, and addresses that are somebody else's."""

import json

import pytest

from tests.e2e.forward_proxy import ANSWER, ForwardProxy
from tests.e2e.processes import run
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

FETCHING = ("server", "worker", "beat", "hatchet-worker-llm", "web", "transcription")
"""Services that call out, played by the probe, which has the HTTP client Reflector has."""
OUTSIDE = "outside.test"
"""Nobody's name, so that only a proxy can answer for it."""


@pytest.mark.parametrize("service", FETCHING)
def test_what_a_service_fetches_comes_by_way_of_the_proxy(deployment: Stack, proxy: ForwardProxy, service: str) -> None:
    url = f"http://{OUTSIDE}/{service}"
    fetched = deployment.inside(service, "python3", "-c", f"import httpx; print(httpx.get({url!r}).text)")
    assert fetched.strip() == ANSWER.decode()
    assert url in proxy.asked


def test_ollama_pulls_by_way_of_the_proxy(deployment: Stack, proxy: ForwardProxy) -> None:
    container = f"{deployment.prefix}-ollama"
    run(["docker", "--host", deployment.host.address, "exec", container, "ollama", "pull", f"{OUTSIDE}/a/b"]).failed()
    assert f"{OUTSIDE}:443" in proxy.asked


def test_calls_within_the_stack_do_not_leave_it(deployment: Stack, proxy: ForwardProxy) -> None:
    assert deployment.broken_wires() == {}
    strangers = [one for one in proxy.asked if OUTSIDE not in one]
    assert strangers == [], "health checks, databases, the store by its public name: all of it is our own"


def test_who_fetches_nothing_is_told_of_no_proxy(deployment: Stack) -> None:
    told = {
        service
        for service, container in deployment.containers().items()
        if any("_proxy=" in variable.lower() for variable in container["Config"]["Env"])
    }
    assert told == {*FETCHING, "ollama"}


def addresses(stack: Stack) -> dict[str, str]:
    """Return the subnet of each network of a stack, by role."""
    networks = json.loads(stack.host.docker("network", "inspect", *stack.host.ids("network", stack.prefix)))
    return {
        network["Name"].removeprefix(f"{stack.prefix}-"): network["IPAM"]["Config"][0]["Subnet"] for network in networks
    }


def test_the_networks_have_the_addresses_they_were_given(deployment: Stack) -> None:
    assert addresses(deployment) == {
        "application": "10.213.0.0/24",
        "database": "10.213.1.0/24",
        "cache": "10.213.2.0/24",
        "storage": "10.213.3.0/24",
    }


def test_addresses_that_are_taken_are_refused_before_anything_is_touched(deployment: Stack) -> None:
    before, given = deployment.ids(), deployment.setting("hosts.main.subnets")
    bridge = json.loads(deployment.host.docker("network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]["Subnet"]
    for subnets, said in (
        (bridge, f"{bridge}, of which other networks on "),
        # Over its own, in part: some would have to be gone before others are made.
        ("10.213.2.0/23", "10.213.2.0/23, of which networks of this stack have a part until they are replaced: "),
    ):
        deployment.configure({"hosts.main.subnets": subnets})
        output = deployment.run("up").failed().output
        deployment.configure({"hosts.main.subnets": given})
        (line,) = (line for line in output.splitlines() if line.startswith("  - "))
        assert line.startswith(f"  - hosts.main.subnets: {said}")
        assert deployment.ids() == before


def test_other_addresses_replace_networks_and_containers_and_keep_the_data(deployment: Stack) -> None:
    before, traces = deployment.ids(), deployment.leave_traces()
    deployment.configure({"hosts.main.subnets": "10.213.16.0/23"})
    deployment.up()
    assert addresses(deployment) == {
        "application": "10.213.16.0/27",
        "database": "10.213.16.32/27",
        "cache": "10.213.16.64/27",
        "storage": "10.213.16.96/27",
    }
    after = deployment.ids()
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
    deployment.wait_until_healthy()
    assert deployment.broken_wires() == {}
    assert traces.are_found_in(deployment)
    assert deployment.planned(refresh=True) == {}
