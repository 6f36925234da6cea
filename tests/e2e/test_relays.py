"""A relay of a stack: who is let in, what changes under traffic, and that it is gone when nobody wants it."""

import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from testing.certificates import CLIENT, issue
from testing.docker import free_port
from tests.e2e.edge import Edge, Listener, Visitor
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

NAME = "agents.reflector.test"
PAGE = "/v1/config"


@dataclass(frozen=True, kw_only=True)
class Relay(Edge):
    """The relay, as a client with a certificate reaches it; without a file it shows none."""

    client: Path | None = None
    strict: bool = True
    """Whether certificates have all that RFC 5280 wants of them: ours do."""

    def trust(self) -> ssl.SSLContext:
        """Return a context that trusts our authority, and shows the client's certificate."""
        context = super().trust()
        if not self.strict:
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.client is not None:
            context.load_cert_chain(self.client)
        return context


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What a company brings: a certificate of a server, and the authority its clients need one of."""

    entry: dict[str, Any]
    """Of the registry."""
    root: str
    """Whom the server's clients trust, PEM."""
    client: Path

    @staticmethod
    def make(folder: Path) -> "Brought":
        """Make it, and a client."""
        now = datetime.now(UTC)
        servers, clients = (issue(f"{name} of a company", now=now, ca=True) for name in ("servers", "clients"))
        server = issue("server", servers, now=now, sans=[NAME])
        client = issue("client", clients, now=now, extensions=[(x509.ExtendedKeyUsage([CLIENT]), False)])
        files = {
            "certificate_file": server.pem, "key_file": server.key_pem, "client_authority_file": clients.pem,
            "client.pem": client.pem + client.key_pem,
        }  # fmt: skip
        for name, content in files.items():
            (folder / name).write_bytes(content)
        entry = {name: str(folder / name) for name in files if name.endswith("_file")}
        return Brought(entry={"mode": "imported", **entry}, root=servers.pem.decode(), client=folder / "client.pem")


def exported(stack: Stack, name: str, file: Path) -> Path:
    """Hand over a certificate with its key, as people do."""
    stack.run("pki", "export", name, "--pem", str(file)).succeeded()
    return file


def list_numbers(stack: Stack) -> list[int]:
    """Return the numbers of the revocation lists."""
    return [one["details"]["number"] for one in stack.outputs()["pki_inventory"] if one["kind"] == "crl"]


