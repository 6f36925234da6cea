"""What a relay's container runs, run here: its start script, its deliveries, and the real Caddy between them."""

import base64
import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from components.base.handles import TrustBundle
from components.relays import relay as component
from pki import admission
from rendering import relay as rendering
from rendering.archive import archive
from testing import building, load
from testing.caddy_container import TIMEOUT_SECONDS, CaddyContainer
from testing.certificates import Issued, issue, served
from testing.upstream import free_ports, running
from tests.unit.edge.test_running_caddy import Container as Edge

BUILT: Final = building.built("Relay")
RUN: Final[str] = BUILT.named("it-container").plain("command")[2]
HEALTH: Final[str] = BUILT.named("it-container").plain("healthcheck")["tests"][1]
DELIVER: Final[str] = building.script_of(BUILT.named("it-release"))
NOW: Final = datetime.now(UTC)
CLIENT: Final = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
SERVER: Final = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)


@cache
def authority(name: str) -> Issued:
    """Return an authority."""
    return issue(name, now=NOW, ca=True, to_days=365)


def leaf(name: str, by: str, **given: Any) -> Issued:
    """Return a client's certificate."""
    return issue(name, authority(by), now=NOW, **{"extensions": [CLIENT], **given})


class Container(CaddyContainer):
    """The relay's."""

    script = RUN

    def __init__(self, folder: Path, caddy: Path, upstream: str) -> None:
        self.port, loopback = free_ports(2)
        super().__init__(folder, caddy, loopback)
        self.upstream = upstream
        self.shown = issue("relay.test", authority("shown"), now=NOW, sans=["relay.test", "ip:127.0.0.1"])
        self.args = self._args(upstream)

    def _args(self, upstream: str) -> component.RelayArgs:
        made: list[component.RelayArgs] = []
        building.build(lambda near: made.append(building.relay_args(near, upstream=upstream)))
        return made[0]

    def here(self, text: str) -> str:
        """Return text with the places, the ports and the address of this container."""
        return (
            super()
            .here(text)
            .replace(f"https://:{rendering.PORT}", f"https://:{self.port}")
            .replace("$(hostname -i)", "127.0.0.1 ::1")
        )

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the container."""
        front, router = rendering.standby()
        return {
            **super().environment,
            "CLIENT_AUTHORITY": component._for_whom(self.args),
            "STANDBY_FRONT": self.here(front),
            "STANDBY_ROUTER": self.here(router),
        }

    def is_healthy(self) -> bool:
        """Return what its health check says."""
        done = subprocess.run(["sh", "-c", self.here(HEALTH)], capture_output=True, env=self.environment, check=False)
        return done.returncode == 0

    def deliver(self, *roots: str, **given: Any) -> None:
        """Do what the step does, where certificates of these authorities are let in."""
        done = self.try_to_deliver(*roots, **given)
        assert done.returncode == 0, done.stderr

    def try_to_deliver(self, *roots: str, **given: Any) -> subprocess.CompletedProcess[str]:
        """Do what the step does, and return how it ended."""
        known: dict[str, Any] = {
            "certificate": [self.shown.pem.decode(), self.shown.key_pem.decode()],
            "roots": "".join(authority(one).pem.decode() for one in roots),
            "trusted": "", "allowed": [], "revoked": "", "refused": [],
        }  # fmt: skip
        args = {name: given[name] for name in given if name == "allowed" or name not in known}
        made = self.args = replace(self.args, **args)
        known |= {name: given[name] for name in given if name in known}
        return subprocess.run(
            ["sh", "-c", self.here(DELIVER)],
            input=archive(
                {name: self.here(text) for name, text in component._files(made, known).items()}
            ),
            capture_output=True, env=self.environment, text=True, check=False,
        )  # fmt: skip

    def let_in(self, name: str = "clients") -> None:
        """Have it let in clients of an authority; before it is started."""
        self.args = replace(
            self.args,
            clients=component.Clients(said_by=f"authority {name}", roots=TrustBundle(certificates=["not looked at"])),
        )

    def file_of(self, client: Issued, chain: bytes = b"") -> str:
        """Return the path of a file with a client's certificate and key."""
        path = self.folder / f"{client.certificate.serial_number}.pem"
        path.write_bytes(client.pem + chain + client.key_pem)
        return str(path)

    def connect(self, client: Issued | None = None, *, name: str | None = "relay.test") -> http.client.HTTPSConnection:
        """Return a connection of a client; without a name it goes by address."""
        context = ssl.create_default_context(cadata=authority("shown").pem.decode())
        if client is not None:
            context.load_cert_chain(self.file_of(client))
        host = name or "127.0.0.1"
        connection = http.client.HTTPSConnection(host, self.port, timeout=TIMEOUT_SECONDS, context=context)
        raw = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS)
        connection.sock = context.wrap_socket(raw, server_hostname=host)
        return connection

    def ask(
        self,
        client: Issued | None = None,
        *,
        path: str = "/",
        name: str | None = "relay.test",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Return status and body of an answer: by TLS 1.3 who is refused learns of it here and not before."""
        connection = self.connect(client, name=name)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def told(self, client: Issued | None = None, **given: Any) -> dict[str, str]:
        """Return the headers that reach the upstream, in lower case."""
        status, body = self.ask(client, **given)
        assert status == 200, body
        return {key.lower(): value for key, value in json.loads(body).items()}


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The URL of something behind the relay."""
    with running() as url:
        yield url


@pytest.fixture
def container(caddy: Path, upstream: str) -> Iterator[Container]:
    """A container that has not been started, with an empty volume."""
    folder = Path(tempfile.mkdtemp(prefix="relay-"))
    made = Container(folder, caddy, upstream)
    yield made
    made.stop()
    shutil.rmtree(folder)


def refused(container: Container, client: Issued | None) -> str:
    """Return what TLS says to a client that is refused after a whole request (RFC 8446: no sooner)."""
    with pytest.raises(OSError) as refusal:
        container.ask(client)
    return str(refusal.value)


def test_caddy_itself_is_healthy_and_lets_nobody_in_before_anything_is_delivered(container: Container) -> None:
    container.start()
    with pytest.raises(ConnectionRefusedError):
        container.ask()
    container.deliver()
    assert container.ask()[0] == 200
    assert container.is_healthy()


def test_caddy_itself_lets_in_who_shows_a_certificate_of_the_for_whom(container: Container) -> None:
    container.let_in()
    container.start()
    container.deliver("clients")
    agent = leaf("agent", "clients")
    assert container.ask(agent)[0] == 200
    assert container.ask(agent, name=None)[0] == 200, "by address, without a name (no SNI)"
    assert container.ask(agent, headers={"Host": "other.test"})[0] == 200


STRANGERS: Final[Mapping[str, tuple[Callable[[], Issued | None], str]]] = {
    "nobody": (lambda: None, "certificate required"),
    "a foreign authority's": (lambda: leaf("agent", "foreign"), "unknown ca"),
    "one that signs itself": (lambda: issue("agent", now=NOW, extensions=[CLIENT]), "unknown ca"),
    "a server": (lambda: leaf("agent", "clients", extensions=[SERVER]), "bad certificate|unsupported certificate"),
    "an expired one": (lambda: leaf("agent", "clients", from_days=-9, to_days=-1), "certificate expired"),
    "one of tomorrow": (lambda: leaf("agent", "clients", from_days=1), "certificate expired"),
    "one of the authority that signs for the relay": (lambda: leaf("agent", "shown"), "unknown ca"),
}


@pytest.mark.parametrize("who", STRANGERS)
def test_caddy_itself_refuses_every_other_after_a_request_and_says_in_its_log_who_and_why(
    container: Container, who: str
) -> None:
    container.let_in()
    container.start()
    container.deliver("clients")
    client, why = STRANGERS[who]
    said = refused(container, client()).lower()
    assert any(one in said for one in why.split("|")), said
    # The client learns of it first.
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while "TLS handshake error from 127.0.0.1" not in container.log.read_text():
        assert time.monotonic() < deadline, container.log.read_text()
        time.sleep(0.05)


def test_caddy_itself_refuses_the_revoked_and_says_in_its_log_who_that_was(container: Container) -> None:
    container.let_in()
    container.start()
    agent, other, third = (leaf(name, "clients") for name in ("agent", "other", "third"))
    container.deliver("clients")
    kept = container.connect(agent)
    kept.request("GET", "/")
    kept.getresponse().read()
    container.deliver("clients", revoked=revocation_list("clients", agent), refused=[other.pem.decode()])
    assert container.ask(agent, path="/?token=hidden") == (403, b"This certificate is revoked.")
    assert container.ask(other) == (403, b"This certificate is revoked.")
    assert container.ask(third)[0] == 200
    # Also on a connection it had.
    with contextlib.suppress(http.client.HTTPException, OSError):
        kept.request("GET", "/")
        assert kept.getresponse().status == 403
    kept.close()
    log = container.log.read_text()
    line = json.loads(next(line for line in log.splitlines() if '"refused":"revoked"' in line))
    assert (line["subject"], line["serial"]) == ("CN=agent", str(agent.certificate.serial_number))
    assert line["request"]["client_ip"] == "127.0.0.1"
    assert "hidden" not in log
    container.deliver("clients")
    assert container.ask(agent)[0] == 200, "and no longer than it is listed"


def revocation_list(by: str, *revoked: Issued) -> str:
    """Return an authority's list."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority(by).certificate.subject)
    builder = builder.last_update(NOW).next_update(authority(by).certificate.not_valid_after_utc)
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number).revocation_date(NOW)
        builder = builder.add_revoked_certificate(entry.build())
    key: Any = authority(by).key
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize("kind", ["secp256r1", "secp384r1", "ed25519", "rsa2048"])
def test_caddy_itself_lets_in_the_listed_alone_also_once_they_are_renewed(container: Container, kind: str) -> None:
    container.let_in()
    container.start()
    agent = leaf("agent", "clients", kind=kind)
    container.deliver("clients", allowed=[agent.pem.decode()])
    assert container.ask(agent)[0] == 200
    status, body = container.ask(leaf("other", "clients"))
    assert (status, body) == (403, b"This certificate is not among those that are let in.")
    line = json.loads(next(line for line in container.log.read_text().splitlines() if '"not allowed"' in line))
    assert (line["refused"], line["subject"]) == ("not allowed", "CN=other")
    if kind != "ed25519":  # of which a test has another key each time
        renewed = leaf("agent", "clients", kind=kind)
        assert container.ask(renewed)[0] == (403 if kind == "rsa2048" else 200), "Caddy has no placeholder for RSA keys"


GENERATIONS: Final = ("g1", "g2", "g3")


@pytest.mark.parametrize("trusted", [("g1",), ("g1", "g2"), ("g2",), ("g2", "g3")], ids="+".join)
def test_caddy_itself_lets_in_clients_of_the_trusted_generations_and_of_no_other(
    container: Container, trusted: tuple[str, ...]
) -> None:
    container.let_in()
    container.start()
    container.deliver(*GENERATIONS)
    clients = {name: leaf("agent", name) for name in GENERATIONS}
    assert [container.ask(client)[0] for client in clients.values()] == [200, 200, 200]
    container.deliver(*trusted)
    for name, client in clients.items():
        if name in trusted:
            assert container.ask(client)[0] == 200, name
        else:
            assert "unknown ca" in refused(container, client).lower(), name


def test_caddy_itself_tells_the_upstream_who_a_client_is_and_no_word_of_the_clients_own(container: Container) -> None:
    container.let_in()
    container.start()
    container.deliver("clients")
    agent = leaf("agent", "clients")
    said = {
        f"{start}{end}": "admin"
        for start in (
            "X-Client-Certificate-",
            "x_client_certificate_",
            "X-Client_Certificate-",
            "X_Client-Certificate_",
        )
        for end in ("Subject", "Serial", "Fingerprint", "Public-Key", "Role")
    }
    claims = {"X-Forwarded-For": "192.0.2.66", "X-Forwarded-Proto": "http", "X-Real-IP": "192.0.2.66", "Forwarded": "x"}
    arrived = container.told(agent, headers={**said, **claims})
    identity = {key.replace("_", "-"): value for key, value in arrived.items() if "certificate" in key}
    assert identity == {
        "x-client-certificate-subject": "CN=agent",
        "x-client-certificate-issuer": "CN=clients",
        "x-client-certificate-serial": str(agent.certificate.serial_number),
        "x-client-certificate-fingerprint": agent.certificate.fingerprint(hashes.SHA256()).hex(),
        "x-client-certificate-public-key": component_key(agent),
    }
    assert (arrived["x-forwarded-for"], arrived["x-forwarded-proto"]) == ("127.0.0.1", "https")
    assert "x-real-ip" not in arrived
    assert "forwarded" not in arrived


def component_key(client: Issued) -> str:
    """Return the sum of a client's key, as it is compared."""
    return admission.public_key(client.pem.decode())


def test_caddy_itself_takes_the_same_words_away_where_nobody_is_asked_for_a_certificate(container: Container) -> None:
    container.start()
    container.deliver()
    arrived = container.told(headers={"X-Client-Certificate-Subject": "CN=admin"})
    assert not [key for key in arrived if "certificate" in key]


def test_caddy_itself_shows_a_renewed_certificate_without_a_reload(container: Container) -> None:
    container.start()
    container.deliver()
    first = shown(container)
    container.shown = issue("relay.test", authority("shown"), now=NOW, sans=["relay.test", "ip:127.0.0.1"])
    reloads = container.log.read_text().count("load complete")
    container.deliver()
    assert shown(container) != first
    assert shown(container) == container.shown.der
    assert container.log.read_text().count("load complete") == reloads
    mode = (container.config / rendering.CERTIFICATE_FILE).stat().st_mode
    assert mode & 0o777 == 0o600


def shown(container: Container) -> bytes:
    """Return the certificate clients see."""
    connection = container.connect()
    try:
        seen: Any = connection.sock
        return bytes(seen.getpeercert(binary_form=True))
    finally:
        connection.close()


class Stream:
    """A WebSocket, to the echo behind the relay."""

    def __init__(self, container: Container, client: Issued | None) -> None:
        self.connection = container.connect(client)
        self.connection.request("GET", "/ws", headers={
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


def test_caddy_itself_starts_again_with_what_is_live_but_not_for_another_for_whom(container: Container) -> None:
    container.let_in()
    container.start()
    container.deliver("clients")
    agent = leaf("agent", "clients")
    container.stop()
    container.start()
    assert container.ask(agent)[0] == 200
    container.stop()
    container.let_in("others")
    container.start()
    with pytest.raises(ConnectionRefusedError):
        container.ask(agent)
    assert "there is nothing for this client authority" in container.log.read_text()
    container.deliver("others")
    assert "unknown ca" in refused(container, agent).lower()
    assert container.ask(leaf("agent", "others"))[0] == 200


def test_caddy_itself_stays_with_what_it_serves_if_it_cannot_take_what_is_delivered(container: Container) -> None:
    container.let_in()
    container.start()
    container.deliver("clients")
    agent = leaf("agent", "clients")
    failed = container.try_to_deliver("clients", "g1", upstream="http://[")
    assert failed.returncode != 0
    assert container.ask(agent)[0] == 200
    container.deliver("clients", "g1", upstream=container.upstream)
    assert container.ask(leaf("agent", "g1"))[0] == 200


def test_caddy_itself_verifies_an_upstream_by_https_with_whom_it_is_told_to_trust(container: Container) -> None:
    root, chain, key = served("up.test")
    file = container.folder / "up.pem"
    file.write_text(chain + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    container.start()
    with running(context) as url:
        named = {"upstream": f"{url.replace('http:', 'https:')}/x", "elsewhere": True}
        container.deliver(**named, upstream_name="up.test", trusted=root)
        assert container.ask()[0] == 200
        container.deliver(**named, upstream_name="other.test", trusted=root)
        assert container.ask()[0] == 502, "a certificate of another name"
        container.deliver(**named, upstream_name="up.test", trusted=authority("foreign").pem.decode())
        assert container.ask()[0] == 502, "of an authority nobody trusts"
        container.deliver(**named, upstream_name="up.test")
        assert container.ask()[0] == 502, "nor do public authorities know it"
        container.deliver(**named, upstream_name="up.test", trusted=root)
        container.stop()
        container.start()
        assert container.ask()[0] == 200, "also after a restart"


def test_caddy_itself_leaves_an_edge_beside_it_to_who_goes_by_address(
    container: Container, caddy: Path, upstream: str
) -> None:
    """A site that asks for certificates makes its whole server strict about names (caddyserver/caddy#6784)."""
    container.let_in()
    container.start()
    container.deliver("clients")
    folder = Path(tempfile.mkdtemp(prefix="edge-"))
    edge = Edge(folder, caddy, upstream)
    edge.names = ["relay.test", "127.0.0.1"]
    edge.start()
    try:
        edge.deliver(edge.release())
        connection = edge.connect("127.0.0.1")
        connection.request("GET", "/v1/x", headers={"Host": f"127.0.0.1:{edge.https_port}"})
        assert connection.getresponse().status == 200
        connection.close()
        assert container.ask(leaf("agent", "clients"), name=None)[0] == 200
    finally:
        edge.stop()
        shutil.rmtree(folder)


RELEASES: Final = 20
REQUESTS: Final = 20_000


def test_caddy_itself_loses_nothing_while_upstreams_clients_and_roots_change(
    container: Container, record_property: Callable[[str, object], None]
) -> None:
    container.let_in()
    container.start()
    agent = leaf("agent", "g1")
    container.deliver("g1")
    client, port = container.file_of(agent), container.port
    stream = Stream(container, agent)
    clients = [
        load.Client(partial(load.bodies, port, client)),
        load.Client(partial(load.kept, port, client)),
        *(load.Client(partial(load.pages, port, client)) for _ in range(3)),
        load.Client(partial(load.streams, port, client, comes_back=True)),
    ]
    for one in clients:
        one.start()
    releases = 0
    roots = ["g1"]
    while releases < RELEASES or sum(one.requests for one in clients) < REQUESTS:
        releases += 1
        if releases == RELEASES // 3:
            roots = ["g1", "g2"]
        if releases == 2 * RELEASES // 3:
            roots = ["g1", "g3"]
        revoked = revocation_list("g1", *(leaf(f"{releases}-{number}", "g1") for number in range(releases)))
        container.deliver(*roots, revoked=revoked)
        assert stream.echo(b"%d" % releases) == b"%d" % releases
    for one in clients:
        one.stop()
    record_property("requests", sum(one.requests for one in clients))
    lost = [failure for one in clients for failure in one.failures]
    assert lost == [], f"{len(lost)} of {sum(one.requests for one in clients)} requests in {releases} releases"
    assert all(one.requests > releases for one in clients)
    assert container.ask(leaf("agent", "g3"))[0] == 200
    assert "unknown ca" in refused(container, leaf("agent", "g2")).lower()
