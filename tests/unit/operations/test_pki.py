"""Certificates by name: what the commands show, hand over, verify and have made anew."""

import gzip
import json
import re
import socket
import stat
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from operations import __main__ as commands
from operations import pki_verify
from operations.inventory import Certificate
from operations.pki_rotate import places
from operations.served import Place, places_of
from operations.stack import Stack
from pki import facts, pem
from pki.details import details
from pki.moments import rfc3339
from settings import parse
from testing.certificates import CLIENT, SERVER, Issued, issue
from testing.commands import calls
from testing.docker import free_port
from tests.unit.operations.stand_ins import checkpoint, with_engine, with_file, with_state

NOW: Final = datetime.now(UTC)
ROOT: Final = issue("root of the stack", now=NOW, ca=True, to_days=3000)
CLIENTS: Final = issue("root of clients", now=NOW, ca=True, to_days=3000)
FOR_SERVERS: Final = (x509.ExtendedKeyUsage([SERVER]), False)
FOR_CLIENTS: Final = (x509.ExtendedKeyUsage([CLIENT]), False)
WEB: Final = issue("a.test", ROOT, now=NOW, sans=["a.test", "ip:127.0.0.1"], extensions=[FOR_SERVERS])
API: Final = issue("api.test", ROOT, now=NOW, sans=["api.test"], extensions=[FOR_SERVERS])
AGENT: Final = issue("agent", CLIENTS, now=NOW, sans=["agent.test"], extensions=[FOR_CLIENTS], serial=0x0A1B2C3D4E5F)
PORTS: Final = (free_port(), free_port())
SETTINGS: Final[dict[str, Any]] = {
    "edge": {"domain": "a.test", "https_port": PORTS[0], "bind_addresses": ["127.0.0.1"]},
    "pki": {
        "authorities": {"clients": {"purpose": "client"}},
        "certificates": {
            "api": {"mode": "issued", "names": ["DNS:api.test"]},
            "agent": {"mode": "issued", "kind": "client", "authority": "clients", "issue": 3},
            "db": {"mode": "external", "endpoint": f"127.0.0.1:{PORTS[1]}", "names": ["DNS:db.test"]},
        },
        "fleet": {"client_authority": "clients", "services": {"vault": {}}},
    },
    "relays": {
        "agents": {
            "upstream": "http://x.test", "port": PORTS[1], "certificate": "api", "client_authority": "clients",
        },
    },
}  # fmt: skip
Run = Callable[..., tuple[int, str]]


def entry(name: str, of: Issued, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "server",
        "source": "issued",
        "subject": name,
        "expires": rfc3339(of.certificate.not_valid_after_utc),
        "details": details(of.pem.decode()),
        **more,
    }


def inventory(entries: Sequence[dict[str, Any]] = (), **more: Any) -> list[dict[str, Any]]:
    return [
        *entries,
        entry("authority", ROOT, kind="root", authority="stack", purpose="server"),
        entry("authority-clients", CLIENTS, kind="root", authority="clients", purpose="client"),
        entry(
            "edge-certificate", WEB, source="private", names=["DNS:a.test", "IP:127.0.0.1"], authority="stack",
            generation="g1", users={"edge": ["a.test"]}, renew_at=rfc3339(NOW + timedelta(days=60)),
        ),
        entry(
            "certificate-api", API, certificate="api", names=["DNS:api.test"], authority="stack", generation="g1",
            users={"relays": ["agents"]}, **more,
        ),
        entry(
            "certificate-agent", AGENT, certificate="agent", kind="client", names=[], authority="clients",
            generation="g1", users={"relays": ["agents"]},  # which lets it in
        ),
    ]  # fmt: skip


