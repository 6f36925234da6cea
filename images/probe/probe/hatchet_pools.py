"""Hatchet's connections to Postgres: how many there are, and how much memory they take there.

Each of the three servers hatchet-lite makes has a pool of DATABASE_MAX_CONNS (default 50), and one of
DATABASE_DDL_POOL_MAX_CONNS (default 5) for changes of tables. The probe makes connections as it needs them, never more
at once than one pool has; in its real size it holds as many as were measured, and lets each take as much of Postgres'
memory.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from probe.wiring import WiringError, describe

POOLS: Final = 3
AT_REST: Final = 23
"""Connections of each pool that were open with nothing to do: 71 in all with the default of 50. With a bound of ten, no
more than half of it was seen."""

IDLE_SECONDS: Final = 60.0
"""DATABASE_MAX_CONN_IDLE_TIME's default: so long after the last run connections stay open."""

CONNECTION_BYTES: Final = 1_500_000
"""Length of the text each connection keeps in its process, which takes twice that for it: Postgres then has in use what
was measured, about 500 MiB at rest and about 1150 MiB with every connection open."""

STEP_SECONDS: Final = 1.0
"""How often the number of connections is brought to what it should be."""

log = logging.getLogger("probe.hatchet")


class Pools:
    """The connections of all pools together."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        max_connections: int,
        max_ddl_connections: int = 5,
        *,
        real_size: bool,
    ) -> None:
        """Nothing is open yet; ``connect`` opens one connection."""
        self._connect = connect
        self._max = max_connections
        self._max_ddl = max_ddl_connections
        self._real_size = real_size
        self._slots = asyncio.Semaphore(max_connections)
        self._used = float("-inf")
        self._held: list[Any] = []

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait until one more connection may be open."""
        async with self._slots:
            yield

    def use(self) -> None:
        """There is work: for the next IDLE_SECONDS every connection is open that may be."""
        self._used = time.monotonic()

    @property
    def wanted(self) -> int:
        """How many connections are to be held now."""
        if not self._real_size:
            return 0
        if time.monotonic() - self._used < IDLE_SECONDS:
            return POOLS * (self._max + self._max_ddl)
        return POOLS * min(self._max // 2, AT_REST)

    async def keep(self) -> None:
        """Hold as many connections as wanted, for ever; without the real size that is none."""
        while self._real_size:
            try:
                await self._adjust(self.wanted)
            except WiringError as problem:
                # Too many for Postgres, or Postgres is away.
                log.warning("%s", describe(problem))
            await asyncio.sleep(STEP_SECONDS)
        await asyncio.Event().wait()

    async def _adjust(self, wanted: int) -> None:
        self._held = [connection for connection in self._held if not connection.is_closed()]
        while len(self._held) > wanted:
            await self._held.pop().close()
        while len(self._held) < wanted:
            connection = await self._connect()
            self._held.append(connection)
            # A setting of this session that nobody reads: its text lies in the memory of the connection's process.
            # Its length is asked for, because the text itself would be sent back.
            await connection.execute(
                "SELECT length(set_config('probe.size', repeat('x', $1), false))", CONNECTION_BYTES
            )
