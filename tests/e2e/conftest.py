"""The deployment the tests share, and what they need of the machine."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.docker import free_port
from tests.e2e.docker_host import DockerHost, Events
from tests.e2e.forward_proxy import ForwardProxy
from tests.e2e.stack import DOMAIN, Checkout, Stack


@pytest.fixture(scope="session")
def host(docker_absence: str) -> Iterator[DockerHost]:
    """The Docker daemon of this machine, for this test run alone."""
    if docker_absence:
        # Session fixtures come before the check that every test has.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(docker_absence)
    found = DockerHost()
    # Names are fixed, so that what a killed test run has left is found and removed by the next.
    with (Path(tempfile.gettempdir()) / "reflector-e2e.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail("another run of tests/e2e is under way on this machine", pytrace=False)
        yield found


@pytest.fixture(scope="session")
def checkout(host: DockerHost) -> Iterator[Checkout]:
    """A copy of this checkout."""
    root = Path(tempfile.mkdtemp(prefix="reflector-e2e-"))
    yield Checkout(root)
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def history() -> list[str]:
    """The actions Docker reports of the shared deployment's containers, from its first breath."""
    return []


@pytest.fixture(scope="session")
def proxy(host: DockerHost) -> Iterator[ForwardProxy]:
    """The way out of the shared deployment."""
    with ForwardProxy(host) as started:
        yield started


@pytest.fixture(scope="session")
def _deployment(host: DockerHost, checkout: Checkout, history: list[str], proxy: ForwardProxy) -> Iterator[Stack]:
    stack = Stack(checkout=checkout, name="e2e", host=host)
    host.erase(stack.prefix)
    checkout.add_stack(
        stack.name,
        {
            "hosts.main.subnets": "10.213.0.0/20",
            "proxy.http": proxy.url,
            "proxy.https": proxy.url,
            "edge.domain": DOMAIN,
            "edge.https_port": free_port(),
            "edge.http_port": free_port(),
            "edge.extra_names": ["DNS:meet.reflector.test"],
            "health.interval_seconds": 2,
            "health.startup_limit_seconds": 10,
        },
    )
    with host.events(stack.prefix) as events:
        events.actions = history
        try:
            stack.up()
            stack.git_after_first_up = checkout.git_status()
            yield stack
            stack.run("down").succeeded()
        finally:
            host.erase(stack.prefix)


@pytest.fixture
def deployment(_deployment: Stack) -> Stack:
    """The stack most tests share: up, healthy, and as its file says."""
    _deployment.settle()
    return _deployment


@pytest.fixture
def events(deployment: Stack) -> Iterator[Events]:
    """What happens to the containers of the shared deployment from now on."""
    with deployment.host.events(deployment.prefix) as watched:
        yield watched
