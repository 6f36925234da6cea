"""Where Authentik's state is: its database, and what else keeps the same documents for a test.

Everything is a document of a kind under a key: an object (the kind is its model), a session, a code, a token or a
setting. Who changes objects holds an advisory lock from reading all of them until they are written, so two that apply
at once come one after the other, and whoever is killed in between leaves everything as it was.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import deepcopy
from typing import Any, Protocol

# asyncpg ships no type information; rows are checked by what is made of them.
import asyncpg  # type: ignore[import-untyped]  # see above

from probe.authentik_models import MODELS
from probe.authentik_registry import Key, Registry
from probe.wiring import WiringError, describe

Document = dict[str, Any]

SESSION, CODE, ACCESS, REFRESH, SETTING = "session", "code", "access", "refresh", "setting"
GRANTS = (SESSION, CODE, ACCESS, REFRESH)
"""Documents that end with their user or provider."""

SECONDS = 7.0
"""Longest wait for the database."""

CONNECTIONS = 4
"""Most connections of a process; Authentik itself was seen to take four for each of its two."""

RETRY_SECONDS = 1.0
"""How often a start asks for the database, for ever (lifecycle/wait_for_db.py)."""

LOCK = 0x61757468656E74
"""Advisory lock of migrations and changes: the letters of "authent"."""

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS template;
CREATE TABLE IF NOT EXISTS authentik_document (
    kind text NOT NULL,
    key text NOT NULL,
    data jsonb NOT NULL,
    PRIMARY KEY (kind, key)
);
"""
"""Authentik's own migrations make that schema too: the role must be allowed to."""

log = logging.getLogger("probe.authentik.store")


class Store(Protocol):
    """Documents, and the registry of objects made of them."""

    async def get(self, kind: str, key: str) -> Document | None:
        """The document."""

    async def put(self, kind: str, key: str, data: Document) -> None:
        """Keep or replace a document."""

    async def delete(self, kind: str, key: str) -> bool:
        """Remove a document; False where there was none, so that of two who use it up only one does."""

    async def end(self, name: str, value: Key, kinds: Iterable[str] = GRANTS) -> None:
        """Remove the documents of these kinds that have this value, as ``user``, ``provider`` or ``session``."""

    async def registry(self) -> Registry:
        """All objects as they are."""

    def change(self) -> AbstractAsyncContextManager[Registry]:
        """All objects, to be changed by nobody else meanwhile; written when the block ends without an exception."""

    async def check(self) -> str:
        """Ask for an answer; returns the version of the database."""


class MemoryStore:
    """Documents in memory, for tests."""

    def __init__(self) -> None:
        """Begin with none."""
        self.documents: dict[tuple[str, str], Document] = {}
        self._lock = asyncio.Lock()

    async def get(self, kind: str, key: str) -> Document | None:
        """The document."""
        return deepcopy(self.documents.get((kind, key)))

    async def put(self, kind: str, key: str, data: Document) -> None:
        """Keep it as JSON would."""
        self.documents[kind, key] = json.loads(json.dumps(data))

    async def delete(self, kind: str, key: str) -> bool:
        """Remove it."""
        return self.documents.pop((kind, key), None) is not None

    async def end(self, name: str, value: Key, kinds: Iterable[str] = GRANTS) -> None:
        """Remove what has the value."""
        wanted = set(kinds)
        for (kind, key), data in list(self.documents.items()):
            if kind in wanted and data.get(name) == value:
                del self.documents[kind, key]

    async def registry(self) -> Registry:
        """A copy."""
        return _registry((kind, deepcopy(data)) for (kind, _), data in self.documents.items())

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Registry]:
        """One after the other."""
        async with self._lock:
            registry = await self.registry()
            before = _documents(registry)
            yield registry
            after = _documents(registry)
            for kind, key in before.keys() - after.keys():
                await self.delete(kind, key)
            for (kind, key), data in after.items():
                await self.put(kind, key, data)
            for name, value in registry.ended:
                await self.end(name, value)

    async def check(self) -> str:
        """Always there."""
        return "memory"


