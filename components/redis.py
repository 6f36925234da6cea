"""Redis: Celery's broker, locks and caches."""

from dataclasses import dataclass
from typing import Final

import pulumi

from components.handover import Cache, DockerHost
from components.service import HealthCheck, ServiceArgs, service, volume

UID: Final = 999
GID: Final = 1000
"""redis in the official Alpine images, and in ours."""
PORT: Final = 6379


@dataclass(frozen=True, kw_only=True)
class RedisArgs:
    """A Redis server."""

    host: DockerHost
    image: pulumi.Input[str]


class Redis(pulumi.ComponentResource):
    """A Redis server on the internal cache network.

    Reflector cannot send a password, so who shares that network is who may use it. Does not: publish a port.
    """

    cache: Cache
    """Where it is."""

    def __init__(self, name: str, args: RedisArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:redis:Redis", name, {}, opts)
        container = service(
            f"{name}-container",
            ServiceArgs(
                host=args.host,
                service="redis",
                image=args.image,
                port=PORT,
                # Queued work survives a restart, at most a second of it is lost with the machine.
                command=["redis-server", "--appendonly", "yes", "--appendfsync", "everysec"],
                volumes={"/data": volume(f"{name}-data", args.host, "redis", self)},
                user=f"{UID}:{GID}",
                networks={"cache": ()},
                health=HealthCheck(test=("CMD-SHELL", 'test "$(redis-cli ping)" = PONG'), start_period_seconds=30),
            ),
            self,
        )
        self.cache = Cache(host="redis", port=PORT, ready=container)
        self.register_outputs({})
