"""Where speech becomes text: transcription, diarization, translation, padding and mixdown."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from settings.base import Model
from settings.values import Gpus, HttpUrl, MemoryMib, ModelName, Token


class _Speech(Model):
    hf_token: Token | None = Field(
        default=None,
        description="Hugging Face token for the gated diarization models; without one the public bundle is used where "
        "upstream has one",
    )


class Container(_Speech):
    """The speech service on this Docker host."""

    SERVICES: ClassVar = ("transcription",)
    IMAGES: ClassVar = ("transcription",)

    mode: Literal["container"] = "container"
    gpus: Gpus | None = Field(
        default=None, description="all, or device=<index or UUID>[,…]; by default it runs on the CPU"
    )
    memory_mib: MemoryMib = Field(default=8192, description="Memory limit of the speech service in MiB")


class InProcess(_Speech):
    """Models inside the backend, on the CPU."""

    mode: Literal["in-process"] = "in-process"
    whisper_model: ModelName = Field(
        default="small", description="Whisper model (upstream's own default, tiny, is too weak for meetings)"
    )


class Hosted(_Speech):
    """A speech service elsewhere."""

    mode: Literal["hosted"] = "hosted"
    url: HttpUrl = Field(description="URL of the speech service")
    api_key: Token | None = Field(default=None, description="API key of the speech service, if it wants one")


Speech: TypeAlias = Annotated[Container | InProcess | Hosted, Field(discriminator="mode")]
