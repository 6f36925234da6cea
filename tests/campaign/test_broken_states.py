"""Two runs at once, a state that was cut off, emptied or deleted, and a disk that fills up while it is written."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaign.survival import Account, Victim
from tests.e2e import chaos

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("apart_seconds", [0, 0.5, 5])
def test_of_two_at_once_one_goes_on(victim: Victim, account: Account, apart_seconds: float) -> None:
    victim.change()
    first = victim.stack.start("up")
    time.sleep(apart_seconds)
    second = victim.stack.start("up")
    ended = sorted((run.finish(600) for run in (first, second)), key=lambda finished: finished.status)
    assert [finished.status for finished in ended] == [0, 1]
    (line,) = ended[1].output.splitlines()
    assert "is in use by" in line
    account.add("two at once", f"{apart_seconds} s apart", victim.recovers())


@pytest.mark.parametrize("harm", [chaos.cut_off, chaos.empty, Path.unlink])
def test_a_broken_state_is_brought_back(victim: Victim, account: Account, harm: Callable[[Path], None]) -> None:
    victim.change()
    victim.stack.up()
    harm(victim.stack.checkpoint)
    (line,) = victim.stack.run("up").failed().output.splitlines()
    assert "make recover" in line
    victim.stack.run("recover").succeeded()
    account.add("a state", harm.__name__, victim.recovers())


@pytest.mark.parametrize("seconds", [3, 8])
def test_a_state_that_a_killed_run_left_broken_is_brought_back(
    victim: Victim, account: Account, seconds: float
) -> None:
    victim.change()
    run = victim.stack.start("up")
    time.sleep(seconds)
    run.kill()
    chaos.cut_off(victim.stack.checkpoint)
    victim.stack.run("recover", "--accept-loss").succeeded()
    account.add("a state", f"cut off after {seconds} s of an update", victim.recovers())


def test_a_full_disk_loses_nothing(make_victim: Callable[..., Victim], account: Account) -> None:
    victim = make_victim("campaign-disk")
    state = victim.stack.checkout.layout.state
    with chaos.small_disk(state, mib=16):
        victim.stack.up()
        victim.leave_traces()
        victim.change()
        run = victim.stack.start("up")
        time.sleep(3)
        filler = chaos.fill(state)
        last = run.finish(600).failed().output.splitlines()[-1]
        assert "is full" in last
        (line,) = victim.stack.run("up").failed().output.splitlines()
        assert "is full" in line
        filler.unlink()
        account.add("a disk", "full in the middle of an update", victim.recovers())
        # Its state goes with the disk.
        victim.stack.run("down").succeeded()
