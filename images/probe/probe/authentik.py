"""The roles ``authentik`` (server) and ``authentik-worker``: how they start, where they listen, what they answer.

Both wait for the database, migrate it behind a lock and make the administrator at the first start. The server answers
503 until it has started; the worker makes the packaged objects, a moment after it counts as healthy.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import yaml
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from probe import authentik_flows as flows
from probe import authentik_oidc as oidc
from probe.authentik_blueprint import BlueprintError, EntryInvalidError, apply, listed, load, retrieve
from probe.authentik_models import APPLICATION, CERTIFICATE, PROVIDER, USER
from probe.authentik_passwords import is_usable
from probe.authentik_request import Visit
from probe.authentik_settings import Address, Settings, temporary_folder
from probe.authentik_store import SETTING, UNREACHABLE, PostgresStore, Store, setting
from probe.environment import Environment, check_of
from probe.outside import call_out
from probe.serving import Listener, Role
from probe.wiring import WiringError, describe

BLUEPRINTS: Final = Path("/blueprints")
"""Where the packaged blueprints are, and below custom/ those of a deployment."""

STORAGE: Final = Path("/data")
"""Where uploads go (storage.file.path)."""

MODE_FILE: Final = "authentik-mode"
SOCKET: Final = "authentik.sock"
"""In the temporary folder: which of the two runs here, and the socket its health is asked on (lifecycle/ak)."""

BOOTSTRAP: Final = "system/bootstrap.yaml"

BEFORE: Final = {
    "default/default-brand.yaml": (
        "default/flow-default-authentication-flow.yaml",
        "default/flow-default-invalidation-flow.yaml",
        "default/flow-default-user-settings-flow.yaml",
    )
}
"""Packaged blueprints that apply others first (authentik_blueprints.metaapplyblueprint)."""

LIVE_SECONDS: Final = 0.2
"""How long a server that is migrated answers to ``live`` but to nothing else."""

STORM_SECONDS: Final = 0.3
STORM_STEP_SECONDS: Final = 0.05
"""How long after a worker's start its packaged objects begin to appear, and how far apart; in reality 14 s in all."""

WATCH_SECONDS: Final = 0.5
"""How often the worker looks for blueprints; the real one is told by the kernel, and acts within this time."""

STARTING, LIVE, READY = range(3)

log = logging.getLogger("probe.authentik")


