"""The role ``hatchet``: the workflow engine's doors, its keys in /config, its tenant and its tokens.

Names, defaults and refusals are those of hatchet-lite (hatchet-dev/hatchet v0.86.12); the port that speaks gRPC there
speaks the line protocol of :mod:`probe.engine` here.
"""

import asyncio
import base64
import json
import logging
import os
import re
import secrets
import time
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
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from probe.engine import LINE_BYTES
from probe.environment import Environment, check_of
from probe.http import bearer_token, http_error, json_object
from probe.passwords import hash_password, verify_password
from probe.serving import Listener, Role
from probe.wiring import WiringError, describe

CONFIG = Path("/config")
"""Where hatchet-lite's start script puts its generated files (hack/lite/start.sh, working directory /)."""

SERVER_FILE = "server.yaml"
DATABASE_FILE = "database.yaml"
"""The two files ``hatchet-admin quickstart`` writes, mode 0600; keys are fields of the first."""

DEFAULT_TENANT_ID = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
DEFAULT_ADMIN_EMAIL = "admin@example.com"
DEFAULT_ADMIN_PASSWORD = "Admin123!!"
"""The seed's defaults (pkg/config/database/config.go)."""

DEFAULT_SERVER_URL = "http://localhost:8080"
DEFAULT_GRPC_PORT = 7070
DEFAULT_GRPC_BIND_ADDRESS = "127.0.0.1"
DEFAULT_GRPC_BROADCAST_ADDRESS = "127.0.0.1:7070"
DEFAULT_HTTP_PORT = 8888
"""Runtime defaults (pkg/config/server/server.go; the port is LITE_RUNTIME_PORT of the image)."""

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
"""

MIGRATION_LOCK = 0x48617463686574
"""Advisory lock held while the tables are made: the letters of "Hatchet"."""

GO_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
"""Go's time.ParseDuration: hours are its largest unit."""

