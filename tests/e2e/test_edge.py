"""The edge between clients and the server: who is who, which name is which, and what outlives a change."""

import json
import secrets
import ssl

import pytest

from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

LIVE = "/config/reflector/live"


class Stream:
    """A WebSocket through the edge to the server's echo."""

    def __init__(self, stack: Stack) -> None:
        self._connection = stack.edge.ask_for_events(stack.log_in())
        assert isinstance(self._connection.sock, ssl.SSLSocket)
        self._socket = self._connection.sock
        assert self._connection.getresponse().status == 101

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


def test_the_server_knows_who_asks_by_which_scheme_and_believes_no_client(deployment: Stack) -> None:
    asked = deployment.edge.ask("GET", "/v1/client").json()
    assert asked["scheme"] == "https"
    claims = {
        "X-Forwarded-For": "192.0.2.66", "X-Forwarded-Proto": "http", "X-Real-IP": "192.0.2.66",
        "Forwarded": "for=192.0.2.66;proto=http",
    }  # fmt: skip
    assert deployment.edge.ask("GET", "/v1/client", headers=claims).json() == asked
    # What makes addresses itself makes them of the name and the scheme people use.
    moved = deployment.edge.ask("GET", "/v1/notes/", headers=deployment.log_in())
    assert moved.headers["location"] == f"{deployment.outputs()['url']}/v1/notes"


def test_two_clients_are_two_to_the_server(deployment: Stack) -> None:
    url = f"{deployment.outputs()['url']}/v1/client"
    script = "import sys, urllib.request; print(urllib.request.urlopen(sys.stdin.read(), timeout=20).read().decode())"
    inside = json.loads(deployment.inside("worker", "python3", "-c", script, stdin=url))
    networks = deployment.containers()["worker"]["NetworkSettings"]["Networks"]
    assert inside == {"address": networks[f"{deployment.prefix}-application"]["IPAddress"], "scheme": "https"}
    outside = deployment.edge.ask("GET", "/v1/client").json()["address"]
    edge = deployment.containers()["caddy"]["NetworkSettings"]["Networks"][f"{deployment.prefix}-application"]
    assert outside not in {inside["address"], edge["IPAddress"]}, "the login limit would count all as one"


def test_whom_the_server_believes_is_the_edges_network(deployment: Stack) -> None:
    facts = json.loads(deployment.host.docker("network", "inspect", f"{deployment.prefix}-application"))
    ranges = sorted(config["Subnet"] for config in facts[0]["IPAM"]["Config"])
    assert deployment.inside("server", "printenv", "FORWARDED_ALLOW_IPS").strip() == ",".join(ranges)


def test_pages_lead_to_the_domain_and_the_api_answers_at_every_name(deployment: Stack) -> None:
    url = deployment.outputs()["url"]
    for name in ("meet.reflector.test", "localhost", "127.0.0.1"):
        answer = deployment.edge.ask("GET", "/rooms?x=1", name=name)
        assert (answer.status, answer.headers["location"]) == (307, f"{url}/rooms?x=1"), name
        assert deployment.edge.ask("GET", "/v1/config", name=name).status == 200, name
    assert deployment.edge.ask("GET", "/").status == 200


def test_a_stream_outlives_a_release(deployment: Stack) -> None:
    stream = Stream(deployment)
    assert stream.echoes(b"before")
    names = [*deployment.setting("edge.extra_names"), "DNS:stream.reflector.test"]
    deployment.configure({"edge.extra_names": names})
    deployment.up()
    assert deployment.edge.ask("GET", "/health", name="stream.reflector.test").status == 200, "the release is live"
    assert stream.echoes(b"after")
    stream.close()


def test_an_edge_that_cannot_read_what_is_live_comes_up_and_is_delivered_anew(deployment: Stack) -> None:
    # As a Caddy that no longer knows a directive of the release in its volume.
    release = deployment.inside("caddy", "readlink", LIVE)
    deployment.inside("caddy", "sed", "-i", "s/reverse_proxy/nobody_knows_this/", f"{LIVE}/sites.caddy")
    deployment.inside("caddy", "rm", "/config/reflector/certificates/edge-certificate.pem")
    before = deployment.ids()
    deployment.configure({"edge.memory_mib": 200})
    deployment.up()
    assert deployment.ids()["caddy"] != before["caddy"]
    assert deployment.edge.ask("GET", "/v1/config").status == 200
    assert deployment.inside("caddy", "readlink", LIVE) == release, "the same one, and yet delivered and reloaded"
    logs = deployment.host.logs(f"{deployment.prefix}-caddy")
    assert "Answering 503 until the configuration is delivered" in logs
    assert "nobody_knows_this" in logs
    # A restart now finds a configuration that works.
    deployment.host.docker("restart", f"{deployment.prefix}-caddy")
    deployment.wait_until_healthy()
    assert deployment.edge.ask("GET", "/v1/config").status == 200
