"""The registry: what is issued under which names, who uses it, and what the inventory tells."""

from typing import Any, Final

import pulumi
import pytest

from components import pki as room
from components.pki.registry import Registry
from pki import facts, pem
from settings.authorities import Authority, Revocation
from settings.certificate import Private, SignedBy
from settings.pki import Pki
from settings.registry import External, Fleet, FleetService, Issued, Read
from testing import building
from testing.engine import is_secret

NOTHING: Final = Read(imported={}, external={}, client_authorities={})
SETTINGS: Final = Pki(
    authorities={"clients": Authority(purpose="client")},
    certificates={
        "api": Issued(names=("DNS:api.internal", "IP:192.0.2.7")),
        "agent": Issued(kind="client", authority="clients", names=("URI:spiffe://a.test/agent",), key_type="Ed25519"),
        "nobody": Issued(kind="client", authority="clients"),
        "node": Issued(kind="peer", authority="clients", names=("DNS:node.internal",), key_type="RSA-2048", issue=3),
        "db": External(endpoint="db.internal:5432", names=("DNS:db.internal",)),
    },
)


def made(settings: Pki = SETTINGS) -> Registry:
    authorities = room.authorities("authority", settings, "test")
    return room.registry(settings, authorities, NOTHING)


def built(settings: Pki = SETTINGS) -> Any:
    return building.build(lambda _: made(settings))


@pytest.mark.parametrize(
    ("name", "uses"),
    [
        ("certificate-api-1", ["digital_signature", "server_auth"]),
        ("certificate-agent-1", ["digital_signature", "client_auth"]),
        ("certificate-node-3", ["digital_signature", "key_encipherment", "server_auth", "client_auth"]),
    ],
)
def test_a_certificate_is_for_its_kind_alone(name: str, uses: list[str]) -> None:
    assert built().named(f"{name}-certificate").plain("allowedUses") == uses


def test_each_kind_of_key_is_made_as_it_is_called() -> None:
    every = built()
    assert every.named("certificate-api-1-key").plain("ecdsaCurve") == "P256"
    assert every.named("certificate-agent-1-key").plain("algorithm") == "ED25519"
    node = every.named("certificate-node-3-key")
    assert (node.plain("algorithm"), node.plain("rsaBits")) == ("RSA", 2048)


def test_names_of_all_kinds_are_asked_for_and_a_client_needs_none() -> None:
    every = built()
    assert every.named("certificate-api-1-request").plain("ipAddresses") == ["192.0.2.7"]
    assert every.named("certificate-agent-1-request").plain("uris") == ["spiffe://a.test/agent"]
    assert every.named("certificate-nobody-1-request").plain("subject")["commonName"] == "nobody"


def test_each_is_signed_by_the_authority_it_names() -> None:
    every = built()
    for name, subject in (("api", "Reflector test root"), ("agent", "Reflector test clients root")):
        (signer,) = pem.certificates(every.named(f"certificate-{name}-1-certificate").plain("caCertPem").encode())
        assert facts.common_name(signer) == subject


def test_a_greater_number_makes_key_and_certificate_anew_and_takes_the_old_ones_away() -> None:
    def parts(issue: int) -> set[str]:
        one = Pki(certificates={"api": Issued(names=("DNS:a.test",), issue=issue)})
        return {part.name for part in built(one).engine.resources if part.name.startswith("certificate-api")}

    assert parts(1).isdisjoint(parts(2)), "what is there is not replaced, it stands until the new one is in use"


def test_a_handle_is_had_by_use_alone_and_every_use_is_known() -> None:
    registry = built().component
    handle = registry.use("api", by="relay agents")
    registry.use("api", by="relay agents")
    registry.use("api", by="relay people")
    registry.use("api", by="service postgres")
    assert registry.users == {"api": {"relays": ["agents", "people"], "services": ["postgres"]}}
    assert (handle.kind, handle.authority, handle.generation) == ("server", "stack", "g1")
    assert is_secret(handle.private_key_pem)
    assert "private_key_pem" not in repr(registry)


