"""The roles without a public port: ``worker``, ``beat`` and the two Hatchet workers."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from probe import accounts, backend, database, pipeline
from probe.celery_node import PingResponder, node_name
from probe.engine import EngineClient, EngineConnection, RefusedError
from probe.environment import Environment
from probe.serving import Listener, Role, StartupError
from probe.wiring import WiringError, describe

RETRY_SECONDS = 2.0
"""Pause after a lost connection to Hatchet."""

ABSENT_SECONDS = 20.0
REFUSED_SECONDS = 2.4
"""After so long a Hatchet worker ends with status 1 that finds no Hatchet, or one that refuses its token, at its start
(as measured on hatchet-sdk 1.22.16). Docker starts it again. One that has been connected waits for Hatchet for ever."""

TAKE_SECONDS = 1.0
"""Pause between questions for work."""

SCHEDULE_FILE = "celerybeat-schedule"
SYNC_SECONDS = 300
"""Celery beat's file in its working directory, and how often it writes it (PersistentScheduler.sync_every)."""

HEARTBEAT_SECONDS = 4.0
"""Pause between a Hatchet worker's heartbeats (hatchet-sdk 1.22.16)."""

HEALTH_PORT = 8001
"""Default of HATCHET_CLIENT_WORKER_HEALTHCHECK_PORT (hatchet_sdk/config.py, 1.22.16)."""

log = logging.getLogger("probe.worker")


def worker_role(env: Environment) -> Role:
    """The Celery worker; like every role that imports upstream's views, it reads the key of tokens when it starts."""
    accounts.read_key(env)
    return Role(
        name="worker",
        checks=backend.checks("worker", env),
        warm=partial(backend.warm, env),
        prepare=_Schema(env).run,
        tasks=[PingResponder(env.required("CELERY_BROKER_URL", backend.DEFAULT_BROKER_URL), node_name()).run],
    )


def beat_role(env: Environment) -> Role:
    """The Celery scheduler; one process keeps its schedule in a file of its working directory."""
    schedule = Schedule(Path.cwd() / SCHEDULE_FILE)

    async def prepare() -> None:
        await _Schema(env).run()
        schedule.write()

    return Role(name="beat", checks=backend.beat_checks("beat", env), prepare=prepare, tasks=[schedule.keep])


def hatchet_worker_role(name: str, env: Environment) -> Role:
    """A Hatchet worker: proves its token, then heartbeats; health is served only where the SDK would serve it."""
    accounts.read_key(env)
    client = EngineClient.from_environment(env)
    # The worker for the processor has mixdowns only, which come from rooms: no recording is given to it.
    heart = Heart(client, partial(pipeline.run, env) if name == "hatchet-worker-llm" else None)
    schema = _Schema(env)
    listeners = []
    prefix = "HATCHET_CLIENT_WORKER_HEALTHCHECK_"
    if env.flag(prefix + "ENABLED", False):
        listeners.append(
            Listener(
                app=health_app(heart),
                port=env.number(prefix + "PORT", HEALTH_PORT),
                host=env.required(prefix + "BIND_ADDRESS", "0.0.0.0"),
            )
        )

    async def prepare() -> None:
        await schema.run()
        await heart.start()

    return Role(
        name=name,
        checks=backend.checks(name, env),
        warm=partial(backend.warm, env),
        # They open after `prepare`: until the worker is registered its health port refuses connections.
        listeners=listeners,
        prepare=prepare,
        tasks=[heart.beat],
    )


class _Schema:
    """Refuses to start before the server has migrated."""

    def __init__(self, env: Environment) -> None:
        self.env = env

    async def run(self) -> None:
        version = await database.require_schema(backend.settings(self.env).dsn)
        log.info("schema at version %d", version)


