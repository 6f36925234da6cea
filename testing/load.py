"""Clients that ask an edge or a relay in every way a request can reach it, and count what they lose.

`client` is the path of a file with the certificate and the key a client shows; None: it shows none.
"""

import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import cache
from itertools import cycle
from typing import Final

NAME: Final = "a.test"
TIMEOUT_SECONDS: Final = 30
BODY: Final = os.urandom(64 * 1024)
DIGEST: Final = hashlib.sha256(BODY).hexdigest().encode()
"""The right answer to BODY."""
TARGET: Final = "/v1/page"
PAGE: Final = b"page"
"""The right answer to a GET."""


class Client(threading.Thread):
    """Asks in one way until it is stopped; what is not answered as it should be is a failure, and nothing is repeated.

    `connect` yields once for each request on one connection that has been answered, and ends with the connection.
    """

    def __init__(self, connect: Callable[[], Iterator[None]]) -> None:
        super().__init__(daemon=True)
        self.requests = 0
        self.failures: list[str] = []
        self._connect = connect
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Ask."""
        while not self._stop_asked.is_set():
            try:
                for _ in self._connect():
                    self.requests += 1
                    if self._stop_asked.is_set():
                        break
            except (OSError, AssertionError) as problem:
                self.requests += 1
                self.failures.append(f"{type(problem).__name__}: {problem}")

    def stop(self) -> None:
        """End it."""
        self._stop_asked.set()
        self.join(2 * TIMEOUT_SECONDS)
        assert not self.is_alive(), "a client hangs"


@cache
def _context(protocol: str, client: str | None) -> ssl.SSLContext:
    # Nothing is verified, and no store of roots is read for it.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    if client is not None:
        context.load_cert_chain(client)
    return context


def _tls(port: int, client: str | None, protocol: str = "http/1.1") -> ssl.SSLSocket:
    raw = _tcp(port)
    try:
        return _context(protocol, client).wrap_socket(raw, server_hostname=NAME)
    except BaseException:
        raw.close()
        raise


def _tcp(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        assert piece, "cut off"
        data += piece
    return data


def _request(connection: socket.socket, body: bytes | None, status: int, expected: bytes) -> bool:
    """Ask, and return whether the connection may be kept."""
    method, length = ("GET", "") if body is None else ("POST", f"Content-Length: {len(body)}\r\n")
    connection.sendall(f"{method} {TARGET} HTTP/1.1\r\nHost: {NAME}\r\n{length}\r\n".encode() + (body or b""))
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(4096)
        assert piece, "closed without an answer" if not answer else "cut off within the head"
        answer += piece
    head, _, got = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status, head.split(b"\r\n")[0]
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    got += _exactly(connection, int(fields.get(b"content-length", b"0")) - len(got))
    assert got == expected, f"answer of {len(got)} bytes"
    return fields.get(b"connection") != b"close"


def pages(port: int, client: str | None = None) -> Iterator[None]:
    """GET on a new connection."""
    with _tls(port, client) as connection:
        _request(connection, None, 200, PAGE)
    yield


def bodies(port: int, client: str | None = None) -> Iterator[None]:
    """POST on a new connection."""
    with _tls(port, client) as connection:
        _request(connection, BODY, 200, DIGEST)
    yield


def plain(port: int) -> Iterator[None]:
    """GET over plain HTTP on a new connection."""
    with _tcp(port) as connection:
        _request(connection, None, 308, b"")
    yield


def kept(port: int, client: str | None = None) -> Iterator[None]:
    """GET and POST in turn on a connection that is kept until an answer says it will be closed."""
    with _tls(port, client) as connection:
        for body, answer in cycle(((None, PAGE), (BODY, DIGEST))):
            is_kept = _request(connection, body, 200, answer)
            yield
            if not is_kept:
                return


def streams(port: int, client: str | None = None, *, comes_back: bool = False) -> Iterator[None]:
    """GET by HTTP/2 (RFC 9113): one stream after another of a connection that is kept.

    With `comes_back`, a connection may be ended as §6.8 has it: what was asked is answered, and nothing more is asked.
    """
    with _tls(port, client, "h2") as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0))
        # As large as may be, so that it is given once: no answer here comes near it.
        connection.sendall(_frame(8, 0, 0, (2**31 - 1 - 65_535).to_bytes(4)))
        # RFC 7541: :method GET, :scheme https, :path and :authority as literals that are not indexed.
        head = b"\x82\x87" + b"\x04" + _text(TARGET) + b"\x01" + _text(NAME)
        for stream in range(1, 2**31, 2):
            # End of headers and of the stream.
            connection.sendall(_frame(1, 5, stream, head))
            body, ended, leaving = b"", False, False
            while not ended:
                length = int.from_bytes(_exactly(connection, 3))
                kind, flags = _exactly(connection, 2)
                of = int.from_bytes(_exactly(connection, 4))
                payload = _exactly(connection, length)
                leaving |= comes_back and kind == 7 and int.from_bytes(payload[:4]) >= stream
                assert kind not in {3, 7} or leaving, f"stream or connection ended by the edge: {payload!r}"
                if kind == 4 and not flags & 1:
                    connection.sendall(_frame(4, 1, 0))
                elif of == stream and kind == 1:
                    assert payload.lstrip(b"\x20\x3f\xe1\x1f")[0] == 0x88, f"not :status 200: {payload!r}"
                elif of == stream and kind == 0:
                    body += payload
                ended = of == stream and bool(flags & 1)
            assert body == PAGE
            yield
            if leaving:
                return


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()
