"""Reflector's side of the speech services: the same requests, with the same keys, on real sound."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from probe import audio
from probe.edge import http_client
from probe.environment import Environment, SpeechService, Storage, speech_service
from probe.storage import ObjectStorage
from probe.wiring import WiringError

HTTP_SECONDS = 12.0
"""Longest wait for one answer: the service downloads from the object store and may upload to it in between."""


async def check_transcript(env: Environment) -> dict[str, Any]:
    """Send sound as a file and as a presigned URL; both answers must match what was sent."""
    service = speech_service(env, "transcript")
    if service is None:
        return {"backend": "in process"}
    sound = audio.tone(1.5, 440)
    async with http_client(HTTP_SECONDS) as client:
        response = await client.post(
            f"{service.url}/v1/audio/transcriptions",
            headers=service.headers,
            files={"file": ("tone.wav", sound, "audio/wav")},
            data={
                "model": "whisper-1",
                "response_format": "verbose_json",
                "language": "en",
                "timestamp_granularities[]": "word",
            },
        )
        _require_words(response, sound)
        async with _stored(env, sound) as (url, _):
            response = await client.post(
                f"{service.url}/v1/audio/transcriptions-from-url",
                headers=service.headers,
                json={"audio_file_url": url, "language": "en", "batch": True},
            )
            count = _require_words(response, sound)
    return {"url": service.url, "key_sent": service.api_key is not None, "words": count}


async def check_diarization(env: Environment) -> dict[str, Any]:
    """Have a stored sound's speakers told apart."""
    if not env.flag("DIARIZATION_ENABLED", True):
        return {"backend": "disabled"}
    service = speech_service(env, "diarization")
    if service is None:
        return {"backend": "in process"}
    sound = audio.tone(2, 330)
    async with _stored(env, sound) as (url, _):
        answer = await _post("DIARIZATION_URL", service, "/diarize", params={"audio_file_url": url, "timestamp": "0"})
    if answer.get("diarization") != audio.speakers(sound):
        raise WiringError("DIARIZATION_URL: the segments do not belong to the sound that was sent")
    return {"url": service.url, "key_sent": service.api_key is not None, "segments": len(answer["diarization"])}


async def check_translation(env: Environment) -> dict[str, Any]:
    """Have a sentence translated from English to French, the pair the service assumes."""
    service = speech_service(env, "translation")
    if service is None:
        return {"backend": "in process"}
    sentence = {"text": "good morning", "source_language": "en", "target_language": "fr"}
    answer = await _post("TRANSLATE_URL", service, "/translate", params=sentence)
    if not answer.get("text", {}).get("fr"):
        raise WiringError("TRANSLATE_URL: the answer holds no French text")
    return {"url": service.url, "key_sent": False}


async def check_padding(env: Environment) -> dict[str, Any]:
    """Have half a second of silence put before a stored sound; the result must be in the store afterwards."""
    service = speech_service(env, "padding")
    if service is None:
        return {"backend": "in process"}
    return await _rendered(
        env,
        "PADDING_URL",
        service,
        lambda source, target: _post(
            "PADDING_URL",
            service,
            "/pad",
            json={"track_url": source, "output_url": target, "start_time_seconds": 0.5, "track_index": 0},
        ),
    )


async def check_mixdown(env: Environment) -> dict[str, Any]:
    """Have two tracks mixed; the result must be in the store afterwards."""
    service = speech_service(env, "mixdown")
    if service is None:
        return {"backend": "in process"}
    return await _rendered(
        env,
        "MIXDOWN_URL",
        service,
        lambda source, target: _post(
            "MIXDOWN_URL",
            service,
            "/mixdown",
            json={"track_urls": [source, source], "output_url": target, "offsets_seconds": [0.0, 0.25]},
        ),
    )


CHECKS: dict[str, Callable[[Environment], Awaitable[dict[str, Any]]]] = {
    "transcript": check_transcript,
    "diarization": check_diarization,
    "translation": check_translation,
    "padding": check_padding,
    "mixdown": check_mixdown,
}
"""One check a service, by the names of SPEECH_BACKENDS."""


@asynccontextmanager
async def _stored(env: Environment, sound: bytes) -> AsyncIterator[tuple[str, ObjectStorage]]:
    """A sound in the object store for as long as the block runs: its presigned URL, and the store."""
    store = ObjectStorage(Storage.from_environment(env))
    async with store.temporary(f"probe/{secrets.token_hex(8)}.wav", sound) as key:
        yield await store.presign(key), store


async def _rendered(
    env: Environment,
    variable: str,
    service: SpeechService,
    render: Callable[[str, str], Awaitable[dict[str, Any]]],
) -> dict[str, Any]:
    async with (
        _stored(env, audio.tone(1, 220)) as (source, store),
        store.temporary(f"probe/{secrets.token_hex(8)}.out.wav") as key,
    ):
        answer = await render(source, await store.presign(key, "put_object"))
        size = len(await store.get(key))
    if size != answer.get("size"):
        raise WiringError(f"{variable}: the service reports {answer.get('size')} bytes, the store holds {size}")
    return {"url": service.url, "key_sent": service.api_key is not None, "bytes": size}


async def _post(variable: str, service: SpeechService, path: str, **request: Any) -> dict[str, Any]:
    async with http_client(HTTP_SECONDS) as client:
        response = await client.post(service.url + path, headers=service.headers, **request)
    return _require_ok(variable, response)


def _require_ok(variable: str, response: httpx.Response) -> dict[str, Any]:
    if response.status_code != 200:
        raise WiringError(
            f"{variable}: POST {response.request.url.copy_with(query=None)} answered {response.status_code}: "
            f"{response.text[:300]}"
        )
    answer = response.json()
    if not isinstance(answer, dict):
        raise WiringError(f"{variable}: the answer is no JSON object")
    return answer


def _require_words(response: httpx.Response, sound: bytes) -> int:
    found = _require_ok("TRANSCRIPT_URL", response).get("words")
    if found != audio.words(sound):
        raise WiringError("TRANSCRIPT_URL: the words do not belong to the sound that was sent")
    return len(found)