class Authentik:
    """One process of it, server or worker."""

    def __init__(
        self, settings: Settings, store: Store, environment: Environment, blueprints: Path = BLUEPRINTS
    ) -> None:
        """Keep what it works with; ``start`` does the rest."""
        self.settings = settings
        self.store = store
        self.environment = environment
        self.blueprints = blueprints
        self.phase = STARTING
        self._install_id = ""
        self._avatars = ""

    async def prepare(self, mode: str) -> None:
        """Wait for the database, and say which of the two this is."""
        if isinstance(self.store, PostgresStore):
            await self.store.wait()
        try:
            (temporary_folder(self.environment.values) / MODE_FILE).write_text(mode)
        except OSError as problem:
            raise WiringError(f"TMPDIR: {MODE_FILE} cannot be written: {problem.strerror}") from problem

    async def begin(self) -> None:
        """Migrate, and make the administrator where this is the first start."""
        await migrate(self.store)
        self._install_id = await setting(self.store, "install_id", lambda: uuid4().hex)
        # Read by the first migration only: a later value of the variable changes nothing.
        self._avatars = await setting(self.store, "avatars", lambda: self.settings.avatars)
        self.phase = LIVE
        await self.bootstrap()

    async def bootstrap(self) -> None:
        """Make the administrator of the first start; a hash that is none leaves the set-up to the first visitor."""
        if not self.settings.bootstrap_hash or await self.store.get(SETTING, flows.SET_UP) is not None:
            return
        try:
            await self.apply(BOOTSTRAP)
        except ValueError as problem:
            log.error("bootstrap failed, and set-up is open to the first visitor: %s", problem)
            return
        await self.store.put(SETTING, flows.SET_UP, {"value": "done"})

    async def apply(self, path: str) -> None:
        """Apply a blueprint of the packaged ones; raises WiringError where it is invalid."""
        log_lines = await apply_path(self.store, self.blueprints, path, self.environment)
        if log_lines:
            raise WiringError("; ".join(line.strip() for line in log_lines))

    async def serve(self) -> None:
        """The server's life."""
        self._call_out()
        await self.begin()
        await asyncio.sleep(LIVE_SECONDS)
        self.phase = READY
        log.info("authentik has started")
        await asyncio.Event().wait()

    async def work(self) -> None:
        """The worker's life: the packaged objects come into being while it runs."""
        if self.settings.update_check:
            call_out("https://version.goauthentik.io", "update check")
        await self.begin()
        self.phase = READY
        await asyncio.sleep(STORM_SECONDS)
        for name in self._files():
            if name != BOOTSTRAP and is_packaged(name):
                await self.apply(name)
                await asyncio.sleep(STORM_STEP_SECONDS)
        log.info("packaged blueprints are applied")
        await self.watch()

    async def watch(self) -> None:
        """Apply what is put into the folder, as soon as it is there or is changed, unless its label says not to."""
        seen: dict[str, int] = {}
        while True:
            for name, changed in self._files().items():
                if seen.get(name) != changed and not is_packaged(name):
                    await self._discovered(name)
                seen[name] = changed
            await asyncio.sleep(WATCH_SECONDS)

    async def _discovered(self, name: str) -> None:
        try:
            if load(retrieve(self.blueprints, name)).instantiated:
                await self.apply(name)
                log.info("%s is applied", name)
        # Whatever is wrong with somebody's blueprint: the real worker goes on, with an error in a table.
        except (BlueprintError, yaml.YAMLError, ValueError, EntryInvalidError, WiringError) as problem:
            log.error("%s cannot be applied: %s", name, type(problem).__name__)

    def _files(self) -> dict[str, int]:
        """The blueprints in the folder, in order, and when each was changed."""
        found = {}
        for path in sorted(self.blueprints.rglob("*.yaml")):
            with contextlib.suppress(OSError):
                found[path.relative_to(self.blueprints).as_posix()] = path.stat().st_mtime_ns
        return found

    def visited(self, handler: oidc.Handler) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """An endpoint of a handler of visits, closed until the server has started."""

        async def endpoint(request: Request) -> Response:
            if self.phase != READY:
                return _starting(request)
            try:
                visit = await Visit.open(
                    request,
                    self.store,
                    self.settings.trusted_networks,
                    self.settings.secret_key,
                    self._install_id,
                    self._avatars,
                )
                response = await visit.finish(await handler(visit))
            except UNREACHABLE as problem:
                log.warning("the database is away: %s", describe(problem))
                return PlainTextResponse("database unavailable", 503)
            response.headers["X-Powered-By"] = "authentik"
            return response

        return endpoint

    async def live(self, request: Request) -> Response:
        """Whether its processes answer."""
        return Response(status_code=502 if self.phase == STARTING else 200)

    async def ready(self, request: Request) -> Response:
        """Whether it has started and has its database."""
        if self.phase != READY:
            return Response(status_code=503)
        try:
            await self.store.check()
        except UNREACHABLE:
            return Response(status_code=503)
        return Response()

    async def check_database(self) -> dict[str, Any]:
        """The database answers, and every start is behind."""
        if self.phase != READY:
            raise WiringError("it has not started yet")
        return {"version": await self.store.check(), "base_url": self.settings.base_url or None}

    async def check_bootstrap(self) -> dict[str, Any]:
        """There is an administrator with a password, and nobody else can become one by set-up."""
        if await self.store.get(SETTING, flows.SET_UP) is None:
            raise WiringError("AUTHENTIK_BOOTSTRAP_PASSWORD_HASH made nobody: set-up is open to the first visitor")
        found = (await self.store.registry()).find(USER, {"username": "akadmin"})
        if found is None or not is_usable(found["password"]):
            raise WiringError("akadmin has no password")
        return {"email": found["email"], "is_active": found["is_active"]}

    async def check_applications(self) -> dict[str, Any]:
        """Every application has a provider that signs with a key."""
        registry = await self.store.registry()
        found = {}
        for application in registry.all(APPLICATION):
            provider = registry.get(PROVIDER, application["provider"])
            if provider is None or registry.get(CERTIFICATE, provider["signing_key"]) is None:
                raise WiringError(f"application {application['slug']} has no provider with a signing key")
            found[application["slug"]] = [uri["url"] for uri in provider["redirect_uris"]]
        return {"applications": found}

    async def check_storage(self) -> dict[str, Any]:
        """Uploads can be kept, and the bundled folders are there."""
        probe = STORAGE / ".probe"
        try:
            probe.write_text("")
            probe.unlink()
        except OSError as problem:
            raise WiringError(f"{STORAGE} cannot be written: {problem.strerror}") from problem
        return {"storage": str(STORAGE), "uid": os.getuid()}

    def _call_out(self) -> None:
        if self.settings.startup_analytics:
            call_out("https://goauthentik.io", "start-up analytics")
        if self.settings.error_reporting:
            call_out("https://authentik.error-reporting.a7k.io", "error reporting")


async def migrate(store: Store) -> None:
    """Make the tables where the store has some."""
    if isinstance(store, PostgresStore):
        await store.migrate()


def is_packaged(path: str) -> bool:
    """Whether a blueprint is one of Authentik's own: they are all below these two folders."""
    return path.split("/")[0] in ("default", "system")


