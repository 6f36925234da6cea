"""Redis as the probe uses it: one connection at a time, typed, with time-outs."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

import redis.asyncio

SOCKET_SECONDS = 7.0
"""Longest silence of Redis, below the time a check has."""


class RedisClient(Protocol):
    """The commands the probe sends."""

    async def ping(self) -> bool:
        """Answer True."""

    async def set(self, name: str, value: str, ex: int | None = None, px: int | None = None, nx: bool = False) -> Any:
        """Set a key that goes away after ``ex`` seconds or ``px`` milliseconds; with ``nx`` only where there is none.

        Returns nothing true where it was not set.
        """

    async def eval(self, script: str, numkeys: int, *keys_and_values: str) -> Any:
        """Run a script in Redis as one step."""

    async def get(self, name: str) -> str | None:
        """Read a key."""

    async def delete(self, *names: str) -> int:
        """Delete keys."""

    async def rpush(self, name: str, *values: str) -> int:
        """Append to a list."""

    async def blpop(self, keys: list[str], timeout: float) -> tuple[str, str] | None:
        """Wait for the first item of a list."""

    async def expire(self, name: str, time: int) -> Any:
        """Let a key go away after so many seconds."""

    def scan_iter(self, match: str) -> AsyncIterator[str]:
        """Walk through the keys of a pattern."""

    async def info(self, section: str) -> dict[str, Any]:
        """Facts about the server."""


@asynccontextmanager
async def connection(url: str, socket_seconds: float = SOCKET_SECONDS) -> AsyncIterator[RedisClient]:
    """Open a client for a ``redis://host:port/database`` URL and close it afterwards."""
    client = redis.asyncio.Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=SOCKET_SECONDS,
        socket_timeout=socket_seconds,
        single_connection_client=True,
    )
    try:
        # redis-py types every command "awaitable or value" for its two clients; this one is the awaitable half.
        yield cast(RedisClient, client)
    finally:
        await client.aclose()


async def exercise(url: str) -> dict[str, Any]:
    """Write a key and read the same value back; returns the server's version."""
    key, value = f"probe:wiring:{secrets.token_hex(8)}", secrets.token_hex(8)
    async with connection(url) as client:
        await client.ping()
        await client.set(key, value, ex=10)
        found = await client.get(key)
        await client.delete(key)
        version = (await client.info("server")).get("redis_version")
    if found != value:
        raise RuntimeError("a key just written cannot be read back")
    return {"version": version}
