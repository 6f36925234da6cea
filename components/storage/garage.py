"""Garage: S3 on this Docker host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pulumi

from components.base.handles import DockerHost, EdgeCertificate, Image, ObjectStore, Route, Site
from components.base.secret import token
from components.base.service import File, HealthCheck, ServiceArgs, service
from components.base.step import StepArgs, step
from components.base.volume import volume
from rendering import garage as rendering

UID: Final = 0
"""As in the official image: it owns the volumes there. Without any capability this root can do no more than own."""


@dataclass(frozen=True, kw_only=True)
class GarageArgs:
    """A single Garage node with one bucket."""

    host: DockerHost
    image: Image
    memory_mib: int
    bucket: str
    capacity_gib: int
    domain: str
    """Name or address the edge serves it under."""
    url: str
    """The same as a URL."""
    certificate: EdgeCertificate
    """Shown there."""
    origins: Sequence[str]
    """Web origins whose pages may use presigned URLs."""
    own_port: int | None = None
    """See `Site`."""
    service: str = "garage"
    """Its name in the stack, and what its volumes' begin with."""
    network: str = "storage"
    """Role of the network it is on."""

    def __post_init__(self) -> None:
        if self.capacity_gib < 1:
            raise ValueError(f"capacity_gib must be 1 or more, not {self.capacity_gib}")


class Garage(pulumi.ComponentResource):
    """A Garage node with a bucket and a key for it, on the internal storage network.

    Creates: volumes that outlast it, and secrets. Does not: publish a port; the edge serves it under `domain`.
    """

    store: ObjectStore
    """The bucket, ready once the key may use it."""

    def __init__(self, name: str, args: GarageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:garage:Garage", name, {}, opts)
        # The forms Garage insists on: GK and 12 bytes, 32 bytes, in hexadecimal.
        access_key_id = pulumi.Output.concat("GK", token(f"{name}-key-id", self, size_bytes=12, optional=True))
        secret_access_key = token(f"{name}-key-secret", self, optional=True)

        def secret_file(path: str, content: pulumi.Output[str]) -> File:
            # Garage refuses secrets that others can read.
            return File(path=path, content=content, mode="0400")

        server = service(
            f"{name}-container",
            ServiceArgs(
                host=args.host,
                service=args.service,
                image=args.image.id,
                memory_mib=args.memory_mib,
                port=rendering.S3_PORT,
                environment={"RUST_LOG": "garage=info"},
                files=[
                    File(path=rendering.CONFIG_FILE, content=rendering.config()),
                    secret_file(rendering.RPC_SECRET_FILE, token(f"{name}-rpc-secret", self, optional=True)),
                    secret_file(rendering.ADMIN_TOKEN_FILE, token(f"{name}-admin-token", self, optional=True)),
                ],
                volumes={
                    directory: volume(f"{name}-{role}", args.host, f"{args.service}-{role}", self, optional=True)
                    for directory, role in (
                        (rendering.META_DIRECTORY, "meta"),
                        (rendering.DATA_DIRECTORY, "data"),
                    )
                },
                user=f"{UID}:{UID}",
                networks={args.network: ()},
                health=HealthCheck(test=("CMD", "/garage", "status"), start_period_seconds=60),
                # It reads its configuration from a file only, and has no shell that could write one.
                read_only=False,
                stop_grace_seconds=60,
            ),
            self,
        )
        ready = step(
            f"{name}-bucket",
            StepArgs(
                service=server,
                script=Path(__file__).with_name("garage_setup.py").read_text(encoding="utf-8"),
                inside=False,
                stdin=pulumi.Output.all(access_key_id=access_key_id, secret_access_key=secret_access_key).apply(
                    partial(_desired_state, args)
                ),
                show_progress=True,
            ),
            self,
        )
        self.store = ObjectStore(
            public_endpoint=args.url,
            region=rendering.REGION,
            bucket=args.bucket,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            ready=[ready],
            # No compression and no headers of ours there: what S3 clients get must be what the store said.
            sites=[
                Site(
                    names=[args.domain],
                    certificate=args.certificate,
                    routes=[Route(upstream=server.url(rendering.S3_PORT))],
                    network=args.network,
                    own_port=args.own_port,
                )
            ],
            services=[server],
        )
        self.register_outputs({})


def _desired_state(args: GarageArgs, key: Mapping[str, str]) -> str:
    """Return the input of the set-up script; `key` is the id and the secret of the access key, by their names there."""
    return rendering.desired_state(
        capacity_gib=args.capacity_gib, bucket=args.bucket, origins=list(args.origins), **key
    )
