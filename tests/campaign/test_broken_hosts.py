"""Containers are killed, stopped and removed, and the daemon is killed in the middle of an update."""

import os
from collections.abc import Iterator

import pytest

from testing.docker import free_port
from tests.campaign.survival import Account, Victim
from tests.e2e.remote_host import RemoteHost, install_programs
from tests.e2e.stack import DOMAIN, Checkout, Stack

pytestmark = pytest.mark.docker

SERVICES = (
    "postgres", "redis", "garage", "hatchet", "ollama", "transcription", "server", "worker", "beat",
    "hatchet-worker-llm", "web", "caddy",
)  # fmt: skip


@pytest.mark.parametrize("harm", ["kill", "stop", "rm"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_container_that_somebody_harms_is_made_again(
    victim: Victim, account: Account, service: str, harm: str
) -> None:
    before = victim.stack.ids()
    flags = ("--force",) if harm == "rm" else ()
    victim.stack.host.docker(harm, *flags, before[service], timeout_seconds=180)
    victim.stack.settled = False
    account.add(f"a container, docker {harm}", service, victim.recovers())
    after = victim.stack.ids()
    assert {one for one in before if before[one] != after[one]} == {service}, "the others are left alone"


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[RemoteHost]:
    """A daemon that may be killed without harm to anybody else."""
    assert os.geteuid() == 0, "a second Docker daemon takes root"
    install_programs()
    with RemoteHost() as host:
        yield host


@pytest.mark.parametrize("seconds", [2, 6, 12])
def test_a_daemon_killed_in_the_middle_of_an_update_loses_nothing(
    checkout: Checkout, elsewhere: RemoteHost, account: Account, seconds: int
) -> None:
    stack = Stack(
        checkout=checkout,
        name="campaign-daemon",
        host=elsewhere.near,
        address=elsewhere.address,
        environment=elsewhere.environment,
    )
    victim = Victim(stack=stack)
    if not stack.checkpoint.exists():
        checkout.add_stack(
            stack.name,
            {
                "hosts.main.address": elsewhere.near.address,
                "edge.domain": DOMAIN,
                "edge.https_port": free_port(),
                "edge.http_port": free_port(),
                "edge.bind_addresses": ["0.0.0.0"],
                "health.interval_seconds": 2,
                "health.startup_limit_seconds": 60,
            },
        )
        stack.up()
    victim.leave_traces()
    victim.change()
    run = stack.start("up")
    elsewhere.kill_docker_after(seconds)
    run.finish(600).failed()
    assert stack.run("up").failed().output.count("hosts.main.address: ") == 1, "it is said before anything is touched"
    elsewhere.start_docker()
    account.add("the daemon", f"killed after {seconds} s of an update", victim.recovers())