def test_a_relay_lets_its_clients_in_and_loses_none_while_all_that_can_change_does(
    deployment: Stack, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    before, port = deployment.containers(), free_port()
    pki: dict[str, Any] = {
        "authorities": {"agents": {"purpose": "client"}},
        "certificates": {
            "agents-relay": {"mode": "issued", "names": [f"DNS:{NAME}", "IP:127.0.0.1"]},
            "recorder": {"mode": "issued", "kind": "client", "authority": "agents"},
            "player": {"mode": "issued", "kind": "client", "authority": "agents"},
        },
    }
    relay = {
        "upstream": "http://server:1250", "port": port, "bind_addresses": ["127.0.0.1"], "certificate": "agents-relay",
        "client_authority": "agents",
    }  # fmt: skip
    brought = Brought.make(tmp_path)
    pki["certificates"]["company"] = brought.entry
    other_port = free_port()
    company = {**relay, "port": other_port, "certificate": "company"}
    company.pop("client_authority")
    deployment.configure({"pki": pki, "relays": {"agents": relay, "company": company}})
    printed = deployment.up()
    assert "Safari on iPhone and iPad" in printed
    edge = Relay(**{**vars(deployment.edge), "domain": NAME, "https_port": port})
    recorder = replace(edge, client=exported(deployment, "recorder", tmp_path / "recorder.pem"))
    player = replace(edge, client=exported(deployment, "player", tmp_path / "player.pem"))
    assert (recorder.ask("GET", PAGE).status, player.ask("GET", PAGE).status) == (200, 200)
    assert recorder.ask("GET", PAGE, name="127.0.0.1").status == 200
    # By TLS 1.3 it learns of it with the answer, and not before.
    with pytest.raises(OSError, match="certificate required"):
        edge.ask("GET", PAGE)
    assert deployment.edge.ask("GET", PAGE, name="127.0.0.1").status == 200, "nothing of this is the edge's"
    # Of what was brought with an authority of its clients no setting says that they need a certificate.
    without = replace(edge, https_port=other_port, ca_pem=brought.root, strict=False)
    assert replace(without, client=brought.client).ask("GET", PAGE).status == 200
    for stranger in (None, recorder.client):
        with pytest.raises(OSError, match=r"certificate required|unknown ca"):
            replace(without, client=stranger).ask("GET", PAGE)

    ids = {name: one for name, one in deployment.ids().items() if name != "relay-company"}  # which goes now
    digest = hashlib.sha256(recorder.ask("GET", PAGE).body).hexdigest()
    pages = [Visitor(recorder, PAGE, digest, keep_alive=keep_alive) for keep_alive in (False, False, True)]
    visitors = [*pages, Listener(recorder, deployment.log_in())]
    for visitor in visitors:
        visitor.start()
    # What it shows, who is let in, and whom it trusts, in one run.
    pki["certificates"]["agents-relay"]["issue"] = 2
    pki["authorities"]["agents"]["generations"] = {
        name: {"mode": "created", "state": state} for name, state in {"g1": "active", "g2": "trusted"}.items()
    }
    deployment.configure({"pki": pki, "relays": {"agents": {**relay, "allow": ["recorder"]}}})
    deployment.up()
    assert player.ask("GET", PAGE).status == 403
    traffic = [visitor.stop() for visitor in visitors]
    record_property("requests", sum(one.requests for one in traffic))
    assert [failure for one in traffic for failure in one.failures] == []
    assert len({serial for one in traffic for serial in one.serials}) == 2, "the renewed certificate was shown"
    assert deployment.ids() == ids, "no container was replaced"

    numbers = list_numbers(deployment)
    deployment.configure({"pki": pki, "relays": {"agents": relay}})
    deployment.run("pki", "revoke", "recorder", "--reason", "superseded").succeeded()
    deployment.up()
    assert (recorder.ask("GET", PAGE).status, player.ask("GET", PAGE).status) == (403, 200)
    again = replace(edge, client=exported(deployment, "recorder", tmp_path / "recorder-again.pem"))
    assert again.ask("GET", PAGE).status == 200, "the name has a new key"
    assert all(after > before for before, after in zip(numbers, list_numbers(deployment), strict=True))
    assert deployment.planned() == {}, "the list is the same until its time has come"
    listed = deployment.outputs()["revocation_lists"]["agents"]
    assert listed.count("BEGIN X509 CRL") == 2, "one of each generation that is trusted"

    a_generation_that_is_distrusted_lets_nobody_in_after_one_run(deployment, again, tmp_path)

    deployment.configure({}, without=["pki.certificates", "pki.revocations", "relays"])
    deployment.up()
    with pytest.raises(ConnectionRefusedError):
        recorder.ask("GET", PAGE)
    assert deployment.containers().keys() == before.keys()
    # An authority's keys are protected, so that nobody loses them by the way: for good only if it is said.
    for one in deployment.resources():
        if "::authority-agents-" in one["urn"] and one.get("protect"):
            deployment.pulumi("state", "unprotect", one["urn"], "--yes").succeeded()
    deployment.configure({}, without=["pki"])
    deployment.up()


def a_generation_that_is_distrusted_lets_nobody_in_after_one_run(stack: Stack, client: Relay, folder: Path) -> None:
    """Where its key is lost there is no time for steps."""
    states = {"g1": "distrusted", "g2": "active"}
    made = {name: {"mode": "created", "state": state} for name, state in states.items()}
    stack.configure({"pki.authorities.agents.generations": made})
    stack.up()
    with pytest.raises(OSError, match=r"unknown ca|certificate required|bad certificate"):
        client.ask("GET", PAGE)
    new = replace(client, client=exported(stack, "recorder", folder / "new.pem"))
    assert new.ask("GET", PAGE).status == 200
