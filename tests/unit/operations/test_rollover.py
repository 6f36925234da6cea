"""Rollovers held against the state before the engine is asked: jumps, and roots that somebody still relies on."""

import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from operations import checks, rollover
from operations.healing import Resource
from operations.rollover import look
from operations.stack import Stack
from settings import Settings, parse
from testing.certificates import CLIENT, Issued, issue
from testing.docker import free_port
from tests.unit.operations.stand_ins import with_file, with_state

NOW: Final = datetime.now(UTC)
AT: Final = "pki.authorities.clients.generations"
ROOTS: Final = {name: issue(f"root {name}", now=NOW, ca=True, to_days=3000) for name in ("g1", "g2")}
STEPS: Final[Mapping[str, Mapping[str, str]]] = {
    "prepare": {"g1": "active", "g2": "trusted"},
    "switch": {"g1": "trusted", "g2": "active"},
    "retire": {"g1": "retired", "g2": "active"},
}


def tree(states: Mapping[str, str], **certificates: Any) -> dict[str, Any]:
    generations = {name: {"mode": "created", "state": state} for name, state in states.items()}
    return {
        "pki": {"authorities": {"clients": {"purpose": "client", "generations": generations}},
                "certificates": certificates},
    }  # fmt: skip


def settings_with(states: Mapping[str, str], **certificates: Any) -> Settings:
    return parse(tree(states, **certificates), "test", "reflector", NOW)


def in_state(declared: Mapping[str, str], deployed: Mapping[str, str] | None = None) -> list[Resource]:
    """Return the records of a stack, of which the second stays behind where a run was interrupted."""
    type_ = "reflector:rollover:Rollover"

    def record(name: str, states: Mapping[str, str]) -> dict[str, Any]:
        made = {name: {"state": state, "made": "P384 for 10 years"} for name, state in states.items()}
        inputs = {"generations": {"stack": {"g1": {"state": "active", "made": "P384 for 10 years"}}, "clients": made}}
        trusted = {name: ROOTS[name].pem.decode() for name, state in states.items() if state in {"active", "trusted"}}
        return {
            "urn": f"urn:pulumi:test::reflector::{type_}::authorities-{name}", "type": type_,
            "inputs": inputs, "outputs": {**inputs, "certificates": {"clients": trusted}},
        }  # fmt: skip

    return [record("declared", declared), record("deployed", deployed or declared)]


def of_a_release_before(state: list[Resource]) -> list[Resource]:
    """Return a state whose records have no certificates, with the roots and the inventory it has."""
    type_ = "reflector:authority:Authority"
    names = dict(zip(ROOTS, ("authority-clients", "authority-clients-2"), strict=True))
    entries = [
        {"name": names[one], "kind": "root", "authority": "clients", "generation": one, "purpose": "client"}
        for one in ROOTS
    ]
    return [
        *({**one, "outputs": one["inputs"]} for one in state),
        {
            "urn": "urn:pulumi:test::reflector::pulumi:pulumi:Stack::reflector-test", "type": "pulumi:pulumi:Stack",
            "outputs": {"pki_inventory": entries},
        },
        *(
            {
                "urn": f"urn:pulumi:test::reflector::{type_}::{names[one]}", "type": type_,
                "outputs": {"certificate_pem": ROOTS[one].pem.decode()},
            }
            for one in ROOTS
        ),
    ]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), [("prepare", "switch"), ("switch", "retire"), ("switch", "prepare")])
def test_a_step_is_no_problem(before: str, after: str) -> None:
    assert look(settings_with(STEPS[after]), in_state(STEPS[before])).problems == []
    assert look(settings_with(STEPS[after]), []).problems == [], "nor is anything of a new stack"


def test_a_jump_is_a_problem_like_any_other_and_said_once() -> None:
    (problem,) = look(settings_with(STEPS["retire"]), in_state(STEPS["prepare"])).problems
    assert problem.setting == f"{AT}.g1.state"
    assert problem.given == "retired, and it is deployed as active"
    assert problem.remedy == "Set that, make up, and retire it then"


