"""Relays in the settings: what they name, what they stand in front of, and the ports they share with nobody."""

from typing import Any, Final

import pytest

from settings.base import Sealed
from tests.unit.settings.examples import only, parsed, refused

PKI: Final[dict[str, Any]] = {
    "authorities": {"agents": {"purpose": "client"}, "others": {"purpose": "client"}},
    "certificates": {
        "shown": {"mode": "issued", "names": ["DNS:relay.test"]},
        "agent": {"mode": "issued", "kind": "client", "authority": "agents"},
        "other": {"mode": "issued", "kind": "client", "authority": "others"},
    },
}
RELAY: Final[dict[str, Any]] = {"upstream": "http://server:1250", "port": 8444, "certificate": "shown"}


def tree(relay: dict[str, Any] | None = None, /, **more: Any) -> dict[str, Any]:
    """Return a stack with a relay called main."""
    return {"pki": PKI, "relays": {"main": {**RELAY, **(relay or {})}}, **more}


def test_a_relay_is_a_service_of_the_stack() -> None:
    stack = parsed(tree())
    assert "relay-main" in stack.services
    assert stack.relay_services == {"main": "relay-main"}
    assert "relay-main" not in stack.reached_directly, "a new relay would replace every container that knows a proxy"


@pytest.mark.parametrize(
    ("relay", "setting", "given", "allowed"),
    [
        ({"upstream": "http://transcription:1"}, "upstream", "'http://transcription:1'", "a service this stack has"),
        ({"upstream": "http://relay-main:8443"}, "upstream", "'http://relay-main:8443'", "a service this stack has"),
        ({"certificate": "agent"}, "certificate", "'agent', whose kind is client", "server or peer: shown"),
        (
            {"client_authority": "stack"}, "client_authority", "'stack', whose purpose is server",
            "one whose purpose is client: agents, others",
        ),
        ({"allow": ["agent"]}, "client_authority", "nothing, while allow", "the authority that signs for clients"),
        (
            {"client_authority": "agents", "allow": ["other"]}, "allow[0]", "'other', which others signs",
            "certificates of agents",
        ),
        (
            {"client_authority": "agents", "allow": ["shown"]}, "allow[0]", "'shown', whose kind is server",
            "agent, other",
        ),
        ({"upstream_name": "a.test"}, "upstream_name", "'a.test'", "no https URL"),
        ({"port": 443}, "port", "443, as edge.https_port", "a port of its own, or addresses of its own"),
        ({"port": 80}, "port", "80, as edge.http_port", "a port of its own, or addresses of its own"),
        ({"port": 443, "bind_addresses": ["192.0.2.1"]}, "port", "443, as edge.https_port", "a port of its own"),
        ({"websocket_hours": 0}, "websocket_hours", "0", "1 to 168 hours"),
        ({"identity_headers": "X-Forwarded-Client"}, "identity_headers", "'X-Forwarded-Client'", "no other meaning"),
        ({"identity_headers": "Client"}, "identity_headers", "'Client'", "two to five words"),
        ({"identity_headers": "X_Client-A"}, "identity_headers", "'X_Client-A'", "two to five words"),
    ],
)  # fmt: skip
def test_what_does_not_do_is_said_in_a_line(relay: dict[str, Any], setting: str, given: str, allowed: str) -> None:
    problem = only(tree(relay))
    assert problem.setting == f"relays.main.{setting}"
    assert given in problem.given
    assert allowed in problem.allowed


def with_brought(**more: Any) -> dict[str, Any]:
    """Return a stack whose relay shows what was brought with its clients' authority."""
    # Still encrypted: that it is there is all that counts.
    brought = {"mode": "imported", "certificate": Sealed(), "key": Sealed(), "client_authority": Sealed()}
    certificates = {**PKI["certificates"], "corp": brought}
    relays = {"main": {**RELAY, "certificate": "corp", **more}}
    return {"pki": {**PKI, "certificates": certificates}, "relays": relays}


def test_what_was_brought_with_an_authority_of_clients_asks_them_for_a_certificate() -> None:
    stack = parsed(with_brought())
    assert stack.brings_its_clients(stack.relays["main"])
    assert [hint for hint in stack.hints() if hint.startswith("relays.main: Safari")]
    assert not parsed(tree()).brings_its_clients(parsed(tree()).relays["main"])


@pytest.mark.parametrize(
    ("relay", "setting", "given", "allowed"),
    [
        ({"client_authority": "agents"}, "client_authority", "'agents', while corp was brought with", "one of them"),
        ({"allow": ["agent"]}, "allow[0]", "'agent', which agents signs", "certificates of what came with corp"),
    ],
)
def test_who_comes_in_is_said_in_one_place(relay: dict[str, Any], setting: str, given: str, allowed: str) -> None:
    problem = only(with_brought(**relay))
    assert problem.setting == f"relays.main.{setting}"
    assert given in problem.given
    assert allowed in problem.allowed


@pytest.mark.parametrize(
    ("relay", "setting", "there"),
    [
        ({"certificate": "nowhere"}, "pki.certificates.nowhere", "shown, agent, other"),
        ({"client_authority": "nowhere"}, "pki.authorities.nowhere", "stack, agents, others"),
        ({"client_authority": "agents", "allow": ["nowhere"]}, "pki.certificates.nowhere", "shown, agent, other"),
    ],
)
def test_what_is_named_has_to_be_there(relay: dict[str, Any], setting: str, there: str) -> None:
    problem = only(tree(relay))
    assert (problem.setting, problem.given) == (setting, "missing, used by relays.main")
    assert there in problem.allowed


def test_two_relays_share_no_port_of_an_address() -> None:
    def two(first: list[str], second: list[str]) -> dict[str, Any]:
        relays = {name: {**RELAY, "bind_addresses": addresses} for name, addresses in (("one", first), ("two", second))}
        return {"pki": PKI, "relays": relays}

    (problem,) = refused(two(["192.0.2.1", "192.0.2.2"], ["192.0.2.2"]))
    assert (problem.setting, problem.given) == ("relays.two.port", "8444, as relays.one.port")
    assert refused(two(["0.0.0.0"], ["192.0.2.2"]))
    assert refused(two(["::"], ["2001:db8::1"]))
    for apart in ((["192.0.2.1"], ["192.0.2.2"]), (["0.0.0.0"], ["2001:db8::1"])):
        assert len(parsed(two(*apart)).published) == 5


def test_on_the_edges_port_a_relay_shares_no_name_with_the_edge() -> None:
    """Or a browser would ask the edge for what is the relay's, on a connection it has (keycloak/keycloak#50602)."""
    edge = {"domain": "a.test", "extra_names": ["DNS:relay.test"], "bind_addresses": ["192.0.2.1"]}
    relay = {"port": 443, "bind_addresses": ["192.0.2.2"]}
    problem = only(tree(relay, edge=edge))
    assert problem.setting == "relays.main.port"
    assert "shares the name relay.test" in problem.given
    assert parsed(tree({**relay, "port": 8444}, edge=edge))
    assert parsed(tree(relay, edge={**edge, "extra_names": []}))


def test_nobody_elsewhere_is_called_as_a_relay_is() -> None:
    problem = only(tree(speech={"mode": "hosted", "url": "http://relay-main:8000"}))
    assert problem.setting == "speech.url"


def test_whoever_asks_for_certificates_is_told_who_has_none() -> None:
    asks = tree({"client_authority": "agents"})
    assert [hint for hint in parsed(asks).hints() if "Safari on iPhone" in hint and "relays.main" in hint]
    assert not [hint for hint in parsed(tree()).hints() if "Safari" in hint]
