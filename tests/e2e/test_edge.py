"""The edge between clients and the server: who is who, which name is which, and what outlives a change."""

import hashlib
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import pytest

from testing.certificates import served
from testing.docker import free_port
from tests.e2e.edge import Connection, Response, Stream, Visitor
from tests.e2e.stack import DOMAIN, Stack

pytestmark = pytest.mark.docker

LIVE = "/config/reflector/live"
PROXY = "127.0.0.1"
VISITOR = "127.0.0.2"
"""Who asks the proxy; all of 127.0.0.0/8 is this machine."""


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


def test_changed_routes_lose_no_request_and_no_stream(
    deployment: Stack, record_property: Callable[[str, object], None]
) -> None:
    stream = Stream(deployment.edge, deployment.log_in())
    assert stream.echoes(b"before")
    caddy = deployment.containers()["caddy"]
    page = "/v1/config"
    digest = hashlib.sha256(deployment.edge.ask("GET", page).body).hexdigest()
    visitors = [Visitor(deployment.edge, page, digest, keep_alive=keep_alive) for keep_alive in (False, False, True)]
    for visitor in visitors:
        visitor.start()
    served = [*deployment.setting("edge.extra_names")]
    for change in ("one", "two"):
        served.append(f"DNS:{change}.reflector.test")
        deployment.configure({"edge.extra_names": served})
        deployment.up()
        name = f"{change}.reflector.test"
        assert deployment.edge.ask("GET", "/health", name=name).status == 200, "the release is live"
        assert stream.echoes(change.encode())
    traffic = [visitor.stop() for visitor in visitors]
    stream.close()
    requests = sum(one.requests for one in traffic)
    record_property("requests", requests)
    failures = [failure for one in traffic for failure in one.failures]
    assert failures == [], f"{len(failures)} of {requests} requests failed"
    assert requests > 200
    assert [one.reconnected for one in traffic] == [0, 0, 0], "who was connected stays connected"
    assert deployment.containers()["caddy"]["Id"] == caddy["Id"]


def test_an_edge_that_cannot_read_what_is_live_comes_up_and_is_delivered_anew(deployment: Stack) -> None:
    # As a Caddy that no longer knows a directive of the release in its volume.
    release = deployment.inside("caddy", "readlink", LIVE)
    deployment.inside("caddy", "sed", "-i", "s/reverse_proxy/nobody_knows_this/", f"{LIVE}/sites.router")
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


class ProxyInFront:
    """A proxy on the Docker host, with TLS of its own, that asks the edge."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        edge = stack.edge
        self._authority, chain, key = served(DOMAIN)
        for name, text in (("authority", edge.ca_pem), ("chain", chain), ("key", key)):
            (folder / name).write_text(text, encoding="ascii")
        self._port = free_port()
        (folder / "Caddyfile").write_text(
            f"""{{
	admin off
	auto_https off
}}
https://{DOMAIN}:{self._port} {{
	bind {PROXY}
	tls {folder}/chain {folder}/key
	reverse_proxy https://{edge.address}:{edge.https_port} {{
		transport http {{
			tls_server_name {DOMAIN}
			tls_trust_pool file {folder}/authority
		}}
	}}
}}
""",
            encoding="ascii",
        )
        caddy = stack.checkout.layout.bin / "caddy"
        self._process = subprocess.Popen(
            [caddy, "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"],
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if not probe.connect_ex((PROXY, self._port)):
                    return self
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def ask(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send one request from an address that is not the proxy's."""
        trust = ssl.create_default_context(cadata=self._authority)
        connection = Connection(address=PROXY, name=DOMAIN, port=self._port, context=trust, source=VISITOR)
        connection.connect()
        try:
            return connection.ask(method, target, body, headers)
        finally:
            connection.close()


def test_a_proxy_in_front_is_believed_who_asks_and_a_container_is_not(deployment: Stack, tmp_path: Path) -> None:
    """A proxy with TLS of its own, then what one for TCP would send, and a container that only claims to be one."""
    # As the edge sees what comes from the Docker host.
    gateway = deployment.edge.ask("GET", "/v1/client").json()["address"]
    deployment.configure({"edge.trusted_proxies": [gateway], "edge.proxy_protocol": True})
    deployment.up()
    outputs = deployment.outputs()
    with ProxyInFront(deployment, tmp_path) as proxy:
        credentials = {"email": outputs["admin_email"], "password": outputs["admin_password"]}
        body = json.dumps(credentials).encode()
        answer = proxy.ask("POST", "/v1/auth/login", body, {"Content-Type": "application/json"})
        assert answer.status == 200, answer
        user = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        assert proxy.ask("GET", "/v1/me", headers=user).status == 200
        claims = {"X-Forwarded-For": "192.0.2.66", "X-Forwarded-Proto": "http", "X-Real-IP": "192.0.2.66"}
        for headers in ({}, claims):
            assert proxy.ask("GET", "/v1/client", headers=headers).json() == {"address": VISITOR, "scheme": "https"}

    announced = f"PROXY TCP4 {VISITOR} {PROXY} 4711 443\r\n".encode()
    connection = Connection(
        address=deployment.edge.address, name=DOMAIN, port=deployment.edge.https_port,
        context=deployment.edge.trust(), announced=announced,
    )  # fmt: skip
    connection.connect()
    asked = connection.ask("GET", "/v1/client", headers={"X-Forwarded-For": "192.0.2.66"}).json()
    connection.close()
    assert asked == {"address": VISITOR, "scheme": "https"}

    script = (
        "import sys, urllib.request as u; "
        "r = u.Request(sys.stdin.read(), headers={'X-Forwarded-For': '192.0.2.66'}); "
        "print(u.urlopen(r, timeout=20).read().decode())"
    )
    inside = json.loads(deployment.inside("worker", "python3", "-c", script, stdin=f"{outputs['url']}/v1/client"))
    networks = deployment.containers()["worker"]["NetworkSettings"]["Networks"]
    assert inside["address"] == networks[f"{deployment.prefix}-application"]["IPAddress"]
    deployment.configure({}, without=["edge.trusted_proxies", "edge.proxy_protocol"])
