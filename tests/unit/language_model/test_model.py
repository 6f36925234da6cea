"""What the room of language models makes of its settings: one handle, whatever is behind it."""

from typing import Any

from components import language_model
from components.base.handles import LanguageModel
from settings import Secret
from settings import language_model as settings
from testing import building
from testing.building import Built, Neighbours
from testing.engine import is_secret, value_of


def made(chosen: Any) -> Built:
    def build(near: Neighbours) -> LanguageModel:
        return language_model.model(chosen, near.host, {"ollama": near.image()}, trust=near.trust())

    return building.build(build)


def test_a_model_on_this_host_is_an_ollama() -> None:
    built = made(settings.Ollama(model="tiny", context_tokens=4096, memory_mib=900, gpus="all"))
    container = built.named("ollama-container")
    assert (container.plain("memory"), container.plain("gpus")) == (900, "all")
    assert (built.component.model, built.component.context_tokens) == ("tiny", 4096)


def test_a_model_elsewhere_is_its_address_its_name_and_its_key() -> None:
    built = made(settings.External(url="https://models.test/v1", model="m", api_key=Secret("ConfiguredKey")))
    model = built.component
    assert built.engine.of_type(building.CONTAINER) == []
    assert (model.url, model.model, model.services) == ("https://models.test/v1", "m", ())
    assert value_of(model.api_key) == "ConfiguredKey"
    assert is_secret(model.api_key)


def test_a_model_elsewhere_that_wants_no_key_is_given_what_the_client_insists_on() -> None:
    assert made(settings.External(url="https://models.test/v1", model="m")).component.api_key == "not-needed"
