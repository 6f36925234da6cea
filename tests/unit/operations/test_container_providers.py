"""Container providers asked by their client and by strangers, each played by a little server with TLS 1.3."""

import http.server
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509

from components.base.ownership import LABEL_DEPLOYMENT
from operations import container_providers
from operations.container_providers import findings
from rendering.kubeconfig import kubeconfig
from testing.certificates import CLIENT, SERVER, issue
from testing.docker import free_port

NOW: Final = datetime.now(UTC)
ROOT: Final = issue("root of docker hosts", now=NOW, ca=True)
OTHER: Final = issue("another root", now=NOW, ca=True)
DAEMON: Final = issue(
    "daemon", ROOT, now=NOW, sans=["ip:127.0.0.1"], extensions=[(x509.ExtendedKeyUsage([SERVER]), False)]
)
DEPLOYER: Final = issue("deployer", ROOT, now=NOW, extensions=[(x509.ExtendedKeyUsage([CLIENT]), False)])
MANAGER: Final = {"Swarm": {"ControlAvailable": True}}
Pages = Mapping[str, tuple[int, Any]]
Listen = Callable[..., dict[str, Any]]


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """Starts a server with some pages, and returns the material of a provider that it is."""
    started: list[tuple[http.server.HTTPServer, threading.Thread]] = []

    def start(kind: str, pages: Pages, verify: ssl.VerifyMode = ssl.CERT_REQUIRED) -> dict[str, Any]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert isinstance(self.connection, ssl.SSLSocket)
                status, content = pages.get(self.path, (404, {}))
                if kind == "kubernetes" and not self.connection.getpeercert():
                    status = pages.get("anonymous", (401, {}))[0]
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.HTTPServer):
            def handle_error(self, *_: object) -> None:
                pass

        (tmp_path / "tls.pem").write_bytes(DAEMON.pem + DAEMON.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(tmp_path / "tls.pem")
        context.load_verify_locations(cadata=ROOT.pem.decode())
        context.verify_mode = verify
        server = Server(("127.0.0.1", 0), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        started.append((server, thread))
        return material(kind, server.server_address[1])

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


def material(kind: str, port: int, **more: Any) -> dict[str, Any]:
    parts = {"certificate": DEPLOYER.pem.decode(), "key": DEPLOYER.key_pem.decode()}
    authority = ROOT.pem.decode()
    if kind != "kubernetes":
        return {"kind": kind, "address": f"tcp://127.0.0.1:{port}", "ca": authority, **parts, **more}
    address = f"https://127.0.0.1:{port}"
    text = kubeconfig(address, cluster="c", user="u", context="c", authority=authority, **parts)
    return {"kind": kind, "address": address, "ca": authority, "kubeconfig": text, **more}


def found(content: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what is fine, and what is not."""
    every = list(findings(content, NOW))
    assert "PRIVATE" not in str(every)
    return [what for what, fine in every if fine], [what for what, fine in every if not fine]


@pytest.mark.parametrize(
    ("kind", "pages", "count"),
    [
        ("docker", {"/version": (200, {})}, 3),
        ("swarm", {"/info": (200, MANAGER)}, 4),
        ("kubernetes", {"/api": (200, {})}, 3),
    ],
)
def test_its_client_is_let_in_and_strangers_are_not(listen: Listen, kind: str, pages: Pages, count: int) -> None:
    fine, wrong = found(listen(kind, pages))
    assert (len(fine), wrong) == (count, [])
    assert [what for what in fine if "refuses who has no certificate (" in what]
    assert [what for what in fine if "refuses a certificate of another authority (" in what]


@pytest.mark.parametrize("kind", ["docker", "swarm"])
def test_a_daemon_that_asks_nobody_for_a_certificate_is_found(listen: Listen, kind: str) -> None:
    pages = {"/version": (200, {}), "/info": (200, MANAGER)}
    _, wrong = found(listen(kind, pages, verify=ssl.CERT_NONE))
    assert [what.partition(" answers to ")[2] for what in wrong] == [
        "who has no certificate (status 200); have it verify its clients",
        "a certificate of another authority (status 200); have it verify its clients",
    ]


def test_a_cluster_refuses_by_a_status_and_one_that_does_not_is_found(listen: Listen) -> None:
    pages: dict[str, tuple[int, Any]] = {"/api": (200, {}), "anonymous": (403, {})}
    fine, wrong = found(listen("kubernetes", pages, verify=ssl.CERT_OPTIONAL))
    assert wrong == []
    assert any("refuses who has no certificate (status 403)" in what for what in fine)
    _, wrong = found(listen("kubernetes", {**pages, "anonymous": (200, {})}, verify=ssl.CERT_OPTIONAL))
    assert [what for what in wrong if "answers to who has no certificate (status 200)" in what]


@pytest.mark.parametrize("swarm", [{"ControlAvailable": False}, {}, None])
def test_a_daemon_that_is_no_manager_is_found(listen: Listen, swarm: Any) -> None:
    _, (line,) = found(listen("swarm", {"/info": (200, {"Swarm": swarm})}))
    assert line.endswith("is no manager of a Swarm")


def secret(name: str, deployment: str = "0123") -> dict[str, Any]:
    return {"Spec": {"Name": name, "Labels": {LABEL_DEPLOYMENT: deployment}}}


def test_what_a_swarm_keeps_is_compared_with_what_was_published(listen: Listen) -> None:
    published = {"secrets": {"api": {"key": "s-api-key-2", "certificate": "s-api-certificate-2"}}}
    stored = [secret("s-api-key-2"), secret("s-api-certificate-2"), secret("s-api-key-1"), secret("other", "9")]
    there = {"/info": (200, MANAGER), "/secrets": (200, stored)}
    fine, wrong = found({**listen("swarm", there), **published})
    assert wrong == []
    (line,) = [what for what in fine if "of before" in what]
    assert line.endswith("docker secret rm s-api-key-1"), "and none of somebody else's"
    (line,) = found({**listen("swarm", {**there, "/secrets": (200, stored[:1])}), **published})[1]
    assert "has no secret s-api-certificate-2; make up ARGS=--refresh" in line
    (line,) = found({**listen("swarm", {**there, "/secrets": (503, {})}), **published})[1]
    assert line.endswith("does not list its secrets: status 503")


def test_another_client_and_another_server_are_told_apart(listen: Listen) -> None:
    given = listen("docker", {"/version": (200, {})})
    foreign = issue("x", OTHER, now=NOW)
    _, (line,) = found({**given, "certificate": foreign.pem.decode(), "key": foreign.key_pem.decode()})
    assert "does not answer to its client: " in line
    fine, (line,) = found({**given, "ca": OTHER.pem.decode()})
    assert "does not answer to its client: " in line
    assert fine == [], "who shows a stranger's certificate has refused nobody"


def test_where_nobody_speaks_tls_nobody_has_refused(listen: Listen) -> None:
    fine, (line,) = found(material("docker", free_port()))
    assert fine == []
    assert "does not answer to its client: Connection refused" in line
    with socket.create_server(("127.0.0.1", 0)) as plain:
        thread = threading.Thread(target=_answer_in_clear, args=(plain,))
        thread.start()
        fine, (line,) = found(material("docker", plain.getsockname()[1]))
        thread.join()
    assert fine == []


def _answer_in_clear(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")


def test_silence_is_no_refusal(monkeypatch: pytest.MonkeyPatch, listen: Listen) -> None:
    given = listen("docker", {"/version": (200, {})}, verify=ssl.CERT_NONE)
    monkeypatch.setattr("http.client.HTTPSConnection.getresponse", _silence)
    answer = container_providers.ask(given["address"], "/version", given["ca"])
    assert (answer.status, answer.is_refusal, str(answer)) == (0, False, "timed out")


def _silence(_: object) -> None:
    raise TimeoutError("timed out")
