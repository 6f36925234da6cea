"""Give the administrator's account the address he signs in with today; the server's container runs it at each start.

Reflector looks its administrator up by address. With another one, set or made from another domain, it would make a
second person who sees nothing of the first's, and the first could still sign in. What a person owns hangs on the
account's id, which stays.
"""

import asyncio
import os

import asyncpg  # type: ignore[import-untyped]  # it ships no types

_RENAME = """
UPDATE "user" SET email = $1::text, authentik_uid = 'local:' || $1::text
WHERE authentik_uid LIKE 'local:%'
AND NOT EXISTS (SELECT FROM "user" WHERE email = $1::text OR authentik_uid = 'local:' || $1::text)
AND (SELECT count(*) FROM "user" WHERE authentik_uid LIKE 'local:%') = 1
"""
"""Only where there is one account of this kind, and nobody else has the address."""


async def rename(url: str, email: str) -> bool:
    """Return whether the account had another address before; `url` is as SQLAlchemy takes it."""
    connection = await asyncpg.connect(url.replace("+asyncpg", "", 1).partition("?")[0], timeout=30)
    try:
        return bool((await connection.execute(_RENAME, email)) != "UPDATE 0")
    finally:
        await connection.close()


if __name__ == "__main__" and asyncio.run(rename(os.environ["DATABASE_URL"], os.environ["ADMIN_EMAIL"])):
    print("the administrator's account has another address now")
