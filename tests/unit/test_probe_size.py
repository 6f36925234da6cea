"""The option by which the probe is as slow and as large as the real software."""

import mmap
import time
from pathlib import Path

import pytest
from probe import roles, size
from probe.environment import Environment
from probe.serving import Role
from probe.wiring import WiringError

REAL = Environment({"PROBE_REAL_SIZE": "true"})


def resident_mib() -> float:
    """What this process has in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE / size.MIB


def test_memory_is_taken_for_good_and_the_peak_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size, "SIZES", {"beat": size.Size(rest_mib=size.OWN_MIB + 64, peak_mib=200, ready_seconds=0.2)})
    kept: list[object] = []
    monkeypatch.setattr(size, "_kept", kept)
    before, began = resident_mib(), time.monotonic()
    size.grow("beat", REAL)
    assert time.monotonic() - began >= 0.2
    assert 56 < resident_mib() - before < 96
    assert len(kept) == 1


@pytest.mark.parametrize("values", [{}, {"PROBE_REAL_SIZE": "false"}])
def test_it_is_off_by_default(values: dict[str, str]) -> None:
    before, began = resident_mib(), time.monotonic()
    for role in size.SIZES:
        size.grow(role, Environment(values))
    assert resident_mib() - before < 8
    assert time.monotonic() - began < 1


def test_a_word_that_is_no_boolean_stops_the_role(capsys: pytest.CaptureFixture[str]) -> None:
    def build(env: Environment) -> Role:
        raise WiringError("it was built")

    assert roles.run_built("beat", build, {"PROBE_REAL_SIZE": "large"}) == 1
    assert "PROBE_REAL_SIZE='large' is no boolean" in capsys.readouterr().err


def test_every_role_that_was_measured_is_one_that_can_be_played() -> None:
    assert size.SIZES.keys() <= {*roles.ROLES, "hatchet", "authentik", "authentik-worker"}
    # What made beat fail under a limit of 512 MiB, and Postgres' neighbours in it.
    assert (size.SIZES["beat"].rest_mib, size.SIZES["beat"].peak_mib) == (568, 599)
    assert all(found.rest_mib <= found.peak_mib for found in size.SIZES.values())
