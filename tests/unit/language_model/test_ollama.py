"""Ollama: one model, made sure of before anybody may ask it."""

from typing import Any

import pytest

from components.language_model.ollama import Ollama
from testing import building
from testing.engine import value_of

BUILT = building.built("Ollama")


@pytest.mark.parametrize("model", ["", "--help", "two words"])
def test_what_is_no_model_name_is_refused(model: str) -> None:
    with pytest.raises(ValueError, match=f"model '{model}' is not a model name"):
        building.build(lambda near: building.ollama_args(near, model=model))


def test_ollama_gets_the_context_length_it_would_otherwise_cut_to() -> None:
    assert building.environment_of(BUILT.named("it-container"))["OLLAMA_CONTEXT_LENGTH"] == "16384"


def test_no_model_of_somebody_elses_is_asked_through_ours() -> None:
    assert building.environment_of(BUILT.named("it-container"))["OLLAMA_NO_CLOUD"] == "1"


def test_the_language_model_is_ready_once_the_model_is_there() -> None:
    setup = BUILT.named("it-model")
    model = BUILT.component.language_model
    assert [value_of(resource.urn) for resource in model.ready] == [setup.urn]
    assert setup.plain("environment")["MODEL"] == "qwen2.5:14b"
    assert "--env=MODEL" in setup.plain("interpreter"), "the value must not show in a process list"


def test_it_is_handed_over_as_an_endpoint_of_openais_protocol() -> None:
    model = BUILT.component.language_model
    assert (model.url, model.model, model.context_tokens) == ("http://ollama:11434/v1", "qwen2.5:14b", 16384)
    assert [service.name for service in model.services] == ["ollama"]


@pytest.mark.parametrize(("given", "expected"), [({"gpus": "device=0"}, "device=0"), ({}, None)])
def test_gpus_are_passed_on_only_where_there_are_any(given: dict[str, Any], expected: str | None) -> None:
    container = building.build(lambda near: Ollama("it", building.ollama_args(near, **given))).named("it-container")
    assert container.inputs.get("gpus") == expected
