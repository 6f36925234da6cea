"""What the edge's container runs, run here: its start script, its deliveries, and the real Caddy between them."""

import base64
import hashlib
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
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from components.edge import caddy as component
from rendering import caddyfile
from rendering.caddyfile import NOTHING, PAGES, RouteText, SiteText
from settings.values import host_name
from testing import building, load
from testing.caddy_container import TIMEOUT_SECONDS, CaddyContainer
from testing.certificates import certificate, served
from testing.upstream import Upstream, free_ports, running

BUILT: Final = building.built("Caddy")
RUN: Final[str] = BUILT.named("it-container").plain("command")[2]
DELIVER: Final[str] = building.script_of(BUILT.named("it-release"))
FILE: Final = "edge.pem"


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The URL of something behind the edge."""
    with running() as url:
        yield url


class Container(CaddyContainer):
    """The edge's."""

    script = RUN

    def __init__(self, folder: Path, caddy: Path, upstream: str) -> None:
        self.https_port, self.http_port, loopback = free_ports(3)
        super().__init__(folder, caddy, loopback)
        self.upstream = upstream
        self.data = folder / "data"
        self.names = ["a.test", "b.test", "localhost"]
        self.own_ports: list[int] = []
        self.front = caddyfile.front("a.test", https_port=self.https_port, http_port=self.http_port)
        self.certificate = certificate("shown")

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the container."""
        standby = caddyfile.standby(FILE, self.own_ports)
        return {
            **super().environment,
            "XDG_DATA_HOME": str(self.data),
            "FRONT_CADDYFILE": self.here(self.front),
            "ROUTER_CADDYFILE": self.here(caddyfile.router()),
            "STANDBY_SITES": standby.sites,
            "STANDBY_NAMES": standby.names,
        }

    def release(self, *more: RouteText, trust_page: bool = False) -> caddyfile.Release:
        """Return a release that sends all requests for its names upstream."""
        sites = [
            SiteText(
                names=self.names,
                certificate_file=FILE,
                routes=[*more, RouteText(paths=["/v1/*"], upstream=self.upstream),
                        RouteText(upstream=self.upstream, canonical=True)],
                policy=PAGES,
                trust_page=trust_page,
            ),
            *(SiteText(names=self.names[:1], certificate_file=FILE, routes=[RouteText(upstream=self.upstream)],
                       policy=NOTHING, own_port=port) for port in self.own_ports),
        ]  # fmt: skip
        made = caddyfile.release(sites, https_port=self.https_port)
        return caddyfile.Release(identifier=made.identifier, sites=self.here(made.sites), names=made.names)

    def is_healthy(self) -> bool:
        """Return what its health check would say."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.loopback, timeout=5)
            connection.request("GET", "/healthy")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def deliver(self, release: caddyfile.Release, pages: Mapping[str, bytes] | None = None) -> None:
        """Do what the step does."""
        done = self.try_to_deliver(release, pages)
        assert done.returncode == 0, done.stderr

    def try_to_deliver(
        self, release: caddyfile.Release, pages: Mapping[str, bytes] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Do what the step does, and return how it ended."""
        process = self.start_to_deliver(release, pages)
        _, said = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, stderr=said)

    def start_to_deliver(
        self, release: caddyfile.Release, pages: Mapping[str, bytes] | None = None
    ) -> subprocess.Popen[str]:
        """Start what the step does."""
        process = subprocess.Popen(
            ["sh", "-c", self.here(component._deliver(self.own_ports) if self.own_ports else DELIVER)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.environment, text=True,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(component._delivery(release, {FILE: self.certificate}, pages))
        process.stdin.close()
        process.stdin = None
        return process

    def router(self) -> int:
        """Return the process that is the router."""
        file = self.here(caddyfile.ROUTER_FILE).encode()
        found = [
            int(process.name)
            for process in Path("/proc").iterdir()
            if process.name.isdigit() and _command(process)[1:2] == [b"run"] and file in _command(process)
        ]
        assert len(found) == 1, found
        return found[0]

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


def _command(process: Path) -> list[bytes]:
    try:
        return (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


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


def test_caddy_itself_serves_a_changed_page_about_trust_without_a_reload_and_none_once_it_is_gone(
    container: Container,
) -> None:
    def asked(path: str) -> tuple[int, bytes]:
        status, _, body = container.ask(path)
        return status, body

    container.start()
    release = container.release(trust_page=True)
    container.deliver(release, {"index.html": b"first", "ca.crt": b"\x00\xff"})
    assert asked("/trust") == (200, b"first")
    assert asked("/trust/ca.crt") == (200, b"\x00\xff"), "bytes arrive as they are"
    reloads = container.log.read_text().count("load complete")
    container.deliver(release, {"index.html": b"second"})
    assert asked("/trust") == (200, b"second")
    assert asked("/trust/ca.crt")[0] == 404, "what is not delivered any more is gone"
    assert container.log.read_text().count("load complete") == reloads
    container.deliver(container.release())
    assert b"second" not in asked("/trust")[1]
    assert list((container.config / caddyfile.TRUST_PAGE_DIRECTORY).iterdir()) == []


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


class Stream:
    """A connection that has switched protocols, to the echo behind the edge."""

    def __init__(self, container: Container) -> None:
        self.connection = container.connect()
        self.connection.request("GET", "/v1/events", headers={
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        })  # fmt: skip
        assert self.connection.getresponse().status == 101

    def echo(self, said: bytes) -> bytes:
        """Return what comes back."""
        stream: Any = self.connection.sock
        stream.sendall(said)
        heard = b""
        while len(heard) < len(said) and (piece := stream.recv(64)):
            heard += piece
        return heard


class Upload:
    """A body that is sent piece by piece."""

    def __init__(self, container: Container, pieces: int) -> None:
        self.connection = container.connect()
        self.connection.putrequest("POST", "/v1/upload")
        self.connection.putheader("Content-Length", str(pieces * len(load.BODY)))
        self.connection.endheaders()
        self.sent = hashlib.sha256()

    def send(self) -> None:
        """Send one more piece."""
        self.connection.send(load.BODY)
        self.sent.update(load.BODY)

    def is_answered(self) -> bool:
        """Return whether the whole has arrived."""
        return self.connection.getresponse().read() == self.sent.hexdigest().encode()


def test_caddy_itself_stays_with_what_it_serves_if_it_cannot_take_what_is_delivered(container: Container) -> None:
    container.start()
    container.deliver(container.release())
    run, live = Path(container.here(caddyfile.RUN_DIRECTORY)), container.config / "live"
    before = live.readlink(), (run / "serving").readlink()
    other = container.release(RouteText(paths=["/new"], upstream=container.upstream))
    refused = container.try_to_deliver(replace(other, sites=other.sites.replace("reverse_proxy", "nobody_knows_this")))
    assert refused.returncode != 0
    assert "nobody_knows_this" in refused.stderr
    assert (live.readlink(), (run / "serving").readlink()) == before
    assert container.ask()[0] == 200
    container.deliver(other)
    assert container.ask()[0] == 200
    assert len(list((run / "sockets").iterdir())) == 1, "those of the releases before are gone"


def test_caddy_itself_serves_the_new_release_though_its_delivery_was_cut_off(container: Container) -> None:
    container.start()
    container.deliver(container.release())
    serving = Path(container.here(caddyfile.SERVING))
    before = serving.readlink()
    release = container.release(RouteText(paths=["/new"], upstream="http://127.0.0.1:1"))
    with container.start_to_deliver(release) as delivery:
        sockets = Path(container.here(caddyfile.SOCKETS_DIRECTORY))
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not any((folder / "http").exists() for folder in sockets.iterdir() if folder != before):
            assert delivery.poll() is None and time.monotonic() < deadline
        delivery.kill()
    # Longer than the servers of the release before go on.
    time.sleep(2)
    assert container.ask("/new")[0] == 502, "nobody is there, in the new release"
    assert container.ask()[0] == 200
    container.deliver(release)
    assert container.ask()[0] == 200
    assert len(list(sockets.iterdir())) == 1


def test_caddy_itself_starts_a_router_that_has_died_again_and_lets_requests_wait(container: Container) -> None:
    container.start()
    container.deliver(container.release())
    first, bodies = container.router(), Upstream.bodies
    os.kill(first, signal.SIGKILL)
    upload = Upload(container, 1)
    upload.send()
    assert upload.is_answered()
    assert container.router() != first
    assert Upstream.bodies == bodies + 1
    assert container.is_healthy()
    container.deliver(container.release(RouteText(paths=["/new"], upstream=container.upstream)))
    assert container.ask()[0] == 200


RELEASES: Final = 20
REQUESTS: Final = 20_000


def test_caddy_itself_loses_nothing_while_releases_change(
    container: Container, record_property: Callable[[str, object], None]
) -> None:
    container.start()
    container.deliver(container.release())
    stream, upload, bodies = Stream(container), Upload(container, RELEASES), Upstream.bodies
    https, http = container.https_port, container.http_port
    posting = [load.Client(partial(load.bodies, https)), load.Client(partial(load.kept, https))]
    clients = [
        *posting,
        *(load.Client(partial(load.pages, https)) for _ in range(3)),
        load.Client(partial(load.plain, http)),
        load.Client(partial(load.streams, https)),
    ]
    for client in clients:
        client.start()
    releases = 0
    # However slow the machine is.
    while releases < RELEASES or sum(client.requests for client in clients) < REQUESTS:
        container.deliver(container.release(RouteText(paths=[f"/new{releases}"], upstream=container.upstream)))
        releases += 1
        assert stream.echo(b"%d" % releases) == b"%d" % releases
        if releases <= RELEASES:
            upload.send()
    for client in clients:
        client.stop()
    record_property("requests", sum(client.requests for client in clients))
    lost = [failure for client in clients for failure in client.failures]
    assert lost == [], f"{len(lost)} of {sum(client.requests for client in clients)} requests in {releases} releases"
    assert all(client.requests > releases for client in clients)
    assert upload.is_answered()
    # Of those on the connection that is kept every second one has a body; and one is the upload.
    assert Upstream.bodies - bodies == posting[0].requests + posting[1].requests // 2 + 1, "each body was sent once"


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


# --- Proxies in front -------------------------------------------------------------------------------------------------

HERE: Final = "127.0.0.1"
ELSEWHERE: Final = "192.0.2.0/24"
CLIENT: Final = "198.51.100.7"


def behind(container: Container, *networks: str, proxy_protocol: bool = False) -> None:
    """Start a container that believes these proxies."""
    container.front = caddyfile.front(
        "a.test",
        https_port=container.https_port,
        http_port=container.http_port,
        trusted_proxies=networks,
        proxy_protocol=proxy_protocol,
    )
    container.start()
    container.deliver(container.release())


def address_of(container: Container, headers: Mapping[str, str]) -> str:
    """Return what the server is told of who asks; of all else nothing of a client's may arrive."""
    _, _, body = container.ask("/v1/x", headers=headers)
    arrived = {key.lower(): value for key, value in json.loads(body).items()}
    assert arrived["x-forwarded-proto"] == "https"
    assert arrived["x-forwarded-host"] == arrived["host"] == f"a.test:{container.https_port}"
    told = {key for key in arrived if "forwarded" in key or "real-ip" in key}
    assert told == {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}
    return str(arrived["x-forwarded-for"])


CLAIMS: Final = {
    "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.test", "X-Forwarded-Port": "1", "X-Real-IP": "192.0.2.66",
    "Forwarded": "for=192.0.2.66;proto=http",
}  # fmt: skip


@pytest.mark.parametrize(
    ("networks", "said", "address"),
    [
        ([HERE], CLIENT, CLIENT),
        ([HERE], f"203.0.113.9, {CLIENT}", CLIENT),
        ([HERE, ELSEWHERE], f"203.0.113.9, {CLIENT}, 192.0.2.8", CLIENT),
        ([HERE], f"{CLIENT}:4711", CLIENT),
        ([HERE], "2001:db8::7", "2001:db8::7"),
        ([HERE], "127.0.0.1", "127.0.0.1"),
        ([HERE], "nobody", "127.0.0.1"),
        ([HERE], "", "127.0.0.1"),
        ([ELSEWHERE], CLIENT, "127.0.0.1"),
        ([], CLIENT, "127.0.0.1"),
    ],
    ids=["one proxy", "a claim before it", "two proxies", "with a port", "IPv6", "its own", "no address", "nothing",
         "of somebody else", "of nobody"],
)  # fmt: skip
def test_caddy_itself_believes_a_proxy_in_front_and_nobody_else(
    container: Container, networks: list[str], said: str, address: str
) -> None:
    behind(container, *networks)
    assert address_of(container, {**CLAIMS, "X-Forwarded-For": said}) == address


def with_proxy_protocol(container: Container, announced: bytes) -> http.client.HTTPSConnection:
    """Return a connection that begins with these bytes, before TLS."""
    connection = http.client.HTTPSConnection("a.test", container.https_port, timeout=TIMEOUT_SECONDS)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", container.https_port), TIMEOUT_SECONDS)
    raw.sendall(announced)
    connection.sock = context.wrap_socket(raw, server_hostname="a.test")
    return connection


VERSION_1: Final = f"PROXY TCP4 {CLIENT} 192.0.2.1 4711 443\r\n".encode()
VERSION_2: Final = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
    + socket.inet_aton(CLIENT)
    + socket.inet_aton("192.0.2.1")
    + b"\x12\x67\x01\xbb"
)


