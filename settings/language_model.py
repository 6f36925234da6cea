"""Where summaries and topics come from."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from settings.base import Model
from settings.values import Gpus, MemoryMib, ModelName, ModelUrl, Token, Tokens


class _LanguageModel(Model):
    context_tokens: Tokens = Field(
        default=16384, description="Context length in tokens that Reflector counts on; Ollama is given the same"
    )


class Ollama(_LanguageModel):
    """An Ollama on this Docker host."""

    SERVICES: ClassVar = ("ollama",)
    IMAGES: ClassVar = ("ollama",)

    mode: Literal["ollama"] = "ollama"
    model: ModelName = Field(
        default="qwen2.5:14b",
        description="Model name; it is pulled (or created from one the image ships) and must support tool calls",
    )
    gpus: Gpus | None = Field(
        default=None, description="all, or device=<index or UUID>[,…]; by default it runs on the CPU"
    )
    memory_mib: MemoryMib = Field(default=16384, description="Memory limit of Ollama in MiB")


class External(_LanguageModel):
    """Any endpoint that speaks OpenAI's protocol."""

    mode: Literal["external"] = "external"
    url: ModelUrl = Field(description="Base URL of the endpoint, including /v1")
    model: ModelName = Field(description="Model name, as the endpoint knows it; it must support tool calls")
    api_key: Token | None = Field(default=None, description="API key of the endpoint, if it wants one")


LanguageModel: TypeAlias = Annotated[Ollama | External, Field(discriminator="mode")]
