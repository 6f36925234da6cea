"""PostgreSQL with a database and a role for each consumer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi

from components.base.handles import Database, DockerHost, Image, Service
from components.base.secret import password
from components.base.service import HealthCheck, ServiceArgs, service
from components.base.step import StepArgs, step
from components.base.volume import volume
from rendering import connections
from rendering import postgres as rendering

UID: Final = 70
"""postgres in the official Alpine images, and in ours."""
DATA_DIRECTORY: Final = "/var/lib/postgresql/data"
"""Where the official image keeps its data up to version 17; later ones are told to."""
PORT: Final = 5432


@dataclass(frozen=True, kw_only=True)
class PostgresArgs:
    """A PostgreSQL server."""

    host: DockerHost
    image: Image
    memory_mib: int
    connections: int
    """How many it takes at a time, of all its consumers together."""
    databases: Sequence[str]
    """One database each, owned by a role of the same name that can reach no other."""
    optional_databases: Sequence[str] = ()
    """Further ones, of whoever can be switched off; the databases stay, and take new passwords when they are back."""
    service: str = "postgres"
    """Its name in the stack, and its volume's."""
    network: str = "database"
    """Role of the network it is on."""

    def __post_init__(self) -> None:
        for name in (*self.databases, *self.optional_databases):
            rendering.check_identifier(name)


class Postgres(pulumi.ComponentResource):
    """A PostgreSQL server on the internal database network; its data survives everything.

    Creates: a volume and passwords, protected. Does not: publish a port.
    """

    databases: Mapping[str, Database]
    """By name, ready once role and database exist."""
    service: Service
    """The server."""

    def __init__(self, name: str, args: PostgresArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:postgres:Postgres", name, {}, opts)
        superuser_password = password(f"{name}-superuser", self)
        self.service = service(
            f"{name}-container",
            ServiceArgs(
                host=args.host,
                service=args.service,
                image=args.image.id,
                memory_mib=args.memory_mib,
                port=PORT,
                command=rendering.guarded(
                    [
                        "postgres",
                        *(
                            word
                            for name, value in connections.server_parameters(args.memory_mib, args.connections).items()
                            for word in ("-c", f"{name}={value}")
                        ),
                    ]
                ),
                environment={
                    "PGDATA": DATA_DIRECTORY,
                    # The image insists on one; it is worth nothing once the databases are set up.
                    "POSTGRES_PASSWORD": superuser_password,
                },
                volumes={DATA_DIRECTORY: volume(f"{name}-data", args.host, args.service, self)},
                tmpfs={
                    "/tmp": "rw,noexec,nosuid,size=64m",
                    "/var/run/postgresql": f"rw,noexec,nosuid,size=1m,uid={UID},gid={UID},mode=0775",
                },
                user=f"{UID}:{UID}",
                networks={args.network: ()},
                # While it initialises, the server listens on its socket only; asking over TCP waits for the real one.
                health=HealthCheck(test=("CMD", "pg_isready", "--quiet", "--host=127.0.0.1", "--username=postgres")),
                # Fast shutdown: waits for no client, writes a checkpoint, and is clean.
                stop_signal="SIGINT",
                stop_grace_seconds=120,
            ),
            self,
        )
        passwords = {
            database: password(f"{name}-{database}", self, optional=database in args.optional_databases)
            for database in (*args.databases, *args.optional_databases)
        }
        ready = step(
            f"{name}-databases",
            StepArgs(
                service=self.service,
                script="exec psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username=postgres --output=/dev/null",
                stdin=pulumi.Output.all(**passwords).apply(rendering.databases),
            ),
            self,
        )
        self.databases = {
            database: Database(
                host=self.service.address,
                port=PORT,
                name=database,
                user=database,
                password=secret,
                network=args.network,
                ready=ready,
            )
            for database, secret in passwords.items()
        }
        self.register_outputs({})