@pytest.mark.parametrize("announced", [VERSION_1, VERSION_2], ids=["version 1", "version 2"])
def test_caddy_itself_takes_the_address_a_proxy_says_before_all_else(container: Container, announced: bytes) -> None:
    behind(container, HERE, proxy_protocol=True)
    connection = with_proxy_protocol(container, announced)
    connection.request("GET", "/v1/x", headers={"X-Forwarded-For": "192.0.2.66"})
    arrived = {key.lower(): value for key, value in json.loads(connection.getresponse().read()).items()}
    assert arrived["x-forwarded-for"] == CLIENT, "that client is no proxy, and its own word counts for nothing"
    connection.close()
    with socket.create_connection(("127.0.0.1", container.http_port), TIMEOUT_SECONDS) as plain:
        plain.sendall(announced + b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert plain.recv(1024).startswith(b"HTTP/1.1 308 ")
    assert address_of(container, {}) == "127.0.0.1", "a proxy may ask for itself, as those do that look whether we live"


def test_caddy_itself_turns_away_who_may_not_say_an_address(container: Container) -> None:
    behind(container, ELSEWHERE, proxy_protocol=True)
    with pytest.raises(OSError):
        with_proxy_protocol(container, VERSION_1)
    assert address_of(container, {"X-Forwarded-For": CLIENT}) == "127.0.0.1"


def test_caddy_itself_knows_no_proxy_protocol_unless_told(container: Container) -> None:
    behind(container, HERE)
    with pytest.raises(OSError):
        with_proxy_protocol(container, VERSION_1)


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["bücher.test", "xn--bcher-kva.test", "BÜCHER.Test"])
def test_caddy_itself_serves_an_internationalised_name(container: Container, given: str) -> None:
    name = host_name(given)
    assert name == "xn--bcher-kva.test"
    container.names = [name, "b.test"]
    root, *pair = served(name, f"s3.{name}")
    container.certificate = (pair[0], pair[1])
    container.start()
    container.deliver(container.release())
    # The name a browser makes of it, in SNI, in Host and in the certificate.
    connection = verified(container, given, root)
    connection.request("GET", "/rooms", headers={"Host": f"{name.upper()}:{container.https_port}"})
    assert connection.getresponse().status == 200
    connection.close()
    _, headers, _ = container.ask("/rooms", name="b.test")
    assert headers["location"] == f"https://{name}:{container.https_port}/rooms"


