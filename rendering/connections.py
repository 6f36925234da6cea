"""The one budget of connections to PostgreSQL: who may hold how many, and what memory they cost.

Left to themselves, Reflector and Hatchet hold up to 163 of them, and a server of 1024 MiB is killed under ordinary use.
"""

import math
from collections.abc import Mapping
from typing import Final

# Each consumer is given its number by a variable of its own, made from the same constants; see `rendering.environment`.
SERVER_POOL: Final = 10
"""Reflector's server: what its database library takes by default."""
WORKER_POOL: Final = 2
"""Each process of Celery's worker, which does one task at a time."""
HATCHET_WORKER_POOL: Final = 2
"""Each step that Hatchet's worker is at: it opens a pool of its own, and does one thing after another in it."""
HATCHET_WORKER_SLOTS: Final = 10
"""Steps at a time (SLOTS in reflector/hatchet/run_workers_llm.py, v0.45.0)."""
HATCHET_POOL: Final = 10
"""Each of Hatchet's servers; with ten a measured 400 runs took no longer than with its default of fifty."""
HATCHET_MAINTENANCE_POOL: Final = 5
"""Each of Hatchet's servers, for its partitions: its default. Two jobs at a time hold one each while they ask for one
more, so with less than three they could wait for each other."""
HATCHET_SERVERS: Final = 3
"""In the one process of hatchet-lite: itself, its API and its engine."""
AUTHENTIK: Final = 24
"""Its server's eight threads and its worker's two, each with one, what both listen on, and a command now and then; at
rest eight were measured."""
SPARE: Final = 13
"""Three that PostgreSQL keeps for its superuser, and for what comes and goes: steps, checks, Hatchet's admin tool."""

MIB_EACH: Final = 18
"""Of memory for each connection: measured for Hatchet's, which see hundreds of partitions."""
_MIB_ALWAYS: Final = 64
"""The server's own processes without shared buffers."""
_SHARED_BUFFERS_PART: Final = 8
_MAINTENANCE_PART: Final = 32


def needed_memory_mib(connections: int) -> int:
    """Return the least memory in MiB that a server with this many connections in use fits into."""
    left = 1 - 1 / _SHARED_BUFFERS_PART - 1 / _MAINTENANCE_PART
    return math.ceil((_MIB_ALWAYS + MIB_EACH * connections) / left)


def server_parameters(memory_mib: int, connections: int) -> Mapping[str, str]:
    """Return PostgreSQL's parameters for a server that may use `memory_mib` and takes `connections`.

    A quarter of the memory is the rule for shared buffers on a machine that has little else to hold. Here connections
    take most of it.
    """
    return {
        "max_connections": str(connections),
        "shared_buffers": f"{max(16, memory_mib // _SHARED_BUFFERS_PART)}MB",
        # What the planner may expect to be cached, by the server or in the page cache that counts for its limit.
        "effective_cache_size": f"{max(32, memory_mib // 4)}MB",
        # For one sort; many can be under way at a time.
        "work_mem": f"{min(32, max(1, memory_mib // 8 // connections))}MB",
        "maintenance_work_mem": f"{max(16, memory_mib // _MAINTENANCE_PART)}MB",
    }
