"""PostgreSQL and Redis."""

from typing import ClassVar

from pydantic import Field

from settings.base import Model
from settings.values import MemoryMib


class Postgres(Model):
    """The database server."""

    SERVICES: ClassVar = ("postgres",)
    IMAGES: ClassVar = ("postgres",)
    NETWORKS: ClassVar = ("database",)

    memory_mib: MemoryMib = Field(default=2560, description="Memory limit of PostgreSQL in MiB")


class Redis(Model):
    """Broker, locks and caches."""

    SERVICES: ClassVar = ("redis",)
    IMAGES: ClassVar = ("redis",)
    NETWORKS: ClassVar = ("cache",)

    memory_mib: MemoryMib = Field(default=256, description="Memory limit of Redis in MiB")


class Data(Model):
    """The data services every stack has."""

    postgres: Postgres = Field(default=Postgres(), description="PostgreSQL")
    redis: Redis = Field(default=Redis(), description="Redis")