def resources() -> list[dict[str, Any]]:
    def component(type_: str, name: str, of: Issued) -> dict[str, Any]:
        chain = of.pem.decode()
        return {"urn": f"urn:pulumi:test::reflector::{type_}::{name}", "type": type_,
                "outputs": {"certificate_pem": chain}}  # fmt: skip

    def key(name: str, of: Issued, days: int) -> dict[str, Any]:
        type_ = "tls:index/privateKey:PrivateKey"
        secret = {"4dabf18193072939515e22adb298388d": "x", "plaintext": json.dumps(of.key_pem.decode())}
        return {"urn": f"urn:pulumi:test::reflector::{type_}::{name}", "type": type_,
                "outputs": {"privateKeyPem": secret}, "created": (NOW - timedelta(days=days)).isoformat()}  # fmt: skip

    leaf, root = "reflector:certificate:Certificate", "reflector:authority:Authority"
    return [
        component(root, "authority", ROOT),
        component(root, "authority-clients", CLIENTS),
        component(leaf, "edge-certificate", WEB),
        key("edge-certificate-1-key", WEB, 400),
        component(leaf, "certificate-api", API),
        key("certificate-api-1-key", API, 10),
        component(leaf, "certificate-agent-3", AGENT),
        key("certificate-agent-3-key", AGENT, 10),
        key("certificate-vault-server-1-key", AGENT, 10),
        key("certificate-vault-client-1-key", AGENT, 10),
    ]


