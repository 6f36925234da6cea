"""Redis: Celery's broker, locks and caches."""

from dataclasses import dataclass
from typing import Final

import pulumi

from components.base.handles import Cache, DockerHost, Image, Service
from components.base.service import HealthCheck, ServiceArgs, service
from components.base.volume import volume

UID: Final = 999
GID: Final = 1000
"""redis in the official Alpine images, and in ours."""
PORT: Final = 6379


@dataclass(frozen=True, kw_only=True)
class RedisArgs:
    """A Redis server."""

    host: DockerHost
    image: Image
    memory_mib: int
    service: str = "redis"
    """Its name in the stack, and its volume's."""
    network: str = "cache"
    """Role of the network it is on."""


class Redis(pulumi.ComponentResource):
    """A Redis server on the internal cache network.

    Reflector cannot send a password, so who shares that network is who may use it. Does not: publish a port.
    """

    cache: Cache
    """Where it is."""
    service: Service
    """The server."""

    def __init__(self, name: str, args: RedisArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:redis:Redis", name, {}, opts)
        self.service = service(
            f"{name}-container",
            ServiceArgs(
                host=args.host,
                service=args.service,
                image=args.image.id,
                memory_mib=args.memory_mib,
                port=PORT,
                # Queued work survives a restart, at most a second of it is lost with the machine.
                command=["redis-server", "--appendonly", "yes", "--appendfsync", "everysec"],
                volumes={"/data": volume(f"{name}-data", args.host, args.service, self)},
                user=f"{UID}:{GID}",
                networks={args.network: ()},
                health=HealthCheck(test=("CMD-SHELL", 'test "$(redis-cli ping)" = PONG'), start_period_seconds=30),
            ),
            self,
        )
        self.cache = Cache(host=self.service.address, port=PORT, network=args.network, service=self.service)
        self.register_outputs({})
