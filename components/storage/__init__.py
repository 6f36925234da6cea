"""Where audio and derived files are kept."""

from collections.abc import Mapping, Sequence
from typing import assert_never

import pulumi

from components.base.handles import DockerHost, EdgeCertificate, Image, ObjectStore
from components.base.secrecy import revealed
from components.storage.garage import Garage, GarageArgs
from settings import storage
from settings.edge import Place


def object_store(
    settings: storage.Garage | storage.S3 | storage.External,
    host: DockerHost,
    images: Mapping[str, Image],
    *,
    place: Place | None,
    origins: Sequence[str],
    certificate: EdgeCertificate,
) -> ObjectStore:
    """Return the object store of `settings`.

    `place` is where the edge serves one that runs here, with `certificate`; `origins` are the pages that may use it
    from a browser.
    """
    match settings:
        case storage.Garage():
            assert place
            return Garage(
                "garage",
                GarageArgs(
                    host=host,
                    image=images["garage"],
                    bucket=settings.bucket,
                    capacity_gib=settings.capacity_gib,
                    memory_mib=settings.memory_mib,
                    domain=place.domain,
                    url=place.url,
                    own_port=place.own_port,
                    origins=origins,
                    certificate=certificate,
                ),
            ).store
        case storage.S3():
            # Imported here alone: the SDK is large, and its plugin is only asked for once one of its resources is made.
            try:
                import pulumi_aws as aws
            except ModuleNotFoundError as error:
                raise pulumi.RunError(
                    "storage.mode s3 needs the package pulumi-aws, which is not installed. Install it: make setup, or,"
                    " where Python packages are installed by hand, pip install -r requirements-aws.txt"
                ) from error

            from components.storage.s3 import S3, S3Args

            # A default provider would take its region from the environment.
            provider = aws.Provider("aws", region=settings.region)
            return S3(
                "s3",
                S3Args(bucket=settings.bucket, origins=origins, adopt=settings.adopt),
                opts=pulumi.ResourceOptions(providers={"aws": provider}),
            ).store
        case storage.External():
            secret = revealed(settings.secret_access_key)
            assert secret is not None
            return ObjectStore(
                public_endpoint=settings.endpoint or "",
                region=settings.region,
                bucket=settings.bucket,
                access_key_id=settings.access_key_id,
                secret_access_key=secret,
            )
        case _:
            assert_never(settings)
