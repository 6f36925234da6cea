"""The state of an earlier release: its tokens are taken over, and nothing else is touched."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pulumi
import pytest

from components.base.secret import token
from operations import __main__ as commands
from operations.stack import Stack
from operations.upgrade import upgrade, upgraded
from testing import building
from testing.commands import calls
from testing.engine import PROJECT, STACK, urn_of
from tests.unit.operations.stand_ins import asked, with_engine, with_state
from tests.unit.operations.test_commands import settings_with, with_checks

FORMER: Final = "random:index/randomBytes:RandomBytes"
OWNER: Final = urn_of("", "reflector:garage:Garage", "garage")
SECRET: Final = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x:y"}
VALUE: Final = base64.b64encode(bytes(range(32))).decode()
UNTOLD: Final = "missing ID"
"""The id our own plugin gave random bytes until it gave them the official one's."""


def former(name: str, id_: str = UNTOLD, parent: str = OWNER, size_bytes: int = 32) -> dict[str, Any]:
    """Return the state of random bytes."""
    return {
        "urn": urn_of(parent, FORMER, name),
        "custom": True,
        "id": id_,
        "type": FORMER,
        "inputs": {"length": size_bytes},
        "outputs": {"base64": {**SECRET, "ciphertext": "v1:b:c"}, "hex": SECRET, "length": size_bytes},
        "parent": parent,
        "protect": True,
        "provider": f"urn:pulumi:{STACK}::{PROJECT}::pulumi:providers:random::default_1::id",
        "propertyDependencies": {"length": []},
        "additionalSecretOutputs": ["base64", "hex"],
        "created": "2026-01-01T00:00:00Z",
    }


def exported(*resources: dict[str, Any]) -> dict[str, Any]:
    """Return an export of these resources."""
    return {"version": 3, "deployment": {"manifest": {"magic": "m"}, "resources": list(resources)}}


def resources_of(state: Any) -> list[dict[str, Any]]:
    """Return the resources of an export."""
    found: list[dict[str, Any]] = state["deployment"]["resources"]
    return found


def test_what_belongs_to_a_mode_is_no_longer_protected() -> None:
    volume = {
        "urn": urn_of(OWNER, "docker:index/volume:Volume", "garage-data"),
        "type": "docker:index/volume:Volume",
        "id": "reflector-test-garage-data",
        "protect": True,
        "retainOnDelete": True,
    }
    always = {**volume, "urn": urn_of(OWNER, "docker:index/volume:Volume", "postgres-data")}
    result = upgraded(exported(former("reflector-secret-key"), former("garage-key-id"), volume, always))
    protected = [one["urn"].rpartition("::")[2] for one in resources_of(result.deployment) if one["protect"]]
    assert protected == ["reflector-secret-key", "postgres-data"], "the engine would stop whoever switches its mode off"


def test_a_token_keeps_its_value_name_parent_and_protection() -> None:
    before = former("reflector-secret-key")
    (after,) = resources_of(upgraded(exported(before)).deployment)
    assert after["urn"] == urn_of(OWNER, building.PASSWORD, "reflector-secret-key")
    assert after["type"] == building.PASSWORD
    assert after["outputs"]["result"] == SECRET, "the ciphertext as it was: nothing is ever decrypted"
    assert after["id"] == after["outputs"]["id"] == "none"
    kept = ("custom", "parent", "protect", "provider", "created")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    assert FORMER not in json.dumps(after)
    assert "v1:b:c" not in json.dumps(after)


@pytest.mark.parametrize("size_bytes", [12, 16, 32])
def test_a_token_is_what_the_program_asks_for(size_bytes: int) -> None:
    built = building.build(lambda near: token("it", near.ready, size_bytes=size_bytes))
    wanted = built.named("it")
    state = upgraded(exported(former("it", parent=OWNER, size_bytes=size_bytes)))
    (after,) = resources_of(state.deployment)
    asked_for = {key: wanted.plain(key) for key in wanted.inputs}
    assert after["inputs"] == asked_for, "anything else would be a replacement, and the value gone"
    assert {key: after["outputs"][key] for key in asked_for} == asked_for
    assert after["propertyDependencies"].keys() == asked_for.keys()


