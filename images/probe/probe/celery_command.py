"""The ``celery`` command as far as health checks use it: ``celery [-A APP] [-b URL] inspect ping [-d NODES] [-t S]``.

Options, output and exit status are those of Celery 5.5.3, so that one check runs on Reflector's image and on this one.
The ping goes through the broker to the worker's process and back.
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import redis.exceptions

from probe.celery_node import NODE_KEY, PING_LIST
from probe.redis_client import RedisClient, connection
from probe.wiring import Scrubber, describe

APPLICATIONS = ("reflector.worker.app", "reflector.worker", "reflector.worker.app:app")
"""What -A may name: the module upstream starts its worker with, and its equals."""

NO_ANSWER = 69
"""Exit status when no node replies (sysexits' EX_UNAVAILABLE, as Celery 5 uses it)."""

DEFAULT_TIMEOUT = 1.0
"""Celery's default wait for replies, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Ping:
    """A parsed ``inspect ping``; without nodes, every living node is asked."""

    broker_url: str
    nodes: tuple[str, ...]
    timeout: float
    as_json: bool


def parse(arguments: Sequence[str], env: Mapping[str, str]) -> Ping:
    """Parse the command line; exits with status 2 and a usage line where Celery would."""
    parser = argparse.ArgumentParser(prog="celery", allow_abbrev=False, add_help=True)
    parser.add_argument("-A", "--app", choices=APPLICATIONS)
    parser.add_argument("-b", "--broker")
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", allow_abbrev=False)
    inspect.add_argument("action", choices=["ping"])
    inspect.add_argument("-d", "--destination", default="")
    inspect.add_argument("-t", "--timeout", type=float, default=DEFAULT_TIMEOUT)
    inspect.add_argument("-j", "--json", action="store_true")
    given = parser.parse_args(arguments)
    # Celery prefers its own variable over every other source of the broker's address.
    broker = env.get("CELERY_BROKER_URL") or given.broker
    if not broker:
        parser.error("no broker: set CELERY_BROKER_URL or pass -b")
    nodes = tuple(node.strip() for node in given.destination.split(",") if node.strip())
    return Ping(broker_url=broker, nodes=nodes, timeout=given.timeout, as_json=given.json)


async def ping(request: Ping) -> list[str]:
    """The nodes that answered within the time-out."""
    async with connection(request.broker_url, socket_seconds=request.timeout + 2) as client:
        nodes = request.nodes or await _living(client)
        answered = []
        for node in nodes:
            reply_to = f"probe:celery:reply:{secrets.token_hex(8)}"
            requests = PING_LIST.format(node=node)
            await client.rpush(requests, reply_to)
            # A request nobody takes must not be answered by a worker that starts much later.
            await client.expire(requests, max(1, round(request.timeout)))
            if await client.blpop([reply_to], timeout=request.timeout) is not None:
                answered.append(node)
        return answered


async def _living(client: RedisClient) -> tuple[str, ...]:
    prefix = NODE_KEY.format(node="")
    return tuple(sorted([key.removeprefix(prefix) async for key in client.scan_iter(match=prefix + "*")]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    request = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
    try:
        answered = asyncio.run(ping(request))
    except (redis.exceptions.RedisError, OSError) as problem:
        print(f"Error: {Scrubber(os.environ).clean(describe(problem))}", file=sys.stderr)
        return 1
    if not answered:
        print("Error: No nodes replied within time constraint", file=sys.stderr)
        return NO_ANSWER
    if request.as_json:
        print(json.dumps({node: {"ok": "pong"} for node in answered}))
        return 0
    for node in answered:
        print(f"->  {node}: OK\n        pong")
    print(f"\n{len(answered)} node{'s' if len(answered) != 1 else ''} online.")
    return 0
