"""A Celery worker's name and its answer to ``inspect ping``, through Redis."""

import asyncio
import logging
import socket

import redis.exceptions

from probe.redis_client import connection
from probe.wiring import describe

PING_LIST = "probe:celery:ping:{node}"
NODE_KEY = "probe:celery:node:{node}"
"""Redis keys between the worker and the ``celery`` command: its requests, and its heartbeat."""

NODE_SECONDS = 30
"""Life of a worker's heartbeat; it is renewed each time the worker comes round its loop."""

WAIT_SECONDS = 2.0
"""How long the worker waits for a request before it renews its heartbeat."""

RETRY_SECONDS = 2.0
"""Pause after a lost connection."""

log = logging.getLogger("probe.worker")


def node_name() -> str:
    """The name Celery gives a worker by default."""
    return f"celery@{socket.gethostname()}"


class PingResponder:
    """Answers ``celery inspect ping`` through the broker, as a living worker does."""

    def __init__(self, broker_url: str, node: str) -> None:
        """Answer for one node on one broker."""
        self.broker_url = broker_url
        self.node = node

    async def run(self) -> None:
        """Answer for ever; a lost broker is logged and tried again, as Celery does."""
        while True:
            try:
                await self._answer()
            except (redis.exceptions.RedisError, OSError) as problem:
                log.warning("broker: %s; trying again in %g s", describe(problem), RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)

    async def _answer(self) -> None:
        requests = PING_LIST.format(node=self.node)
        async with connection(self.broker_url) as client:
            log.info("%s ready.", self.node)
            while True:
                await client.set(NODE_KEY.format(node=self.node), "alive", ex=NODE_SECONDS)
                item = await client.blpop([requests], timeout=WAIT_SECONDS)
                if item is not None:
                    reply_to = item[1]
                    await client.rpush(reply_to, "pong")
                    await client.expire(reply_to, NODE_SECONDS)
