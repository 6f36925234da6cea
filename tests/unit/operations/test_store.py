"""The region of a store elsewhere, by the store's own answer."""

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from operations.store import look_at_store
from settings import PROJECT, Settings, parse
from settings.base import Sealed
from testing.docker import free_port

MALFORMED = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AuthorizationHeaderMalformed</Code><Message>Authorization header malformed</Message>
<Resource>/media</Resource><Region>garage</Region></Error>"""
DENIED = "<Error><Code>AccessDenied</Code><Message>No such key</Message><Region>elsewhere</Region></Error>"

Answering = Callable[..., str]


def settings_of(url: str, region: str) -> Settings:
    storage = {
        "mode": "external", "endpoint": url, "bucket": "media", "region": region, "access_key_id": "GKhere",
        "secret_access_key": Sealed(),
    }  # fmt: skip
    return parse({"storage": storage}, "test", PROJECT)


@pytest.fixture
def asked() -> list[Any]:
    """What the store was asked, with which headers."""
    return []


@pytest.fixture
def store(asked: list[Any]) -> Iterator[Answering]:
    """Starts a store with one answer, and returns where it is."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(status: int, body: str = "", **headers: str) -> str:
        class Store(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.path, self.headers))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        # Not of the loopback by name: settings refuse what to a container is the container itself.
        server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Store)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://store.test:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is called store.test is this machine."""
    look_up = socket.getaddrinfo

    def here(host: Any, *given: Any, **more: Any) -> Any:
        return look_up("127.0.0.1" if host == "store.test" else host, *given, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_another_region_than_the_store_expects_is_one_line(store: Answering, asked: list[Any]) -> None:
    """Case f16."""
    url = store(400, MALFORMED)
    (problem,) = look_at_store(settings_of(url, "us-east-1")).problems
    assert str(problem) == (
        f"storage.region: 'us-east-1', while the store at {url} expects region 'garage'; allowed: garage: what is "
        "signed for another region it refuses. Set it: pulumi config set --path storage.region garage"
    )
    ((path, headers),) = asked
    assert path == "/media?location"
    assert "Credential=GKhere/" in headers["Authorization"]
    assert "/us-east-1/s3/aws4_request" in headers["Authorization"]


@pytest.mark.parametrize(("status", "body"), [(403, DENIED), (404, ""), (500, "no XML"), (200, "<Location/>")])
def test_a_store_that_says_nothing_of_regions_is_in_the_right_one(store: Answering, status: int, body: str) -> None:
    found = look_at_store(settings_of(store(status, body), "garage"))
    assert (found.problems, found.hints) == ([], [])


def test_the_region_a_store_expects_is_the_right_one(store: Answering) -> None:
    assert look_at_store(settings_of(store(403, DENIED, X_Amz_Bucket_Region="garage"), "garage")).problems == []


def test_a_store_that_sends_elsewhere_for_a_region_is_not_followed(store: Answering, asked: list[Any]) -> None:
    """As AWS does of a bucket in another one."""
    url = store(301, "", X_Amz_Bucket_Region="eu-west-1", Location="http://elsewhere.test/")
    (problem,) = look_at_store(settings_of(url, "us-east-1")).problems
    assert problem.allowed.startswith("eu-west-1:")
    assert len(asked) == 1


def test_a_store_that_cannot_be_asked_from_here_is_no_problem() -> None:
    url = f"http://store.test:{free_port()}"
    found = look_at_store(settings_of(url, "garage"))
    assert found.problems == []
    (hint,) = found.hints
    assert hint.startswith(f"The store at {url} could not be asked from here for its region (")


def test_a_store_of_the_stacks_own_is_not_asked() -> None:
    found = look_at_store(parse({}, "test", PROJECT))
    assert (found.problems, found.hints) == ([], [])
