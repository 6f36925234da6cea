"""The server's own schema: migrated before it listens, read by every other backend role."""

import hashlib
import hmac
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

# asyncpg ships no type information; rows are checked by what is made of them.
import asyncpg  # type: ignore[import-untyped]  # see above

from probe.wiring import WiringError

CONNECT_SECONDS = 7.0
"""Longest wait for a connection or a statement; the database is a neighbour on the same network."""

MIGRATION_LOCK = 0x5265666C6563746F
"""Advisory lock held while migrating: the letters of "Reflecto", so that two servers never migrate at once."""

MIGRATIONS = (
    """
    CREATE TABLE "user" (
        id text PRIMARY KEY,
        authentik_uid text NOT NULL UNIQUE,
        email text NOT NULL UNIQUE,
        password_hash text,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE TABLE note (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        body text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    """,
    """
    CREATE TABLE wiring (role text PRIMARY KEY, nonce text NOT NULL, written_at timestamptz NOT NULL);
    CREATE TABLE deployment (name text PRIMARY KEY, value text NOT NULL);
    """,
    """
    CREATE TABLE transcript (
        id text PRIMARY KEY,
        name text NOT NULL,
        status text NOT NULL DEFAULT 'idle',
        title text,
        long_summary text,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    """,
    # Upstream's e-mail is not unique: the same person may come once with a password and once from a provider.
    """
    ALTER TABLE "user" DROP CONSTRAINT user_email_key;
    ALTER TABLE "user" ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
    CREATE TABLE user_api_key (
        id text PRIMARY KEY,
        user_id text NOT NULL,
        key_hash text NOT NULL UNIQUE,
        name text,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX idx_user_api_key_user_id ON user_api_key (user_id);
    ALTER TABLE transcript ADD COLUMN user_id text;
    CREATE INDEX idx_transcript_user_id ON transcript (user_id);
    """,
)
"""One step a version, in order; a published step is never edited."""

SCHEMA_VERSION = len(MIGRATIONS)

DATA_MARKER = ".reflector-data"
"""File the server leaves in DATA_DIR, named in the table ``deployment``: who shares the volume can read it."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """One row a test can write and look for again."""

    id: int
    body: str
    created_at: datetime

    def as_json(self) -> dict[str, Any]:
        """The row as JSON; the time in ISO 8601 with its zone."""
        return {"id": self.id, "body": self.body, "created_at": self.created_at.isoformat()}


async def connect(dsn: str) -> Any:
    """Open one connection; refuses by itself when the database does not answer in time."""
    try:
        return await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, command_timeout=CONNECT_SECONDS)
    except TimeoutError:
        raise WiringError(f"DATABASE_URL: no connection within {CONNECT_SECONDS:g} s") from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
        raise WiringError(f"DATABASE_URL: {type(problem).__name__}: {problem}") from problem


async def migrate(dsn: str) -> tuple[int, int]:
    """Bring the schema to this version, one transaction a step, under a lock; returns version before and after."""
    connection = await connect(dsn)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        await connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)")
        before = await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_version")
        if before > SCHEMA_VERSION:
            raise WiringError(f"the schema is at version {before}, this server knows only {SCHEMA_VERSION}")
        for version, step in enumerate(MIGRATIONS[before:], start=before + 1):
            async with connection.transaction():
                await connection.execute(step)
                await connection.execute("INSERT INTO schema_version VALUES ($1)", version)
        return before, SCHEMA_VERSION
    finally:
        await connection.close()


async def require_schema(dsn: str) -> int:
    """The schema's version, which must be this one; raises WiringError where the server has not migrated yet."""
    connection = await connect(dsn)
    try:
        return await _schema_version(connection)
    finally:
        await connection.close()


async def _schema_version(connection: Any) -> int:
    try:
        version = await connection.fetchval("SELECT max(version) FROM schema_version")
    except asyncpg.UndefinedTableError:
        version = None
    if version != SCHEMA_VERSION:
        raise WiringError(
            f"the database schema is at version {version or 0}, {SCHEMA_VERSION} is needed: "
            "the server migrates when it starts, so start it first and wait until it is healthy"
        )
    return int(version)


async def add_note(dsn: str, body: str) -> Note:
    """Store one note."""
    connection = await connect(dsn)
    try:
        row = await connection.fetchrow("INSERT INTO note (body) VALUES ($1) RETURNING id, body, created_at", body)
    finally:
        await connection.close()
    if row is None:
        raise RuntimeError("INSERT … RETURNING gave no row")
    return Note(id=row["id"], body=row["body"], created_at=row["created_at"])


