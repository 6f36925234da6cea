"""The role ``hatchet``: the workflow engine's doors, its keys in /config, its tenant and its tokens.

Names, defaults and refusals are those of hatchet-lite (hatchet-dev/hatchet v0.86.12); the port that speaks gRPC there
speaks the line protocol of :mod:`probe.engine` here.
"""

import asyncio
import base64
import html
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID, uuid4

# asyncpg ships no type information; rows are checked by what is made of them.
import asyncpg  # type: ignore[import-untyped]  # see above
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from probe import hatchet_config, size
from probe.engine import LINE_BYTES
from probe.environment import Environment, check_of, parse_url
from probe.hatchet_config import CONFIG, DEFAULT_ADMIN_PASSWORD, SERVER_FILE, Configuration
from probe.hatchet_pools import Pools
from probe.http import bearer_token, json_object
from probe.outside import call_out
from probe.passwords import hash_password, verify_password
from probe.serving import Listener, Role
from probe.wiring import WiringError, describe

DEFAULT_HTTP_PORT = 8888
DEFAULT_PAGES_PORT = 8081
"""LITE_RUNTIME_PORT and LITE_FRONTEND_PORT of the image. Hatchet listens on these and two more, on every interface."""

SECURITY_CHECKS = 3
"""How often the security check calls out at each start, as measured: once for each server hatchet-lite makes."""

MIGRATION_SECONDS = 30.0
MIGRATION_RETRY_SECONDS = 1.0
"""How long ``hatchet-migrate`` waits for the database, and how often it tries (cmd/hatchet-migrate/migrate/run.go)."""

LEASE_SECONDS = 38.0
LEASE_RENEWAL_SECONDS = 10.0
"""A Hatchet that was started again hands out no run until the lease of the one before has run out: 28 to 38 s, as
measured. The probe keeps leases only in its real size: a finished transcript after a restart is worth half a minute of
waiting to a test of exactly that, and to no other."""

DEFAULT_TOKEN_LIFE = timedelta(days=90)
"""Life of a token without --expiresIn (cmd/hatchet-admin/cli/token.go)."""

UTC_NAMES = ("UTC", "Etc/UTC")
"""The time zones Hatchet accepts of its database."""

SECONDS = 7.0
"""Longest wait for the database or for a client's token."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS "Tenant" (id uuid PRIMARY KEY, name text NOT NULL, slug text NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS "User" (id uuid PRIMARY KEY, email text NOT NULL UNIQUE, name text, password text NOT NULL);
CREATE TABLE IF NOT EXISTS "APIToken" (
    id uuid PRIMARY KEY,
    "tenantId" uuid NOT NULL REFERENCES "Tenant" (id),
    name text NOT NULL,
    "expiresAt" timestamptz NOT NULL,
    revoked boolean NOT NULL DEFAULT false
);
CREATE TABLE IF NOT EXISTS "Run" (
    id uuid PRIMARY KEY,
    workflow text NOT NULL,
    input text NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS "Lease" (id integer PRIMARY KEY CHECK (id = 1), "expiresAt" timestamptz NOT NULL);
"""

MIGRATION_LOCK = 0x48617463686574
"""Advisory lock held while the tables are made: the letters of "Hatchet"."""

GO_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
"""Go's time.ParseDuration: hours are its largest unit."""

log = logging.getLogger("probe.hatchet")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A workflow's run that is not over; it is in the database until it is."""

    id: UUID
    workflow: str
    input: str


class UnreachableError(WiringError):
    """No connection to the database."""


