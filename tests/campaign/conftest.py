"""The stack that is ill-treated, and the account of it."""

from collections.abc import Callable, Iterator

import pytest

from testing.docker import free_port
from tests.campaign.survival import Account, Victim
from tests.e2e.conftest import checkout, host  # noqa: F401 -- fixtures
from tests.e2e.docker_host import DockerHost
from tests.e2e.stack import DOMAIN, Checkout, Stack


@pytest.fixture(scope="session")
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    """What happened, told as it happens and once more at the end."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    assert terminal is not None
    found = Account(tell=terminal.write_line)
    yield found
    terminal.section("what it survived")
    for line in found.lines():
        terminal.write_line(line)


@pytest.fixture(scope="session")
def make_victim(checkout: Checkout, host: DockerHost) -> Iterator[Callable[[str], Victim]]:  # noqa: F811 -- a fixture
    """Makes a stack of the development kind, not yet up, and removes it with its data at the end."""
    made: list[Stack] = []

    def make(name: str, **changes: object) -> Victim:
        stack = Stack(checkout=checkout, name=name, host=host)
        made.append(stack)
        host.erase(stack.prefix)
        checkout.add_stack(
            name,
            {
                "edge.domain": DOMAIN,
                "edge.https_port": free_port(),
                "edge.http_port": free_port(),
                "health.interval_seconds": 2,
                "health.startup_limit_seconds": 60,
                **changes,
            },
        )
        return Victim(stack=stack)

    yield make
    for stack in made:
        if stack.checkpoint.exists():
            stack.run("down")
        host.erase(stack.prefix)


@pytest.fixture(scope="session")
def victim(make_victim: Callable[[str], Victim]) -> Victim:
    """The stack most cases share."""
    found = make_victim("campaign")
    found.stack.up()
    found.leave_traces()
    return found
