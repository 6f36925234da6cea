"""Where audio and derived files are kept."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

from pydantic import Field

from settings.base import Conflict, Model
from settings.values import (
    AwsBucket,
    AwsRegion,
    BrowserPort,
    Bucket,
    Gibibytes,
    MemoryMib,
    PublicName,
    Region,
    StoreUrl,
    Token,
    Word,
    aws_bucket,
    host_of,
)

DEFAULT_BUCKET: Final = "reflector-media"
DEFAULT_HTTPS_PORT: Final = 8444


class _Storage(Model):
    bucket: Bucket = Field(default=DEFAULT_BUCKET, description="Bucket name")


class Garage(_Storage):
    """A Garage on this Docker host, served by the edge."""

    SERVICES: ClassVar = ("garage",)
    IMAGES: ClassVar = ("garage",)
    NETWORKS: ClassVar = ("storage",)

    mode: Literal["garage"] = "garage"
    domain: PublicName | None = Field(
        default=None, description="Host name of the store at the edge, used in presigned URLs; by default s3.<domain>"
    )
    https_port: BrowserPort | None = Field(
        default=None,
        description="Published HTTPS port of the store's own, where edge.domain is an address: by default "
        f"{DEFAULT_HTTPS_PORT}",
    )
    capacity_gib: Gibibytes = Field(default=100, description="Capacity in GiB Garage announces for this host")
    memory_mib: MemoryMib = Field(default=1024, description="Memory limit of Garage in MiB")


class S3(Model):
    """A bucket and a user of its own, made in AWS."""

    mode: Literal["s3"] = "s3"
    # No default: a name in S3 is everybody's, so that of an example is somebody's already.
    bucket: AwsBucket = Field(description="Bucket name, which nobody else in AWS has")
    region: AwsRegion = Field(description="AWS region the bucket is made in")
    adopt: bool = Field(
        default=False, description="Whether the bucket is there already and is taken over, as after a change of mode"
    )


class External(_Storage):
    """A bucket that is there already, in AWS or any store that speaks S3."""

    mode: Literal["external"] = "external"
    endpoint: StoreUrl | None = Field(
        default=None, description="URL of the store, without the bucket; by default AWS in the region"
    )
    region: Region = Field(description="Region of the bucket")
    access_key_id: Word = Field(description="Access key id")
    secret_access_key: Token = Field(description="Secret access key")

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a name AWS keeps for itself, and an endpoint with the bucket in its host name."""
        if self.endpoint is None:
            try:
                aws_bucket(self.bucket)
            except ValueError as error:
                yield Conflict(path=("bucket",), others=(("endpoint",),), given=repr(self.bucket), allowed=str(error))
        elif _names_bucket(host_of(self.endpoint), self.bucket):
            yield Conflict(
                path=("endpoint",),
                others=(("bucket",),),
                given=f"{self.endpoint!r}, while bucket is {self.bucket!r}",
                allowed="the URL of the store without the bucket: it is added to it",
                remedy="Set it: pulumi config set --path {path} <URL>",
            )


def _names_bucket(host: str, bucket: str) -> bool:
    """Return whether `host` is a bucket's own name at its store.

    A store at media.example.com may have a bucket of that name; one behind a store's own name has three labels or more,
    as in media.s3.example.com and media.fra1.example.com.
    """
    return host.startswith(f"{bucket}.") and host.removeprefix(f"{bucket}.").count(".") > 1


Storage: TypeAlias = Annotated[Garage | S3 | External, Field(discriminator="mode")]
