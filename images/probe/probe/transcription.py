"""The role ``transcription``: the speech service's routes on port 8000 (gpu/self_hosted, v0.45.0), on real bytes."""

import hmac
import html
import ssl
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from probe import audio, trust
from probe.environment import Environment
from probe.http import bearer_token, http_error, json_object
from probe.serving import Listener, Role
from probe.wiring import Check, WiringError

PORT = 8000
"""Upstream's port (gpu/self_hosted/runserver.sh)."""

EXTENSIONS = ("mp3", "mp4", "mpeg", "mpga", "m4a", "wav", "webm")
"""Formats upstream takes (gpu/self_hosted/app/config.py)."""

CONTENT_TYPES = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/mp4": "mp4", "audio/webm": "webm"}
"""What upstream accepts for a URL without such an ending."""

LONGEST_OFFSET_SECONDS = 18_000
"""Upstream's limit for padding and offsets: five hours."""

FETCH_SECONDS = 30.0
"""Longest wait for an object: tests move kilobytes, over the edge at worst."""

OBJECT_BYTES = 64 * 1024 * 1024
"""Largest object fetched, so that a wrong URL cannot fill the memory."""


def role(env: Environment) -> Role:
    """Assemble the role."""
    app = application(env)
    checks = [
        trust.bundle_check(env),
        Check(name="routes", run=lambda: _check_routes(app, env)),
    ]
    return Role(name="transcription", checks=checks, listeners=[Listener(app=app, port=PORT)])


async def _check_routes(app: Starlette, env: Environment) -> dict[str, Any]:
    """Transcribe a tone by the service's own route, with its own key, and without where it must be refused."""
    sound = audio.tone(1, 440)
    key = env.text("REFLECTOR_GPU_APIKEY")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://transcription") as client:
        for path in ("/docs", "/openapi.json"):
            if (await client.get(path)).status_code != 200:
                raise WiringError(f"{path} does not answer 200")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        files = {"file": ("tone.wav", sound, "audio/wav")}
        response = await client.post("/v1/audio/transcriptions", headers=headers, files=files)
        if response.status_code != 200 or response.json()["words"] != audio.words(sound):
            raise WiringError(f"/v1/audio/transcriptions answered {response.status_code}: {response.text[:200]}")
        if key and (await client.post("/v1/audio/transcriptions", files=files)).status_code != 401:
            raise WiringError("REFLECTOR_GPU_APIKEY is set, but a request without it is served")
    return {"protected": bool(key), "routes": sorted(_paths(app))}


def application(env: Environment) -> Starlette:
    """The service; every route but the documentation asks for the key when there is one."""
    service = _Service(env)
    return Starlette(
        routes=[
            Route("/docs", service.docs),
            Route("/openapi.json", service.openapi),
            Route("/v1/audio/transcriptions", service.transcribe, methods=["POST"]),
            Route("/v1/audio/transcriptions-from-url", service.transcribe_url, methods=["POST"]),
            Route("/diarize", service.diarize, methods=["POST"]),
            Route("/translate", service.translate, methods=["POST"]),
            Route("/pad", service.pad, methods=["POST"]),
            Route("/mixdown", service.mixdown, methods=["POST"]),
        ],
        exception_handlers={HTTPException: http_error, audio.NotAudioError: _not_audio},
    )