class TokenRefusedError(Exception):
    """The token is not valid here; the message is what a client is told."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What hatchet-lite takes from its environment, with its defaults."""

    dsn: str
    server_url: str
    grpc_bind_address: str
    grpc_port: int
    grpc_broadcast_address: str
    http_port: int
    pages_port: int
    api_port: int
    health_port: int | None
    security_check: str | None
    """Whom the security check asks; nobody where it is off."""
    enforce_utc: bool
    max_connections: int
    max_ddl_connections: int
    """Most connections of each of its pools, and of those for changes of tables."""
    allow_signup: bool
    allow_invites: bool
    allow_create_tenant: bool
    admin_email: str
    admin_password: str
    tenant_id: UUID
    real_size: bool

    @classmethod
    def from_environment(cls, env: Environment, folder: Path | None = None) -> "Settings":
        """Read DATABASE_URL, LITE_*, and what variables and the files in ``folder`` say together."""
        configuration = Configuration.load(env, folder)
        server, database = configuration.server, configuration.database
        if not server["runtime.grpcInsecure"]:
            raise WiringError("SERVER_GRPC_INSECURE is not true, and no certificate is made (--skip certs)")
        parse_url("SERVER_URL", str(server["runtime.url"]))
        parse_url("SERVER_SECURITY_CHECK_ENDPOINT", str(server["securityCheck.endpoint"]))
        env.url("DATABASE_URL", schemes=("postgresql", "postgres"))
        tenant = str(database["seed.defaultTenantId"])
        try:
            tenant_id = UUID(tenant)
        except ValueError:
            raise WiringError(f"DEFAULT_TENANT_ID={tenant!r} is no UUID") from None
        return cls(
            dsn=postgres_dsn(env.required("DATABASE_URL")),
            server_url=str(server["runtime.url"]),
            grpc_bind_address=str(server["runtime.grpcBindAddress"]),
            grpc_port=int(server["runtime.grpcPort"]),
            grpc_broadcast_address=str(server["runtime.grpcBroadcastAddress"]),
            http_port=env.number("LITE_RUNTIME_PORT", DEFAULT_HTTP_PORT),
            pages_port=env.number("LITE_FRONTEND_PORT", DEFAULT_PAGES_PORT),
            api_port=int(server["runtime.port"]),
            health_port=int(server["runtime.healthcheckPort"]) if server["runtime.healthcheck"] else None,
            security_check=str(server["securityCheck.endpoint"]) if server["securityCheck.enabled"] else None,
            enforce_utc=bool(database["enforceUtcTimezone"]),
            # To Go zero is no value, and its Postgres library then opens four.
            max_connections=int(database["maxConns"]) or 4,
            max_ddl_connections=int(database["ddlPoolMaxConns"]),
            allow_signup=bool(server["runtime.allowSignup"]),
            allow_invites=bool(server["runtime.allowInvites"]),
            allow_create_tenant=bool(server["runtime.allowCreateTenant"]),
            admin_email=str(database["seed.adminEmail"]),
            admin_password=str(database["seed.adminPassword"]),
            tenant_id=tenant_id,
            real_size=size.is_real(env),
        )


def postgres_dsn(url: str) -> str:
    """The URL without ``connect_timeout``: libpq's and Go's parameter, which asyncpg would send to the server."""
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "connect_timeout"]
    return parts._replace(query=urlencode(query)).geturl()


class Keys:
    """The engine's signing keys and cookie secrets, kept in /config and never made twice."""

    def __init__(self, private: ec.EllipticCurvePrivateKey, kid: str) -> None:
        """Keep a P-256 key and its id."""
        self.private = private
        self.kid = kid

    @classmethod
    def load(cls, folder: Path) -> "Keys":
        """Read the keys; raises WiringError where the file is missing or holds none."""
        path = folder / SERVER_FILE
        try:
            keyset = hatchet_config.read(path)["encryption"]["jwt"]["privateJWTKeyset"]
            private = serialization.load_pem_private_key(base64.b64decode(keyset), password=None)
        except OSError as problem:
            raise WiringError(f"{path} cannot be read: {problem.strerror}") from problem
        except (ValueError, KeyError, TypeError, UnsupportedAlgorithm) as problem:
            raise WiringError(f"{path} holds no usable keys: {type(problem).__name__}") from problem
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise WiringError(f"{path} holds a key of another kind than ES256 needs")
        return cls(private, _kid(private))

    def sign(self, settings: Settings, tenant_id: UUID, token_id: UUID, expires_at: datetime) -> str:
        """A token with the claims of pkg/auth/token/token.go."""
        claims = {
            "aud": settings.server_url,
            "exp": int(expires_at.timestamp()),
            "grpc_broadcast_address": settings.grpc_broadcast_address,
            "iat": int(time.time()),
            "iss": settings.server_url,
            "server_url": settings.server_url,
            "sub": str(tenant_id),
            "token_id": str(token_id),
        }
        return jwt.encode(claims, self.private, algorithm="ES256", headers={"kid": self.kid})

    def verify(self, settings: Settings, token: str) -> tuple[UUID, UUID]:
        """Tenant and token id of a valid token; raises TokenRefusedError otherwise. The database has the last word."""
        try:
            claims = jwt.decode(
                token,
                self.private.public_key(),
                algorithms=["ES256"],
                audience=settings.server_url,
                issuer=settings.server_url,
                options={"require": ["exp", "iat", "sub"]},
            )
            if claims.get("server_url") != settings.server_url:
                raise TokenRefusedError("server_url claim does not match")
            return UUID(claims["sub"]), UUID(claims["token_id"])
        except jwt.PyJWTError as problem:
            raise TokenRefusedError(f"failed to verify and decode JWT: {problem}") from problem
        except (KeyError, ValueError) as problem:
            raise TokenRefusedError("token does not have the claims sub and token_id") from problem


