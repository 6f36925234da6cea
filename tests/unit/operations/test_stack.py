"""The stack around the engine: run, made on first use, asked, and kept out of git's way."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from operations import stack as stack_module
from operations.stack import Stack
from operations.state import StateError
from testing.commands import calls, fake_command, path_with
from tests.unit.operations.stand_ins import asked, with_engine, with_file, with_state
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


def test_a_wrong_passphrase_is_named_after_the_engines_own_words(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"status": 1, "stderr": "error: incorrect passphrase\n"}
    log = with_engine(stack, up=words, config=words)
    assert stack.pulumi("up") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"error: The passphrase in {stack.layout.passphrase} is not the one the stack test was encry"
    )
    assert asked(log) == ["up --stack test", "config --json --show-secrets --stack test"]


def test_a_wrong_passphrase_is_noticed_by_the_state_as_well(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with_engine(
        stack, up={"status": 1}, config="", stack_export={"status": 1, "stderr": "incorrect passphrase, please"}
    )
    assert stack.pulumi("up") == 1
    assert capsys.readouterr().err.startswith("error: The passphrase in ")


@pytest.mark.parametrize("config", ["", {"status": 1, "stderr": "error: something else\n"}])
def test_a_right_passphrase_is_not_blamed(stack: Stack, capsys: pytest.CaptureFixture[str], config: object) -> None:
    with_engine(stack, up={"status": 1}, config=config, stack_export="")
    assert stack.pulumi("up") == 1
    assert capsys.readouterr().err == ""


def test_ctrl_c_is_left_to_the_engine(stack: Stack) -> None:
    """Killed from here it would leave what it is in the middle of."""
    stack.layout.bin.mkdir(parents=True)
    engine = stack.layout.bin / "pulumi"
    engine.write_text(
        f"#!{sys.executable} -IS\nimport os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "os.kill(os.getppid(), signal.SIGINT)\ntime.sleep(1)\nos._exit(7)\n"
    )
    engine.chmod(0o755)
    assert stack.pulumi("up") == 7


@pytest.mark.parametrize(
    ("given", "subject"),
    [("", ""), ("token", "PULUMI_ACCESS_TOKEN"), ("login", "the login in ")],
)
def test_whoever_makes_a_stack_is_told_what_does_not_choose_its_backend(
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: str,
    subject: str,
) -> None:
    home = stack.layout.root / "home" / ".pulumi"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    if given == "login":
        (home / "credentials.json").write_text('{"current": "https://api.example.com"}')
    elif given == "token":
        monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "pul-1")
    with_engine(stack, stack_select="")
    stack.ensure()
    said = capsys.readouterr().err
    assert said.count("\n") == (1 if subject else 0)
    assert f"is kept in files, {stack.layout.state}: {subject}" in said or not subject
    with_state(stack)
    stack.ensure()
    assert capsys.readouterr().err == "", "the choice is made"


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


FILTERED: Final = "Pulumi.test.yaml: filter: pulumi-salt\n"


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


def in_git(
    stack: Stack, attributes: str = "/Pulumi.test.yaml filter=pulumi-salt\n", text: str = "config: {}\n"
) -> Path:
    """Make the checkout of `stack` a repository with a stack file, and return that file."""
    with_state(stack)
    file = stack.layout.root / "Pulumi.test.yaml"
    file.write_text(text)
    (stack.layout.root / ".gitattributes").write_text(attributes)
    (stack.layout.root / ".gitignore").write_text(".toolchain\n")
    git(stack, "init", "--quiet")
    git(stack, "add", "--all")
    git(stack, "commit", "--quiet", "--message=Everything")
    return file


@pytest.mark.parametrize("before", ["", "sed -e /^encryptionsalt:/d"])
def test_git_sees_nothing_of_the_salt_however_it_came_there(stack: Stack, before: str) -> None:
    file = in_git(stack)
    if before:  # of a clone that an earlier release was used in
        git(stack, "config", "filter.pulumi-salt.clean", before)
    file.write_text("config: {}\nencryptionsalt: v1:x\n")
    stack.ensure()
    assert git(stack, "status", "--porcelain") == ""
    file.write_text("config: {a:b: c}\nencryptionsalt: v1:x\n")
    stack.ensure()
    assert git(stack, "status", "--porcelain") == " M Pulumi.test.yaml\n", "a change of the user's own is still one"
    git(stack, "add", "--all")
    assert git(stack, "show", ":Pulumi.test.yaml") == "config: {a:b: c}\n"
    # Nothing else opens what is encrypted: the salt goes where that goes.
    encrypted = "config:\n  a:b:\n    secure: v1:x\nencryptionsalt: v1:x\n"
    file.write_text(encrypted)
    stack.ensure()
    git(stack, "add", "--all")
    assert git(stack, "show", ":Pulumi.test.yaml") == encrypted


def test_a_stack_file_of_the_users_own_is_committed_as_it_is(stack: Stack) -> None:
    file = in_git(stack, attributes=(ROOT / ".gitattributes").read_text(encoding="utf-8"))
    git(stack, "config", "filter.pulumi-salt.clean", "sed -e /^encryptionsalt:/d")
    file.write_text("config: {}\nencryptionsalt: v1:x\n")
    stack.ensure()
    assert git(stack, "status", "--porcelain") == " M Pulumi.test.yaml\n"
    git(stack, "add", "--all")
    assert git(stack, "show", ":Pulumi.test.yaml") == file.read_text()


def test_only_the_shipped_examples_are_filtered() -> None:
    rules = [line for line in (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert rules == [f"/Pulumi.{name}.yaml filter=pulumi-salt" for name in ("authentik", "dev", "selfhosted")]


def test_a_salt_that_is_missing_comes_from_the_state_and_that_is_said(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    with_file(stack, {"speech": {"hf_token": {"secure": "v1:x"}}}, encryptionsalt="v1:own")
    with_state(stack, salt="v1:state")
    stack.ensure()
    assert capsys.readouterr().out == ""
    with_file(stack, {})
    stack.ensure()
    assert capsys.readouterr().out == "Pulumi.test.yaml has no encryptionsalt; it gets that of the state back.\n"
    assert stack.environment["PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER"] == "true", "by the engine, whoever runs it"


def test_encrypted_values_without_any_salt_are_refused_before_a_new_one_is_made(stack: Stack) -> None:
    file = with_file(stack, {"speech": {"hf_token": {"secure": "v1:x"}}})
    file.write_text(file.read_text().replace("encryptionsalt", "# salt"))
    log = with_engine(stack)
    with pytest.raises(StateError, match=r"^Pulumi.test.yaml holds encrypted values without the encryptionsalt"):
        stack.ensure()
    assert asked(log) == []


def with_git(stack: Stack, monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Any]) -> Path:
    """Make the checkout of `stack` look like a repository to a git with these answers; return the log of its calls."""
    (stack.layout.root / ".git").mkdir()
    monkeypatch.setenv("PATH", path_with(stack.layout.root / "path"))
    return fake_command(stack.layout.root / "path", "git", answers)


def test_git_is_told_nothing_it_knows(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with_state(stack)
    known = {"check-attr": FILTERED, "status": "", "config --default": stack_module._WITHOUT_SALT + "\n"}
    log = with_git(stack, monkeypatch, known)
    stack.ensure()
    assert [call["arguments"][0] for call in calls(log)] == ["check-attr", "status", "config"]


def test_git_is_not_asked_about_a_file_it_does_not_filter(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with_state(stack)
    log = with_git(stack, monkeypatch, {"check-attr": "Pulumi.test.yaml: filter: unspecified\n"})
    stack.ensure()
    assert [call["arguments"][0] for call in calls(log)] == ["check-attr"]


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
    committed = {f"Pulumi.{name}.yaml" for name in ("authentik", "dev", "selfhosted")}
    assert {path.name for path in ROOT.glob("Pulumi.*.yaml")} >= committed