log = logging.getLogger("probe.hatchet")


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
    enforce_utc: bool
    allow_signup: bool
    allow_invites: bool
    allow_create_tenant: bool
    admin_email: str
    admin_password: str
    tenant_id: UUID

    @classmethod
    def from_environment(cls, env: Environment) -> "Settings":
        """Read DATABASE_URL, SERVER_*, ADMIN_* and DEFAULT_TENANT_ID."""
        if not env.flag("SERVER_GRPC_INSECURE", False):
            raise WiringError("SERVER_GRPC_INSECURE is not true, and no certificate is made (--skip certs)")
        env.url("SERVER_URL", DEFAULT_SERVER_URL)
        env.url("DATABASE_URL", schemes=("postgresql", "postgres"))
        tenant = env.required("DEFAULT_TENANT_ID", DEFAULT_TENANT_ID)
        try:
            tenant_id = UUID(tenant)
        except ValueError:
            raise WiringError(f"DEFAULT_TENANT_ID={tenant!r} is no UUID") from None
        return cls(
            dsn=postgres_dsn(env.required("DATABASE_URL")),
            server_url=env.required("SERVER_URL", DEFAULT_SERVER_URL),
            grpc_bind_address=env.required("SERVER_GRPC_BIND_ADDRESS", DEFAULT_GRPC_BIND_ADDRESS),
            grpc_port=env.number("SERVER_GRPC_PORT", DEFAULT_GRPC_PORT),
            grpc_broadcast_address=env.required("SERVER_GRPC_BROADCAST_ADDRESS", DEFAULT_GRPC_BROADCAST_ADDRESS),
            http_port=env.number("LITE_RUNTIME_PORT", DEFAULT_HTTP_PORT),
            enforce_utc=env.flag("DATABASE_ENFORCE_UTC_TIMEZONE", True),
            allow_signup=env.flag("SERVER_ALLOW_SIGNUP", True),
            allow_invites=env.flag("SERVER_ALLOW_INVITES", True),
            allow_create_tenant=env.flag("SERVER_ALLOW_CREATE_TENANT", True),
            admin_email=env.text("ADMIN_EMAIL", DEFAULT_ADMIN_EMAIL),
            admin_password=env.text("ADMIN_PASSWORD", DEFAULT_ADMIN_PASSWORD),
            tenant_id=tenant_id,
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
            keyset = json.loads(path.read_text())["encryption"]["jwt"]["privateJWTKeyset"]
            private = serialization.load_pem_private_key(base64.b64decode(keyset), password=None)
        except OSError as problem:
            raise WiringError(f"{path} cannot be read: {problem.strerror}") from problem
        except (ValueError, KeyError, TypeError, UnsupportedAlgorithm) as problem:
            raise WiringError(f"{path} holds no usable keys: {type(problem).__name__}") from problem
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise WiringError(f"{path} holds a key of another kind than ES256 needs")
        return cls(private, _kid(private))

    @classmethod
    def quickstart(cls, folder: Path, settings: Settings) -> "Keys":
        """Make what is missing and write both files, as ``hatchet-admin quickstart --overwrite=false`` does."""
        path = folder / SERVER_FILE
        if not path.exists():
            private = ec.generate_private_key(ec.SECP256R1())
            _write_private(
                path,
                {
                    "auth": {"cookie": {"secrets": f"{secrets.token_hex(8)} {secrets.token_hex(8)}"}},
                    "encryption": {
                        "masterKeyset": _base64(secrets.token_bytes(32)),
                        "jwt": {
                            "privateJWTKeyset": _base64(
                                private.private_bytes(
                                    serialization.Encoding.PEM,
                                    serialization.PrivateFormat.PKCS8,
                                    serialization.NoEncryption(),
                                )
                            ),
                            "publicJWTKeyset": _base64(
                                private.public_key().public_bytes(
                                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                                )
                            ),
                        },
                    },
                    "runtime": {"url": settings.server_url, "grpcPort": settings.grpc_port},
                },
            )
            log.info("made new keys in %s", path)
        if not (folder / DATABASE_FILE).exists():
            seed = {"adminEmail": settings.admin_email, "defaultTenantId": str(settings.tenant_id)}
            _write_private(folder / DATABASE_FILE, {"seed": seed})
        return cls.load(folder)

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
        self._keys: Keys | None = None
        self._doors: asyncio.Server | None = None

    @property
    def keys(self) -> Keys:
        """The keys, read once."""
        if self._keys is None:
            self._keys = Keys.load(self.folder)
        return self._keys

    async def connect(self) -> Any:
        """Open a connection, refusing a database in another time zone as Hatchet does."""
        try:
            connection = await asyncpg.connect(self.settings.dsn, timeout=SECONDS, command_timeout=SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
            raise WiringError(f"DATABASE_URL: {describe(problem)}") from problem
        zone = await connection.fetchval("SHOW timezone")
        if self.settings.enforce_utc and zone not in UTC_NAMES:
            await connection.close()
            raise WiringError(f"the database's time zone is {zone!r}, it must be UTC or Etc/UTC")
        return connection

    async def migrate(self) -> None:
        """Make the tables."""
        connection = await self.connect()
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
                await connection.execute(SCHEMA)
        finally:
            await connection.close()

    async def quickstart(self) -> None:
        """Make keys where there are none, and seed."""
        check_email(self.settings.admin_email)
        check_password(self.settings.admin_password)
        try:
            self._keys = Keys.quickstart(self.folder, self.settings)
        except OSError as problem:
            raise WiringError(f"{self.folder} cannot be written: {problem.strerror}") from problem
        connection = await self.connect()
        try:
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
        finally:
            await connection.close()

    async def open(self) -> None:
        """Read the keys, and open the workers' port before HTTP answers."""
        self._keys = Keys.load(self.folder)
        self._doors = await asyncio.start_server(
            self._answer, self.settings.grpc_bind_address, self.settings.grpc_port, limit=LINE_BYTES
        )

    async def mint(self, tenant_id: UUID, name: str, life: timedelta) -> str:
        """Create a token and its row."""
        token_id, expires_at = uuid4(), datetime.now(UTC) + life
        connection = await self.connect()
        try:
            await connection.execute(
                'INSERT INTO "APIToken" (id, "tenantId", name, "expiresAt") VALUES ($1, $2, $3, $4)',
                token_id,
                tenant_id,
                name,
                expires_at,
            )
        except asyncpg.ForeignKeyViolationError:
            raise WiringError(f"there is no tenant {tenant_id}") from None
        finally:
            await connection.close()
        return self.keys.sign(self.settings, tenant_id, token_id, expires_at)

    async def accept(self, token: str) -> UUID:
        """The tenant of a token that is signed here, known to the database and neither revoked nor expired."""
        tenant_id, token_id = self.keys.verify(self.settings, token)
        connection = await self.connect()
        try:
            row = await connection.fetchrow('SELECT revoked, "expiresAt" FROM "APIToken" WHERE id = $1', token_id)
        finally:
            await connection.close()
        if row is None:
            raise TokenRefusedError("failed to read token from database")
        if row["revoked"]:
            raise TokenRefusedError("token has been revoked")
        if row["expiresAt"] < datetime.now(UTC):
            raise TokenRefusedError("token has expired")
        return tenant_id

    async def login(self, email: str, password: str) -> bool:
        """True when the password is the user's."""
        connection = await self.connect()
        try:
            stored = await connection.fetchval('SELECT password FROM "User" WHERE email = $1', email)
        finally:
            await connection.close()
        return stored is not None and verify_password(password, stored)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        worker = object()
        try:
            async with asyncio.timeout(SECONDS):
                token = (await reader.readline()).decode(errors="replace").strip()
            try:
                reply = f"OK {await self.accept(token)}"
            except (TokenRefusedError, WiringError) as problem:
                reply = f"ERR {problem}"
            writer.write(reply.encode() + b"\n")
            await writer.drain()
            if reply.startswith("OK"):
                self.workers.add(worker)
                while (await reader.readline()).strip() == b"PING":
                    writer.write(b"PONG\n")
                    await writer.drain()
        except (TimeoutError, OSError, ValueError):
            log.info("a worker's connection ended early")
        finally:
            self.workers.discard(worker)
            writer.close()

    async def check_database(self) -> dict[str, Any]:
        """Connect, in UTC, and see the tables."""
        connection = await self.connect()
        try:
            zone = await connection.fetchval("SHOW timezone")
            name = await connection.fetchval("SELECT current_database()")
            tenants = await connection.fetchval('SELECT count(*) FROM "Tenant"')
        finally:
            await connection.close()
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
    engine = Engine(Settings.from_environment(env), folder)
    checks = [
        check_of(env, "database", lambda _: engine.check_database()),
        check_of(env, "keys", lambda _: engine.check_keys()),
        check_of(env, "seed", lambda _: engine.check_seed()),
        check_of(env, "grpc", lambda _: engine.check_doors()),
    ]
    listeners = [Listener(app=application(engine), port=engine.settings.http_port)]
    return Role(name="hatchet", checks=checks, listeners=listeners, prepare=engine.open)


def application(engine: Engine) -> Starlette:
    """The REST routes a deployment touches."""

    async def alive(request: Request) -> Response:
        try:
            await engine.check_database()
        except (WiringError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
            return JSONResponse({"errors": [{"description": describe(problem)}]}, status_code=500)
        return Response()

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
        return JSONResponse({"pagination": {}, "rows": rows})

    async def login(request: Request) -> Response:
        body = await json_object(request)
        email, password = body.get("email"), body.get("password")
        if not isinstance(email, str) or not isinstance(password, str) or not await engine.login(email, password):
            raise HTTPException(400, "invalid login")
        return JSONResponse({"email": email})

    async def register(request: Request) -> Response:
        if not engine.settings.allow_signup:
            raise HTTPException(405, "user signups are disabled")
        raise HTTPException(501, "the probe registers nobody; it only shows whether sign-up is open")

    async def unavailable(request: Request, problem: Exception) -> Response:
        return JSONResponse({"errors": [{"description": str(problem)}]}, status_code=500)

    return Starlette(
        routes=[
            Route("/api/live", alive),
            Route("/api/ready", alive),
            Route("/api/v1/meta", meta),
            Route("/api/v1/tenants/{tenant}/worker", workers),
            Route("/api/v1/users/login", login, methods=["POST"]),
            Route("/api/v1/users/register", register, methods=["POST"]),
        ],
        exception_handlers={HTTPException: http_error, WiringError: unavailable},
    )


def check_email(address: str) -> None:
    """Hatchet's rule for addresses (pkg/repository/user.go), as far as it decides anything here: a domain has a dot."""
    name, _, domain = address.rpartition("@")
    if not name or "." not in domain.strip("."):
        raise WiringError(f"ADMIN_EMAIL={address!r} is no address: Hatchet wants one such as admin@example.com")


def check_password(password: str) -> None:
    """Hatchet's rule for passwords (pkg/validator/validator.go); raises WiringError for a weaker one."""
    kinds = (str.isupper, str.islower, str.isnumeric)
    if not 8 <= len(password.encode()) <= 64 or not all(any(map(kind, password)) for kind in kinds):
        raise WiringError(
            "ADMIN_PASSWORD does not meet requirements: must be between 8 and 64 characters and contain at least one "
            "uppercase letter, one lowercase letter, and one number"
        )


def parse_duration(text: str) -> timedelta:
    """Parse a Go duration such as ``8760h`` or ``1h30m``; raises ValueError for anything else."""
    found = list(GO_DURATION.finditer(text))
    if not found or "".join(match.group() for match in found) != text:
        raise ValueError(f"{text!r} is no duration; write it in h, m, s, such as 8760h")
    return timedelta(seconds=sum(float(match[1]) * GO_UNITS[match[2]] for match in found))


def _kid(private: ec.EllipticCurvePrivateKey) -> str:
    numbers = private.public_key().public_numbers()
    return f"{numbers.x % 2**32:08x}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _write_private(path: Path, value: dict[str, Any]) -> None:
    """Write JSON, which is YAML too, readable by the owner only, as a whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(value, file, indent=2)
    fresh.replace(path)