class Engine:
    """The engine over its database and keys."""

    def __init__(self, settings: Settings, folder: Path = CONFIG) -> None:
        """Keep the settings; keys are read by ``open``."""
        self.settings = settings
        self.folder = folder
        self.workers: set[object] = set()
        self.waiting: deque[Run] = deque()
        self.pools = Pools(
            self.connect, settings.max_connections, settings.max_ddl_connections, real_size=settings.real_size
        )
        self._keys: Keys | None = None
        self._doors: asyncio.Server | None = None
        self._leased_until = 0.0

    @property
    def keys(self) -> Keys:
        """The keys, read once."""
        if self._keys is None:
            self._keys = Keys.load(self.folder)
        return self._keys

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection for a moment, never more of them at once than a pool may have."""
        async with self.pools.slot():
            connection = await self.connect()
            try:
                yield connection
            finally:
                await connection.close()

    async def connect(self) -> Any:
        """Open a connection, refusing a database in another time zone as Hatchet does."""
        try:
            connection = await asyncpg.connect(self.settings.dsn, timeout=SECONDS, command_timeout=SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
            raise UnreachableError(f"DATABASE_URL: {describe(problem)}") from problem
        zone = await connection.fetchval("SHOW timezone")
        if self.settings.enforce_utc and zone not in UTC_NAMES:
            await connection.close()
            raise WiringError(f"the database's time zone is {zone!r}, it must be UTC or Etc/UTC")
        return connection

    async def migrate(self) -> None:
        """Make the tables; raises WiringError, without the cause, where no database answers in MIGRATION_SECONDS."""
        began = time.monotonic()
        while True:
            try:
                connection = await self.connect()
                break
            except UnreachableError as problem:
                if time.monotonic() - began + MIGRATION_RETRY_SECONDS > MIGRATION_SECONDS:
                    # What Go says of a wait that was too long, and all that Hatchet says: the cause is lost.
                    raise WiringError("context deadline exceeded") from problem
            await asyncio.sleep(MIGRATION_RETRY_SECONDS)
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
                await connection.execute(SCHEMA)
        finally:
            await connection.close()

    async def seed(self) -> None:
        """Make the administrator and the tenant where there are none; any password is taken."""
        check_email(self.settings.admin_email)
        async with self.connection() as connection:
            # A user who exists keeps the password, whatever ADMIN_PASSWORD says now: the seed only creates.
            await connection.execute(
                'INSERT INTO "User" VALUES ($1, $2, $3, $4) ON CONFLICT (email) DO NOTHING',
                uuid4(),
                self.settings.admin_email,
                "Admin",
                hash_password(self.settings.admin_password),
            )
            await connection.execute(
                'INSERT INTO "Tenant" VALUES ($1, $2, $3) ON CONFLICT (slug) DO NOTHING',
                self.settings.tenant_id,
                "Default",
                "default",
            )

    async def open(self) -> None:
        """Read the keys and what is left to run, and open the workers' port before HTTP answers."""
        self._keys = Keys.load(self.folder)
        if self.settings.security_check is not None:
            for _ in range(SECURITY_CHECKS):
                call_out(self.settings.security_check, "SERVER_SECURITY_CHECK_ENABLED is not false")
        async with self.connection() as connection:
            rows = await connection.fetch('SELECT id, workflow, input FROM "Run" ORDER BY "createdAt", id')
            self.waiting.extend(Run(**dict(row)) for row in rows)
            if self.settings.real_size:
                left = await connection.fetchval('SELECT extract(epoch FROM "expiresAt" - now()) FROM "Lease"')
                self._leased_until = time.monotonic() + max(0.0, float(left or 0.0))
        self._doors = await asyncio.start_server(
            self._answer, self.settings.grpc_bind_address, self.settings.grpc_port, limit=LINE_BYTES
        )

    async def keep_lease(self) -> None:
        """Renew the lease for ever, in its real size; the next process waits until the last one has run out."""
        while self.settings.real_size:
            with suppress(WiringError):
                async with self.connection() as connection:
                    await connection.execute(
                        'INSERT INTO "Lease" VALUES (1, now() + $1) '
                        'ON CONFLICT (id) DO UPDATE SET "expiresAt" = excluded."expiresAt"',
                        timedelta(seconds=LEASE_SECONDS),
                    )
            await asyncio.sleep(LEASE_RENEWAL_SECONDS)
        await asyncio.Event().wait()

    async def queue(self, workflow: str, given: str) -> Run:
        """Keep a run until it is over."""
        run = Run(id=uuid4(), workflow=workflow, input=given)
        self.pools.use()
        async with self.connection() as connection:
            await connection.execute(
                'INSERT INTO "Run" (id, workflow, input) VALUES ($1, $2, $3)', run.id, workflow, given
            )
        self.waiting.append(run)
        return run

    def take(self, workflow: str) -> Run | None:
        """The next run of a workflow; none while an earlier Hatchet's lease lasts."""
        if time.monotonic() < self._leased_until:
            return None
        for run in self.waiting:
            if run.workflow == workflow:
                self.waiting.remove(run)
                return run
        return None

    async def finish(self, run: Run) -> None:
        """Forget a run that is over."""
        async with self.connection() as connection:
            await connection.execute('DELETE FROM "Run" WHERE id = $1', run.id)

    async def mint(self, tenant_id: UUID, name: str, life: timedelta) -> str:
        """Create a token and its row."""
        token_id, expires_at = uuid4(), datetime.now(UTC) + life
        try:
            async with self.connection() as connection:
                await connection.execute(
                    'INSERT INTO "APIToken" (id, "tenantId", name, "expiresAt") VALUES ($1, $2, $3, $4)',
                    token_id,
                    tenant_id,
                    name,
                    expires_at,
                )
        except asyncpg.ForeignKeyViolationError:
            raise WiringError(f"there is no tenant {tenant_id}") from None
        return self.keys.sign(self.settings, tenant_id, token_id, expires_at)

    async def accept(self, token: str) -> UUID:
        """The tenant of a token that is signed here, known to the database and neither revoked nor expired."""
        tenant_id, token_id = self.keys.verify(self.settings, token)
        async with self.connection() as connection:
            row = await connection.fetchrow('SELECT revoked, "expiresAt" FROM "APIToken" WHERE id = $1', token_id)
        if row is None:
            raise TokenRefusedError("failed to read token from database")
        if row["revoked"]:
            raise TokenRefusedError("token has been revoked")
        if row["expiresAt"] < datetime.now(UTC):
            raise TokenRefusedError("token has expired")
        return tenant_id

    async def login(self, email: str, password: str) -> bool:
        """True when the password is the user's."""
        async with self.connection() as connection:
            stored = await connection.fetchval('SELECT password FROM "User" WHERE email = $1', email)
        return stored is not None and verify_password(password, stored)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        worker = object()
        taken: dict[str, Run] = {}
        try:
            async with asyncio.timeout(SECONDS):
                token = (await reader.readline()).decode(errors="replace").strip()
            try:
                reply = f"OK {await self.accept(token)}"
            except TokenRefusedError as problem:
                reply = f"ERR {problem}"
            writer.write(reply.encode() + b"\n")
            await writer.drain()
            if reply.startswith("OK"):
                self.workers.add(worker)
                while line := (await reader.readline()).decode(errors="replace").split():
                    writer.write(f"{await self._reply(line, taken)}\n".encode())
                    await writer.drain()
        except (TimeoutError, OSError, ValueError, WiringError):
            log.info("a worker's connection ended early")
        finally:
            self.workers.discard(worker)
            # Whoever took them is gone: the next worker gets them first.
            self.waiting.extendleft(reversed(taken.values()))
            writer.close()

    async def _reply(self, line: list[str], taken: dict[str, Run]) -> str:
        """Do what a worker's line says; ``taken`` holds the runs of its connection. Raises ValueError for another."""
        match line:
            case ["PING"]:
                return "PONG"
            case ["RUN", workflow, given]:
                return f"QUEUED {(await self.queue(workflow, given)).id}"
            case ["TAKE", workflow]:
                run = self.take(workflow)
                if run is None:
                    return "NONE"
                taken[str(run.id)] = run
                return f"RUN {run.id} {run.input}"
            case ["DONE", identity] if identity in taken:
                await self.finish(taken[identity])
                del taken[identity]
                return "OK"
        raise ValueError(f"a worker said {line}")

    async def check_database(self) -> dict[str, Any]:
        """Connect, in UTC, and see the tables."""
        async with self.connection() as connection:
            zone = await connection.fetchval("SHOW timezone")
            name = await connection.fetchval("SELECT current_database()")
            tenants = await connection.fetchval('SELECT count(*) FROM "Tenant"')
        return {"database": name, "timezone": zone, "tenants": tenants}

    async def check_keys(self) -> dict[str, Any]:
        """The keys on disk are the ones in use, private to the owner, and sign what they verify."""
        stored = Keys.load(self.folder)
        if stored.kid != self.keys.kid:
            raise WiringError(f"{self.folder / SERVER_FILE} holds other keys than this process uses; restart it")
        loose = [path.name for path in self.folder.iterdir() if path.is_file() and path.stat().st_mode & 0o077]
        if loose:
            raise WiringError(f"{', '.join(loose)} in {self.folder} are readable by others than their owner")
        token_id = uuid4()
        token = stored.sign(self.settings, self.settings.tenant_id, token_id, datetime.now(UTC) + timedelta(minutes=1))
        if self.keys.verify(self.settings, token) != (self.settings.tenant_id, token_id):
            raise WiringError("a token just signed does not verify")
        return {"key_id": stored.kid, "files": sorted(path.name for path in self.folder.iterdir())}

    async def check_seed(self) -> dict[str, Any]:
        """The administrator signs in with the given password, which is not the published default."""
        if self.settings.admin_password == DEFAULT_ADMIN_PASSWORD:
            raise WiringError("ADMIN_PASSWORD is Hatchet's published default")
        if not await self.login(self.settings.admin_email, self.settings.admin_password):
            raise WiringError("ADMIN_PASSWORD is not the password of ADMIN_EMAIL: the seed never changes an old one")
        return {
            "admin_email": self.settings.admin_email,
            "tenant": str(self.settings.tenant_id),
            "allow_signup": self.settings.allow_signup,
            "allow_invites": self.settings.allow_invites,
            "allow_create_tenant": self.settings.allow_create_tenant,
        }

    async def check_doors(self) -> dict[str, Any]:
        """The workers' port answers under the address that tokens carry, and refuses a wrong token."""
        host, _, port = self.settings.grpc_broadcast_address.rpartition(":")
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except (OSError, ValueError) as problem:
            raise WiringError(f"SERVER_GRPC_BROADCAST_ADDRESS {host}:{port}: {describe(problem)}") from problem
        try:
            writer.write(b"not-a-token\n")
            answer = (await reader.readline()).decode().strip()
        finally:
            writer.close()
        if not answer.startswith("ERR "):
            raise WiringError("SERVER_GRPC_BROADCAST_ADDRESS leads to something that takes any token")
        return {
            "bind": f"{self.settings.grpc_bind_address}:{self.settings.grpc_port}",
            "broadcast": self.settings.grpc_broadcast_address,
            "server_url": self.settings.server_url,
            "workers": len(self.workers),
        }


