"""Run one role: prepare it, listen where it listens, answer /wiring on loopback, stop cleanly on SIGTERM."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from probe.wiring import Check, WiringError, run_checks

WIRING_PORT = 9999
"""Loopback port of /wiring in every role; no upstream image uses it."""

log = logging.getLogger("probe")


class StartupError(Exception):
    """The role cannot start; the message is the last thing in the container's log."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """An HTTP application and where it listens."""

    app: ASGIApp
    port: int = 0
    host: str = "0.0.0.0"
    unix_socket: Path | None = None
    """A socket of this file system in place of host and port."""
    trusted_proxies: str | None = None
    """Whose X-Forwarded-For and -Proto count, as Uvicorn reads FORWARDED_ALLOW_IPS: addresses and networks, or ``*``.
    Nobody's where it is None."""

    @property
    def address(self) -> str:
        """Where it listens, for a log."""
        return f"{self.host}:{self.port}" if self.unix_socket is None else str(self.unix_socket)


@dataclass(frozen=True, kw_only=True)
class Role:
    """What a role does: ``prepare`` before it listens, ``tasks`` as long as it lives, ``checks`` for /wiring.

    ``warm`` runs before the checks and is not timed.
    """

    name: str
    checks: Sequence[Check]
    listeners: Sequence[Listener] = ()
    prepare: Callable[[], Awaitable[None]] | None = None
    tasks: Sequence[Callable[[], Awaitable[None]]] = ()
    warm: Callable[[], Awaitable[None]] | None = None


class _Server(uvicorn.Server):
    """A server that leaves signals to us: several share one process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def wiring_app(role: Role) -> Starlette:
    """The loopback application: ``/wiring`` runs all checks, ``/wiring?only=NAME`` one; 503 when something is wrong."""

    async def wiring(request: Request) -> Response:
        only = request.query_params.get("only")
        checks = [check for check in role.checks if only in (None, check.name)]
        if not checks:
            names = ", ".join(check.name for check in role.checks)
            return JSONResponse({"detail": f"role {role.name} has no check {only!r}; it has {names}"}, status_code=404)
        if role.warm is not None:
            await role.warm()
        result = await run_checks(role.name, checks)
        return JSONResponse(result, status_code=200 if result["ok"] else 503)

    return Starlette(routes=[Route("/wiring", wiring)])


async def serve(role: Role) -> None:
    """Run the role until SIGTERM or SIGINT; raises StartupError where it cannot run."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopped: asyncio.Task[Any] = asyncio.create_task(stop.wait())
    if role.prepare is not None and not await _prepared(role.prepare, stopped):
        return
    listeners = [*role.listeners, Listener(app=wiring_app(role), port=WIRING_PORT, host="127.0.0.1")]
    servers = [_server(listener) for listener in listeners]
    serving = {asyncio.ensure_future(server.serve()) for server in servers}
    tasks = {asyncio.ensure_future(task()) for task in role.tasks}
    log.info("%s is up, listening on %s", role.name, ", ".join(item.address for item in listeners))
    done, _ = await asyncio.wait({stopped} | serving | tasks, return_when=asyncio.FIRST_COMPLETED)
    for server in servers:
        server.should_exit = True
    for task in tasks:
        task.cancel()
    stopped.cancel()
    await asyncio.gather(*serving, *tasks, return_exceptions=True)
    for finished in done - {stopped}:
        cause = finished.exception()
        raise StartupError(f"{role.name} ended: {cause or 'a part of it stopped'}") from cause


async def _prepared(prepare: Callable[[], Awaitable[None]], stopped: "asyncio.Task[Any]") -> bool:
    """Prepare, which may wait for somebody; False where the role is told to stop before that is done."""
    preparing: asyncio.Future[None] = asyncio.ensure_future(prepare())
    waited: set[asyncio.Future[Any]] = {preparing, stopped}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if not preparing.done():
        preparing.cancel()
        await asyncio.gather(preparing, return_exceptions=True)
        return False
    try:
        await preparing
    except WiringError as problem:
        raise StartupError(str(problem)) from problem
    return True


def _server(listener: Listener) -> _Server:
    return _Server(
        uvicorn.Config(
            listener.app,
            host=listener.host,
            port=listener.port,
            uds=None if listener.unix_socket is None else str(listener.unix_socket),
            loop="asyncio",
            http="h11",
            ws="websockets-sansio",
            lifespan="off",
            proxy_headers=listener.trusted_proxies is not None,
            forwarded_allow_ips=listener.trusted_proxies,
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=3,
        )
    )


def main(role: Role) -> int:
    """Run the role as the container's process; returns the exit status."""
    try:
        asyncio.run(serve(role))
    except StartupError as problem:
        print(f"probe {role.name}: {problem}", file=sys.stderr, flush=True)
        return 1
    return 0
