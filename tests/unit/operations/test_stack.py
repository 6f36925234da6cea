"""The stack around the engine: run, made on first use, asked, and kept out of git's way."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from operations.stack import Stack
from testing.commands import calls, fake_command, path_with
from tests.unit.operations.stand_ins import asked, with_engine, with_state
from toolchain import ROOT


def test_the_engine_runs_on_the_checkouts_own_state(stack: Stack) -> None:
    log = with_engine(stack, up="")
    assert stack.pulumi("up", "--yes") == 0
    assert asked(log) == ["up --yes --stack test"]
    environment = calls(log)[0]["environment"]
    assert environment["PULUMI_BACKEND_URL"] == f"file://{stack.layout.state}"
    assert environment["PULUMI_HOME"] == str(stack.layout.pulumi_home)


def test_the_engines_failure_is_passed_on(stack: Stack) -> None:
    with_engine(stack, up={"status": 255})
    assert stack.pulumi("up") == 255


def test_a_stack_is_made_on_first_use_only(stack: Stack) -> None:
    log = with_engine(stack, stack_select="")
    stack.ensure()
    assert asked(log) == ["stack select --create --stack test"]
    with_state(stack)
    stack.ensure()
    assert len(asked(log)) == 1, "nothing to make, so the engine is not even started"


def test_a_stack_that_cannot_be_made_ends_the_command(stack: Stack) -> None:
    with_engine(stack, stack_select={"status": 6})
    with pytest.raises(SystemExit) as end:
        stack.ensure()
    assert end.value.code == 6


def git(stack: Stack, *arguments: str) -> str:
    """Return what git prints about the checkout of `stack`, whatever git is set to elsewhere."""
    settings_of_nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return subprocess.run(
        ["git", "-c", "user.name=tests", "-c", "user.email=tests@reflector.test", *arguments],
        cwd=stack.layout.root,
        env={**os.environ, **settings_of_nobody},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def test_git_sees_nothing_of_the_salt_however_it_came_there(stack: Stack) -> None:
    with_state(stack)
    file = stack.layout.root / "Pulumi.test.yaml"
    file.write_text("config: {}\n")
    (stack.layout.root / ".gitattributes").write_text("Pulumi.*.yaml filter=pulumi-salt\n")
    (stack.layout.root / ".gitignore").write_text(".toolchain\n")
    git(stack, "init", "--quiet")
    git(stack, "add", "--all")
    git(stack, "commit", "--quiet", "--message=Everything")
    file.write_text("config: {}\nencryptionsalt: v1:x\n")
    stack.ensure()
    assert git(stack, "status", "--porcelain") == ""
    file.write_text("config: {a:b: c}\nencryptionsalt: v1:x\n")
    stack.ensure()
    assert git(stack, "status", "--porcelain") == " M Pulumi.test.yaml\n", "a change of the user's own is still one"
    git(stack, "add", "--all")
    assert git(stack, "show", ":Pulumi.test.yaml") == "config: {a:b: c}\n"


def with_git(stack: Stack, monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Any]) -> Path:
    """Make the checkout of `stack` look like a repository to a git with these answers; return the log of its calls."""
    (stack.layout.root / ".git").mkdir()
    monkeypatch.setenv("PATH", path_with(stack.layout.root / "path"))
    return fake_command(stack.layout.root / "path", "git", answers)


def test_git_is_told_nothing_it_knows(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with_state(stack)
    log = with_git(stack, monkeypatch, {"status": "", "config --default": "sed -e /^encryptionsalt:/d\n"})
    stack.ensure()
    assert [call["arguments"][0] for call in calls(log)] == ["status", "config"]


def test_a_git_that_refuses_is_a_hint_and_no_end(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_state(stack)
    refusal = "fatal: detected dubious ownership in repository at '/x'\nTo add an exception, call:\n"
    with_git(stack, monkeypatch, {"": {"status": 128, "stderr": refusal}})
    stack.ensure()
    assert capsys.readouterr().err == (
        "git may show Pulumi.test.yaml as modified: fatal: detected dubious ownership in repository at '/x'\n"
    )


def test_without_git_there_is_nobody_to_tell(stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_state(stack)
    (stack.layout.root / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    stack.ensure()


def test_the_engines_configuration_is_the_projects_own_with_what_is_secret(stack: Stack) -> None:
    entries = {
        "reflector:storage": {"value": '{"bucket":"confidential"}', "secret": True},
        "reflector:edge": {"value": '{"domain":"a.test"}', "secret": False},
        "aws:region": {"value": "eu-central-1", "secret": False},
    }
    log = with_engine(stack, config=json.dumps(entries))
    configuration = stack.configuration()
    assert configuration.values == {"storage": '{"bucket":"confidential"}', "edge": '{"domain":"a.test"}'}
    assert configuration.secret == {"storage"}
    assert "confidential" not in repr(configuration)
    assert asked(log) == ["config --json --show-secrets --stack test"]


@pytest.mark.parametrize(
    ("url", "expected"), [("", True), ("file://~", True), ("s3://somebodys-state", False), ("https://x.test", False)]
)
def test_a_state_is_in_files_unless_the_backend_is_another(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, url: str, expected: bool
) -> None:
    if url:
        monkeypatch.setenv("PULUMI_BACKEND_URL", url)
    assert stack.keeps_state_in_files is expected


def test_every_committed_stack_can_be_named() -> None:
    assert {path.name for path in ROOT.glob("Pulumi.*.yaml")} >= {"Pulumi.dev.yaml", "Pulumi.selfhosted.yaml"}