@pytest.fixture
def run(stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on a deployed stack, and returns its exit status and what it printed."""

    def go(*arguments: str, tree: Any = SETTINGS, **more: Any) -> tuple[int, str]:
        with_file(stack, tree)
        with_state(stack, resources=resources())
        go.log = with_engine(  # type: ignore[attr-defined]  # for those who look at the calls
            stack,
            stack_output=json.dumps({"pki_inventory": inventory(**more)}),
            stack_export=json.dumps({"deployment": {"resources": resources()}}),
            config_set="",
        )
        monkeypatch.setattr("operations.__main__.Layout", lambda: stack.layout)
        monkeypatch.setattr("sys.argv", ["operations", "pki", "--stack", "test", *arguments])
        result = commands.main()
        said = capsys.readouterr()
        return result, said.out + said.err

    return go


# --- Looked at --------------------------------------------------------------------------------------------------------


def test_a_table_has_a_line_for_each_with_who_uses_it(run: Run) -> None:
    status, text = run("list")
    lines = text.splitlines()
    assert status == 0
    assert lines[0].split()[:4] == ["CERTIFICATE", "KIND", "AUTHORITY", "NAMES"]
    assert [line.split()[0] for line in lines[1:6]] == [
        "authority", "authority-clients", "edge-certificate", "api", "agent",
    ]  # fmt: skip
    api = next(line for line in lines if line.startswith("api "))
    assert "stack g1" in api
    assert "P-256" in api
    assert api.endswith("relays agents")
    assert lines[-1] == "test: OK"


def test_the_exit_status_is_that_of_the_earliest_end(run: Run) -> None:
    """Case d03: of all above a leaf the first to end counts, and is named."""
    for days, status in ((20, 1), (5, 2), (-1, 2)):
        ends = rfc3339(NOW + timedelta(days=days))
        found, text = run("list", chain_expires=ends)
        assert found == status
        assert "ends with an authority above it" in text
    assert "expired" in text


def test_the_same_for_programs(run: Run) -> None:
    _, text = run("list", "--json")
    api = next(one for one in json.loads(text) if one["certificate"] == "api")
    assert api["sha256"] == facts.fingerprint(API.certificate)
    assert (api["users"], api["authority"], api["level"]) == ({"relays": ["agents"]}, "stack", "ok")
    _, text = run("list", "--metrics")
    line = next(line for line in text.splitlines() if line.startswith("reflector_certificate_info") and '"api"' in line)
    assert f'sha256="{facts.fingerprint(API.certificate)}"' in line
    assert "reflector_service_up" not in text


def test_a_revocation_list_is_shown_and_what_it_has_is_marked(run: Run) -> None:
    end = rfc3339(NOW + timedelta(days=10))
    crl = {
        "name": "authority-clients-1-revocations", "kind": "crl", "authority": "clients", "generation": "g1",
        "expires": end, "renew_at": rfc3339(NOW + timedelta(days=3)),
        "details": {"number": 7, "this_update": rfc3339(NOW), "revoked": [facts.serial(AGENT.certificate)]},
    }  # fmt: skip
    status, text = run("list", entries=[crl])
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert status == 2, "what is revoked is not taken"
    assert "clients g1" in lines["authority-clients-1-revocations"]
    assert "number 7, 1 revoked" in lines["authority-clients-1-revocations"]
    assert "critical, revoked" in lines["agent"]
    status, text = run("show", "authority-clients-1-revocations", entries=[crl])
    assert status == 0
    assert re.search(r"^number +7$", text, re.MULTILINE)
    assert re.search(rf"^expires +{end}$", text, re.MULTILINE)
    assert re.search(rf"^revoked +{facts.serial(AGENT.certificate)}$", text, re.MULTILINE)
    _, text = run("verify", entries=[crl])
    assert "ok    authority-clients-1-revocations: in date, number 7, 1 revoked" in text
    assert "FAIL  agent: revoked: clients has its serial number" in text
    _, text = run("verify", entries=[{**crl, "expires": rfc3339(NOW - timedelta(hours=1))}])
    assert "FAIL  authority-clients-1-revocations: out of date since " in text


def test_one_is_shown_by_either_of_its_names(run: Run) -> None:
    for name in ("api", "certificate-api"):
        status, text = run("show", name)
        assert status == 0
        assert f"sha256         {facts.fingerprint(API.certificate)}" in text
    status, text = run("show", "gone")
    assert status == 3
    assert (
        "no certificate is called gone; there are: authority, authority-clients, edge-certificate, api, agent" in text
    )


@pytest.mark.parametrize("command", [["list"], ["show", "x"], ["verify"]])
def test_of_a_stack_that_is_not_deployed_nothing_is_known(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: Sequence[str]
) -> None:
    with_file(stack, {"edge": {"domain": "a.test"}})
    with_engine(stack, stack_output="{}", stack_export=json.dumps({"deployment": None}))
    monkeypatch.setattr("operations.__main__.Layout", lambda: stack.layout)
    monkeypatch.setattr("sys.argv", ["operations", "pki", "--stack", "test", *command])
    assert commands.main() == 3
    assert "is not deployed; make up STACK=test" in capsys.readouterr().err


# --- Handed over ------------------------------------------------------------------------------------------------------


def test_a_client_is_handed_over_as_pkcs_12_with_its_root(run: Run, tmp_path: Path) -> None:
    file, word = tmp_path / "agent.p12", tmp_path / "word"
    word.write_text("a word\nand more\n", encoding="utf-8")
    status, text = run("export", "agent", "--p12", str(file), "--password-file", str(word))
    assert (status, "a word" in text) == (0, False)
    found = pkcs12.load_pkcs12(file.read_bytes(), b"a word")
    assert found.cert is not None
    assert found.cert.certificate == AGENT.certificate
    assert [one.certificate for one in found.additional_certs] == [CLIENTS.certificate]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_as_pem_key_and_chain_are_in_one_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "agent.pem"
    status, text = run("export", "agent", "--pem", str(file))
    assert status == 0
    assert "PRIVATE" not in text
    assert pem.certificates(file.read_bytes()) == [AGENT.certificate]
    assert pem.belongs(pem.private_key(file.read_bytes()), AGENT.certificate)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("authority", "authority signs others: its key is not handed out"),
        ("gone", "no certificate is called gone"),
    ],
)
def test_what_is_not_handed_out_is_refused(run: Run, tmp_path: Path, name: str, said: str) -> None:
    status, text = run("export", name, "--pem", str(tmp_path / "x"))
    assert (status, said in text) == (1, True)
    assert not (tmp_path / "x").exists()


def test_no_file_is_overwritten_and_no_key_opened_for_it(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "there"
    file.write_text("mine", encoding="utf-8")
    status, text = run("export", "agent", "--pem", str(file))
    assert status == 1
    assert f"{file} is there already; nothing was written" in text
    assert file.read_text(encoding="utf-8") == "mine"
    assert not any("export" in call["arguments"] for call in calls(run.log))  # type: ignore[attr-defined]  # as above


def test_a_new_password_needs_a_terminal_to_be_shown_on(run: Run, tmp_path: Path) -> None:
    status, text = run("export", "agent", "--p12", str(tmp_path / "x"))
    assert (status, "--password-file FILE" in text) == (1, True)
    assert not (tmp_path / "x").exists()


# --- Made anew --------------------------------------------------------------------------------------------------------


def written(run: Run) -> list[list[str]]:
    found = [call["arguments"] for call in calls(run.log)]  # type: ignore[attr-defined]  # as above
    return [one[3:-2] for one in found if one[:2] == ["config", "set"]]


def test_one_is_rotated_by_a_number_in_the_stack_file(run: Run) -> None:
    status, text = run("rotate", "agent")
    assert status == 0
    assert written(run) == [["pki.certificates.agent.issue", "4", "--type", "int"]]
    assert "pki.certificates.agent.issue: 3 → 4 (agent)" in text
    assert "Nothing is issued yet. `make up STACK=test` makes key and certificate of agent anew" in text


def test_a_service_of_the_fleet_has_one_number_for_both(run: Run) -> None:
    _, text = run("rotate", "vault-client")
    assert written(run) == [["pki.fleet.services.vault.issue", "2", "--type", "int"]]
    assert "(vault-server, vault-client)" in text


def test_the_edges_has_a_mode_beside_its_number(run: Run) -> None:
    run("rotate", "edge-certificate")
    assert written(run) == [["certificate.mode", "private"], ["certificate.issue", "2", "--type", "int"]]


def test_all_of_them_are_rotated(run: Run) -> None:
    run("rotate", "--all")
    assert {one[0] for one in written(run)} == {
        "certificate.mode", "certificate.issue", "pki.certificates.api.issue", "pki.certificates.agent.issue",
        "pki.fleet.services.vault.issue",
    }  # fmt: skip


def test_a_number_that_would_make_anothers_name_is_passed_over(run: Run) -> None:
    tree = {"pki": {"certificates": {name: {"mode": "issued", "names": ["DNS:a.test"]} for name in ("api", "api-2")}}}
    run("rotate", "api", tree=tree)
    assert written(run) == [["pki.certificates.api.issue", "3", "--type", "int"]]


@pytest.mark.parametrize(
    ("name", "said"), [("db", "db is external: it is not issued here"), ("gone", "is called gone")]
)
def test_what_is_not_issued_here_cannot_be_rotated(run: Run, name: str, said: str) -> None:
    status, text = run("rotate", name)
    assert (status, said in text, written(run)) == (1, True, [])


def test_keys_are_made_anew_by_their_age(run: Run) -> None:
    status, text = run("rekey")
    assert status == 0
    assert [one[0] for one in written(run)] == ["certificate.mode", "certificate.issue"], "400 days, the others 10"
    already = len(written(run))
    run("rekey", "--older-than", "5")
    assert len(written(run)) == already + 5
    status, text = run("rekey", "--older-than", "1000")
    assert (status, len(written(run))) == (0, already + 5)
    assert "no key is older than 1000 days; nothing was changed" in text


def test_nothing_of_the_edge_is_rotated_where_somebody_else_issues_it() -> None:
    tree = {"certificate": {"mode": "acme"}, "edge": {"domain": "reflector.example.com"}}
    assert places(parse(tree, "test", "reflector")) == []


# --- Taken back -------------------------------------------------------------------------------------------------------

SERIAL: Final = facts.serial(AGENT.certificate)
EARLIER: Final = issue("agent", CLIENTS, now=NOW, extensions=[FOR_CLIENTS], serial=0x5E4D3C2B1A09)
EARLIER_SERIAL: Final = facts.serial(EARLIER.certificate)
ENDED: Final = issue("agent", CLIENTS, now=NOW, from_days=-90, to_days=-1, serial=0x778899AABBCC)


def with_past(stack: Stack, *certificates: Issued, packed: bool = False) -> None:
    """Give a stack the states of earlier runs, in each of which its agent had another certificate."""
    folder = stack.files.history
    folder.mkdir(parents=True)
    for number, one in enumerate(certificates):
        listed = entry("certificate-agent", one, certificate="agent", authority="clients", generation="g1")
        text = checkpoint(resources=[{"type": "pulumi:pulumi:Stack", "outputs": {"pki_inventory": [listed]}}])
        if packed:
            (folder / f"test-{number}.checkpoint.json.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / f"test-{number}.checkpoint.json").write_text(text, encoding="utf-8")


def revoking(serial: str, **more: str) -> dict[str, Any]:
    """Return the settings with a certificate of clients revoked."""
    lost = {"authority": "clients", "serial": serial, "on": "2026-01-01", **more}
    return {**SETTINGS, "pki": {**SETTINGS["pki"], "revocations": {"lost": lost}}}


def test_one_is_revoked_by_its_name_and_gets_a_new_key(run: Run) -> None:
    """Case c09."""
    status, text = run("revoke", "agent", "--reason", "key-compromise")
    label = f"pki.revocations.agent-{SERIAL[:8].lower()}"
    assert status == 0
    assert written(run) == [
        [f"{label}.authority", "clients", "--type", "string"],
        [f"{label}.serial", SERIAL, "--type", "string"],
        [f"{label}.on", f"{datetime.now(UTC):%Y-%m-%d}", "--type", "string"],
        [f"{label}.reason", "key-compromise", "--type", "string"],
        ["pki.certificates.agent.issue", "4", "--type", "int"],
    ]
    assert f"{SERIAL}, clients g1, ends " in text, "what there is is listed first"
    assert "Nobody is refused yet. `make up STACK=test` makes the lists and tells the relays." in text


@pytest.mark.parametrize("serial", [SERIAL, SERIAL.lower()])
def test_what_is_revoked_already_stays_as_it_is(run: Run, serial: str) -> None:
    for command in (["revoke", "agent"], ["revoke", "agent", "--all"], ["revoke", "agent", "--serial", SERIAL]):
        status, text = run(*command, tree=revoking(serial))
        assert (status, written(run)) == (0, [])
        assert "the one in use, revoked by pki.revocations.lost" in text
        assert "nothing was changed: it is revoked already" in text


@pytest.mark.parametrize("packed", [False, True])
def test_of_several_one_has_to_say_which(run: Run, stack: Stack, packed: bool) -> None:
    with_past(stack, ENDED, EARLIER, EARLIER, packed=packed)
    status, text = run("revoke", "agent")
    assert (status, written(run)) == (1, [])
    assert "agent has 2 certificates in their time; say which" in text
    assert [line.split(",")[0].strip() for line in text.splitlines()[1:3]] == [SERIAL, EARLIER_SERIAL]
    status, _ = run("revoke", "agent", "--serial", EARLIER_SERIAL.lower())
    assert status == 0
    assert [one[:2] for one in written(run)][1:] == [
        [f"pki.revocations.agent-{EARLIER_SERIAL[:8].lower()}.serial", EARLIER_SERIAL],
        *[[f"pki.revocations.agent-{EARLIER_SERIAL[:8].lower()}.{name}", value]
          for name, value in (("on", f"{datetime.now(UTC):%Y-%m-%d}"), ("reason", "unspecified"))],
    ], "and who has the one in use keeps it"  # fmt: skip


def test_all_of_a_name_are_revoked_but_for_those_that_are(run: Run, stack: Stack) -> None:
    with_past(stack, EARLIER)
    status, _ = run("revoke", "agent", "--all", tree=revoking(EARLIER_SERIAL))
    assert status == 0
    assert [one[1] for one in written(run) if one[0].endswith(".serial")] == [SERIAL]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["agent", "--serial", "0BAD"], f"nobody here has issued it to agent; known are: {SERIAL}, "),
        (["agent", "--serial", "xyz"], "--serial: 'xyz'; allowed: hexadecimal digits"),
        (["agent", "--serial", facts.serial(ENDED.certificate)], "lets nobody in any more: it ended on "),
        (["api"], "api is signed by stack, whose purpose is server: nobody asks for a list of it"),
        (["edge-certificate"], "edge-certificate is signed by stack, whose purpose is server"),
        (["db"], "db is external: it is not issued here"),
        (["gone"], "no certificate called gone is known to have been issued; there are: agent, api, vault-server"),
    ],
)
def test_what_cannot_be_revoked_is_refused_in_words(run: Run, stack: Stack, command: list[str], said: str) -> None:
    with_past(stack, ENDED)
    status, text = run("revoke", *command)
    assert (status, written(run)) == (1, [])
    assert said in text


def test_a_number_that_is_raised_already_is_not_raised_again(run: Run) -> None:
    certificates = {
        **SETTINGS["pki"]["certificates"],
        "agent": {**SETTINGS["pki"]["certificates"]["agent"], "issue": 4},
    }
    status, text = run("revoke", "agent", tree={**SETTINGS, "pki": {**SETTINGS["pki"], "certificates": certificates}})
    assert status == 0
    assert not [one for one in written(run) if one[0].endswith("issue")]
    assert "pki.certificates.agent.issue: 4 already" in text


def test_what_cannot_be_looked_into_is_told(run: Run, stack: Stack) -> None:
    with_past(stack, EARLIER)
    folder = stack.files.history
    (folder / "test-8.checkpoint.json").write_text('{"checkpoint": "agent', encoding="utf-8")
    (folder / "test-9.checkpoint.json.zst").write_bytes(b"x")
    _, text = run("revoke", "agent", "--serial", EARLIER_SERIAL)
    assert "There may be more: test-8.checkpoint.json is cut off" in text
    assert "There may be more: test-9.checkpoint.json.zst is compressed by zstd" in text


# --- Held against what clients do -------------------------------------------------------------------------------------


def test_where_all_is_right_each_place_is_asked_and_answers(run: Run, listen: Callable[..., None]) -> None:
    """Case c04: a handshake of TLS 1.3 alone says nothing of who is let in."""
    listen(WEB, PORTS[0])
    listen(API, PORTS[1], CLIENTS)
    status, text = run("verify")
    assert status == 0, text
    assert f"ok    edge-certificate: 127.0.0.1:{PORTS[0]} answers with it" in text
    assert f"ok    api: 127.0.0.1:{PORTS[1]} refuses who has no certificate (" in text
    assert f"ok    api: 127.0.0.1:{PORTS[1]} answers to agent with it" in text
    assert [line for line in text.splitlines() if "agent: " in line] == ["ok    agent: chain, names, dates and use"]
    assert "PRIVATE" not in text


def test_a_relay_that_lets_anybody_in_is_found(run: Run, listen: Callable[..., None]) -> None:
    listen(WEB, PORTS[0])
    listen(API, PORTS[1])
    status, text = run("verify")
    assert status == 2
    assert "lets in who has no certificate, though clients is to say who comes in" in text


def test_another_certificate_than_the_one_issued_is_found(run: Run, listen: Callable[..., None]) -> None:
    other = issue("a.test", ROOT, now=NOW, sans=["a.test"], extensions=[FOR_SERVERS], identifier="other")
    listen(other, PORTS[0])
    listen(API, PORTS[1], CLIENTS)
    status, text = run("verify")
    assert status == 2
    assert f"FAIL  edge-certificate: 127.0.0.1:{PORTS[0]} shows another certificate than the one issued" in text


def test_who_does_not_listen_is_found(run: Run) -> None:
    status, text = run("verify")
    assert status == 2
    for name, port in (("edge-certificate", PORTS[0]), ("api", PORTS[1])):
        assert f"FAIL  {name}: 127.0.0.1:{port} does not answer: " in text
    assert "refuses who has no certificate" not in text, "nobody was there to refuse"


@pytest.mark.parametrize(
    ("leaf", "kind", "names", "said"),
    [
        (AGENT, "server", [], "something else than servers"),
        (API, "client", [], "has no client authentication use"),
        (API, "server", ["DNS:b.test"], "not for b.test, but: api.test"),
        (issue("x", now=NOW, sans=["a.test"], extensions=[FOR_SERVERS]), "server", [], "not signed by stack"),
        (issue("x", ROOT, now=NOW, sans=["a.test"], to_days=-0.5), "server", [], "expired on"),
    ],
)
def test_what_clients_refuse_is_found(leaf: Issued, kind: str, names: list[str], said: str) -> None:
    one = Certificate(name="it", kind=kind, source="issued", names=names, authority="stack")
    above = ROOT.pem.decode() if leaf is not AGENT else CLIENTS.pem.decode()
    problems = list(pki_verify._problems(one, leaf.pem.decode(), above, NOW))
    assert [problem for problem in problems if said in problem], problems


def test_what_is_elsewhere_is_asked_for_and_never_trusted(listen: Callable[..., None]) -> None:
    port = free_port()
    listen(API, port)
    one = Certificate(name="db", kind="server", source="external", names=["DNS:api.test"], endpoint=f"127.0.0.1:{port}")
    (finding,) = pki_verify._of_an_endpoint(one, NOW)
    assert (finding.fine, finding.what) == (True, f"names, dates and use, as 127.0.0.1:{port} shows it")
    one = Certificate(name="db", kind="server", source="external", names=["DNS:db.test"], endpoint=f"127.0.0.1:{port}")
    (finding,) = pki_verify._of_an_endpoint(one, NOW)
    assert not finding.fine
    assert "not for db.test" in finding.what


def test_a_relay_is_asked_where_it_is_published() -> None:
    relay = {"upstream": "http://x.test", "port": 9443, "certificate": "api", "bind_addresses": ["192.0.2.9"]}
    settings = parse({**SETTINGS, "relays": {"agents": relay}}, "test", "reflector")
    edge = Place(host="127.0.0.1", port=443)
    users = {"edge": ["a.test"], "relays": ["agents", "gone"]}
    api = Certificate(name="certificate-api", kind="server", source="issued", registered="api", users=users)
    assert places_of(api, settings, edge) == [edge, Place(host="192.0.2.9", port=9443)]
    agent = Certificate(name="certificate-agent", kind="client", source="issued", registered="agent", users=users)
    assert places_of(agent, settings, edge) == [edge], "whom it lets in is shown to nobody"


def test_who_lets_nobody_in_has_answered_nobody() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        pass
    one = Certificate(name="it", kind="server", source="issued", names=["DNS:a.test"])
    assert pki_verify.asked(Place(host="127.0.0.1", port=port), one, "").refused


def test_each_command_says_what_it_is_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("list", "show", "export", "verify", "rotate", "rekey"):
        monkeypatch.setattr("sys.argv", ["operations", "pki", command, "--help"])
        with pytest.raises(SystemExit) as ended:
            commands.main()
        assert ended.value.code == 0
        assert f"pki {command}" in capsys.readouterr().out
