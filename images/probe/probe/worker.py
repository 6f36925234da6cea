"""The roles without a public port: ``worker``, ``beat`` and the two Hatchet workers."""

import asyncio
import json
import logging
import time
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from probe import backend, database
from probe.celery_node import PingResponder, node_name
from probe.engine import EngineClient
from probe.environment import Environment
from probe.serving import Listener, Role, StartupError
from probe.wiring import WiringError, describe

RETRY_SECONDS = 2.0
"""Pause after a lost connection to Hatchet."""

SCHEDULE_FILE = "celerybeat-schedule"
SYNC_SECONDS = 180
"""Celery beat's file in its working directory, and how often it writes it (PersistentScheduler.sync_every)."""

HEARTBEAT_SECONDS = 4.0
"""Pause between a Hatchet worker's heartbeats (hatchet-sdk 1.22.16)."""

HEALTH_PORT = 8001
"""Default of HATCHET_CLIENT_WORKER_HEALTHCHECK_PORT (hatchet_sdk/config.py, 1.22.16)."""

log = logging.getLogger("probe.worker")


def worker_role(env: Environment) -> Role:
    """The Celery worker."""
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
    client = EngineClient.from_environment(env)
    heart = Heart(client)
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
    return Role(
        name=name,
        checks=backend.checks(name, env),
        warm=partial(backend.warm, env),
        listeners=listeners,
        prepare=_Schema(env).run,
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
    """A Hatchet worker's connection and what its health endpoint says about it."""

    def __init__(self, client: EngineClient) -> None:
        """Nothing is connected yet: the worker is starting."""
        self.client = client
        self.last = 0.0

    @property
    def status(self) -> str:
        """STARTING before the first heartbeat, HEALTHY while they come, UNHEALTHY after."""
        if self.last == 0.0:
            return "STARTING"
        return "HEALTHY" if time.monotonic() - self.last < 3 * HEARTBEAT_SECONDS else "UNHEALTHY"

    async def beat(self) -> None:
        """Connect, heartbeat, and connect again when the engine goes away."""
        while True:
            try:
                async with self.client.connection() as link:
                    log.info("hatchet accepted the token, tenant %s", self.client.tenant_id)
                    while True:
                        await link.heartbeat()
                        self.last = time.monotonic()
                        await asyncio.sleep(HEARTBEAT_SECONDS)
            except (WiringError, OSError, TimeoutError) as problem:
                log.warning("%s; trying again in %g s", describe(problem), RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)


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