def test_a_step_that_was_interrupted_does_not_count() -> None:
    before = in_state(STEPS["switch"], STEPS["prepare"])
    (problem,) = look(settings_with(STEPS["retire"]), before).problems
    assert problem.given == "retired, and it is deployed as active"


def test_the_checks_before_a_run_refuse_it(stack: Stack) -> None:
    with_file(stack, {**tree(STEPS["retire"]), "hosts": {"main": {"address": "unix:///nowhere.sock"}}})
    with_state(stack, resources=in_state(STEPS["prepare"]))
    checked = checks.check(stack)
    assert checked.settings is None
    assert f"{AT}.g1.state" in [problem.setting for problem in checked.problems]


# --- What somebody relies on ------------------------------------------------------------------------------------------


def brought(folder: Path, by: Issued, mode: str) -> dict[str, str]:
    """Return the settings of a client's certificate that is none of the stack's own."""
    from cryptography import x509

    leaf = issue("corp", by, now=NOW, sans=["corp.test"], extensions=[(x509.ExtendedKeyUsage([CLIENT]), False)])
    (folder / "corp.pem").write_bytes(leaf.pem + by.pem)
    (folder / "corp.key").write_bytes(leaf.key_pem)
    key = {"key_file": str(folder / "corp.key")} if mode == "imported" else {}
    return {"mode": mode, "kind": "client", "certificate_file": str(folder / "corp.pem"), **key}


@pytest.mark.parametrize("mode", ["imported", "external"])
def test_a_root_that_has_signed_what_nobody_here_renews_is_not_retired(tmp_path: Path, mode: str) -> None:
    corp = brought(tmp_path, ROOTS["g1"], mode)
    (problem,) = look(settings_with(STEPS["retire"], corp=corp), in_state(STEPS["switch"])).problems
    assert problem.setting == f"{AT}.g1.state"
    assert problem.given == "retired, and it has signed pki.certificates.corp"
    assert problem.remedy.endswith("pki.certificates.corp")


def test_of_a_state_of_a_release_before_the_root_is_found_by_the_inventory(tmp_path: Path) -> None:
    settings = settings_with(STEPS["retire"], corp=brought(tmp_path, ROOTS["g1"], "external"))
    (problem,) = look(settings, of_a_release_before(in_state(STEPS["switch"]))).problems
    assert problem.given == "retired, and it has signed pki.certificates.corp"
    settings = settings_with(STEPS["retire"], corp=brought(tmp_path, ROOTS["g2"], "external"))
    assert look(settings, of_a_release_before(in_state(STEPS["switch"]))).problems == []


def test_of_generations_that_are_encrypted_nothing_is_said_here() -> None:
    """As somebody has encrypted a setting whose value stands in them: the program is handed it in the clear."""
    state = in_state(STEPS["switch"])
    for one in state:
        one["inputs"]["generations"] = {"4dabf18193072939515e22adb298388d": "x", "ciphertext": "v1:x:y"}
    assert look(settings_with(STEPS["retire"]), state).problems == []


@pytest.mark.parametrize("written", ["04da6b54-80e4-46f7-96ec-b56ff0331ba9", {"ciphertext": "v1:x:y"}])
def test_what_a_record_does_not_tell_is_no_certificate(tmp_path: Path, written: object) -> None:
    """Encrypted, or not known yet where a run was kept to some resources."""
    state = in_state(STEPS["switch"])
    for one in state:
        one["outputs"]["certificates"]["clients"]["g1"] = written
    settings = settings_with(STEPS["retire"], corp=brought(tmp_path, ROOTS["g1"], "external"))
    assert look(settings, state).problems == [], "the program knows more"


@pytest.mark.parametrize(
    ("by", "before", "after"),
    [
        ("g2", "switch", "retire"),
        ("g1", "prepare", "switch"),
        ("g1", "retire", "retire"),
    ],
)
def test_of_another_root_or_in_another_step_it_is_no_reason(tmp_path: Path, by: str, before: str, after: str) -> None:
    settings = settings_with(STEPS[after], corp=brought(tmp_path, ROOTS[by], "imported"))
    assert look(settings, in_state(STEPS[before])).problems == []


