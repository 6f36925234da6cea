"""Where audio and derived files are kept."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from settings.base import Model, Secret
from settings.values import Bucket, Gibibytes, HostName, HttpUrl, MemoryMib, Word


class _Storage(Model):
    bucket: Bucket = Field(default="reflector-media", description="Bucket name")


class Garage(_Storage):
    """A Garage on this Docker host, served by the edge."""

    SERVICES: ClassVar = ("garage",)
    IMAGES: ClassVar = ("garage",)
    NETWORKS: ClassVar = ("storage",)

    mode: Literal["garage"] = "garage"
    domain: HostName | None = Field(
        default=None, description="Host name of the store at the edge, used in presigned URLs; by default s3.<domain>"
    )
    capacity_gib: Gibibytes = Field(default=100, description="Capacity in GiB Garage announces for this host")
    memory_mib: MemoryMib = Field(default=1024, description="Memory limit of Garage in MiB")


class S3(_Storage):
    """A bucket and a user of its own, made in AWS."""

    mode: Literal["s3"] = "s3"
    region: Word = Field(description="AWS region the bucket is made in")
    adopt: bool = Field(
        default=False, description="Whether the bucket is there already and is taken over, as after a change of mode"
    )


class External(_Storage):
    """A bucket that is there already, in AWS or any store that speaks S3."""

    mode: Literal["external"] = "external"
    endpoint: HttpUrl | None = Field(default=None, description="URL of the store; by default AWS")
    region: Word = Field(description="Region of the bucket")
    access_key_id: Word = Field(description="Access key id")
    secret_access_key: Secret = Field(description="Secret access key")


Storage: TypeAlias = Annotated[Garage | S3 | External, Field(discriminator="mode")]