def verified(container: Container, name: str, root: str) -> http.client.HTTPSConnection:
    """Return a connection that a client has found to be to `name`."""
    context = ssl.create_default_context(cadata=root)
    connection = http.client.HTTPSConnection(name, container.https_port, timeout=TIMEOUT_SECONDS, context=context)
    raw = socket.create_connection(("127.0.0.1", container.https_port), TIMEOUT_SECONDS)
    connection.sock = context.wrap_socket(raw, server_hostname=name)
    return connection


def test_caddy_itself_serves_a_wildcard_certificate_at_every_name_it_is_for(container: Container) -> None:
    container.names = ["app.a.test", "s3.a.test"]
    root, *pair = served("*.a.test")
    container.certificate = (pair[0], pair[1])
    container.start()
    container.deliver(container.release())
    for name in ("app.a.test", "S3.a.test"):
        connection = verified(container, name, root)
        connection.request("GET", "/v1/x")
        assert connection.getresponse().status == 200, name
        connection.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        verified(container, "a.test", root)


def test_caddy_itself_serves_addresses_asked_without_a_name(container: Container) -> None:
    container.names = ["a.test", "127.0.0.1", "2001:db8::7"]
    container.start()
    container.deliver(container.release())
    for host, name in (("127.0.0.1", "127.0.0.1"), ("[2001:db8::7]", "2001:db8::7")):
        # No SNI: an address is none (RFC 6066).
        connection = container.connect(name)
        port = container.https_port
        connection.request("GET", "/v1/x", headers={"Host": f"{host}:{port}"})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["X-Forwarded-Host"]) == (200, f"{host}:{port}")
        connection.request("GET", "/rooms", headers={"Host": f"{host}:{port}"})
        assert connection.getresponse().getheader("Location") == f"https://a.test:{port}/rooms"
        connection.close()
    plain = http.client.HTTPConnection("127.0.0.1", container.http_port, timeout=TIMEOUT_SECONDS)
    plain.request("GET", "/x", headers={"Host": f"[2001:db8::7]:{container.http_port}"})
    assert plain.getresponse().getheader("Location") == f"https://[2001:db8::7]:{container.https_port}/x"
    plain.close()


