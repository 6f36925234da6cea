"""The speech service: real answers for real bytes, its key, and the client's side of it."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import httpx
import pytest
from probe import audio
from probe.environment import Environment
from probe.transcription import application
from starlette.applications import Starlette

KEY = {"Authorization": "Bearer gpu-key-1"}


class Objects(BaseHTTPRequestHandler):
    """An object store as presigned URLs show it: GET and PUT by path."""

    stored: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        data = self.stored.get(self.path.partition("?")[0])
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        self.wfile.write(data or b"")

    def do_PUT(self) -> None:
        self.stored[self.path.partition("?")[0]] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(403 if "forbidden" in self.path else 200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def store() -> Iterator[str]:
    Objects.stored.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Objects)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def service() -> Starlette:
    return application(Environment({"REFLECTOR_GPU_APIKEY": "gpu-key-1"}))


def call(app: Starlette, method: str, path: str, **request: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://transcription") as client:
            return await client.request(method, path, **request)

    return asyncio.run(run())


@pytest.mark.parametrize("path", ["/diarize", "/translate", "/pad", "/mixdown", "/v1/audio/transcriptions"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "gpu-key-1"}])
def test_every_route_asks_for_the_key(service: Starlette, path: str, headers: dict[str, str]) -> None:
    response = call(service, "POST", path, headers=headers)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


def test_without_a_key_the_service_is_open() -> None:
    open_service = application(Environment({}))
    response = call(open_service, "POST", "/translate", params={"text": "good morning"})
    assert response.json() == {"text": {"en": "good morning", "fr": "morning good"}}


def test_the_documentation_is_public_and_lists_every_route(service: Starlette) -> None:
    assert call(service, "GET", "/docs").status_code == 200
    paths = call(service, "GET", "/openapi.json").json()["paths"]
    assert {"/pad", "/mixdown", "/diarize", "/translate", "/v1/audio/transcriptions-from-url"} <= set(paths)


def test_a_file_is_transcribed_by_its_content(service: Starlette) -> None:
    first, second = audio.tone(2.5, 440), audio.tone(2.5, 441)
    answers = [
        call(service, "POST", "/v1/audio/transcriptions", headers=KEY, files={"file": ("a.wav", sound)}).json()
        for sound in (first, second)
    ]
    assert [len(answer["words"]) for answer in answers] == [3, 3]
    assert answers[0]["words"][-1]["end"] == 2.5
    assert answers[0]["text"] != answers[1]["text"]
    assert answers[0]["filename"] == "a.wav"


def test_several_files_and_wrong_ones(service: Starlette) -> None:
    path = "/v1/audio/transcriptions"
    both = call(
        service, "POST", path, headers=KEY, files=[("files", ("a.wav", b"x")), ("files", ("b.mp3", b"y"))]
    ).json()
    assert [result["filename"] for result in both["results"]] == ["a.wav", "b.mp3"]
    assert call(service, "POST", path, headers=KEY, files={"file": ("a.txt", b"x")}).status_code == 400
    assert call(service, "POST", path, headers=KEY, data={"model": "whisper-1"}).status_code == 400


def test_a_url_is_fetched_and_must_be_sound(service: Starlette, store: str) -> None:
    sound = audio.tone(1.2, 300)
    Objects.stored.update({"/a.wav": sound, "/a.txt": sound})
    path = "/v1/audio/transcriptions-from-url"

    def ask(name: str) -> httpx.Response:
        return call(service, "POST", path, headers=KEY, json={"audio_file_url": f"{store}/{name}?X-Amz-Signature=1"})

    assert ask("a.wav").json()["words"] == audio.words(sound)
    assert (ask("missing.wav").status_code, ask("a.txt").status_code) == (404, 400)
    assert call(service, "POST", path, headers=KEY, json={}).status_code == 422
    assert call(service, "POST", path, headers=KEY, content=b"{").status_code == 422


def test_an_unreachable_url_is_named_without_its_signature(service: Starlette) -> None:
    url = "http://127.0.0.1:9/a.wav?X-Amz-Signature=abcdef"
    response = call(service, "POST", "/diarize", headers=KEY, params={"audio_file_url": url})
    assert response.status_code == 500
    assert "http://127.0.0.1:9/a.wav: ConnectError" in response.json()["detail"]
    assert "abcdef" not in response.text


def test_speakers_cover_the_sound_without_gaps(service: Starlette, store: str) -> None:
    Objects.stored["/a.wav"] = audio.tone(9, 200.7)
    answer = call(
        service, "POST", "/diarize", headers=KEY, params={"audio_file_url": f"{store}/a.wav", "timestamp": "10"}
    ).json()["diarization"]
    assert (answer[0]["start"], answer[-1]["end"]) == (10, 19)
    assert all(left["end"] == right["start"] for left, right in itertools.pairwise(answer))
    assert {segment["speaker"] for segment in answer} <= {0, 1}


def test_padding_puts_silence_in_front_and_stores_the_result(service: Starlette, store: str) -> None:
    sound = audio.tone(1, 440)
    Objects.stored["/in.wav"] = sound
    body = {"track_url": f"{store}/in.wav", "output_url": f"{store}/out.wav?sig=1", "start_time_seconds": 0.5}
    answer = call(service, "POST", "/pad", headers=KEY, json=body | {"track_index": 0}).json()
    padded = audio.read(Objects.stored["/out.wav"])
    assert answer == {"size": len(Objects.stored["/out.wav"]), "cancelled": False}
    assert padded.seconds == 1.5
    assert not any(padded.samples[:8000])
    assert padded.samples[8000:] == audio.read(sound).samples


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"start_time_seconds": 0}, 400),
        ({"start_time_seconds": 18001}, 400),
        ({"start_time_seconds": "soon"}, 422),
        ({"track_url": ""}, 422),
        ({"track_url": "STORE/notes.wav"}, 400),
        ({"output_url": "STORE/forbidden.wav"}, 500),
    ],
)
def test_padding_refuses_what_upstream_refuses(
    service: Starlette, store: str, change: dict[str, Any], status: int
) -> None:
    Objects.stored.update({"/in.wav": audio.tone(0.1, 440), "/notes.wav": b"no sound at all"})
    body = {"track_url": "STORE/in.wav", "output_url": "STORE/out.wav", "start_time_seconds": 1, "track_index": 0}
    body = {
        key: value.replace("STORE", store) if isinstance(value, str) else value
        for key, value in (body | change).items()
    }
    assert call(service, "POST", "/pad", headers=KEY, json=body).status_code == status


def test_mixing_adds_delayed_tracks(service: Starlette, store: str) -> None:
    Objects.stored.update({"/a.wav": audio.tone(1, 440), "/b.wav": audio.tone(1, 880)})
    body = {
        "track_urls": [f"{store}/a.wav", "", f"{store}/b.wav"],
        "output_url": f"{store}/mix.wav",
        "offsets_seconds": [5.0, 0.0, 5.25],
    }
    answer = call(service, "POST", "/mixdown", headers=KEY, json=body).json()
    first, second = (audio.read(Objects.stored[name]).samples for name in ("/a.wav", "/b.wav"))
    mixed = audio.read(Objects.stored["/mix.wav"])
    assert answer == {"size": len(Objects.stored["/mix.wav"]), "duration_ms": 1250.0, "cancelled": False}
    assert mixed.samples[:4000] == first[:4000]
    assert mixed.samples[4001] == first[4001] + second[1]


@pytest.mark.parametrize("change", [{"track_urls": []}, {"offsets_seconds": [0.0]}, {"offsets_seconds": [0.0, 18001]}])
def test_mixing_refuses_what_upstream_refuses(service: Starlette, change: dict[str, Any]) -> None:
    body = {"track_urls": ["http://a", "http://b"], "output_url": "http://o", "offsets_seconds": [0, 0]} | change
    assert call(service, "POST", "/mixdown", headers=KEY, json=body).status_code == 400


def test_loud_tracks_are_clipped_not_wrapped() -> None:
    loud = audio.tone(0.1, 440)
    mixed = audio.read(audio.mix([loud] * 4, [0.0] * 4)).samples
    assert (max(mixed), min(mixed)) == (32767, -32768)


def test_tracks_of_different_rates_are_refused() -> None:
    slow = audio.read(audio.tone(0.1, 440))
    other = audio.write(audio.Sound(samples=slow.samples, rate=8000, channels=1))
    with pytest.raises(audio.NotAudioError, match="cannot be mixed"):
        audio.mix([audio.tone(0.1, 440), other], [0.0, 0.0])
