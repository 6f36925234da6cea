"""The registry of certificates in the settings: each mistake in one line, and every user of what is missing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509

import settings
from settings import PROJECT, Settings, SettingsError
from settings.base import Sealed
from settings.registry import Issued
from testing.certificates import CLIENT, SERVER, issue

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
ROOT: Final = issue("root of a company", now=NOW, ca=True, to_days=3000)
CLIENTS: Final = {"clients": {"purpose": "client"}, "docker": {"purpose": "docker-hosts"}}
SERVERS_ONLY: Final = (x509.ExtendedKeyUsage([SERVER]), False)
CLIENTS_ONLY: Final = (x509.ExtendedKeyUsage([CLIENT]), False)
BOTH: Final = (x509.ExtendedKeyUsage([SERVER, CLIENT]), False)


def parsed(tree: Mapping[str, Any]) -> Settings:
    return settings.parse(tree, "test", PROJECT, NOW)


def lines(pki: Mapping[str, Any], **tree: Any) -> list[str]:
    """Return what is said of a registry that is refused, a line each."""
    with pytest.raises(SettingsError) as refusal:
        parsed({"pki": {"authorities": CLIENTS, **pki}, **tree})
    assert len(str(refusal.value).splitlines()) == 1 + len(refusal.value.problems), "one line each"
    return [str(problem) for problem in refusal.value.problems]


def server(**given: Any) -> dict[str, Any]:
    return {"mode": "issued", "names": ["DNS:a.test"], **given}


def client(**given: Any) -> dict[str, Any]:
    return {"mode": "issued", "kind": "client", "authority": "clients", **given}


def relay(certificate: str, **given: Any) -> dict[str, Any]:
    return {"upstream": "http://upstream.test:3000", "port": 8443, "certificate": certificate, **given}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (server(names=["DNS:a_b.test"]), "allowed: DNS:<host name> with - where it has _"),
        (server(names=["DNS:a.test", "IP:192.0.2.1", "DNS:A.test"]), "names[2]: DNS:a.test, which is there already"),
        (server(names=["URI:no-scheme"]), "allowed: URI:<scheme>://<authority>/<path>"),
        (server(names=["URI:spiffe://a.test/x"]), "names: no host name and no address; allowed: one or more of them"),
        (server(names=[]), "names: no host name and no address"),
        (server(key_type="Ed25519"), "key_type: Ed25519 for a server; allowed: P256, P384, RSA-2048 or RSA-3072"),
        (server(key_type="P224"), "allowed: P256, P384, RSA-2048, RSA-3072 or Ed25519"),
        (server(authority="none"), "allowed: an authority that signs for a server: stack, docker"),
        (server(authority="clients"), "authority: 'clients', whose purpose is client, for a server; allowed"),
        (client(authority="stack"), "authority: 'stack', whose purpose is server, for a client; allowed: an authority "
         "that signs for a client: clients, docker"),
        (server(kind="peer"), "'stack', whose purpose is server, for a peer; allowed: an authority that signs for a "
         "peer: clients"),
        (server(kind="peer", authority="docker"), "'docker', whose purpose is docker-hosts, for a peer"),
        (server(renewal_hours=2160), "renewal_hours: 2160, of a life of 2160 hours; allowed: less than its life"),
        (server(validity_hours=700), "renewal_hours: 720, of a life of 700 hours"),
        (server(issue=0), "issue: 0; allowed: 1 to 100000"),
    ],
)  # fmt: skip
def test_what_cannot_be_issued_is_refused_in_one_line(entry: dict[str, Any], said: str) -> None:
    (line,) = lines({"certificates": {"api": entry}})
    assert line.startswith("pki.certificates.api.")
    assert said in line


def test_a_certificate_does_not_outlive_who_signs_it() -> None:
    """Case d03."""
    root = {"mode": "created", "state": "active", "years": 1}
    young = {"young": {"purpose": "client", "generations": {"g1": root}}}
    (line,) = lines({"authorities": young, "certificates": {"a": client(authority="young", validity_hours=8760)}})
    assert line.startswith(
        "pki.certificates.a.validity_hours: a life of 8760 hours under an authority of 8760; allowed"
    )


def test_a_number_that_makes_anothers_name_is_refused() -> None:
    """Both would be one to the engine."""
    (line,) = lines({"certificates": {"agent": client(issue=7), "agent-7": client()}})
    assert line.startswith("pki.certificates.agent.issue: 7, while another certificate is called agent-7; allowed")
    assert line.endswith("pulumi config set --path pki.certificates.agent.issue 8")


def test_without_an_authority_for_clients_the_way_to_have_one_is_named() -> None:
    (line,) = lines({"authorities": {}, "certificates": {"agent": client(authority="stack")}})
    assert "and there is none. Add one: pulumi config set --path pki.authorities.<name>.purpose client" in line


# --- What is brought --------------------------------------------------------------------------------------------------


def imported(folder: Path, *extensions: tuple[x509.ExtensionType, bool], **given: Any) -> dict[str, Any]:
    leaf = issue("it", ROOT, now=NOW, sans=["a.test"], extensions=extensions)
    (folder / "it.pem").write_bytes(leaf.pem + ROOT.pem)
    (folder / "it.key").write_bytes(leaf.key_pem)
    return {
        "mode": "imported", "certificate_file": str(folder / "it.pem"), "key_file": str(folder / "it.key"), **given,
    }  # fmt: skip


def test_key_full_chain_and_authority_of_clients_are_brought_as_one(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(ROOT.pem)
    entry = imported(tmp_path, client_authority_file=str(tmp_path / "ca.pem"), names=["DNS:a.test"])
    found = parsed({"pki": {"certificates": {"corp": entry}}})
    assert found.registered.imported["corp"].names == ("a.test",)
    assert found.registered.client_authorities == {"corp": (ROOT.pem.decode(),)}


def test_what_is_still_encrypted_is_taken_on_trust() -> None:
    entry = {"mode": "imported", "certificate": Sealed(), "key": Sealed()}
    assert parsed({"pki": {"certificates": {"corp": entry}}}).registered.imported == {}


@pytest.mark.parametrize(
    ("kind", "extension", "said"),
    [
        ("client", SERVERS_ONLY, "has no client authentication use"),
        ("peer", SERVERS_ONLY, "has no client authentication use"),
        ("peer", CLIENTS_ONLY, "something else than servers"),
        ("server", CLIENTS_ONLY, "something else than servers"),
        ("peer", BOTH, ""),
        ("client", CLIENTS_ONLY, ""),
    ],
)
@pytest.mark.parametrize("mode", ["imported", "external"])
def test_one_of_no_use_for_its_kind_is_refused(
    tmp_path: Path, mode: str, kind: str, extension: tuple[x509.ExtensionType, bool], said: str
) -> None:
    """Case c05."""
    entry = imported(tmp_path, extension, kind=kind)
    if mode == "external":
        entry = {"mode": mode, "kind": kind, "certificate_file": entry["certificate_file"]}
    tree = {"certificates": {"it": entry}}
    if not said:
        assert parsed({"pki": tree})
        return
    (line,) = lines(tree)
    assert line.startswith("pki.certificates.it.certificate_file: ")
    assert said in line


def test_one_that_does_not_do_is_refused_by_what_is_wrong(tmp_path: Path) -> None:
    def said(**given: Any) -> str:
        (line,) = lines({"certificates": {"it": imported(tmp_path, **given)}})
        return line

    assert "not for b.test, but: a.test" in said(names=["DNS:b.test"])
    assert "not for spiffe://a.test/x: no URI in it" in said(names=["URI:spiffe://a.test/x"])
    (tmp_path / "other.key").write_bytes(issue("other", now=NOW).key_pem)
    assert ".key_file: " in said(key_file=str(tmp_path / "other.key"))
    leaf = issue("it", now=NOW)
    (tmp_path / "ca.pem").write_bytes(leaf.pem)
    assert "no CA certificate" in said(client_authority_file=str(tmp_path / "ca.pem"))


def test_what_is_elsewhere_is_in_a_file_or_asked_for() -> None:
    (line,) = lines({"certificates": {"db": {"mode": "external"}}})
    assert line.startswith(
        "pki.certificates.db.certificate_file: nothing; allowed: one of certificate_file and endpoint"
    )
    (line,) = lines({"certificates": {"db": {"mode": "external", "endpoint": "db.internal:5432", "kind": "client"}}})
    assert line.startswith("pki.certificates.db.endpoint: set for a client")
    (line,) = lines({"certificates": {"db": {"mode": "external", "endpoint": "db.internal"}}})
    assert "allowed: <host>:<port>" in line


# --- A whole fleet ----------------------------------------------------------------------------------------------------


def test_a_line_gives_a_service_a_server_and_a_client() -> None:
    fleet = {"client_authority": "clients", "services": {"vault": {"aliases": ["secrets"], "addresses": ["192.0.2.7"]}}}
    found = parsed({"pki": {"authorities": CLIENTS, "fleet": fleet}}).pki.every_certificate
    assert found == {
        "vault-server": Issued(names=("DNS:vault.internal", "DNS:secrets", "IP:192.0.2.7")),
        "vault-client": Issued(kind="client", authority="clients", names=("DNS:vault.internal",)),
    }


def test_a_fleet_without_an_authority_for_clients_has_servers() -> None:
    assert list(parsed({"pki": {"fleet": {"services": {"pg": {}, "bolt": {}}}}}).pki.every_certificate) == [
        "pg-server",
        "bolt-server",
    ]


@pytest.mark.parametrize(
    ("fleet", "certificates", "said"),
    [
        (
            {"client_authority": "stack"},
            {},
            "pki.fleet.client_authority: 'stack', whose purpose is server, for a client",
        ),
        ({"authority": "clients"}, {}, "pki.fleet.authority: 'clients', whose purpose is client, for a server"),
        ({}, {"pg-server": server()}, "pki.certificates.pg-server: a name that pki.fleet.services gives as well"),
        ({"services": {"my_db": {}}}, {}, "pki.fleet.services.my_db"),
    ],
)
def test_what_a_fleet_cannot_have_is_refused(fleet: Any, certificates: Any, said: str) -> None:
    (line,) = lines({"fleet": {"services": {"pg": {}}, **fleet}, "certificates": certificates})
    assert line.startswith(said)


# --- Users ------------------------------------------------------------------------------------------------------------


def test_what_is_used_and_missing_is_refused_with_all_its_users() -> None:
    relays = {"agents": relay("api-tls"), "people": relay("api-tls", port=8444)}
    (line,) = lines({"certificates": {"web": server()}}, relays=relays)
    assert line == (
        "pki.certificates.api-tls: missing, used by relays.agents, relays.people; allowed: one of web. Bring it "
        "back, or name another there: pulumi config set --path relays.agents.certificate <name>"
    )
    (line,) = lines({"certificates": {"web": server()}}, relays={"agents": relay("web", client_authority="gone")})
    assert line.startswith(
        "pki.authorities.gone: missing, used by relays.agents; allowed: one of stack, clients, docker"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"certificate": "agent"}, "relays.it.certificate: 'agent', whose kind is client; allowed: one whose kind is "
         "server or peer: web, db"),
        ({"certificate": "db"}, "relays.it.certificate: 'db', which is external: its key is elsewhere; allowed"),
        ({"client_authority": "stack"}, "relays.it.client_authority: 'stack', whose purpose is server; allowed: one "
         "whose purpose is client: clients"),
        ({"client_authority": "docker"}, "relays.it.client_authority: 'docker', whose purpose is docker-hosts"),
    ],
)  # fmt: skip
def test_what_is_named_has_to_fit(given: dict[str, Any], said: str) -> None:
    certificates = {
        "web": server(), "agent": client(), "db": {"mode": "external", "endpoint": "db.internal:5432"},
    }  # fmt: skip
    (line,) = lines({"certificates": certificates}, relays={"it": {**relay("web"), **given}})
    assert line.startswith(said)


def test_what_nobody_uses_is_a_hint_and_no_mistake() -> None:
    certificates = {"web": server(), "agent": client(), "db": {"mode": "external", "endpoint": "db.internal:5432"}}
    found = parsed({
        "pki": {"authorities": CLIENTS, "certificates": certificates, "fleet": {"services": {"pg": {}}}},
        "relays": {"it": relay("web")},
    })  # fmt: skip
    (hint,) = [hint for hint in found.hints() if hint.startswith("pki.")]
    assert hint.startswith("pki.certificates: nothing of the stack uses agent; ")