@pytest.mark.parametrize("address", ["192.0.2.9", "2001:db8::7"])
def test_caddy_itself_tells_sites_at_one_address_apart_by_the_port_that_was_used(
    container: Container, address: str
) -> None:
    """Whatever a client says of the port; and no name is sent in TLS, so that the default one has to do."""
    container.names = [address, "127.0.0.1"]
    container.own_ports = free_ports(2)
    container.front = caddyfile.front(
        address, https_port=container.https_port, http_port=container.http_port, own_ports=container.own_ports
    )
    root, *pair = served("it", addresses=[address])
    container.certificate = (pair[0], pair[1])
    container.start()
    context = ssl.create_default_context(cadata=root)

    def asked(port: int, host: str, said: int) -> tuple[int, bool]:
        """Return the status, and whether the answer has what pages of the application carry."""
        connection = http.client.HTTPSConnection(address, port, timeout=TIMEOUT_SECONDS, context=context)
        raw = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
        connection.sock = context.wrap_socket(raw, server_hostname=address)
        connection.request("GET", "/", headers={"Host": f"[{host}]:{said}" if ":" in host else f"{host}:{said}"})
        answer = connection.getresponse()
        connection.close()
        assert "Strict-Transport-Security" not in answer.headers
        return answer.status, "X-Frame-Options" in answer.headers

    ports = (container.https_port, *container.own_ports)
    container.deliver(container.release())
    for port in ports:
        for said in ports:
            assert asked(port, address, said) == (200, port == container.https_port)
            assert asked(port, "192.0.2.77", said)[0] == 421
    # The other names of the application lead to it, and are none of the others'.
    assert [asked(port, "127.0.0.1", port)[0] for port in ports] == [307, 421, 421]


