"""Where summaries and topics come from."""

from collections.abc import Mapping
from typing import assert_never

from components.base.handles import DockerHost, Image, LanguageModel, TrustBundle
from components.base.secrecy import revealed
from components.language_model.ollama import Ollama, OllamaArgs
from settings import language_model


def model(
    settings: language_model.Ollama | language_model.External,
    host: DockerHost,
    images: Mapping[str, Image],
    *,
    trust: TrustBundle,
) -> LanguageModel:
    """Return the language model of `settings`."""
    match settings:
        case language_model.Ollama():
            return Ollama(
                "ollama",
                OllamaArgs(
                    host=host,
                    image=images["ollama"],
                    model=settings.model,
                    context_tokens=settings.context_tokens,
                    memory_mib=settings.memory_mib,
                    gpus=settings.gpus or "",
                    trust=trust,
                ),
            ).language_model
        case language_model.External():
            return LanguageModel(
                url=settings.url,
                model=settings.model,
                # The client insists on one.
                api_key=revealed(settings.api_key) or "not-needed",
                context_tokens=settings.context_tokens,
            )
        case _:
            assert_never(settings)