async def apply_path(
    store: Store, folder: Path, path: str, environment: Environment, *, dry_run: bool = False
) -> list[str]:
    """Apply the blueprint at a path below the folder; returns the lines to show where it is invalid."""
    for before in BEFORE.get(path, ()):
        await apply_path(store, folder, before, environment)
    blueprint = load(retrieve(folder, path), packaged=is_packaged(path))
    with contextlib.suppress(_Undone):
        async with store.change() as registry:
            found = apply(blueprint, registry, environment.values)
            if found or dry_run:
                raise _Undone
    return list(listed(found)) if found else []


class _Undone(Exception):
    """Ends a change of which nothing is kept."""


def application(authentik: Authentik) -> Starlette:
    """Everything the server answers."""
    visited = authentik.visited

    async def refused(visit: Visit) -> Response:
        # Any part of the API but the executor wants somebody who has signed in, and a right to it.
        return JSONResponse({"detail": "Authentication credentials were not provided."}, 403)

    async def missing(visit: Visit) -> Response:
        raise HTTPException(404)

    app = Starlette(
        routes=[
            *_health(authentik),
            *oidc.routes(visited),
            Route("/api/v3/flows/executor/{slug}/", visited(flows.api), methods=["GET", "POST"]),
            Route("/api/v3/core/users/me/", visited(flows.me)),
            Route("/api/v3/{path:path}", visited(refused), methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
            Route("/if/flow/{slug}/", visited(flows.page), methods=["GET", "POST"]),
            Route("/if/user/", visited(flows.user_page)),
            Route("/flows/-/cancel/", visited(flows.cancel)),
            Route("/flows/-/default/{purpose}/", visited(flows.default_flow)),
            Route("/setup", visited(flows.setup)),
            Route("/", visited(flows.root)),
            WebSocketRoute("/ws/client/", _messages),
            Route("/{path:path}", visited(missing)),
        ]
    )
    # A path without its slash is another path.
    app.router.redirect_slashes = False
    return app


def _health(authentik: Authentik) -> list[Route]:
    return [Route("/-/health/live/", authentik.live), Route("/-/health/ready/", authentik.ready)]


async def _messages(socket: WebSocket) -> None:
    """The channel of messages to the browser: nothing is ever said."""
    await socket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.receive_text()


def _starting(request: Request) -> Response:
    accepted = request.headers.get("accept", "")
    headers = {"Retry-After": "5"}
    if "application/json" in accepted:
        return JSONResponse({"error": "authentik starting"}, 503, headers)
    if "text/html" in accepted:
        return HTMLResponse("<!doctype html><title>authentik</title><p>authentik starting</p>", 503, headers)
    return PlainTextResponse("authentik starting", 503, headers)


def server_role(env: Environment) -> Role:
    """Assemble the server."""
    settings = Settings.from_environment(env)
    authentik = Authentik(settings, PostgresStore(settings.dsn), env)
    app = application(authentik)
    checks = [
        check_of(env, "database", lambda _: authentik.check_database()),
        check_of(env, "bootstrap", lambda _: authentik.check_bootstrap()),
        check_of(env, "applications", lambda _: authentik.check_applications()),
        check_of(env, "storage", lambda _: authentik.check_storage()),
    ]
    return Role(
        name="authentik",
        checks=checks,
        listeners=_listeners(settings, app, env),
        prepare=lambda: authentik.prepare("server"),
        tasks=[authentik.serve, lambda: _doors(settings.https)],
    )


def worker_role(env: Environment) -> Role:
    """Assemble the worker, which answers for its health only."""
    settings = Settings.from_environment(env)
    authentik = Authentik(settings, PostgresStore(settings.dsn), env)
    checks = [
        check_of(env, "database", lambda _: authentik.check_database()),
        check_of(env, "storage", lambda _: authentik.check_storage()),
    ]
    return Role(
        name="authentik-worker",
        checks=checks,
        listeners=_listeners(settings, Starlette(routes=_health(authentik)), env),
        prepare=lambda: authentik.prepare("worker"),
        tasks=[authentik.work],
    )


def _listeners(settings: Settings, app: Starlette, env: Environment) -> list[Listener]:
    async def metrics(request: Request) -> Response:
        return PlainTextResponse("# The probe counts nothing.\n")

    counted = Starlette(routes=[Route("/metrics", metrics)])
    return [
        *(Listener(app=app, host=address.host, port=address.port) for address in settings.http),
        *(Listener(app=counted, host=address.host, port=address.port) for address in settings.metrics),
        Listener(app=app, unix_socket=temporary_folder(env.values) / SOCKET),
    ]


async def _doors(addresses: Sequence[Address]) -> None:
    """Where the real one speaks TLS with a certificate of its own: nobody of ours does, so each caller is sent away."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    doors = [await asyncio.start_server(close, address.host, address.port) for address in addresses]
    await asyncio.gather(*(door.serve_forever() for door in doors))