class PostgresStore:
    """Documents in PostgreSQL."""

    def __init__(self, dsn: str) -> None:
        """Connect when first asked."""
        self._dsn = dsn
        self._pool: Any = None
        self._opening = asyncio.Lock()

    async def wait(self) -> None:
        """Wait until the database lets us in, however long that takes."""
        while True:
            try:
                connection = await asyncpg.connect(self._dsn, timeout=SECONDS)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
                log.info("PostgreSQL connection failed, retrying... (%s)", describe(problem))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await connection.close()
                return

    async def migrate(self) -> None:
        """Make the tables; raises WiringError where the role may not, or the encoding is another than UTF8."""
        async with self._connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            encoding = await connection.fetchval("SHOW server_encoding")
            if encoding != "UTF8":
                raise WiringError(f"the database's encoding is {encoding}, it must be UTF8")
            try:
                await connection.execute(SCHEMA)
            except asyncpg.InsufficientPrivilegeError as problem:
                raise WiringError(f"AUTHENTIK_POSTGRESQL__USER may not make schema and table: {problem}") from problem

    async def get(self, kind: str, key: str) -> Document | None:
        """The document."""
        async with self._connection() as connection:
            found = await connection.fetchval(
                "SELECT data FROM authentik_document WHERE kind = $1 AND key = $2", kind, key
            )
        return None if found is None else dict(json.loads(found))

    async def put(self, kind: str, key: str, data: Document) -> None:
        """Keep it."""
        async with self._connection() as connection:
            await _put(connection, kind, key, data)

    async def delete(self, kind: str, key: str) -> bool:
        """Remove it."""
        async with self._connection() as connection:
            done = await connection.execute("DELETE FROM authentik_document WHERE kind = $1 AND key = $2", kind, key)
        return str(done) == "DELETE 1"

    async def end(self, name: str, value: Key, kinds: Iterable[str] = GRANTS) -> None:
        """Remove what has the value."""
        async with self._connection() as connection:
            await _end(connection, name, value, kinds)

    async def registry(self) -> Registry:
        """All objects."""
        async with self._connection() as connection:
            return await _read(connection)

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Registry]:
        """In one transaction, under the lock."""
        async with self._connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            registry = await _read(connection)
            before = deepcopy(_documents(registry))
            yield registry
            after = _documents(registry)
            for kind, key in before.keys() - after.keys():
                await connection.execute("DELETE FROM authentik_document WHERE kind = $1 AND key = $2", kind, key)
            for (kind, key), data in after.items():
                if before.get((kind, key)) != data:
                    await _put(connection, kind, key, data)
            for name, value in registry.ended:
                await _end(connection, name, value, GRANTS)

    async def check(self) -> str:
        """Its version."""
        async with self._connection() as connection:
            return str(await connection.fetchval("SHOW server_version"))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._dsn, min_size=0, max_size=CONNECTIONS, timeout=SECONDS, command_timeout=SECONDS
                )
        async with self._pool.acquire(timeout=SECONDS) as connection:
            yield connection


UNREACHABLE: tuple[type[Exception], ...] = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a store raises while its database is away."""


async def setting(store: Store, name: str, make: Callable[[], str]) -> str:
    """A setting, made once; of two processes that make it at once, both get the same."""
    found = await store.get(SETTING, name)
    if found is None:
        async with store.change():
            found = await store.get(SETTING, name)
            if found is None:
                found = {"value": make()}
                await store.put(SETTING, name, found)
    return str(found["value"])


async def _put(connection: Any, kind: str, key: str, data: Document) -> None:
    await connection.execute(
        "INSERT INTO authentik_document VALUES ($1, $2, $3) ON CONFLICT (kind, key) DO UPDATE SET data = excluded.data",
        kind,
        key,
        json.dumps(data),
    )


async def _end(connection: Any, name: str, value: Key, kinds: Iterable[str]) -> None:
    await connection.execute(
        "DELETE FROM authentik_document WHERE kind = ANY($1) AND data -> $2 = $3::jsonb",
        list(kinds),
        name,
        json.dumps(value),
    )


async def _read(connection: Any) -> Registry:
    rows = await connection.fetch(
        "SELECT kind, data FROM authentik_document WHERE kind = ANY($1) ORDER BY kind, key", [*MODELS, _NUMBERS]
    )
    return _registry((row["kind"], json.loads(row["data"])) for row in rows)


_NUMBERS = "numbers"
"""The kind of the one document that says which number each numbered model gave away last."""


def _registry(documents: Iterable[tuple[str, Document]]) -> Registry:
    registry = Registry()
    for kind, data in documents:
        if kind in MODELS:
            registry.objects.setdefault(kind, {})[data["pk"]] = data
        elif kind == _NUMBERS:
            registry.numbers = {str(name): int(number) for name, number in data.items()}
    return registry


def _documents(registry: Registry) -> dict[tuple[str, str], Document]:
    found: dict[tuple[str, str], Document] = {
        (model, str(key)): item for model, items in registry.objects.items() for key, item in items.items()
    }
    if registry.numbers:
        found[_NUMBERS, ""] = dict(registry.numbers)
    return found
