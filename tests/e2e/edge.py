"""A client of the edge that knows one authority and no name server."""

import base64
import hashlib
import http.client
import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

TIMEOUT_SECONDS: Final = 15


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Connection(http.client.HTTPSConnection):
    """A connection to an address under a name: SNI, Host and the certificate check are the name's."""

    def __init__(
        self, *, address: str, name: str, port: int, context: ssl.SSLContext, source: str = "", announced: bytes = b""
    ) -> None:
        """`source` is the address it comes from, and `announced` what is sent before TLS."""
        super().__init__(name, port, timeout=TIMEOUT_SECONDS, context=context)
        self._address = address
        self._tls = context
        self._source = source
        self._announced = announced

    def connect(self) -> None:
        """Connect and shake hands."""
        raw = socket.create_connection((self._address, self.port), TIMEOUT_SECONDS, (self._source, 0))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            raw.sendall(self._announced)
            self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)
        except BaseException:
            raw.close()
            raise

    @property
    def certificate(self) -> Mapping[str, Any]:
        """What the other side has shown, verified; `serialNumber` and `subjectAltName` among others."""
        assert isinstance(self.sock, ssl.SSLSocket)
        certificate = self.sock.getpeercert()
        assert certificate
        return certificate

    @property
    def certificate_pem(self) -> str:
        """The same, PEM."""
        assert isinstance(self.sock, ssl.SSLSocket)
        der = self.sock.getpeercert(binary_form=True)
        assert der
        return ssl.DER_cert_to_PEM_cert(der)

    def ask(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send a request and read its whole answer."""
        self.request(method, target, body, dict(headers or {}))
        answer = self.getresponse()
        try:
            content = answer.read()
        except OSError as problem:
            # Not to be taken for a connection that was closed before any answer.
            raise http.client.HTTPException(f"cut off within the answer: {problem}") from problem
        return Response(status=answer.status, headers={k.lower(): v for k, v in answer.getheaders()}, body=content)


@dataclass(frozen=True, kw_only=True)
class Edge:
    """The edge of a stack, reached by address."""

    address: str
    domain: str
    https_port: int
    http_port: int
    public_port: int
    """The one in URLs, from which a router would lead to `https_port`."""
    ca_pem: str = field(repr=False)
    own_ports: tuple[int, ...] = ()
    """Those of sites that have one to themselves."""

    def trust(self) -> ssl.SSLContext:
        """Return a context that trusts our authority and nothing else, as strictly as RFC 5280 wants it."""
        context = ssl.create_default_context(cadata=self.ca_pem)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    def connect(self, name: str = "", context: ssl.SSLContext | None = None, port: int | None = None) -> Connection:
        """Return a connection, open, to the domain or another name of the edge; by `port`, if that is a site's own."""
        connection = Connection(
            address=self.address, name=name or self.domain, port=port or self.https_port,
            context=context or self.trust(),
        )  # fmt: skip
        connection.connect()
        return connection

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        name: str = "",
        port: int | None = None,
    ) -> Response:
        """Send one request on a connection of its own; see `connect`."""
        connection = self.connect(name, port=port)
        try:
            return connection.ask(method, target, body, headers)
        finally:
            connection.close()

    def fetch(self, url: str, method: str = "GET", body: bytes | None = None) -> Response:
        """Ask for an https URL whose name may be any of the edge's, and its port the public one or a site's own."""
        parts = urlsplit(url)
        port = parts.port or 443
        assert parts.scheme == "https" and port in (self.public_port, *self.own_ports), f"{url} is not of the edge"
        assert parts.hostname
        # As a browser names it: the signature is over the public port, whatever the port it is reached through here.
        return self.ask(
            method, f"{parts.path}?{parts.query}", body, {"Host": parts.netloc}, name=parts.hostname,
            port=port if port in self.own_ports else None,
        )  # fmt: skip

    def ask_plainly(self, target: str) -> Response:
        """GET over plain HTTP."""
        connection = http.client.HTTPConnection(self.address, self.http_port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", target, headers={"Host": f"{self.domain}:{self.http_port}"})
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Response(status=answer.status, headers=headers, body=answer.read())
        finally:
            connection.close()

    def quic_versions(self) -> list[int]:
        """Return the QUIC versions the edge offers over UDP (RFC 9000 §6: its answer to a version nobody speaks)."""
        ours, theirs = secrets.token_bytes(8), secrets.token_bytes(8)
        unknown = bytes.fromhex("c0") + bytes.fromhex("1a2a3a4a")
        packet = unknown + bytes([len(theirs)]) + theirs + bytes([len(ours)]) + ours
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect((self.address, self.https_port))
            udp.settimeout(2)
            for _ in range(5):  # datagrams may be lost
                udp.send(packet.ljust(1200, b"\0"))
                try:
                    answer = udp.recv(2048)
                except TimeoutError:
                    continue
                assert answer[0] & 0x80 and answer[1:5] == b"\0" * 4, "not a version negotiation packet"
                versions = answer[7 + answer[5] + answer[6 + answer[5]] :]
                return [int.from_bytes(versions[i : i + 4], "big") for i in range(0, len(versions), 4)]
        raise AssertionError("no answer over QUIC")

    def ask_for_events(self, user: Mapping[str, str]) -> Connection:
        """Ask for the server's events by WebSocket as `user`, headers that prove it; the answer is still to be read."""
        token = user["Authorization"].removeprefix("Bearer ")
        connection = self.connect()
        connection.request(
            "GET",
            "/v1/events",
            headers={
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
                "Sec-WebSocket-Protocol": f"bearer, {token}",
            },
        )
        return connection

    def log_in(self, email: str, password: str) -> Response:
        """Ask for a token."""
        body = json.dumps({"email": email, "password": password}).encode()
        return self.ask("POST", "/v1/auth/login", body, {"Content-Type": "application/json"})


class Stream:
    """A WebSocket to the server's echo, as `user`, headers that prove it."""

    def __init__(self, edge: Edge, user: Mapping[str, str]) -> None:
        self._connection = edge.ask_for_events(user)
        assert isinstance(self._connection.sock, ssl.SSLSocket)
        self._socket = self._connection.sock
        # Not by http.client: who serves it may be about to go, says so of connections, and it would close this one.
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = self._socket.recv(1)
            assert piece, f"cut off within the answer: {head!r}"
            head += piece
        assert head.startswith(b"HTTP/1.1 101 "), head

    def echoes(self, text: bytes) -> bool:
        """Return whether a message comes back (RFC 6455 §5.2: one frame, masked on the way there)."""
        mask = secrets.token_bytes(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))
        self._socket.sendall(bytes([0x81, 0x80 | len(text)]) + mask + masked)
        answer = b""
        while len(answer) < 2 + len(text):
            piece = self._socket.recv(256)
            if not piece:
                return False
            answer += piece
        return answer == bytes([0x81, len(text)]) + text

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@dataclass
class Traffic:
    """What happened to a stream of requests."""

    requests: int = 0
    """Or messages."""
    failures: list[str] = field(default_factory=list)
    reconnected: int = 0
    """Idle connections the edge had closed, so that the request went out on a new one (RFC 9112 §9.3.1)."""
    serials: dict[str, None] = field(default_factory=dict)
    """Serial numbers of the certificates served, in the order they appeared."""


