"""What the room of speech makes of its settings: one handle, whatever is behind it."""

from typing import Any

from components import speech
from components.base.handles import SpeechServices
from settings import Secret
from settings import speech as settings
from testing import building
from testing.building import Built, Neighbours, environment_of
from testing.engine import is_secret, value_of


def made(chosen: Any) -> Built:
    def build(near: Neighbours) -> SpeechServices:
        return speech.speech_services(chosen, near.host, {"transcription": near.image()}, trust=near.trust())

    return building.build(build)


def test_a_container_is_made_with_the_limit_the_gpus_and_the_token_of_the_settings() -> None:
    chosen = settings.Container(memory_mib=700, gpus="device=0", hf_token=Secret("ConfiguredToken"))
    container = made(chosen).named("transcription-container")
    assert (container.plain("memory"), container.plain("gpus")) == (700, "device=0")
    assert environment_of(container)["HF_TOKEN"] == "ConfiguredToken"
    assert "ConfiguredToken" not in container.open_text()


def test_models_inside_the_backend_make_nothing_here() -> None:
    built = made(settings.InProcess(whisper_model="medium", hf_token=Secret("ConfiguredToken")))
    handle = built.component
    assert built.engine.of_type(building.CONTAINER) == []
    assert (handle.url, handle.whisper_model, handle.services, handle.ready) == ("", "medium", (), ())
    assert is_secret(handle.hf_token)


def test_a_service_elsewhere_is_its_address_and_its_key() -> None:
    built = made(settings.Hosted(url="https://speech.test", api_key=Secret("ConfiguredKey")))
    handle = built.component
    assert built.engine.of_type(building.CONTAINER) == []
    assert (handle.url, handle.hf_token, handle.services) == ("https://speech.test", None, ())
    assert value_of(handle.api_key) == "ConfiguredKey"
    assert is_secret(handle.api_key)
