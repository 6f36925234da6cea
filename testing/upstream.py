"""Something to stand in front of: it says what reached it, and counts."""

import contextlib
import hashlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from typing import Final

from testing import load

COUNTING: Final = threading.Lock()


class Upstream(http.server.BaseHTTPRequestHandler):
    """Says what reached it; becomes an echo if asked to switch protocols."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    bodies = 0
    """How many have arrived, since the tests began."""

    def do_PUT(self) -> None:
        """Answer with the number of bytes that came."""
        left = int(self.headers["Content-Length"])
        while left and (piece := self.rfile.read1(min(left, 65536))):
            left -= len(piece)
        body = str(int(self.headers["Content-Length"]) - left).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", "none"))
        self.end_headers()
        self.wfile.write(body)

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
        self._answer(load.PAGE if self.path == load.TARGET else json.dumps(dict(self.headers)).encode())

    def do_POST(self) -> None:
        """Answer a body, once it is whole, with its digest."""
        with COUNTING:
            Upstream.bodies += 1
        self._answer(hashlib.sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest().encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Run it, and yield its URL."""
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
