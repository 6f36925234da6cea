"""The engine and all it started are killed at moments spread over a first `up`, and over an update."""

import time
from collections.abc import Callable

import pytest

from tests.campaign.survival import Account, Victim

pytestmark = pytest.mark.docker

MOMENTS = 20


def killed_after(victim: Victim, seconds: float, prepare: Callable[[], None]) -> str:
    """Have `up` something to do, start it, kill everything of it after `seconds`, and return how far it was.

    Where it was through by then, as a machine is not as busy at all times, it is prepared and killed again, earlier.
    """
    while True:
        prepare()
        run = victim.stack.start("up")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not run.is_over:
            time.sleep(0.05)
        if not run.is_over:
            run.kill()
            containers = len(victim.stack.host.ids("container", victim.stack.prefix))
            return f"killed after {seconds:.1f} s, with {containers} containers"
        run.finish(10).succeeded()
        seconds *= 0.8


def clear(victim: Victim) -> None:
    """Leave nothing of a stack but its settings."""
    if victim.stack.checkpoint.exists():
        victim.stack.run("down").succeeded()
        victim.stack.forget()
    victim.stack.host.erase(victim.stack.prefix)


def moments(whole_seconds: float) -> list[float]:
    """Return moments spread evenly over a run of that length; the last is well before its end."""
    return [whole_seconds * (number + 0.5) / (MOMENTS + 1) for number in range(MOMENTS)]


@pytest.mark.parametrize("number", range(MOMENTS))
def test_a_first_up_goes_on(
    make_victim: Callable[[str], Victim], account: Account, first_up_seconds: float, number: int
) -> None:
    victim = make_victim(f"campaign-{number}")
    case = killed_after(victim, moments(first_up_seconds)[number], lambda: clear(victim))
    account.add("a first up", case, victim.recovers())
    clear(victim)


@pytest.mark.parametrize("number", range(MOMENTS))
def test_an_update_goes_on(victim: Victim, account: Account, update_seconds: float, number: int) -> None:
    case = killed_after(victim, moments(update_seconds)[number], victim.change)
    account.add("an update", case, victim.recovers())


@pytest.fixture(scope="module")
def first_up_seconds(make_victim: Callable[[str], Victim]) -> float:
    """How long a first `up` takes here, in seconds."""
    victim = make_victim("campaign-measure")
    started = time.monotonic()
    victim.stack.up()
    took = time.monotonic() - started
    clear(victim)
    return took


@pytest.fixture(scope="module")
def update_seconds(victim: Victim) -> float:
    """How long an update takes here, in seconds."""
    victim.change()
    started = time.monotonic()
    victim.stack.up()
    return time.monotonic() - started