def test_a_root_whose_key_somebody_else_may_have_goes_whoever_relies_on_it(tmp_path: Path) -> None:
    settings = settings_with({"g1": "distrusted", "g2": "active"}, corp=brought(tmp_path, ROOTS["g1"], "imported"))
    assert look(settings, in_state(STEPS["switch"])).problems == []


def test_a_root_that_was_brought_along_is_known_from_its_file(tmp_path: Path) -> None:
    own = ROOTS["g1"]
    (tmp_path / "root.pem").write_bytes(own.pem)
    (tmp_path / "root.key").write_bytes(own.key_pem)
    content = tree(STEPS["retire"], corp=brought(tmp_path, own, "external"))
    content["pki"]["authorities"]["clients"]["generations"]["g1"] = {
        "mode": "imported", "state": "retired", "certificate_file": str(tmp_path / "root.pem"),
        "key_file": str(tmp_path / "root.key"),
    }  # fmt: skip
    state = [{**one, "outputs": one["inputs"]} for one in in_state(STEPS["switch"])]
    for one in state:
        one["inputs"]["generations"]["clients"]["g1"].pop("made")
    (problem,) = look(parse(content, "test", "reflector", NOW), state).problems
    assert problem.given == "retired, and it has signed pki.certificates.corp"


# --- What an endpoint shows -------------------------------------------------------------------------------------------

BELOW: Final = issue("issuing authority", ROOTS["g1"], now=NOW, ca=True, to_days=3000)


def shown_by(by: Issued) -> Issued:
    return issue("db", by, now=NOW, sans=["db.test"])


def at(*ports: int) -> dict[str, Any]:
    return {
        f"db-{number}": {"mode": "external", "endpoint": f"127.0.0.1:{port}", "names": ["DNS:db.test"]}
        for number, port in enumerate(ports, 1)
    }


@pytest.mark.parametrize(("by", "above"), [(ROOTS["g1"], []), (BELOW, [BELOW])])
def test_a_root_that_has_signed_what_an_endpoint_shows_is_not_retired(
    listen: Callable[..., None], by: Issued, above: list[Issued]
) -> None:
    ports = [free_port(), free_port()]
    listen(shown_by(by), ports[0], None, above)
    listen(shown_by(ROOTS["g2"]), ports[1])
    looked = look(settings_with(STEPS["retire"], **at(*ports)), in_state(STEPS["switch"]))
    (problem,) = looked.problems
    assert problem.setting == f"{AT}.g1.state"
    assert problem.given == "retired, and it has signed pki.certificates.db-1"
    assert looked.hints == []


def test_an_endpoint_that_says_nothing_is_a_hint_and_waited_for_a_few_seconds_with_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rollover, "_ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port, gone = mute.getsockname()[1], free_port()
        start = time.monotonic()
        looked = look(settings_with(STEPS["retire"], **at(port, gone, *[port] * 6)), in_state(STEPS["switch"]))
        assert time.monotonic() - start < 2
    assert looked.problems == []
    first, second, *more = looked.hints
    assert first.startswith(f"pki.certificates.db-1: 127.0.0.1:{port} shows no certificate: ")
    assert first.endswith("; whether it was signed by what is retired now could not be looked at")
    assert second.startswith(f"pki.certificates.db-2: 127.0.0.1:{gone} shows no certificate: Connection refused;")
    assert len(more) == 6


def test_where_nothing_retires_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollover, "shown_at_once", None)
    for before, after in (("prepare", "switch"), ("retire", "retire"), ("prepare", "retire")):
        assert look(settings_with(STEPS[after], **at(1)), in_state(STEPS[before])).hints == []


def test_the_checks_before_a_run_hint_at_what_could_not_be_looked_at(stack: Stack) -> None:
    content = {**tree(STEPS["retire"], **at(free_port())), "hosts": {"main": {"address": "unix:///nowhere.sock"}}}
    with_file(stack, content)
    with_state(stack, resources=in_state(STEPS["switch"]))
    hints = checks.check(stack).hints
    assert [hint for hint in hints if hint.startswith("pki.certificates.db-1: 127.0.0.1:")]
