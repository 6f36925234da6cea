"""How long steps are shown."""

import io

import pytest

from toolchain import system
from toolchain.layout import ToolchainError
from toolchain.progress import Progress, duration, size


def test_a_long_step_is_mentioned_in_a_log_with_its_time_and_last_line() -> None:
    log = io.StringIO()
    with Progress(log, interval=0.1).step("engine") as step:
        system.run(["sh", "-c", "echo compiling; sleep 0.5"], step=step)
    lines = log.getvalue().splitlines()
    assert lines[0] == "engine …"
    assert any("engine, 0." in line and line.endswith(": compiling") for line in lines[1:-1])
    assert lines[-1].startswith("engine: done in 0.")


def test_a_failed_step_says_so() -> None:
    log = io.StringIO()
    with pytest.raises(ToolchainError), Progress(log).step("engine"):
        raise ToolchainError("x")
    assert log.getvalue().splitlines()[-1].startswith("engine: failed after")


def test_times_and_sizes_are_written_for_people() -> None:
    assert [duration(t) for t in (0.04, 9.94, 12.4, 59.6, 125)] == [
        "0.0 s",
        "9.9 s",
        "12 s",
        "1 min 00 s",
        "2 min 05 s",
    ]
    assert [size(n) for n in (900, 115_000_000)] == ["0.9 kB", "115.0 MB"]