def test_what_was_not_taken_over_is_found_by_its_former_type_and_not_replaced() -> None:
    owner = "urn:pulumi:test::reflector::reflector:reflector:Reflector::reflector"
    alias = pulumi.Alias(name="old", parent=owner)
    built = building.build(lambda near: token("it", near.ready, aliases=[alias]))
    one = built.named("it")
    assert one.request.protect
    assert one.former_urns == {
        urn_of(owner, building.PASSWORD, "old"),
        urn_of(owner, FORMER, "old"),
        urn_of(one.parent, FORMER, "it"),
    }


def test_whoever_names_a_token_names_it_by_its_new_urn() -> None:
    one = former("garage-key-secret")
    user = {
        "urn": urn_of(OWNER, building.CONTAINER, "server"),
        "type": building.CONTAINER,
        "dependencies": [OWNER, one["urn"]],
        "propertyDependencies": {"envs": [one["urn"]], "image": []},
        "deletedWith": one["urn"],
        "inputs": {"note": f"about {one['urn']}"},
        "parent": OWNER,
    }
    _, after = resources_of(upgraded(exported(one, user)).deployment)
    new = urn_of(OWNER, building.PASSWORD, "garage-key-secret")
    assert after["dependencies"] == [OWNER, new]
    assert after["propertyDependencies"] == {"envs": [new], "image": []}
    assert after["deletedWith"] == new
    assert after["inputs"] == user["inputs"], "a text that holds one is no reference"


def test_random_bytes_of_somebody_else_are_left_alone() -> None:
    state = exported(
        former("theirs", parent=urn_of("", "acme:index:Thing", "x")),
        {**former("nobodys"), "parent": f"urn:pulumi:{STACK}::{PROJECT}::pulumi:pulumi:Stack::{PROJECT}-{STACK}"},
    )
    result = upgraded(state)
    assert result.names == []
    assert result.deployment == state


def test_a_component_within_a_component_is_ours_too() -> None:
    inner = urn_of(OWNER, "reflector:reflector:Reflector", "inner")
    assert upgraded(exported(former("it", parent=inner))).names == ["it"]


def test_twice_is_once() -> None:
    once = upgraded(exported(former("it"))).deployment
    assert upgraded(once).names == []
    assert upgraded(once).deployment == once


def test_a_stack_without_resources_has_nothing_to_take_over() -> None:
    assert upgraded({"version": 3, "deployment": {}}).names == []


@pytest.mark.parametrize(
    ("id_", "shown"),
    [(VALUE, True), (UNTOLD, False), ("none", False), ("", False), (base64.b64encode(b"short").decode(), False)],
)
def test_an_id_that_was_the_value_is_recognised(id_: str, shown: bool) -> None:
    assert upgraded(exported(former("it", id_=id_))).shown == (["it"] if shown else [])


def engine_with(stack: Stack, *resources: dict[str, Any]) -> Path:
    """Give `stack` an engine that exports these resources, and runs."""
    return with_engine(stack, stack_export=json.dumps(exported(*resources)), stack_import="", up="", preview="")


