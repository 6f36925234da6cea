"""A root in a file away from every stack: how it is made, what it signs, and what is set in the stack file."""

import json
import stat
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from operations import __main__ as commands
from operations.stack import Stack
from pki import facts, pem
from settings import parse
from settings.base import Sealed
from testing.commands import calls
from tests.unit.operations.stand_ins import with_engine, with_file

WORD: Final = "a word of a test"
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `pki root …` on a stack with settings, of whose deployment the state knows these generations."""
    word = tmp_path / "word"
    word.write_text(f"{WORD}\n", encoding="utf-8")
    monkeypatch.setattr("operations.__main__.Layout", lambda: stack.layout)

    def run(*arguments: str, pki: object = None, deployed: object = None) -> tuple[int, str]:
        settings: dict[str, Any] = {"edge": {"domain": "a.test"}} | ({"pki": pki} if pki is not None else {})
        with_file(stack, replaced(settings, lambda _: {"secure": "v1:x:y"}))
        (stack.layout.bin / "pulumi.log").unlink(missing_ok=True)
        record = [
            {
                "urn": "urn:pulumi:test::reflector::reflector:rollover:Rollover::authorities-declared",
                "type": "reflector:rollover:Rollover",
                "inputs": {"generations": deployed},
            }
        ]
        run.log = with_engine(  # type: ignore[attr-defined]  # as in test_pki.py
            stack,
            stack_export=json.dumps({"deployment": {"resources": record if deployed else []}}),
            config_set="",
            stack_select="",
            config=json.dumps(
                {
                    f"reflector:{name}": {"value": json.dumps(value), "secret": "BEGIN" in str(value)}
                    for name, value in settings.items()
                }
            ),
        )
        monkeypatch.setattr(Stack, "resources", lambda _: record if deployed else [])
        monkeypatch.setattr("sys.argv", ["operations", "pki", "--stack", "test", "root", *arguments,
                                         "--password-file", str(word)])  # fmt: skip
        status = commands.main()
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def written(run: Run) -> dict[str, str]:
    """Return what was set in the stack file, by path; of what is a secret, what came on standard input."""
    found = {}
    for call in calls(run.log):  # type: ignore[attr-defined]  # as above
        match call["arguments"]:
            case ["config", "set", "--path", path, value, "--stack", "test"]:
                found[path] = value
            case ["config", "set", "--secret", "--path", path, "--stack", "test"]:
                found[path] = call["stdin"]
    return found


@pytest.fixture
def root(run: Run, tmp_path: Path) -> Path:
    """A root, made by the command."""
    file = tmp_path / "root.p12"
    status, text = run("new", str(file), "--name", "Root of a test")
    assert status == 0, text
    return file


def tree_of(found: dict[str, str]) -> dict[str, Any]:
    """Return the settings that were set."""
    tree: dict[str, Any] = {}
    for path, value in found.items():
        *groups, name = path.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return tree


def replaced(tree: Any, encrypted: Callable[[str], object]) -> Any:
    """Return settings with what is encrypted in them as somebody sees it."""
    if isinstance(tree, dict):
        return {key: replaced(value, encrypted) for key, value in tree.items()}
    return encrypted(tree) if isinstance(tree, str) and "BEGIN" in tree else tree


def opened(found: dict[str, str], authority: str, generation: str) -> tuple[list[pem.Certificate], pem.PrivateKey]:
    place = f"pki.authorities.{authority}.generations.{generation}"
    return pem.certificates(found[f"{place}.certificate"].encode()), pem.private_key(found[f"{place}.key"].encode())


# --- Made -------------------------------------------------------------------------------------------------------------


def test_a_root_is_a_file_that_nobody_else_can_read_and_no_stack_knows(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "root.p12"
    status, text = run("new", str(file), "--name", "Root of a test", "--permitted-name", "a.test", "--years", "12")
    assert (status, WORD in text, "PRIVATE" in text) == (0, False, False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = pkcs12.load_pkcs12(file.read_bytes(), WORD.encode())
    assert found.cert is not None
    one = found.cert.certificate
    assert facts.fingerprint(one) in text
    assert one.subject.rfc4514_string() == "CN=Root of a test,O=Reflector"
    assert facts.extension(one, x509.NameConstraints) is not None
    assert one.not_valid_after_utc - datetime.now(UTC) > timedelta(days=12 * 365 - 1)
    assert written(run) == {}
    with pytest.raises(ValueError):
        pkcs12.load_pkcs12(file.read_bytes(), b"another")


def test_no_file_is_overwritten(run: Run, root: Path) -> None:
    before = root.read_bytes()
    status, text = run("new", str(root), "--name", "x")
    assert (status, root.read_bytes()) == (1, before)
    assert f"{root} is there already; nothing was written" in text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--years", "31"], "--years: 31; allowed: 1 to 30 years"),
        (["--key-type", "DSA"], "--key-type: DSA; allowed: P256, P384, RSA-3072 or Ed25519"),
        (["--key-type", "Ed25519"], "--key-type: Ed25519; allowed: P256, P384 or RSA-3072: browsers take no Ed25519"),
        (["--permitted-name", "a_b"], "--permitted-name: a_b; allowed: a host name of letters"),
        (["--permitted-address", "10.0.0.1/8"], "--permitted-address: 10.0.0.1/8; allowed: an IP address or a network"),
        (["--name", "x" * 65], "--name: a name must have 1 to 64 characters, not 65"),
    ],
)
def test_what_a_root_cannot_be_is_refused_in_one_line(
    run: Run, tmp_path: Path, given: Sequence[str], said: str
) -> None:
    name = [] if "--name" in given else ["--name", "x"]
    status, text = run("new", str(tmp_path / "root.p12"), *name, *given)
    assert (status, text.count("\n")) == (1, 1)
    assert text.startswith(f"error: {said}")
    assert not (tmp_path / "root.p12").exists()


# --- Signs ------------------------------------------------------------------------------------------------------------


def test_an_authority_that_is_not_there_yet_begins_under_it(run: Run, root: Path) -> None:
    status, text = run("sign", str(root), "clients", "--purpose", "client")
    assert status == 0, text
    found = written(run)
    place = "pki.authorities.clients.generations.g1"
    assert list(found) == [
        "pki.authorities.clients.purpose", f"{place}.mode", f"{place}.state", f"{place}.certificate", f"{place}.key",
    ]  # fmt: skip
    assert [found[f"{place}.{key}"] for key in ("mode", "state")] == ["imported", "active"]
    (below, over), key = opened(found, "clients", "g1")
    assert pem.belongs(key, below)
    assert facts.signed_by(below, over)
    assert below.subject.rfc4514_string() == "CN=Reflector test clients issuing 1,O=Reflector"
    assert facts.extension(below, x509.ExtendedKeyUsage) is None, "it signs peers too"
    assert "Nothing is deployed yet: make up STACK=test" in text
    assert "PRIVATE" not in text + str([call["arguments"] for call in calls(run.log)])  # type: ignore[attr-defined]  # as above
    # The settings take it, and whoever reads them knows who signs and whom to trust.
    settings = parse(
        {"edge": {"domain": "a.test"}, **replaced(tree_of(found), Sealed)}, "test", "reflector", datetime.now(UTC)
    )
    signer = settings.signers["clients"]["g1"]
    assert (signer.root, signer.anchor) == (pem.certificates_text([over]), facts.fingerprint(over))


def test_that_of_the_stack_itself_follows_the_one_that_is_deployed_in_four_steps(run: Run, root: Path) -> None:
    status, text = run("sign", str(root), "stack", "--years", "3", deployed={"stack": {"g1": {"state": "active"}}})
    assert status == 0, text
    found = written(run)
    place = "pki.authorities.stack.generations"
    assert {path: value for path, value in found.items() if "PRIVATE" not in value and "BEGIN" not in value} == {
        "pki.authorities.stack.purpose": "server",
        f"{place}.g1.mode": "created", f"{place}.g1.state": "active",
        f"{place}.g2.mode": "imported", f"{place}.g2.state": "trusted",
    }  # fmt: skip
    (below, _), _ = opened(found, "stack", "g2")
    assert facts.extension(below, x509.ExtendedKeyUsage) is not None
    assert "docs/pki-rollover.md. Before it: g1" in text


def test_what_is_said_in_the_settings_is_not_said_again(run: Run, root: Path) -> None:
    pki = {
        "authorities": {"clients": {"purpose": "client", "generations": {"g4": {"mode": "created", "state": "active"}}}}
    }
    status, _ = run("sign", str(root), "clients", pki=pki)
    assert status == 0
    assert {path.rpartition(".")[2] for path in written(run)} == {"mode", "state", "certificate", "key"}
    assert all(".generations.g5." in path for path in written(run))


@pytest.mark.parametrize(
    ("given", "pki", "said"),
    [
        (["Clients", "--purpose", "client"], None, "AUTHORITY: Clients; allowed: "),
        (["clients"], None, "--purpose: not given; allowed: server, client or docker-hosts, as there is no clients"),
        (["stack", "--purpose", "client"], None, "--purpose: client; allowed: server, which pki.authorities.stack has"),
        (["stack", "--generation", "2"], None, "--generation: 2; allowed: "),
        (["stack", "--years", "21"], None, "21 years end on "),
        (
            ["stack", "--generation", "g3"],
            {"authorities": {"stack": {"generations": {"g3": {"mode": "created", "state": "active"}}}}},
            "--generation: g3 of stack is there already; allowed: another one, or pki root renew",
        ),
    ],
)
def test_what_cannot_be_signed_is_refused_and_nothing_set(
    run: Run, root: Path, given: Sequence[str], pki: object, said: str
) -> None:
    status, text = run("sign", str(root), *given, pki=pki)
    assert (status, written(run)) == (1, {})
    assert text.startswith(f"error: {said}"), text


def test_a_wrong_password_or_another_file_signs_nothing(run: Run, root: Path, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("another\n", encoding="utf-8")
    status, text = run("sign", str(root), "stack")
    assert (status, written(run)) == (1, {})
    assert text.startswith(f"error: {root}: "), text
    (tmp_path / "word").write_text("\n", encoding="utf-8")
    assert "has no password in its first line" in run("sign", str(root), "stack")[1]
    (tmp_path / "word").write_text(WORD, encoding="utf-8")
    assert "No such file" in run("sign", str(tmp_path / "gone"), "stack")[1]


# --- Renewed ----------------------------------------------------------------------------------------------------------


def test_who_signs_is_renewed_with_the_key_it_has(run: Run, root: Path) -> None:
    run("sign", str(root), "clients", "--purpose", "client", "--years", "1")
    first = written(run)
    pki = tree_of(first)["pki"]
    status, text = run("renew", str(root), "clients", pki=pki)
    assert status == 0, text
    found = written(run)
    assert list(found) == ["pki.authorities.clients.generations.g1.certificate"]
    (old, over), key = opened(first, "clients", "g1")
    new, same = pem.certificates(found["pki.authorities.clients.generations.g1.certificate"].encode())
    assert (same, new.subject, pem.belongs(key, new)) == (over, old.subject, True)
    assert new.not_valid_after_utc > old.not_valid_after_utc
    assert "No client has to be told anything: the root is the same." in text


def test_under_another_root_it_is_another_generation(run: Run, root: Path, tmp_path: Path) -> None:
    run("sign", str(root), "clients", "--purpose", "client")
    pki = tree_of(written(run))["pki"]
    other = tmp_path / "other.p12"
    run("new", str(other), "--name", "Another")
    status, text = run("renew", str(other), "clients", pki=pki)
    assert (status, written(run)) == (1, {})
    assert "CN=Another,O=Reflector has not signed CN=Reflector test clients issuing 1,O=Reflector" in text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["gone"], "AUTHORITY: gone; allowed: one of stack"),
        (
            ["stack"],
            "g1 of stack is no issuing authority that was brought along and is trusted; allowed: none there is",
        ),
    ],
)
def test_what_was_not_signed_by_a_root_in_a_file_cannot_be_renewed(
    run: Run, root: Path, given: Sequence[str], said: str
) -> None:
    status, text = run("renew", str(root), *given)
    assert (status, written(run)) == (1, {})
    assert said in text
