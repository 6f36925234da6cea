"""What is generated says what the code says."""

import json
import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from developer import documentation
from settings import PROJECT, Settings, parse
from settings.base import Sealed
from settings.schema import config_block, rows
from settings.stack_file import EngineConfig, StackFile, resolved
from toolchain import ROOT

PAGES: Final = sorted(name for name in documentation.FILES if name.endswith(".md"))


@pytest.mark.parametrize("name", documentation.FILES)
def test_what_is_generated_is_current(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert documentation.FILES[name](text) == text, "run: make docs"


def test_every_part_is_on_a_page() -> None:
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in PAGES)
    assert set(re.findall(r"<!-- generated: ([\w-]+) -->", text)) == documentation.PARTS.keys()


def test_a_change_is_found_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- generated: memory-limits -->\nold\n<!-- /generated -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(documentation, "ROOT", tmp_path)
    files = {"page.md": documentation.page, "new.json": documentation.schema_file}
    monkeypatch.setattr(documentation, "FILES", files)
    assert documentation.main(["--check"]) == 1
    said = capsys.readouterr()
    assert "-old\n" in said.out
    assert "2 of 2 files are not current. Run: make docs" in said.err
    assert "old" in page.read_text(encoding="utf-8"), "a check must write nothing"
    assert documentation.main([]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- generated: memory-limits -->\n| Setting |")
    assert text.endswith("<!-- /generated -->\nafter\n")
    assert documentation.main(["--check"]) == 0


def test_an_unknown_part_is_an_error() -> None:
    with pytest.raises(KeyError, match="no-such-part"):
        documentation.page("<!-- generated: no-such-part -->\n<!-- /generated -->\n")


# --- Settings ---------------------------------------------------------------------------------------------------------


def test_the_reference_has_every_setting_once() -> None:
    found = re.findall(r"^\| `([\w.<>]+)` \|", documentation.settings_in_full(), re.MULTILINE)
    assert found == [row.path for concern in Settings.model_fields for row in rows(concern)]


def line_of(setting: str) -> list[str]:
    """Return the cells of a setting in the reference."""
    (line,) = (line for line in documentation.settings_in_full().splitlines() if line.startswith(f"| `{setting}` |"))
    return [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.mark.parametrize(
    ("setting", "default", "modes"),
    [
        ("edge.https_port", "`443`", ""),
        ("edge.bind_addresses", '`["0.0.0.0"]`', ""),
        ("edge.extra_names", "empty", ""),
        ("edge.public_port", "none", ""),
        ("hosts.<name>.address", "`unix:///var/run/docker.sock`", ""),
        ("application.hatchet_worker_llm.memory_mib", "`4096`", ""),
        ("images.references.redis", "none", "`upstream`"),
        ("speech.url", "required", "`hosted`"),
        ("storage.region", "required", "`s3` or `external`"),
        ("language_model.model", "`ollama`: `qwen2.5:14b`<br>`external`: required", ""),
        ("language_model.mode", "required (`ollama` if `language_model` is left out)", ""),
    ],
)
def test_a_default_is_what_leaving_it_out_means_in_each_mode(setting: str, default: str, modes: str) -> None:
    assert line_of(setting)[2:4] == [default, modes]


def test_the_mode_a_reference_names_is_the_one_meant_by_leaving_it_out() -> None:
    settings: Any = parse({}, "production", PROJECT)
    named = re.findall(r"required \(`([\w-]+)` if `(\w+)` is left out\)", documentation.settings_in_full())
    assert named
    assert named == [(getattr(settings, concern).mode, concern) for _, concern in named]


def test_a_secret_is_marked_as_one() -> None:
    assert line_of("storage.secret_access_key")[1] == "text, secret"
    assert line_of("storage.access_key_id")[1] == "text"


def as_the_engine_sets_it(tree: dict[str, Any], command: str) -> None:
    """Do to a stack's settings what one printed command does to its file."""
    program, verb, action, *arguments = shlex.split(command)
    assert (program, verb, action) == ("pulumi", "config", "set")
    secret = "--secret" in arguments
    path, *values = (argument for argument in arguments if argument not in ("--secret", "--path"))
    assert len(values) == (0 if secret else 1), "a secret is asked for, so that it is in no history"
    *groups, name = path.removesuffix("[0]").split(".")
    for group in groups:
        tree = tree.setdefault(group, {})
    value: object = Sealed() if secret else values[0]
    if not secret and values[0].isdigit():
        value = int(values[0])  # the engine's own reading of a value within an object
    tree[name] = [value] if path.endswith("[0]") else value


def test_the_examples_make_a_valid_stack_one_after_another() -> None:
    tree: dict[str, Any] = {}
    commands = re.findall(r"^\| `(pulumi [^`]+)` \|", documentation.settings_in_short(), re.MULTILINE)
    assert len(commands) == len(documentation.MOST_USED)
    for command in commands:
        as_the_engine_sets_it(tree, command)
    settings = parse(tree, "production", PROJECT)
    assert settings.edge.domain == documentation.MOST_USED["edge.domain"]
    assert settings.host.address == documentation.MOST_USED["hosts.main.address"]


def test_a_mode_is_set_before_what_belongs_to_it() -> None:
    order = list(documentation.MOST_USED)
    for setting in order:
        mode = f"{setting.partition('.')[0]}.mode"
        assert mode not in order or order.index(mode) <= order.index(setting)


def test_a_secret_is_never_an_argument() -> None:
    for setting in documentation.MOST_USED:
        row = documentation.row_of(setting)
        command = documentation.command(row, setting, "value")
        assert ("--secret" in command) is row.secret
        assert ("value" in command) is not row.secret


def test_a_setting_nobody_knows_has_no_row() -> None:
    with pytest.raises(KeyError, match=r"hosts\.main\.adress"):
        documentation.row_of("hosts.main.adress")


def test_the_memory_limits_are_all_of_them() -> None:
    found = re.findall(r"^\| `([\w.]+)` \| (\d+) \|", documentation.memory_limits(), re.MULTILINE)
    assert len(found) == 14, "one for each service there can be"
    assert ("data.postgres.memory_mib", "2560") in found


# --- Pulumi.yaml ------------------------------------------------------------------------------------------------------


def test_the_project_file_declares_every_concern_in_place_of_what_stood_there() -> None:
    above = "name: reflector\nmain: .\n# Made from settings/ by `make docs`; see there.\n"
    text = documentation.project_file(f"{above}config:\n  gone:\n    type: string\n")
    assert text.startswith(f"{above}config:\n  hosts:\n")
    assert yaml.safe_load(text)["config"] == config_block()
    assert "    default: {mode: ollama}\n" in text, "a default is read at a glance"
    assert documentation.project_file(text) == text


def test_a_project_file_without_its_comment_is_refused() -> None:
    with pytest.raises(ValueError, match="no comment that says where its settings begin"):
        documentation.project_file("name: reflector\nconfig: {}\n")


def test_what_the_project_file_declares_is_what_leaving_it_out_means() -> None:
    # The engine hands its defaults over as if they were set.
    values = {f"{PROJECT}:{name}": json.dumps(declared["default"]) for name, declared in config_block().items()}
    handed = resolved(StackFile(settings={}), EngineConfig.of(values, frozenset()))
    assert parse(handed, "production", PROJECT) == parse({}, "production", PROJECT)
