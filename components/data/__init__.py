"""The data services every stack has: databases in PostgreSQL, and Redis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.base.handles import Cache, Database, DockerHost, Image, Service
from components.data.postgres import Postgres, PostgresArgs
from components.data.redis import Redis, RedisArgs
from settings.data import Data


@dataclass(frozen=True, kw_only=True)
class DataServices:
    """What the rest of a stack keeps its data in."""

    databases: Mapping[str, Database]
    """By name."""
    cache: Cache
    services: Sequence[Service]


def data_services(
    settings: Data,
    host: DockerHost,
    images: Mapping[str, Image],
    *,
    databases: Sequence[str],
    optional_databases: Sequence[str] = (),
    connections: int,
) -> DataServices:
    """Return a database for each name, which take `connections` together, and a cache.

    Whom one of `optional_databases` is for can be switched off.
    """
    postgres = Postgres(
        "postgres",
        PostgresArgs(
            host=host,
            image=images["postgres"],
            databases=databases,
            optional_databases=optional_databases,
            connections=connections,
            memory_mib=settings.postgres.memory_mib,
        ),
    )
    redis = Redis("redis", RedisArgs(host=host, image=images["redis"], memory_mib=settings.redis.memory_mib))
    return DataServices(databases=postgres.databases, cache=redis.cache, services=[postgres.service, redis.service])