def test_the_state_is_taken_over_through_the_engine_and_without_secrets(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    with_state(stack, resources=[former("it")])
    log = engine_with(stack, former("it"))
    upgrade(stack)
    assert asked(log) == ["stack export --stack test", "stack import --stack test"]
    assert resources_of(json.loads(calls(log)[1]["stdin"]))[0]["type"] == building.PASSWORD
    said = capsys.readouterr().out
    assert "1 tokens keep their values" in said
    assert "clear text" not in said


def test_copies_that_tell_secrets_are_named_with_the_way_to_be_rid_of_them(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    with_state(stack, resources=[former("it", id_=VALUE), former("other")])
    root = stack.layout.state / ".pulumi"
    for kind in ("backups", "history"):
        for name in ("test", "another"):
            (root / kind / PROJECT / name).mkdir(parents=True)
    beside = root / "stacks" / PROJECT / "test.json.bak"
    beside.write_text("{}")
    (root / "stacks" / PROJECT / "another.json.bak").write_text("{}")
    engine_with(stack, former("it", id_=VALUE), former("other"))
    upgrade(stack)
    said = capsys.readouterr().out
    assert "it held: it. " in said
    folders = [str(root / kind / PROJECT / "test") for kind in ("backups", "history")]
    assert said.endswith(f"rm -r -- {' '.join([*folders, str(beside)])}\n")
    assert VALUE not in said


@pytest.mark.parametrize("resources", [[], [{"urn": "urn:a::b::c::d", "type": building.PASSWORD}]])
def test_where_there_is_nothing_to_do_the_engine_is_not_started(stack: Stack, resources: list[dict[str, Any]]) -> None:
    with_state(stack, resources=resources)
    log = engine_with(stack)
    upgrade(stack, ask=True)
    assert asked(log) == []


@pytest.mark.parametrize("command", [commands.up, commands.preview])
def test_up_and_preview_take_the_state_over_first(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, command: Callable[..., int]
) -> None:
    with_checks(monkeypatch, settings=settings_with())
    with_state(stack, resources=[former("it")])
    log = engine_with(stack, former("it"))
    assert command(stack, refresh=False) == 0
    assert [line.split(" --")[0] for line in asked(log)] == ["stack export", "stack import", command.__name__]


@pytest.fixture
def elsewhere(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The stack, its state on a backend that is not files."""
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://states")
    monkeypatch.setattr(Stack, "ensure", lambda _: None)
    return stack


@pytest.mark.parametrize("command", [commands.up, commands.preview])
@pytest.mark.parametrize("resources", [[former("it")], []])
def test_where_the_state_is_elsewhere_a_run_that_fails_says_what_to_do(
    elsewhere: Stack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: Callable[..., int],
    resources: list[dict[str, Any]],
) -> None:
    with_checks(monkeypatch, settings=settings_with())
    failed = {"status": 255}
    log = with_engine(elsewhere, stack_export=json.dumps(exported(*resources)), up=failed, preview=failed)
    assert command(elsewhere, refresh=False) == 255
    assert [line.split(" --")[0] for line in asked(log)] == [command.__name__, "stack export"], "asked in need only"
    said = (
        "The state is that of an earlier release. Take it over first, with all its secrets: make convert STACK=test\n"
    )
    assert capsys.readouterr().err == (said if resources else "")


def test_a_failed_run_is_not_explained_where_the_state_cannot_be_read(
    elsewhere: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_checks(monkeypatch, settings=settings_with())
    with_engine(elsewhere, stack_export={"status": 1}, up={"status": 255})
    assert commands.up(elsewhere, refresh=False) == 255
    assert capsys.readouterr().err == ""


def test_convert_takes_over_a_state_that_is_elsewhere(elsewhere: Stack) -> None:
    (elsewhere.layout.root / "Pulumi.test.yaml").write_text("config: {}\n")
    log = engine_with(elsewhere, former("it"))
    assert commands.convert_all(elsewhere) == 0
    assert asked(log) == ["stack export --stack test", "stack import --stack test"]


def test_convert_says_when_there_is_no_state_to_read(elsewhere: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere.layout.root / "Pulumi.test.yaml").write_text("config: {}\n")
    with_engine(elsewhere, stack_export={"status": 6})
    assert commands.convert_all(elsewhere) == 6
    assert "A stack that was never deployed has none" in capsys.readouterr().err


def test_convert_leaves_the_state_alone_where_the_file_is_no_good(elsewhere: Stack) -> None:
    log = engine_with(elsewhere, former("it"))
    assert commands.convert_all(elsewhere) == 1
    assert asked(log) == []