def role(env: Environment, folder: Path = CONFIG) -> Role:
    """Assemble the role."""
    settings = Settings.from_environment(env, folder)
    engine = Engine(settings, folder)
    checks = [
        check_of(env, "database", lambda _: engine.check_database()),
        check_of(env, "keys", lambda _: engine.check_keys()),
        check_of(env, "seed", lambda _: engine.check_seed()),
        check_of(env, "grpc", lambda _: engine.check_doors()),
    ]
    api = application(engine)
    listeners = [
        Listener(app=api, port=settings.http_port),
        # The servers behind that port, and the one for health, are as open as it is.
        Listener(app=api, port=settings.api_port),
        Listener(app=pages(), port=settings.pages_port),
    ]
    if settings.health_port is not None:
        listeners.append(Listener(app=health(engine), port=settings.health_port))
    return Role(
        name="hatchet",
        checks=checks,
        listeners=listeners,
        prepare=engine.open,
        tasks=[engine.pools.keep, engine.keep_lease],
    )


def pages() -> Starlette:
    """The dashboard's port."""

    async def page(request: Request) -> Response:
        return HTMLResponse(f"<!doctype html><title>Hatchet</title><h1>{html.escape(request.url.path)}</h1>")

    return Starlette(routes=[Route("/{path:path}", page)])


