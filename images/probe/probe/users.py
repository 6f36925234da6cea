"""People in the server's database: who they are, and the keys they call with."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from probe.database import connect


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key somebody calls with; the key itself is known to nobody but him."""

    id: str
    user_id: str
    name: str | None
    created_at: datetime

    def as_json(self) -> dict[str, Any]:
        """The row as JSON; the time in ISO 8601 with its zone."""
        return {**asdict(self), "created_at": self.created_at.isoformat()}


async def provision_admin(dsn: str, email: str, password_hash: str) -> str:
    """Create or update the administrator; returns ``created`` or ``updated``.

    As upstream: whoever has the e-mail gets the password, whatever provider he came from.
    """
    connection = await connect(dsn)
    try:
        found = await connection.fetchval('SELECT id FROM "user" WHERE email = $1', email)
        if found is not None:
            statement = 'UPDATE "user" SET password_hash = $2, updated_at = now() WHERE id = $1'
            await connection.execute(statement, found, password_hash)
            return "updated"
        created = await connection.fetchval(
            """
            INSERT INTO "user" (id, authentik_uid, email, password_hash) VALUES ($1, $2, $3, $4)
            ON CONFLICT (authentik_uid) DO UPDATE SET
                email = excluded.email, password_hash = excluded.password_hash, updated_at = now()
            RETURNING (xmax = 0)
            """,
            str(uuid4()),
            f"local:{email}",
            email,
            password_hash,
        )
    finally:
        await connection.close()
    return "created" if created else "updated"


async def find_user(dsn: str, email: str) -> tuple[str, str] | None:
    """Id and password hash of the first row with this e-mail; None where that one has no password."""
    connection = await connect(dsn)
    try:
        row = await connection.fetchrow('SELECT id, password_hash FROM "user" WHERE email = $1', email)
    finally:
        await connection.close()
    return (row["id"], row["password_hash"]) if row is not None and row["password_hash"] else None


async def sign_in(dsn: str, authentik_uid: str, email: str) -> str:
    """The id of the person a provider calls ``authentik_uid``, who is made at his first call.

    His e-mail is written down then and never again. Raises ValueError for a new one without a name or an e-mail.
    """
    connection = await connect(dsn)
    try:
        find = 'SELECT id FROM "user" WHERE authentik_uid = $1'
        found = await connection.fetchval(find, authentik_uid)
        if found is None:
            if not authentik_uid or not email:
                raise ValueError("a user needs an identity and an e-mail address")
            await connection.execute(
                'INSERT INTO "user" (id, authentik_uid, email) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
                str(uuid4()),
                authentik_uid,
                email,
            )
            found = await connection.fetchval(find, authentik_uid)
    finally:
        await connection.close()
    return str(found)


async def add_api_key(dsn: str, user_id: str, key_hash: str, name: str | None) -> ApiKey:
    """Store a key by its hash."""
    (made,) = await _api_keys(
        dsn,
        "INSERT INTO user_api_key (id, user_id, key_hash, name) VALUES ($1, $2, $3, $4) RETURNING *",
        str(uuid4()),
        user_id,
        key_hash,
        name,
    )
    return made


async def list_api_keys(dsn: str, user_id: str) -> list[ApiKey]:
    """Somebody's keys, newest first."""
    return await _api_keys(dsn, "SELECT * FROM user_api_key WHERE user_id = $1 ORDER BY created_at DESC, id", user_id)


async def find_api_key(dsn: str, key_hash: str) -> ApiKey | None:
    """The key of this hash."""
    found = await _api_keys(dsn, "SELECT * FROM user_api_key WHERE key_hash = $1", key_hash)
    return found[0] if found else None


async def delete_api_key(dsn: str, identity: str, user_id: str) -> None:
    """Delete somebody's key; nothing happens where he has none of this id, as upstream."""
    await _api_keys(dsn, "DELETE FROM user_api_key WHERE id = $1 AND user_id = $2 RETURNING *", identity, user_id)


async def _api_keys(dsn: str, statement: str, *values: object) -> list[ApiKey]:
    connection = await connect(dsn)
    try:
        rows = await connection.fetch(statement, *values)
    finally:
        await connection.close()
    return [
        ApiKey(id=row["id"], user_id=row["user_id"], name=row["name"], created_at=row["created_at"]) for row in rows
    ]