@pytest.mark.parametrize("orders", [False, True], ids=["of files", "by ACME"])
def test_caddy_itself_has_no_authority_of_its_own(container: Container, orders: bool) -> None:
    if orders:
        container.front = caddyfile.front(
            "a.test",
            https_port=container.https_port,
            http_port=container.http_port,
            ordering=caddyfile.Ordering(names=["a.test", "127.0.0.1"], directory="https://127.0.0.1:9/directory"),
        )
    former = container.data / "caddy" / "pki" / "authorities" / "local" / "root.key"
    former.parent.mkdir(parents=True)
    former.write_text("of a release before")
    container.start()
    container.deliver(container.release())
    assert container.ask_plainly()[0] == 308
    assert not (container.data / "caddy" / "pki").exists()


def test_caddy_itself_leaves_what_is_said_of_origins_to_the_server_at_every_name(container: Container) -> None:
    container.start()
    container.deliver(container.release())
    for name in container.names:
        connection = container.connect(name)
        connection.request("PUT", "/v1/x", body=b"12", headers={"Origin": "https://a.test"})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Access-Control-Allow-Origin")) == (200, "https://a.test")
        connection.close()


# --- What takes long --------------------------------------------------------------------------------------------------


def test_caddy_itself_lets_long_uploads_and_silent_streams_pass_and_no_slow_head(container: Container) -> None:
    """What it waits for at most is a head of a request and the next request; here each a second."""
    assert "read_header 10s" in container.front
    assert "idle 5m" in container.front
    container.front = container.front.replace("read_header 10s", "read_header 1s").replace("idle 5m", "idle 1s")
    container.start()
    container.deliver(container.release())

    stream = container.connect()
    stream.request("GET", "/v1/events", headers={
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    })  # fmt: skip
    assert stream.getresponse().status == 101

    upload = container.connect()
    upload.putrequest("PUT", "/v1/x")
    upload.putheader("Content-Length", "4")
    upload.endheaders()
    for byte in (b"1", b"2", b"3", b"4"):
        time.sleep(1.2)
        upload.send(byte)
    answer = upload.getresponse()
    assert (answer.status, answer.read()) == (200, b"4")
    upload.close()

    stream.sock.sendall(b"still there")
    assert stream.sock.recv(64) == b"still there"
    stream.close()

    slow = container.connect()
    slow.sock.sendall(b"GET /v1/x HTTP/1.1\r\nHost: a.test\r\n")
    slow.sock.settimeout(5)
    assert slow.sock.recv(1024) in (b"", b"HTTP/1.1 408 Request Timeout\r\n"), "or heads could be begun without end"
    slow.close()
