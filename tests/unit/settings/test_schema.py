"""What is made from the models: the block in Pulumi.yaml, the JSON Schema of stack files, and rows for pages."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft202012Validator

from settings import PROJECT
from settings.base import dotted
from settings.schema import SCHEMA_FILE, config_block, rows, stack_schema
from settings.tree import Settings
from settings.walk import members, mode_of
from tests.unit.settings.examples import (
    LEAVES,
    ORDINARY,
    SEALED,
    SECRETS,
    SPOTS,
    UNIONS,
    Leaf,
    Spot,
    as_yaml,
    example,
    minimal,
    put,
)

ROOT: Final = Path(__file__).resolve().parents[3]
EXAMPLES: Final = [ROOT / f"Pulumi.{name}.yaml" for name in ("authentik", "dev", "selfhosted")]
COMMITTED: Final = json.loads((ROOT / SCHEMA_FILE).read_text(encoding="utf-8"))
VALIDATOR: Final = Draft202012Validator(COMMITTED)


def complaints(tree: dict[str, Any]) -> list[str]:
    """Return what an editor would underline in a stack file that says `tree`."""
    content = {"config": {f"{PROJECT}:{name}": as_yaml(value) for name, value in tree.items()}}
    return [error.json_path for error in VALIDATOR.iter_errors(content)]


# --- Files ------------------------------------------------------------------------------------------------------------


def test_the_block_in_the_project_file_is_the_models() -> None:
    assert yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"] == config_block()


def test_the_committed_schema_is_the_models() -> None:
    assert stack_schema() == COMMITTED
    Draft202012Validator.check_schema(COMMITTED)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_editor_finds_the_schema_and_nothing_wrong(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.splitlines()[0] == f"# yaml-language-server: $schema={SCHEMA_FILE}"
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))] == []


def test_no_key_of_the_project_has_a_type_the_engine_would_check() -> None:
    """It would refuse what an earlier release had, in its own words, before the program can say what to do."""
    assert all(key.keys() == {"default", "description"} for key in config_block().values())


def test_a_default_in_the_project_file_names_the_mode_and_nothing_else() -> None:
    for name, key in config_block().items():
        default = Settings.model_fields[name].default
        mode = mode_of(type(default)) if not isinstance(default, dict) else None
        hosts: dict[str, Any] = {"main": {}} if name == "hosts" else {}
        assert key["default"] == ({"mode": mode} if mode else hosts)


# --- What an editor accepts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spot", SPOTS, ids=str)
def test_an_editor_accepts_every_mode(spot: Spot) -> None:
    assert complaints(spot.tree) == []


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_an_editor_accepts_every_setting(leaf: Leaf) -> None:
    assert complaints(leaf.with_value(example(leaf.field))) == []


@pytest.mark.parametrize("leaf", ORDINARY, ids=str)
def test_an_editor_accepts_that_a_setting_is_encrypted(leaf: Leaf) -> None:
    assert complaints(leaf.with_value([SEALED] if leaf.kind is tuple else SEALED)) == []


def test_an_editor_accepts_what_the_engine_itself_writes() -> None:
    content = {
        "config": {"docker:host": "x", "pulumi:tags": {"a": "b"}},
        "encryptionsalt": "v1:x",
        "secretsprovider": "awskms://x",
        "encryptedkey": "x",
        "environment": ["a"],
    }
    assert [error.message for error in VALIDATOR.iter_errors(content)] == []


# --- What an editor refuses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_an_editor_refuses_a_misspelt_setting(leaf: Leaf) -> None:
    assert complaints(put(leaf.spot.tree, (*leaf.spot.path, leaf.name + "x"), example(leaf.field)))


@pytest.mark.parametrize("spot", UNIONS, ids=str)
def test_an_editor_refuses_what_belongs_to_another_mode(spot: Spot) -> None:
    for member in spot.choice:
        for name, field in member.model_fields.items():
            if name not in spot.group.model_fields and not members(field.annotation):
                assert complaints(put(spot.tree, (*spot.path, name), example(field))), name


@pytest.mark.parametrize("spot", UNIONS, ids=str)
def test_an_editor_refuses_a_missing_and_an_unknown_mode(spot: Spot) -> None:
    without = {name: value for name, value in minimal(spot.group).items() if name != "mode"}
    assert complaints(put(spot.tree, spot.path, without))
    assert complaints(put(spot.tree, (*spot.path, "mode"), "qqqq"))


@pytest.mark.parametrize("leaf", SECRETS, ids=str)
def test_an_editor_refuses_a_secret_in_clear_text(leaf: Leaf) -> None:
    assert complaints(leaf.with_value("clear"))


@pytest.mark.parametrize("value", ["many", 7, True, ["a", 1], {"a": 1}], ids=str)
@pytest.mark.parametrize("leaf", ORDINARY, ids=str)
def test_an_editor_refuses_what_is_of_another_kind(leaf: Leaf, value: object) -> None:
    if type(value) is not leaf.kind:
        assert complaints(leaf.with_value(value))


@pytest.mark.parametrize("spot", [spot for spot in SPOTS if spot.path], ids=str)
def test_an_editor_refuses_what_is_no_group(spot: Spot) -> None:
    values: list[object] = ["words", 3, [], SEALED]
    for value in values:
        assert complaints(put(spot.tree, spot.path, value))


def test_an_editor_refuses_settings_of_an_earlier_release() -> None:
    assert complaints({"domain": "a.test"})
    assert complaints({"storage": "garage"})


def test_an_editor_refuses_a_host_it_would_not_take_the_name_of() -> None:
    assert complaints({"hosts": {"main": {}, "A b": {}}})


# --- Pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_every_setting_has_a_description(leaf: Leaf) -> None:
    text = str(leaf.field.description)
    assert len(text) > 4
    assert text == text.strip().rstrip(".")


def test_every_concern_and_every_mode_has_a_description() -> None:
    for spot in SPOTS:
        assert spot.group.__doc__, spot
        for name, field in spot.group.model_fields.items():
            assert name == "mode" or field.description, f"{spot} {name}"


def test_every_setting_is_in_a_row_of_its_concern() -> None:
    paths = [*(dotted(leaf.path) for leaf in LEAVES), *(dotted((*spot.path, "mode")) for spot in UNIONS)]
    expected = {re.sub(r"\.main(?=\.)|\.g1(?=\.)|\[\"docker\.io\"\]", ".<name>", path) for path in paths}
    found = [row.path for concern in Settings.model_fields for row in rows(concern)]
    assert sorted(found) == sorted(expected), "each once"


def test_a_row_says_what_somebody_has_to_know() -> None:
    found = {row.path: row for concern in Settings.model_fields for row in rows(concern)}
    assert found["storage.region"].only_with == ("s3", "external")
    assert found["storage.bucket"].only_with == ()
    assert found["speech.hf_token"].secret
    assert (found["edge.public_port"].type, found["edge.public_port"].default) == ("number", None)
    assert (found["edge.extra_names"].type, found["edge.extra_names"].default) == ("list", ())
    assert (found["language_model.url"].required, found["language_model.url"].type) == (True, "text")
    assert found["language_model.mode"].type == "ollama or external"
    assert found["hosts.<name>.address"].default == "unix:///var/run/docker.sock"
    assert {row.type for row in found.values()} - {"text", "number", "list", "true or false"} == {
        row.type for row in found.values() if row.path.endswith(".mode")
    }
