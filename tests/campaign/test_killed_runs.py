"""The engine and all it started are killed at moments spread over a first `up`, and over an update."""

import time
from collections.abc import Callable

import pytest

from tests.campaign.survival import Account, Victim

pytestmark = pytest.mark.docker

MOMENTS = 20


def killed_after(victim: Victim, seconds: float) -> str:
    """Start `up`, kill everything of it after `seconds`, and return how far it was."""
    run = victim.stack.start("up")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not run.is_over:
        time.sleep(0.05)
    assert not run.is_over, f"it was over before {seconds:.1f} s; measure again"
    run.kill()
    return (
        f"killed after {seconds:.1f} s, with {len(victim.stack.host.ids('container', victim.stack.prefix))} containers"
    )


def moments(whole_seconds: float) -> list[float]:
    """Return moments spread evenly over a run of that length; the last is well before its end."""
    return [whole_seconds * (number + 0.5) / (MOMENTS + 1) for number in range(MOMENTS)]


@pytest.mark.parametrize("number", range(MOMENTS))
def test_a_first_up_goes_on(
    make_victim: Callable[[str], Victim], account: Account, first_up_seconds: float, number: int
) -> None:
    victim = make_victim(f"campaign-{number}")
    case = killed_after(victim, moments(first_up_seconds)[number])
    account.add("a first up", case, victim.recovers())
    victim.stack.run("down").succeeded()
    victim.stack.host.erase(victim.stack.prefix)


@pytest.mark.parametrize("number", range(MOMENTS))
def test_an_update_goes_on(victim: Victim, account: Account, update_seconds: float, number: int) -> None:
    victim.change()
    case = killed_after(victim, moments(update_seconds)[number])
    account.add("an update", case, victim.recovers())


@pytest.fixture(scope="module")
def first_up_seconds(make_victim: Callable[[str], Victim]) -> float:
    """How long a first `up` takes here, in seconds."""
    victim = make_victim("campaign-measure")
    started = time.monotonic()
    victim.stack.up()
    took = time.monotonic() - started
    victim.stack.run("down").succeeded()
    victim.stack.host.erase(victim.stack.prefix)
    return took


@pytest.fixture(scope="module")
def update_seconds(victim: Victim) -> float:
    """How long an update takes here, in seconds."""
    victim.change()
    started = time.monotonic()
    victim.stack.up()
    return time.monotonic() - started
