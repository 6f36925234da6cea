"""PostgreSQL with a database and a role for each consumer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi

from components.handover import Database, DockerHost
from components.secret import password
from components.service import HealthCheck, ServiceArgs, service, volume
from components.step import StepArgs, step
from rendering import postgres as rendering

UID: Final = 70
"""postgres in the official Alpine images, and in ours."""
DATA_DIRECTORY: Final = "/var/lib/postgresql/data"
"""The volume the official image declares up to version 17."""
PORT: Final = 5432


@dataclass(frozen=True, kw_only=True)
class PostgresArgs:
    """A PostgreSQL server."""

    host: DockerHost
    image: pulumi.Input[str]
    databases: Sequence[str]
    """One database each, owned by a role of the same name that can reach no other."""

    def __post_init__(self) -> None:
        for name in self.databases:
            rendering.check_identifier(name)


class Postgres(pulumi.ComponentResource):
    """A PostgreSQL server on the internal database network; its data survives everything.

    Creates: a volume and passwords, protected. Does not: publish a port.
    """

    databases: Mapping[str, Database]
    """By name, ready once role and database exist."""

    def __init__(self, name: str, args: PostgresArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:postgres:Postgres", name, {}, opts)
        superuser_password = password(f"{name}-superuser", self)
        container = service(
            f"{name}-container",
            ServiceArgs(
                host=args.host,
                service="postgres",
                image=args.image,
                port=PORT,
                command=["postgres", "-c", "max_connections=200"],
                environment={
                    # The image insists on one; it is worth nothing once the databases are set up.
                    "POSTGRES_PASSWORD": superuser_password,
                },
                volumes={DATA_DIRECTORY: volume(f"{name}-data", args.host, "postgres", self)},
                tmpfs={
                    "/tmp": "rw,noexec,nosuid,size=64m",
                    "/var/run/postgresql": f"rw,noexec,nosuid,size=1m,uid={UID},gid={UID},mode=0775",
                },
                user=f"{UID}:{UID}",
                networks={"database": ()},
                # While it initialises, the server listens on its socket only; asking over TCP waits for the real one.
                health=HealthCheck(test=("CMD", "pg_isready", "--quiet", "--host=127.0.0.1", "--username=postgres")),
                # Fast shutdown: waits for no client, writes a checkpoint, and is clean.
                stop_signal="SIGINT",
                stop_grace_seconds=120,
            ),
            self,
        )
        passwords = {database: password(f"{name}-{database}", self) for database in args.databases}
        ready = step(
            f"{name}-databases",
            StepArgs(
                host=args.host,
                container=container,
                service="postgres",
                script="exec psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username=postgres --output=/dev/null",
                stdin=pulumi.Output.all(**passwords).apply(rendering.databases),
            ),
            self,
        )
        self.databases = {
            database: Database(
                url=pulumi.Output.format("postgresql://{0}:{1}@postgres:{2}/{0}", database, secret, PORT), ready=ready
            )
            for database, secret in passwords.items()
        }
        self.register_outputs({})
