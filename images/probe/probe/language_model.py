"""The language model as Reflector asks it: by a tool it must call, whose arguments are the answer.

Also the role ``language-model``: an OpenAI-compatible endpoint that does call tools, where a test needs a finished
transcript and has no model that can.
"""

import json
import time
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from probe.edge import http_client
from probe.environment import Environment, LanguageModel
from probe.http import http_error, json_object
from probe.outside import call_out
from probe.serving import Listener, Role
from probe.wiring import Check, WiringError

FALLBACK = "https://api.openai.com/v1"
"""Where the client library goes without LLM_URL, with whatever it was to ask: the transcript."""

DEFAULT_TIMEOUT_SECONDS = 300.0
"""LLM_REQUEST_TIMEOUT's default (reflector/settings.py, v0.45.0)."""

DEFAULT_RETRIES = 3
"""LLM_PARSE_MAX_RETRIES' default: so often an answer that is none is asked for again."""

PORT = 11434
"""Port of the role ``language-model``: Ollama's, in whose place it stands."""


class NoToolCallError(Exception):
    """The model answered, but called no tool: what Reflector cannot use."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model gave back: the arguments of its tool call where it made one, and its plain text."""

    arguments: dict[str, Any] | None
    text: str


TITLE: Final[dict[str, Any]] = {
    "name": "TranscriptTitle",
    "description": "The title of a meeting",
    "parameters": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
}
"""The tool of a wiring check, and of the pipeline's title."""


def require_url(env: Environment) -> None:
    """Raise WiringError where no LLM_URL is set, after calling out as the client library would, with nothing to say."""
    if not env.text("LLM_URL"):
        call_out(FALLBACK, "LLM_URL is not set")
        raise WiringError("would call api.openai.com with the transcript: LLM_URL is not set, and that is the fallback")


async def ask(
    env: Environment, prompt: str, tool: dict[str, Any], *, seconds: float, max_tokens: int | None = None
) -> Answer:
    """Ask once, with a tool that must be called; raises WiringError where the endpoint refuses."""
    require_url(env)
    model = LanguageModel.from_environment(env)
    body: dict[str, Any] = {
        "model": model.model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0.4,
        "tools": [{"type": "function", "function": tool}],
        "tool_choice": "required",
    }
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    async with http_client(seconds) as client:
        response = await client.post(
            f"{model.url}/chat/completions", headers={"Authorization": f"Bearer {model.api_key}"}, json=body
        )
    if response.status_code != 200:
        # Among them Ollama's 400 "does not support tools", for a model whose template has no place for them.
        raise WiringError(f"LLM_URL: model {model.model!r} answered {response.status_code}: {response.text[:300]}")
    choices = response.json().get("choices") or [{}]
    message = choices[0].get("message") or {}
    return Answer(arguments=_arguments(message, str(tool["name"])), text=message.get("content") or "")


def _arguments(message: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The arguments of the first call of this tool that can be read."""
    for call in message.get("tool_calls") or []:
        function = call.get("function") or {}
        try:
            arguments = json.loads(function.get("arguments") or "")
        except (ValueError, TypeError):
            continue
        if function.get("name") == name and isinstance(arguments, dict):
            return arguments
    return None


async def structured(env: Environment, prompt: str, tool: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a tool call with all that is required in them; raises NoToolCallError after the last try."""
    seconds = env.number("LLM_REQUEST_TIMEOUT", DEFAULT_TIMEOUT_SECONDS)
    attempts = 1 + env.number("LLM_PARSE_MAX_RETRIES", DEFAULT_RETRIES)
    required = set(tool["parameters"]["required"])
    for _ in range(attempts):
        answer = await ask(env, prompt, tool, seconds=seconds)
        if answer.arguments is not None and required <= answer.arguments.keys():
            return answer.arguments
    raise NoToolCallError(f"Failed to parse {tool['name']} after {attempts} attempts: expected at least one tool call")


def role(env: Environment) -> Role:
    """Assemble the role ``language-model``."""
    app = application()
    return Role(
        name="language-model",
        checks=[Check(name="routes", run=lambda: _check_routes(app))],
        listeners=[Listener(app=app, port=PORT)],
    )


async def _check_routes(app: Starlette) -> dict[str, Any]:
    return {"routes": sorted(route.path for route in app.routes if isinstance(route, Route))}


def application() -> Starlette:
    """The endpoint: calls the first tool it is given, with arguments that fit the tool's own schema."""

    async def completions(request: Request) -> Response:
        body = await json_object(request)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise HTTPException(422, "messages are required")
        words = str(messages[-1].get("content", "")).split()
        text = " ".join(words[:6])
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if body.get("tools"):
            function = body["tools"][0]["function"]
            arguments = json.dumps(example(function["parameters"], text))
            call = {
                "id": f"call_{uuid4().hex[:8]}",
                "type": "function",
                "function": {"name": function["name"], "arguments": arguments},
            }
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return JSONResponse(
            {
                "id": f"chatcmpl-{uuid4().hex[:8]}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": body.get("model"),
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            }
        )

    return Starlette(
        routes=[Route("/v1/chat/completions", completions, methods=["POST"])],
        exception_handlers={HTTPException: http_error},
    )


def example(schema: dict[str, Any], text: str) -> Any:
    """A value that fits a JSON schema of the kinds Reflector's tools have."""
    match schema.get("type"):
        case "object":
            return {name: example(part, text) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [example(schema.get("items", {}), text)]
        case "integer" | "number":
            return 0
        case "boolean":
            return True
    return text
