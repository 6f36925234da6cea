"""Rollovers held against the state before the engine is asked: jumps, and roots that somebody still relies on."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from operations import checks
from operations.healing import Resource
from operations.rollover import rollover_problems
from operations.stack import Stack
from settings import Settings, parse
from testing.certificates import CLIENT, Issued, issue
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
    assert list(rollover_problems(settings_with(STEPS[after]), in_state(STEPS[before]))) == []
    assert list(rollover_problems(settings_with(STEPS[after]), [])) == [], "nor is anything of a new stack"


def test_a_jump_is_a_problem_like_any_other_and_said_once() -> None:
    (problem,) = rollover_problems(settings_with(STEPS["retire"]), in_state(STEPS["prepare"]))
    assert problem.setting == f"{AT}.g1.state"
    assert problem.given == "retired, and it is deployed as active"
    assert problem.remedy == "Set that, make up, and retire it then"


def test_a_step_that_was_interrupted_does_not_count() -> None:
    before = in_state(STEPS["switch"], STEPS["prepare"])
    (problem,) = rollover_problems(settings_with(STEPS["retire"]), before)
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
    (problem,) = rollover_problems(settings_with(STEPS["retire"], corp=corp), in_state(STEPS["switch"]))
    assert problem.setting == f"{AT}.g1.state"
    assert problem.given == "retired, and it has signed pki.certificates.corp"
    assert problem.remedy.endswith("pki.certificates.corp")


def test_of_a_state_of_a_release_before_the_root_is_found_by_the_inventory(tmp_path: Path) -> None:
    settings = settings_with(STEPS["retire"], corp=brought(tmp_path, ROOTS["g1"], "external"))
    (problem,) = rollover_problems(settings, of_a_release_before(in_state(STEPS["switch"])))
    assert problem.given == "retired, and it has signed pki.certificates.corp"
    settings = settings_with(STEPS["retire"], corp=brought(tmp_path, ROOTS["g2"], "external"))
    assert list(rollover_problems(settings, of_a_release_before(in_state(STEPS["switch"])))) == []


@pytest.mark.parametrize("written", ["04da6b54-80e4-46f7-96ec-b56ff0331ba9", {"ciphertext": "v1:x:y"}])
def test_what_a_record_does_not_tell_is_no_certificate(tmp_path: Path, written: object) -> None:
    """Encrypted, or not known yet where a run was kept to some resources."""
    state = in_state(STEPS["switch"])
    for one in state:
        one["outputs"]["certificates"]["clients"]["g1"] = written
    settings = settings_with(STEPS["retire"], corp=brought(tmp_path, ROOTS["g1"], "external"))
    assert list(rollover_problems(settings, state)) == [], "the program knows more"


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
    assert list(rollover_problems(settings, in_state(STEPS[before]))) == []


def test_a_root_whose_key_somebody_else_may_have_goes_whoever_relies_on_it(tmp_path: Path) -> None:
    settings = settings_with({"g1": "distrusted", "g2": "active"}, corp=brought(tmp_path, ROOTS["g1"], "imported"))
    assert list(rollover_problems(settings, in_state(STEPS["switch"]))) == []


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
    (problem,) = rollover_problems(parse(content, "test", "reflector", NOW), state)
    assert problem.given == "retired, and it has signed pki.certificates.corp"
