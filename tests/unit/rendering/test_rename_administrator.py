"""The program that keeps an administrator's account his; what it does to a database is for the real engine to show."""

import asyncio
from typing import Any

import pytest

from rendering import rename_administrator


class Connection:
    """A database that counts as told."""

    def __init__(self, renamed: int) -> None:
        self.renamed = renamed
        self.asked: list[tuple[Any, ...]] = []
        self.closed = False

    async def execute(self, *asked: Any) -> str:
        self.asked.append(asked)
        return f"UPDATE {self.renamed}"

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("renamed", [0, 1])
def test_it_connects_by_the_servers_own_url_and_passes_the_address_on(
    renamed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, urls = Connection(renamed), []

    async def connect(url: str, **_: Any) -> Connection:
        urls.append(url)
        return connection

    monkeypatch.setattr("asyncpg.connect", connect)
    url = "postgresql+asyncpg://u:p@postgres:5432/reflector?min_size=1&max_size=10"
    assert asyncio.run(rename_administrator.rename(url, "b@c.test")) is bool(renamed)
    assert urls == ["postgresql://u:p@postgres:5432/reflector"]
    ((statement, *values),) = connection.asked
    assert (values, connection.closed) == (["b@c.test"], True)
    assert "b@c.test" not in statement