class _Service:
    def __init__(self, env: Environment) -> None:
        self.env = env

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return trust.requests_context(self.env.values)

    async def docs(self, request: Request) -> Response:
        rows = "".join(f"<li><code>{html.escape(path)}</code></li>" for path in sorted(_paths(request.app)))
        return HTMLResponse(f"<!doctype html><title>Speech service</title><h1>Speech service</h1><ul>{rows}</ul>")

    async def openapi(self, request: Request) -> Response:
        paths = {
            path: {method.lower(): {"responses": {"200": {"description": "OK"}}} for method in methods - {"HEAD"}}
            for path, methods in _paths(request.app).items()
        }
        return JSONResponse({"openapi": "3.1.0", "info": {"title": "Speech service", "version": "1"}, "paths": paths})

    async def transcribe(self, request: Request) -> Response:
        self._authorise(request)
        async with request.form() as form:
            uploads = [item for item in form.getlist("file") + form.getlist("files") if isinstance(item, UploadFile)]
            if not uploads:
                raise HTTPException(400, "Either 'file' or 'files' parameter is required")
            results = []
            for upload in uploads:
                suffix = (upload.filename or "").rpartition(".")[2].lower()
                if suffix not in EXTENSIONS:
                    raise HTTPException(400, _unsupported())
                results.append({**_transcript(await upload.read()), "filename": upload.filename})
        return JSONResponse(results[0] if len(results) == 1 else {"results": results})

    async def transcribe_url(self, request: Request) -> Response:
        self._authorise(request)
        body = await json_object(request)
        data = await self._fetch(_text(body, "audio_file_url"), check_format=True)
        return JSONResponse(_transcript(data, _number(body, "timestamp_offset", 0.0)))

    async def diarize(self, request: Request) -> Response:
        self._authorise(request)
        query = dict(request.query_params)
        data = await self._fetch(_text(query, "audio_file_url"), check_format=True)
        return JSONResponse({"diarization": audio.speakers(data, _number(query, "timestamp", 0.0))})

    async def translate(self, request: Request) -> Response:
        self._authorise(request)
        text = _text(dict(request.query_params), "text")
        # Upstream takes the languages from the body only; Reflector sends them in the query, so the defaults apply.
        body = await json_object(request) if await request.body() else {}
        source, target = str(body.get("source_language", "en")), str(body.get("target_language", "fr"))
        return JSONResponse({"text": {source: text, target: " ".join(reversed(text.split()))}})

    async def pad(self, request: Request) -> Response:
        self._authorise(request)
        body = await json_object(request)
        source, target = _text(body, "track_url"), _text(body, "output_url")
        seconds = _number(body, "start_time_seconds")
        if not 0 < seconds <= LONGEST_OFFSET_SECONDS:
            raise HTTPException(400, f"start_time_seconds must be above 0 and at most {LONGEST_OFFSET_SECONDS}")
        padded = audio.pad(await self._fetch(source), seconds)
        await self._store(target, padded)
        return JSONResponse({"size": len(padded), "cancelled": False})

    async def mixdown(self, request: Request) -> Response:
        self._authorise(request)
        body = await json_object(request)
        urls, target = body.get("track_urls"), _text(body, "output_url")
        if not isinstance(urls, list) or not any(urls):
            raise HTTPException(400, "No valid track URLs provided")
        offsets = body.get("offsets_seconds") or [0.0] * len(urls)
        if not isinstance(offsets, list) or len(offsets) != len(urls):
            raise HTTPException(400, f"offsets_seconds must be a list of {len(urls)} numbers, one a track")
        if not all(isinstance(item, int | float) and item <= LONGEST_OFFSET_SECONDS for item in offsets):
            raise HTTPException(400, f"offsets_seconds must be numbers of at most {LONGEST_OFFSET_SECONDS}")
        chosen = [(url, float(offset)) for url, offset in zip(urls, offsets, strict=True) if url]
        first = min(offset for _, offset in chosen)
        tracks = [await self._fetch(url) for url, _ in chosen]
        mixed = audio.mix(tracks, [offset - first for _, offset in chosen])
        await self._store(target, mixed)
        seconds = audio.read(mixed).seconds
        return JSONResponse({"size": len(mixed), "duration_ms": round(seconds * 1000, 2), "cancelled": False})

    def _authorise(self, request: Request) -> None:
        key = self.env.text("REFLECTOR_GPU_APIKEY")
        if key and not hmac.compare_digest((bearer_token(request) or "").encode(), key.encode()):
            raise HTTPException(401, "Invalid API key", {"WWW-Authenticate": "Bearer"})

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=self._trust, timeout=FETCH_SECONDS, follow_redirects=True)

    async def _fetch(self, url: str, check_format: bool = False) -> bytes:
        async with self._client() as client:
            try:
                async with client.stream("GET", url) as response:
                    if response.status_code == 404:
                        raise HTTPException(404, "Audio file not found")
                    if response.status_code != 200:
                        raise HTTPException(500, f"{_bare(url)} answered {response.status_code}")
                    if check_format:
                        _require_format(url, response.headers.get("content-type", ""))
                    data = b""
                    async for chunk in response.aiter_bytes():
                        data += chunk
                        if len(data) > OBJECT_BYTES:
                            raise HTTPException(400, f"{_bare(url)} is larger than {OBJECT_BYTES} bytes")
                    return data
            except (httpx.HTTPError, httpx.InvalidURL) as problem:
                raise HTTPException(500, f"{_bare(url)}: {type(problem).__name__}: {problem}") from problem

    async def _store(self, url: str, data: bytes) -> None:
        async with self._client() as client:
            try:
                response = await client.put(url, content=data)
            except (httpx.HTTPError, httpx.InvalidURL) as problem:
                raise HTTPException(500, f"{_bare(url)}: {type(problem).__name__}: {problem}") from problem
        if response.status_code >= 400:
            raise HTTPException(500, f"PUT {_bare(url)} answered {response.status_code}")


def _transcript(data: bytes, offset: float = 0.0) -> dict[str, Any]:
    found = [
        {**word, "start": offset + float(word["start"]), "end": offset + float(word["end"])}
        for word in audio.words(data)
    ]
    return {"text": " ".join(str(word["word"]) for word in found), "words": found}


def _require_format(url: str, content_type: str) -> None:
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower().lstrip(".")
    if suffix not in EXTENSIONS and content_type.partition(";")[0].strip().lower() not in CONTENT_TYPES:
        raise HTTPException(400, _unsupported())


def _unsupported() -> str:
    return f"Unsupported audio format. Supported extensions: {', '.join(EXTENSIONS)}"


def _bare(url: str) -> str:
    """The URL without its query, which holds the signature of a presigned one."""
    return urlsplit(url)._replace(query="").geturl()


def _paths(app: Starlette) -> dict[str, set[str]]:
    return {route.path: set(route.methods or ()) for route in app.routes if isinstance(route, Route)}


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value:
        raise HTTPException(422, f"{name} is required")
    return value


def _number(values: dict[str, Any], name: str, default: float | None = None) -> float:
    try:
        return float(values.get(name, default))  # type: ignore[arg-type]  # None raises TypeError, caught below
    except (TypeError, ValueError):
        raise HTTPException(422, f"{name} must be a number") from None


async def _not_audio(request: Request, problem: Exception) -> Response:
    return JSONResponse({"detail": str(problem)}, status_code=400)
