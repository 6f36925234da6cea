"""Where speech becomes text."""

from collections.abc import Mapping
from typing import assert_never

from components.base.handles import DockerHost, Image, SpeechServices, TrustBundle
from components.base.secrecy import revealed
from components.speech.transcription import Transcription, TranscriptionArgs
from settings import speech


def speech_services(
    settings: speech.Container | speech.InProcess | speech.Hosted,
    host: DockerHost,
    images: Mapping[str, Image],
    *,
    trust: TrustBundle,
) -> SpeechServices:
    """Return the speech services of `settings`."""
    match settings:
        case speech.Container():
            return Transcription(
                "transcription",
                TranscriptionArgs(
                    host=host,
                    image=images["transcription"],
                    memory_mib=settings.memory_mib,
                    trust=trust,
                    hf_token=revealed(settings.hf_token),
                    gpus=settings.gpus or "",
                ),
            ).speech
        case speech.InProcess():
            return SpeechServices(url="", whisper_model=settings.whisper_model, hf_token=revealed(settings.hf_token))
        case speech.Hosted():
            return SpeechServices(
                url=settings.url, api_key=revealed(settings.api_key), hf_token=revealed(settings.hf_token)
            )
        case _:
            assert_never(settings)
