"""As slow and as large as the real software, where PROBE_REAL_SIZE says so: for tests of limits and of start-up.

The figures were measured on Reflector v0.45.0 with the CUDA build of torch, the upper bound of what it takes, on two
busy cores. Off by default: a development stack has limits of its own.
"""

import logging
import mmap
import time
from dataclasses import dataclass
from typing import Final

from probe.environment import Environment

VARIABLE: Final = "PROBE_REAL_SIZE"

MIB: Final = 1024 * 1024

OWN_MIB: Final = 33
"""What a role of the probe takes by itself."""

log = logging.getLogger("probe.size")


@dataclass(frozen=True, kw_only=True)
class Size:
    """A role's memory in use at rest and at its peak, and how long after its start it is ready."""

    rest_mib: int
    peak_mib: int
    ready_seconds: float


SIZES: Final = {
    "server": Size(rest_mib=994, peak_mib=1085, ready_seconds=57),
    "worker": Size(rest_mib=770, peak_mib=1379, ready_seconds=43),
    "hatchet-worker-llm": Size(rest_mib=1206, peak_mib=1430, ready_seconds=56),
    "hatchet-worker-cpu": Size(rest_mib=1206, peak_mib=1430, ready_seconds=56),
    "beat": Size(rest_mib=568, peak_mib=599, ready_seconds=32),
    "web": Size(rest_mib=190, peak_mib=190, ready_seconds=1),
    "hatchet": Size(rest_mib=145, peak_mib=366, ready_seconds=11),
    "authentik": Size(rest_mib=389, peak_mib=600, ready_seconds=57),
    "authentik-worker": Size(rest_mib=250, peak_mib=485, ready_seconds=60),
}
"""Roles that were measured; the speech service was not."""

_kept: list[mmap.mmap] = []


def is_real(env: Environment) -> bool:
    """Whether this process is to be as slow and as large as the real one."""
    return env.flag(VARIABLE, False)


def grow(role: str, env: Environment) -> None:
    """Take the role's memory, for good and at its peak, and its time to start; nothing unless the variable says so."""
    size = SIZES.get(role)
    if size is None or not is_real(env):
        return
    began = time.monotonic()
    _kept.append(_touched(size.rest_mib - OWN_MIB))
    peak = _touched(size.peak_mib - size.rest_mib) if size.peak_mib > size.rest_mib else None
    log.info(
        "%s takes %d MiB, %d at its peak, and is ready in %g s", role, size.rest_mib, size.peak_mib, size.ready_seconds
    )
    time.sleep(max(0.0, began + size.ready_seconds - time.monotonic()))
    if peak is not None:
        peak.close()


def _touched(mib: int) -> mmap.mmap:
    """Memory of which every page was written to: the kernel counts a page only then."""
    memory = mmap.mmap(-1, mib * MIB)
    page = b"\1" * mmap.PAGESIZE
    for _ in range(mib * MIB // mmap.PAGESIZE):
        memory.write(page)
    return memory
