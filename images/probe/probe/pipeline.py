"""The file pipeline: an uploaded recording becomes a transcript with a title and a summary, by everything it needs.

The steps and their order are those of Reflector's (reflector/hatchet/workflows/file_pipeline.py, v0.45.0); what they
find out is nonsense. Whatever goes wrong leaves the transcript in ``error``.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from probe import audio, backend, database, language_model
from probe.edge import http_client
from probe.environment import Environment, Storage, speech_service
from probe.storage import ObjectStorage
from probe.wiring import Scrubber, WiringError, describe

WORKFLOW: Final = "file-pipeline"
"""Its name in Hatchet."""

SPEECH_SECONDS = 600.0
"""Longest wait for the speech service; TRANSCRIPT_FILE_TIMEOUT's default (reflector/settings.py)."""

TOPICS: Final[dict[str, Any]] = {
    "name": "TopicResponse",
    "description": "The topics of a meeting",
    "parameters": {
        "type": "object",
        "properties": {"topics": {"type": "array", "items": {"type": "string"}}},
        "required": ["topics"],
    },
}
SUMMARY: Final[dict[str, Any]] = {
    "name": "SummaryResponse",
    "description": "The summary of a meeting",
    "parameters": {"type": "object", "properties": {"summary": {"type": "string"}}, "required": ["summary"]},
}
"""Tools the model must call, beside the title's."""

log = logging.getLogger("probe.pipeline")


def upload_path(env: Environment, identity: str) -> Path:
    """Where the server leaves a recording for the worker: they share DATA_DIR."""
    return backend.data_directory(env) / identity / "upload.wav"


async def keep_upload(env: Environment, identity: str, data: bytes) -> None:
    """Write a recording."""
    path = upload_path(env, identity)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as problem:
        raise WiringError(f"DATA_DIR {path.parent} cannot be written: {problem.strerror}") from problem


async def run(env: Environment, identity: str) -> bool:
    """Process one recording; returns whether it ended well. Its status says so too."""
    dsn = backend.settings(env).dsn
    try:
        await database.update_transcript(dsn, identity, "processing")
        title, summary = await _process(env, identity)
        await database.update_transcript(dsn, identity, "ended", title, summary)
    # Each step fails in its library's own way, and none of them may end the worker.
    except Exception as problem:  # noqa: BLE001  # see above
        log.error("transcript %s: %s", identity, Scrubber(env.values).clean(describe(problem)))
        await database.update_transcript(dsn, identity, "error")
        return False
    return True


async def _process(env: Environment, identity: str) -> tuple[str, str]:
    """Store the recording, have it transcribed, and ask the model; returns title and summary."""
    sound = upload_path(env, identity).read_bytes()
    store = ObjectStorage(Storage.from_environment(env))
    key = f"file_pipeline/{identity}/audio.wav"
    await store.put(key, sound)
    text = await _transcribe(env, sound, await store.presign(key))
    await language_model.structured(env, f"Topics of: {text}", TOPICS)
    title = await language_model.structured(env, f"Title of: {text}", language_model.TITLE)
    summary = await language_model.structured(env, f"Summary of: {text}", SUMMARY)
    return str(title["title"]), str(summary["summary"])


async def _transcribe(env: Environment, sound: bytes, url: str) -> str:
    """The recording as text: by the speech service, or here where Reflector would do it itself."""
    service = speech_service(env, "transcript")
    if service is None:
        return " ".join(str(word["word"]) for word in audio.words(sound))
    async with http_client(env.number("TRANSCRIPT_FILE_TIMEOUT", SPEECH_SECONDS)) as client:
        response = await client.post(
            f"{service.url}/v1/audio/transcriptions-from-url",
            headers=service.headers,
            json={"audio_file_url": url, "language": "en", "batch": True},
        )
    if response.status_code != 200:
        raise WiringError(f"TRANSCRIPT_URL: {service.url} answered {response.status_code}: {response.text[:200]}")
    answer: Mapping[str, Any] = response.json()
    return str(answer["text"])