async def list_notes(dsn: str) -> list[Note]:
    """All notes, oldest first."""
    connection = await connect(dsn)
    try:
        rows = await connection.fetch("SELECT id, body, created_at FROM note ORDER BY id")
    finally:
        await connection.close()
    return [Note(id=row["id"], body=row["body"], created_at=row["created_at"]) for row in rows]


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """A transcript: ``idle``, ``uploaded``, ``processing``, and at last ``ended`` or ``error`` (v0.45.0's words)."""

    id: str
    name: str
    status: str
    title: str | None
    long_summary: str | None
    created_at: datetime
    user_id: str | None
    """Whose it is; None for one made without sign-in, which everybody may read who knows its id."""

    def as_json(self) -> dict[str, Any]:
        """The row as JSON; the time in ISO 8601 with its zone."""
        return {**asdict(self), "created_at": self.created_at.isoformat()}


async def add_transcript(dsn: str, name: str, user_id: str | None) -> Transcript:
    """Make an idle transcript of somebody's, or of nobody's."""
    statement = "INSERT INTO transcript (id, name, user_id) VALUES ($1, $2, $3) RETURNING *"
    return _one(await _transcripts(dsn, statement, str(uuid4()), name, user_id))


async def list_transcripts(dsn: str, user_id: str | None) -> list[Transcript]:
    """Somebody's transcripts, newest first; everybody's where None is given."""
    statement = "SELECT * FROM transcript WHERE $1::text IS NULL OR user_id = $1 ORDER BY created_at DESC, id"
    return await _transcripts(dsn, statement, user_id)


async def find_transcript(dsn: str, identity: str) -> Transcript | None:
    """The transcript of this id."""
    rows = await _transcripts(dsn, "SELECT * FROM transcript WHERE id = $1", identity)
    return rows[0] if rows else None


async def update_transcript(
    dsn: str, identity: str, status: str, title: str | None = None, long_summary: str | None = None
) -> None:
    """Set the status, and what is given of title and summary."""
    statement = (
        "UPDATE transcript SET status = $2, title = coalesce($3, title), "
        "long_summary = coalesce($4, long_summary) WHERE id = $1 RETURNING *"
    )
    _one(await _transcripts(dsn, statement, identity, status, title, long_summary))


async def _transcripts(dsn: str, statement: str, *values: object) -> list[Transcript]:
    connection = await connect(dsn)
    try:
        return [Transcript(**dict(row)) for row in await connection.fetch(statement, *values)]
    finally:
        await connection.close()


def _one(rows: list[Transcript]) -> Transcript:
    if len(rows) != 1:
        raise WiringError("a transcript just written is not in the database")
    return rows[0]


async def exercise(dsn: str, role: str) -> dict[str, Any]:
    """Write a row and read the same value back; returns schema version and server version."""
    nonce = secrets.token_hex(8)
    connection = await connect(dsn)
    try:
        version = await _schema_version(connection)
        await connection.execute(
            "INSERT INTO wiring VALUES ($1, $2, now()) "
            "ON CONFLICT (role) DO UPDATE SET nonce = excluded.nonce, written_at = excluded.written_at",
            role,
            nonce,
        )
        # The row must carry a value some check wrote: two checks of one role may run at the same time.
        found = await connection.fetchval("SELECT nonce FROM wiring WHERE role = $1", role)
        who = await connection.fetchrow("SELECT current_user AS name, current_database() AS database")
        server = connection.get_server_version()
    finally:
        await connection.close()
    if not found or who is None:
        raise WiringError("a row just written cannot be read back")
    return {
        "schema_version": version,
        "postgres": f"{server.major}.{server.minor}",
        "user": who["name"],
        "database": who["database"],
    }


def fingerprint(secret: str) -> str:
    """A value that tells whether two roles hold the same secret without giving it away."""
    return hmac.new(secret.encode(), b"reflector deployment", hashlib.sha256).hexdigest()


async def publish_deployment(dsn: str, secret_key: str, data_directory: Path) -> None:
    """Leave word for the other roles: the fingerprint of SECRET_KEY, and a marker in the shared data folder."""
    marker = secrets.token_hex(16)
    try:
        data_directory.mkdir(parents=True, exist_ok=True)
        (data_directory / DATA_MARKER).write_text(marker)
    except OSError as problem:
        raise WiringError(f"DATA_DIR {data_directory.resolve()} cannot be written: {problem.strerror}") from problem
    connection = await connect(dsn)
    try:
        await connection.executemany(
            "INSERT INTO deployment VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [("secret_key", fingerprint(secret_key)), ("data_marker", marker)],
        )
    finally:
        await connection.close()


async def deployment_value(dsn: str, name: str) -> str | None:
    """What the server published under a name."""
    connection = await connect(dsn)
    try:
        value = await connection.fetchval("SELECT value FROM deployment WHERE name = $1", name)
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()
    return None if value is None else str(value)