class _Client(threading.Thread):
    """Somebody who is there until told to stop."""

    LIMIT: Final = 50_000
    """Requests at the most, whatever happens."""

    def __init__(self, edge: Edge) -> None:
        super().__init__(daemon=True)
        self.traffic = Traffic()
        self._edge = edge
        self._stop_asked = threading.Event()

    def stop(self) -> Traffic:
        """End the visit and return what happened."""
        self._stop_asked.set()
        self.join(3 * TIMEOUT_SECONDS)
        assert not self.is_alive(), "a visitor hangs"
        return self.traffic


class Listener(_Client):
    """A client that keeps one WebSocket open until it is stopped, and opens another one again and again."""

    def __init__(self, edge: Edge, user: Mapping[str, str]) -> None:
        super().__init__(edge)
        self._user = user

    def run(self) -> None:
        """Send messages on both, each of which has to come back."""
        try:
            kept = Stream(self._edge, self._user)
        except (OSError, http.client.HTTPException, AssertionError) as problem:
            self.traffic.failures.append(f"first stream: {type(problem).__name__}: {problem}")
            return
        for number in range(self.LIMIT):
            if self._stop_asked.is_set():
                break
            self._say(kept, number)
            self._open_another(number)
            time.sleep(0.02)
        kept.close()

    def _open_another(self, number: int) -> None:
        try:
            other = Stream(self._edge, self._user)
        except (OSError, http.client.HTTPException, AssertionError) as problem:
            self.traffic.requests += 1
            self.traffic.failures.append(f"another stream: {type(problem).__name__}: {problem}")
            return
        self._say(other, number)
        other.close()

    def _say(self, stream: Stream, number: int) -> None:
        self.traffic.requests += 1
        try:
            answered = stream.echoes(b"%d" % number)
        except OSError as problem:
            self.traffic.failures.append(f"message: {type(problem).__name__}: {problem}")
            return
        if not answered:
            self.traffic.failures.append("message: cut off")


class Visitor(_Client):
    """A client that asks for one page again and again until it is stopped."""

    def __init__(self, edge: Edge, target: str, expected: str, *, keep_alive: bool) -> None:
        super().__init__(edge)
        self._target = target
        self._expected = expected
        self._keep_alive = keep_alive
        self._context = edge.trust()

    def run(self) -> None:
        """Visit."""
        connection: Connection | None = None
        for _ in range(self.LIMIT):
            if self._stop_asked.is_set():
                break
            connection = self._visit(connection)
            if connection is not None and not self._keep_alive:
                connection.close()
                connection = None
            time.sleep(0.01)

    def _visit(self, connection: Connection | None) -> Connection | None:
        self.traffic.requests += 1
        try:
            if connection is not None:
                try:
                    return self._request(connection)
                except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
                    # Closed while it was idle: every client then repeats the request once, on a new connection.
                    self.traffic.reconnected += 1
            return self._request(self._edge.connect(context=self._context))
        except (OSError, http.client.HTTPException, AssertionError) as problem:
            self.traffic.failures.append(f"{type(problem).__name__}: {problem}")
            return None

    def _request(self, connection: Connection) -> Connection | None:
        self.traffic.serials[str(connection.certificate["serialNumber"])] = None
        answer = connection.ask("GET", self._target)
        digest = hashlib.sha256(answer.body).hexdigest()
        assert (answer.status, digest) == (200, self._expected), f"status {answer.status}: {answer.body[:200]!r}"
        # None once the edge has said that it closes the connection.
        return connection if connection.sock is not None else None