@pytest.mark.parametrize(
    ("name", "by", "said"),
    [
        ("gone", "relay agents", "no certificate is called gone: api, agent, nobody, node"),
        ("db", "relay agents", "no certificate is called db"),
        ("api", "somebody", "'somebody' is no user: edge <name>, relay <name>, service <name>, host <name>"),
        ("api", "relay", "'relay' is no user"),
    ],
)
def test_a_use_of_nothing_or_by_nobody_is_a_mistake_here(name: str, by: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        built().component.use(name, by=by)


def test_the_inventory_tells_all_of_it_and_no_key() -> None:
    lost = Revocation(authority="clients", serial="A1B", on="2026-01-01")

    def build(_: object) -> None:
        settings = SETTINGS.model_copy(update={"revocations": {"lost": lost}})
        authorities = room.authorities("authority", settings, "test")
        registry = room.registry(SETTINGS, authorities, NOTHING)
        registry.use("api", by="relay agents")
        pulumi.export("inventory", room.inventory(authorities, {}, [], registry))

    engine = building.build(build).engine
    entries = {entry["name"]: entry for entry in engine.exports["inventory"]}
    assert list(entries) == [
        "authority", "authority-clients", "authority-clients-1-revocations", "certificate-api", "certificate-agent",
        "certificate-nobody", "certificate-node", "certificate-db",
    ]  # fmt: skip
    assert (entries["authority-clients"]["purpose"], entries["authority-clients"]["generation"]) == ("client", "g1")
    assert entries["authority-clients-1-revocations"] == {
        "name": "authority-clients-1-revocations", "kind": "crl", "authority": "clients", "generation": "g1",
        "expires": "2036-01-01T00:00:00Z", "renew_at": "2035-12-25T00:00:00Z",
        "details": {"number": 1767225600, "this_update": "2025-12-31T23:00:00Z", "revoked": ["0A1B"]},
    }  # fmt: skip
    api = entries["certificate-api"]
    details = api.pop("details")
    assert api == {
        "name": "certificate-api",
        "certificate": "api",
        "kind": "server",
        "source": "issued",
        "names": ["DNS:api.internal", "IP:192.0.2.7"],
        "subject": "api.internal",
        "authority": "stack",
        "generation": "g1",
        "expires": "2026-04-01T00:00:00Z",
        "chain_expires": "2026-04-01T00:00:00Z",
        "renew_at": "2026-03-02T00:00:00Z",
        "users": {"relays": ["agents"]},
    }
    assert details["key"] == "P-256"
    assert details["not_before"] == "2025-12-31T23:00:00Z", "as it is shown, an hour before its template"
    assert len(details["sha256"].split(":")) == 32
    assert entries["certificate-db"] == {
        "name": "certificate-db", "certificate": "db", "kind": "server", "source": "external",
        "names": ["DNS:db.internal"], "users": {}, "endpoint": "db.internal:5432",
    }  # fmt: skip
    assert engine.secret_exports == frozenset()


def test_a_fleet_is_a_part_of_the_registry() -> None:
    settings = Pki(
        authorities={"clients": Authority(purpose="client")},
        fleet=Fleet(client_authority="clients", services={"vault": FleetService(issue=2)}),
    )
    assert {"certificate-vault-server-2", "certificate-vault-client-2"} <= {
        part.name for part in built(settings).engine.resources
    }


@pytest.mark.parametrize("issue", [1, 2])
def test_the_certificate_of_the_edge_has_a_number_too(issue: int) -> None:
    def build(_: object) -> None:
        authorities = room.authorities("authority", Pki(), "test")
        room.edge_identity(
            "it", Private(issue=issue), authorities, Registry(), own=None, signer=None, hours=(240, 48),
            dns_names=["a.test"], ip_addresses=[], trusted=[], common_name="a.test",
        )  # fmt: skip

    names = [part.name for part in building.build(build).engine.resources]
    assert f"it-{issue}-key" in names
    assert SignedBy().issue == 1
