"""The language model is asked as Reflector asks it, and a recording only ends well where it can answer so."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from probe import audio, backend, database, language_model, pipeline
from probe.environment import Environment
from probe.language_model import NoToolCallError
from probe.wiring import WiringError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

MODEL = {"LLM_URL": "http://model/v1", "LLM_MODEL": "some", "LLM_API_KEY": "none", "LLM_PARSE_MAX_RETRIES": "2"}


class Model:
    """An endpoint that remembers what it was asked, and answers one message or an error."""

    def __init__(self, message: dict[str, Any], status: int = 200) -> None:
        self.asked: list[dict[str, Any]] = []
        self.message = message
        self.status = status

    @property
    def application(self) -> Starlette:
        async def completions(request: Request) -> Response:
            self.asked.append(await request.json())
            body = {"choices": [{"message": self.message}]} if self.status == 200 else self.message
            return JSONResponse(body, status_code=self.status)

        return Starlette(routes=[Route("/v1/chat/completions", completions, methods=["POST"])])


PLAIN = {"role": "assistant", "content": "item follow decision"}
REFUSAL = {"error": {"message": "registry.ollama.ai/library/old does not support tools"}}


def stand_in(monkeypatch: pytest.MonkeyPatch, app: Starlette) -> None:
    """Put an application in the model's place."""
    transport = httpx.ASGITransport(app=app)
    monkeypatch.setattr(language_model, "http_client", lambda seconds: httpx.AsyncClient(transport=transport))


def check(values: dict[str, str]) -> dict[str, Any]:
    return asyncio.run(backend.check_llm(Environment(values)))


def test_the_model_is_asked_with_a_tool_it_must_call(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(PLAIN)
    stand_in(monkeypatch, model.application)
    detail = check(MODEL)
    (asked,) = model.asked
    assert asked["tool_choice"] == "required"
    assert asked["tools"][0]["function"]["name"] == "TranscriptTitle"
    # A stand-in model answers in nonsense, which is told and is no fault of the wiring.
    assert (detail["tool_call"], detail["characters"]) == (False, len(PLAIN["content"]))


def test_a_model_without_tools_is_a_fault_of_the_wiring(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, Model(REFUSAL, 400).application)
    with pytest.raises(WiringError, match=r"answered 400: .*does not support tools"):
        check(MODEL)


@pytest.mark.parametrize("message", [{}, {"content": None}, {"content": "", "tool_calls": [{"function": {}}]}])
def test_an_answer_with_nothing_in_it_is_a_fault(monkeypatch: pytest.MonkeyPatch, message: dict[str, Any]) -> None:
    stand_in(monkeypatch, Model(message).application)
    with pytest.raises(WiringError, match="empty completion"):
        check(MODEL)


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Whom the probe calls that nobody named."""
    called: list[str] = []
    monkeypatch.setattr(language_model, "call_out", lambda url, why: called.append(url))
    yield called


@pytest.mark.parametrize("values", [{}, {"LLM_URL": ""}, {"LLM_MODEL": "some", "LLM_API_KEY": "none"}])
def test_without_an_address_the_fallback_is_called_and_told(outside: list[str], values: dict[str, str]) -> None:
    with pytest.raises(WiringError, match=r"would call api\.openai\.com"):
        check(values)
    assert outside == ["https://api.openai.com/v1"]


def test_every_role_that_processes_recordings_needs_a_language_model() -> None:
    for role in ("server", "worker", "hatchet-worker-llm"):
        assert "llm" in [found.name for found in backend.checks(role, Environment({}))]


def test_a_tool_call_is_asked_for_until_one_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(PLAIN)
    stand_in(monkeypatch, model.application)
    with pytest.raises(NoToolCallError, match="after 3 attempts"):
        asyncio.run(language_model.structured(Environment(MODEL), "Title?", language_model.TITLE))
    assert len(model.asked) == 3


@pytest.mark.parametrize(
    "arguments", ["no json", "[]", json.dumps({"other": "x"})], ids=["not JSON", "no object", "not what was asked for"]
)
def test_a_call_that_cannot_be_used_counts_as_none(monkeypatch: pytest.MonkeyPatch, arguments: str) -> None:
    call = {"function": {"name": "TranscriptTitle", "arguments": arguments}}
    stand_in(monkeypatch, Model({"content": None, "tool_calls": [call]}).application)
    with pytest.raises(NoToolCallError):
        asyncio.run(language_model.structured(Environment(MODEL), "Title?", language_model.TITLE))


def test_the_endpoint_for_tests_calls_whatever_tool_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, language_model.application())
    env = Environment(MODEL)
    assert asyncio.run(language_model.structured(env, "one two", language_model.TITLE)) == {"title": "one two"}
    assert asyncio.run(language_model.structured(env, "one two", pipeline.TOPICS)) == {"topics": ["one two"]}
    assert check(MODEL)["tool_call"] is True


class Store:
    """Objects in memory."""

    def __init__(self, settings: object) -> None:
        self.objects: dict[str, bytes] = {}

    async def put(self, key: str, data: bytes) -> None:
        self.objects[key] = data

    async def presign(self, key: str) -> str:
        assert key in self.objects
        return f"http://store/{key}"


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, ...]]:
    """The database's place: status, title and summary as they are set."""
    found: list[tuple[str | None, ...]] = []

    async def update(dsn: str, identity: str, status: str, *texts: str) -> None:
        found.append((status, *texts))

    monkeypatch.setattr(database, "update_transcript", update)
    monkeypatch.setattr(pipeline, "ObjectStorage", Store)
    return found


def process(tmp_path: Path, values: dict[str, str]) -> bool:
    storage = {
        f"TRANSCRIPT_STORAGE_{name}": "aws" for name in ("BACKEND", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    }
    env = Environment({"DATA_DIR": str(tmp_path), **storage, **values})

    async def run() -> bool:
        await pipeline.keep_upload(env, "t1", audio.tone(1, 440))
        return await pipeline.run(env, "t1")

    return asyncio.run(run())


def test_a_recording_ends_well_with_a_model_that_calls_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: list[tuple[str | None, ...]]
) -> None:
    stand_in(monkeypatch, language_model.application())
    assert process(tmp_path, MODEL)
    assert [state[0] for state in states] == ["processing", "ended"]
    title, summary = states[-1][1:]
    # The very sound that was uploaded came to the model.
    word = str(audio.words(audio.tone(1, 440))[0]["word"])
    assert title is not None and summary is not None and word in title and word in summary


def test_a_recording_ends_in_error_with_a_model_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: list[tuple[str | None, ...]]
) -> None:
    stand_in(monkeypatch, Model(PLAIN).application)
    assert not process(tmp_path, MODEL)
    assert states == [("processing",), ("error",)]


def test_a_recording_ends_in_error_without_a_model(
    tmp_path: Path, outside: list[str], states: list[tuple[str | None, ...]]
) -> None:
    assert not process(tmp_path, {})
    assert states == [("processing",), ("error",)]
    assert outside == ["https://api.openai.com/v1"]
