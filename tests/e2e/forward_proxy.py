"""A forward proxy on this machine, behind which there is nothing: it answers by itself, and knows what it was asked."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

from testing.docker import free_port
from tests.e2e.docker_host import DockerHost

ANSWER: Final = b"by way of the proxy"


class ForwardProxy:
    """A proxy that containers reach at the machine's side of Docker's bridge."""

    def __init__(self, host: DockerHost) -> None:
        self.asked: list[str] = []
        """What it was asked for: the URL, or host and port of a tunnel."""
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(ANSWER)))
                self.end_headers()
                self.wfile.write(ANSWER)

            def do_CONNECT(self) -> None:
                asked.append(self.path)
                self.send_error(502)

            def log_message(self, *_: object) -> None:
                pass

        gateway = host.docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}").strip()
        self._server = ThreadingHTTPServer((gateway, free_port()), Handler)
        self.url = f"http://{gateway}:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "ForwardProxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