class Schedule:
    """Beat's file: written at start and every SYNC_SECONDS, so that its age tells whether beat lives."""

    def __init__(self, path: Path) -> None:
        """Keep the path."""
        self.path = path

    def write(self) -> None:
        """Write the file as a whole; raises StartupError where the folder is read-only."""
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            fresh.write_text(json.dumps({"written": time.time(), "entries": {}}))
            fresh.replace(self.path)
        except OSError as problem:
            raise StartupError(f"{self.path} cannot be written: {problem.strerror}") from problem

    async def keep(self) -> None:
        """Write it for ever."""
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            self.write()


class Heart:
    """A Hatchet worker's connection, what it does by it, and what its health endpoint says about it."""

    def __init__(self, client: EngineClient, work: Callable[[str], Awaitable[bool]] | None = None) -> None:
        """Nothing is connected yet: the worker is starting. ``work`` processes one run's input."""
        self.client = client
        self.work = work
        self.last = 0.0

    @property
    def status(self) -> str:
        """STARTING before the first heartbeat, HEALTHY while they come, UNHEALTHY after."""
        if self.last == 0.0:
            return "STARTING"
        return "HEALTHY" if time.monotonic() - self.last < 3 * HEARTBEAT_SECONDS else "UNHEALTHY"

    async def start(self) -> None:
        """Prove the token once; raises WiringError when Hatchet refuses it or stays away."""
        began = time.monotonic()
        while True:
            try:
                async with self.client.connection() as link:
                    await link.heartbeat()
                    self.last = time.monotonic()
                    return
            except RefusedError:
                await asyncio.sleep(max(0.0, began + REFUSED_SECONDS - time.monotonic()))
                raise
            except (WiringError, OSError, TimeoutError) as problem:
                left = began + ABSENT_SECONDS - time.monotonic()
                await asyncio.sleep(max(0.0, min(RETRY_SECONDS, left)))
                if left <= RETRY_SECONDS:
                    raise WiringError(describe(problem)) from problem

    async def beat(self) -> None:
        """Connect, heartbeat and work, and connect again when the engine goes away."""
        while True:
            try:
                async with self.client.connection() as link:
                    log.info("hatchet accepted the token, tenant %s", self.client.tenant_id)
                    await self._serve(link)
            except (WiringError, OSError, TimeoutError) as problem:
                log.warning("%s; trying again in %g s", describe(problem), RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)

    async def _serve(self, link: EngineConnection) -> None:
        """Heartbeat for ever, also while a run is worked on."""
        working: asyncio.Task[None] | None = None
        try:
            while True:
                await link.heartbeat()
                self.last = time.monotonic()
                for _ in range(max(1, round(HEARTBEAT_SECONDS / TAKE_SECONDS))):
                    if self.work is not None:
                        if working is None:
                            working = await self._take(link, self.work)
                        elif working.done():
                            await working
                            await link.finish(working.get_name())
                            working = None
                    await asyncio.sleep(min(TAKE_SECONDS, HEARTBEAT_SECONDS))
        finally:
            if working is not None:
                # Its worker is gone for the engine, which gives the run to the next one.
                working.cancel()

    async def _take(
        self, link: EngineConnection, work: Callable[[str], Awaitable[bool]]
    ) -> "asyncio.Task[None] | None":
        run = await link.take(pipeline.WORKFLOW)
        if run is None:
            return None
        identity, given = run

        async def process() -> None:
            log.info("run %s ended %s", identity, "well" if await work(given) else "in error")

        return asyncio.create_task(process(), name=identity)


def health_app(heart: Heart) -> Starlette:
    """The SDK's health endpoint: 200 only while HEALTHY."""

    async def health(request: Request) -> Response:
        status = heart.status
        return JSONResponse({"status": status}, status_code=200 if status == "HEALTHY" else 503)

    async def metrics(request: Request) -> Response:
        value = 1 if heart.status == "HEALTHY" else 0
        return PlainTextResponse(
            f"# TYPE hatchet_worker_listener_health gauge\nhatchet_worker_listener_health {value}\n"
        )

    return Starlette(routes=[Route("/health", health), Route("/metrics", metrics)])