def health(engine: Engine) -> Starlette:
    """The engine's own health port."""

    async def alive(request: Request) -> Response:
        return await _alive(engine)

    return Starlette(routes=[Route("/live", alive), Route("/ready", alive)])


async def _alive(engine: Engine) -> Response:
    try:
        await engine.check_database()
    except (WiringError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
        return _errors(500, describe(problem))
    return Response()


def _errors(status: int, *descriptions: str) -> Response:
    """An error in Hatchet's form."""
    return JSONResponse({"errors": [{"description": text} for text in descriptions]}, status_code=status)


def application(engine: Engine) -> Starlette:
    """The REST routes a deployment touches."""

    async def alive(request: Request) -> Response:
        return await _alive(engine)

    async def meta(request: Request) -> Response:
        settings = engine.settings
        return JSONResponse(
            {
                "auth": {"schemes": ["basic"]},
                "allowSignup": settings.allow_signup,
                "allowInvites": settings.allow_invites,
                "allowCreateTenant": settings.allow_create_tenant,
            }
        )

    async def workers(request: Request) -> Response:
        token = bearer_token(request)
        if token is None:
            raise HTTPException(403, "Forbidden")
        try:
            tenant_id = await engine.accept(token)
        except TokenRefusedError as problem:
            log.info("a token was refused: %s", problem)
            raise HTTPException(403, "Forbidden") from problem
        if request.path_params["tenant"] != str(tenant_id):
            raise HTTPException(403, "Forbidden")
        rows = [{"status": "ACTIVE"} for _ in engine.workers]
        return JSONResponse({"rows": rows})

    async def login(request: Request) -> Response:
        body = await json_object(request)
        email, password = body.get("email"), body.get("password")
        if not isinstance(email, str) or not isinstance(password, str) or not await engine.login(email, password):
            raise HTTPException(400, "invalid credentials")
        return JSONResponse({"email": email})

    async def register(request: Request) -> Response:
        if not engine.settings.allow_signup:
            raise HTTPException(400, "user signups are disabled")
        raise HTTPException(501, "the probe registers nobody; it only shows whether sign-up is open")

    async def refused(request: Request, problem: Exception) -> Response:
        if not isinstance(problem, HTTPException):
            raise problem
        return _errors(problem.status_code, problem.detail)

    async def unavailable(request: Request, problem: Exception) -> Response:
        return _errors(500, str(problem))

    return Starlette(
        routes=[
            Route("/api/live", alive),
            Route("/api/ready", alive),
            Route("/api/v1/meta", meta),
            Route("/api/v1/tenants/{tenant}/worker", workers),
            Route("/api/v1/users/login", login, methods=["POST"]),
            Route("/api/v1/users/register", register, methods=["POST"]),
        ],
        exception_handlers={HTTPException: refused, WiringError: unavailable},
    )


def check_email(address: str) -> None:
    """Hatchet's rule for addresses (pkg/repository/user.go), as far as it decides anything here: a domain has a dot."""
    name, _, domain = address.rpartition("@")
    if not name or "." not in domain.strip("."):
        raise WiringError(f"ADMIN_EMAIL={address!r} is no address: Hatchet wants one such as admin@example.com")


def parse_duration(text: str) -> timedelta:
    """Parse a Go duration such as ``8760h`` or ``1h30m``; raises ValueError for anything else."""
    found = list(GO_DURATION.finditer(text))
    if not found or "".join(match.group() for match in found) != text:
        raise ValueError(f"{text!r} is no duration; write it in h, m, s, such as 8760h")
    return timedelta(seconds=sum(float(match[1]) * GO_UNITS[match[2]] for match in found))


def _kid(private: ec.EllipticCurvePrivateKey) -> str:
    numbers = private.public_key().public_numbers()
    return f"{numbers.x % 2**32:08x}"
