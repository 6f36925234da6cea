"""What the edge's container runs, run here: its start script, its deliveries, and the real Caddy between them."""

import base64
import contextlib
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from components.edge import caddy as component
from rendering import caddyfile
from rendering.caddyfile import PAGES, RouteText, SiteText
from testing import building
from testing.certificates import certificate

BUILT: Final = building.built("Caddy")
RUN: Final[str] = BUILT.named("it-container").plain("command")[2]
DELIVER: Final[str] = building.script_of(BUILT.named("it-release"))
FILE: Final = "edge.pem"
TIMEOUT_SECONDS: Final = 30


class Upstream(http.server.BaseHTTPRequestHandler):
    """Says what reached it; becomes an echo if asked to switch protocols."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        if self.headers.get("Upgrade"):
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            self.wfile.flush()
            with contextlib.suppress(OSError):
                while piece := self.connection.recv(1024):
                    self.connection.sendall(piece)
            self.close_connection = True
            return
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The URL of something behind the edge."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def free_ports(count: int) -> list[int]:
    """Return ports nobody uses."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


class Container:
    """The edge's container, as far as its scripts see it: the volume, the variables, and Caddy on PATH."""

    def __init__(self, folder: Path, caddy: Path, upstream: str) -> None:
        self.folder = folder
        self.upstream = upstream
        self.config = folder / "config"
        self.https_port, self.http_port, self.loopback = free_ports(3)
        (folder / "bin").mkdir()
        (folder / "bin" / "caddy").symlink_to(caddy)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "log"

    def here(self, text: str) -> str:
        """Return text with the places and the port of this container."""
        return (
            text.replace(caddyfile.CONFIG_DIRECTORY, str(self.config))
            .replace(caddyfile.ADMIN_SOCKET, str(self.folder / "admin.sock"))
            .replace(f":{caddyfile.LOOPBACK_PORT}", f":{self.loopback}")
        )

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the container."""
        standby = caddyfile.standby(FILE, https_port=self.https_port, http_port=self.http_port)
        return {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "BASE_CADDYFILE": self.here(caddyfile.base("a.test")),
            "STANDBY_SITES": self.here(standby.sites),
            "STANDBY_NAMES": self.here(standby.names),
        }

    def release(self, *more: RouteText) -> caddyfile.Release:
        """Return a release that sends all requests for three names upstream."""
        sites = [
            SiteText(
                names=["a.test", "b.test", "localhost"],
                certificate_file=FILE,
                routes=[*more, RouteText(paths=["/v1/*"], upstream=self.upstream),
                        RouteText(upstream=self.upstream, canonical=True)],
                policy=PAGES,
            )
        ]  # fmt: skip
        made = caddyfile.release(sites, https_port=self.https_port, http_port=self.http_port)
        return caddyfile.Release(identifier=made.identifier, sites=self.here(made.sites), names=self.here(made.names))

    def start(self) -> None:
        """Start it, and wait until it is healthy."""
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(["sh", "-c", self.here(RUN)], env=self.environment, stderr=sink)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not self.is_healthy():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def is_healthy(self) -> bool:
        """Return what its health check would say."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.loopback, timeout=5)
            connection.request("GET", "/healthy")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def deliver(self, release: caddyfile.Release) -> None:
        """Do what the step does."""
        done = subprocess.run(
            ["sh", "-c", self.here(DELIVER)],
            input=component._delivery(release, {FILE: certificate("shown")}),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def connect(self, name: str = "a.test") -> http.client.HTTPSConnection:
        """Return a connection to one of its names."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(name, self.https_port, timeout=TIMEOUT_SECONDS, context=context)
        raw = socket.create_connection(("127.0.0.1", self.https_port), TIMEOUT_SECONDS)
        connection.sock = context.wrap_socket(raw, server_hostname=name)
        return connection

    def ask(
        self, path: str = "/", name: str = "a.test", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of an answer."""
        connection = self.connect(name)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def ask_plainly(self) -> tuple[int, bytes]:
        """Return what it says over plain HTTP."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=TIMEOUT_SECONDS)
        connection.request("GET", "/", headers={"Host": "a.test"})
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def container(caddy: Path, upstream: str) -> Iterator[Container]:
    """A container that has not been started, with an empty volume."""
    # Short: the path of a socket has an end.
    folder = Path(tempfile.mkdtemp(prefix="edge-"))
    made = Container(folder, caddy, upstream)
    yield made
    made.stop()
    shutil.rmtree(folder)


def test_caddy_itself_is_healthy_and_says_so_in_words_before_anything_is_delivered(container: Container) -> None:
    container.start()
    status, body = container.ask_plainly()
    assert (status, b"being set up" in body) == (503, True)
    container.deliver(container.release())
    assert container.ask()[0] == 200
    assert container.ask_plainly()[0] == 308


def unknown_word(live: Path) -> None:
    """A directive of another Caddy."""
    sites = live / caddyfile.SITES_FILE
    sites.write_text(sites.read_text().replace("reverse_proxy", "nobody_knows_this", 1))


def cut_off(live: Path) -> None:
    """Half of a file."""
    sites = live / caddyfile.SITES_FILE
    sites.write_text(sites.read_text()[: len(sites.read_text()) // 2])


def emptied(live: Path) -> None:
    """A file of no length, as a power cut leaves it."""
    (live / caddyfile.SITES_FILE).write_text("")


def without_names(live: Path) -> None:
    """A file less."""
    (live / caddyfile.NAMES_FILE).unlink()


def without_release(live: Path) -> None:
    """A link that leads nowhere."""
    shutil.rmtree(live.resolve())


def empty_release(live: Path) -> None:
    """A folder with nothing in it."""
    folder = live.resolve()
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGES: Final = (unknown_word, cut_off, emptied, without_names, without_release, empty_release)


@pytest.mark.parametrize("damage", DAMAGES)
def test_caddy_itself_comes_up_with_what_it_cannot_serve_and_is_mended_by_the_same_delivery(
    container: Container, damage: Callable[[Path], None]
) -> None:
    release = container.release()
    container.start()
    container.deliver(release)
    assert container.ask()[0] == 200
    container.stop()
    damage(container.config / "live")

    container.start()
    status, headers, body = container.ask()
    assert (status, headers["retry-after"]) == (503, "10")
    assert b"being set up" in body
    assert "Answering 503 until the configuration is delivered" in container.log.read_text()

    container.deliver(release)
    assert container.ask()[0] == 200
    container.stop()
    container.start()
    assert container.ask()[0] == 200, "what is live now works without a delivery"


def test_caddy_itself_says_what_it_could_not_read(container: Container) -> None:
    container.start()
    container.deliver(container.release())
    container.stop()
    unknown_word(container.config / "live")
    container.start()
    assert "nobody_knows_this" in container.log.read_text()


def test_caddy_itself_gets_a_missing_certificate_and_an_altered_release_again(container: Container) -> None:
    release = container.release()
    container.start()
    container.deliver(release)
    container.stop()
    sites = container.config / "live" / caddyfile.SITES_FILE
    sites.write_text(sites.read_text().replace("X-Frame-Options SAMEORIGIN", "X-Frame-Options DENY"))
    (container.config / caddyfile.CERTIFICATES_DIRECTORY / FILE).unlink()
    container.start()
    with pytest.raises(ssl.SSLError):
        container.ask()
    container.deliver(release)
    status, headers, _ = container.ask()
    assert (status, headers["x-frame-options"]) == (200, "SAMEORIGIN")


def test_caddy_itself_lets_a_websocket_outlive_its_release(container: Container) -> None:
    container.start()
    container.deliver(container.release())
    connection = container.connect()
    connection.request("GET", "/v1/events", headers={
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    })  # fmt: skip
    assert connection.getresponse().status == 101
    stream: Any = connection.sock

    def echo(said: bytes) -> bytes:
        stream.sendall(said)
        heard = b""
        while len(heard) < len(said) and (piece := stream.recv(64)):
            heard += piece
        return heard

    assert echo(b"before") == b"before"
    container.deliver(container.release(RouteText(paths=["/new"], upstream=container.upstream)))
    time.sleep(1)
    assert echo(b"after") == b"after"
    connection.close()


def test_caddy_itself_tells_the_server_who_asks_and_nobody_elses_word_for_it(container: Container) -> None:
    container.start()
    container.deliver(container.release())
    spoofed = {
        "X-Forwarded-For": "192.0.2.66", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Port": "1", "X-Real-IP": "192.0.2.66", "Forwarded": "for=192.0.2.66;proto=http",
    }  # fmt: skip
    _, _, body = container.ask("/v1/x", headers=spoofed)
    arrived = {key.lower(): value for key, value in json.loads(body).items()}
    assert {key: value for key, value in arrived.items() if "forwarded" in key or "real-ip" in key} == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "https",
        "x-forwarded-host": f"a.test:{container.https_port}",
    }


@pytest.mark.parametrize("name", ["b.test", "localhost"])
def test_caddy_itself_leads_pages_to_the_canonical_name_and_answers_the_api_at_every_name(
    container: Container, name: str
) -> None:
    container.start()
    container.deliver(container.release())
    status, headers, _ = container.ask("/rooms?x=1", name=name)
    assert (status, headers["location"]) == (307, f"https://a.test:{container.https_port}/rooms?x=1")
    assert container.ask("/v1/config", name=name)[0] == 200
    assert container.ask("/rooms?x=1")[0] == 200
