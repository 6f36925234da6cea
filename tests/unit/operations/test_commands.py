"""The commands behind `make`: checks before, a summary after."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from operations import __main__ as commands
from operations import checks
from operations.checks import Checked
from operations.healing import IMAGE_TYPE, NETWORK_TYPE, VOLUME_TYPE, Damage
from operations.stack import Stack
from settings import Problem, Settings, parse
from settings.base import Sealed
from testing.commands import fake_command, path_with
from testing.docker import free_port
from tests.unit.operations.stand_ins import Docker, asked, listed, with_engine, with_file, with_state
from toolchain import ROOT

PROBLEM: Final = Problem(setting="edge.domain", given="'x'", allowed="y", remedy="z")


def settings_with(**concerns: object) -> Settings:
    """Return the settings of the stack `test`."""
    return parse({"edge": {"domain": "a.test"}, **concerns}, "test", "reflector")


def with_checks(
    monkeypatch: pytest.MonkeyPatch,
    *,
    settings: Settings | None = None,
    hints: Sequence[str] = (),
    damage: Sequence[Damage] = (),
    forgotten: Sequence[str] = (),
) -> None:
    """Let the checks find these settings, or a problem."""
    found = Checked(settings=settings, problems=[] if settings else [PROBLEM], hints=list(hints), damage=list(damage))
    monkeypatch.setattr(checks, "check", lambda _: found)
    monkeypatch.setattr(checks, "forgotten_volumes", lambda _: list(forgotten))


def test_every_problem_and_every_hint_is_printed_and_fails_the_check(
    stack: Stack, docker: Docker, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    docker(listed("reflector-test-redis") + listed("proxy", f"0.0.0.0:{port}->80/tcp"))
    with_file(stack, {"edge": {"domian": "x", "https_port": free_port(), "http_port": port}})
    assert commands.check(stack).settings is None
    heading, *lines = capsys.readouterr().err.splitlines()
    assert heading == "3 problems in the configuration, nothing was created:"
    assert [line.split(": ")[0] for line in lines] == ["  - edge.domian", "  - STACK", "  - edge.http_port", "Hint"]


@pytest.mark.parametrize("command", [commands.up, commands.preview])
def test_nothing_runs_while_there_is_a_problem(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, command: Callable[..., int]
) -> None:
    with_checks(monkeypatch)
    log = with_engine(stack)
    assert command(stack, refresh=False) == 1
    assert asked(log) == []


@pytest.mark.parametrize("command", [commands.up, commands.preview])
def test_a_hint_keeps_nobody_from_anything(
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: Callable[..., int],
) -> None:
    with_checks(monkeypatch, settings=settings_with(), hints=("it could be quicker",))
    with_state(stack)
    with_engine(stack, up="", preview="")
    assert command(stack, refresh=False) == 0
    assert capsys.readouterr().err == "Hint: it could be quicker\n"


@pytest.mark.parametrize(("refresh", "flag"), [(False, ""), (True, " --refresh")])
def test_up_says_where_the_stack_is_without_asking_for_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refresh: bool, flag: str
) -> None:
    with_checks(monkeypatch, settings=settings_with(sign_in={"mode": "password", "admin_email": "me@a.test"}))
    with_state(stack)
    log = with_engine(stack, up="")
    assert commands.up(stack, refresh=refresh) == 0
    assert asked(log) == [f"up --yes --skip-preview{flag} --stack test"], "the settings say all of it already"
    said = capsys.readouterr().out
    assert "Reflector is up: https://a.test\n" in said
    assert "pulumi stack output ca_certificate --stack test" in said
    assert "https://a.test/trust" in said
    assert "going past the browser's warning is not" in said
    assert "Log in as me@a.test" in said
    assert "pulumi stack output admin_password --show-secrets --stack test" in said


def test_the_url_is_the_one_people_see(capsys: pytest.CaptureFixture[str]) -> None:
    commands.summarize(settings_with(edge={"domain": "a.test", "https_port": 8443, "public_port": 443}))
    said = capsys.readouterr().out
    assert "https://a.test\n" in said
    assert "8443" not in said


def test_nobody_is_told_of_a_password_where_nobody_logs_in(capsys: pytest.CaptureFixture[str]) -> None:
    commands.summarize(settings_with(sign_in={"mode": "public", "everybody_reads_everything": True}))
    assert "password" not in capsys.readouterr().out


def test_the_summary_shows_nothing_that_is_encrypted(capsys: pytest.CaptureFixture[str]) -> None:
    domain = Sealed("confidential.test")
    commands.summarize(settings_with(edge={"domain": domain}, sign_in={"mode": "password"}))
    said = capsys.readouterr().out
    assert "confidential" not in said
    assert "Reflector is up: https://[secret]\n" in said
    assert "Log in as admin@[secret]" in said


def test_a_failed_up_is_not_announced(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_checks(monkeypatch, settings=settings_with())
    with_state(stack)
    with_engine(stack, up={"status": 255})
    assert commands.up(stack, refresh=False) == 255
    assert "Reflector is up" not in capsys.readouterr().out


@pytest.mark.parametrize(("refresh", "flag"), [(False, ""), (True, " --refresh")])
def test_a_preview_shows_the_difference(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, refresh: bool, flag: str
) -> None:
    with_checks(monkeypatch, settings=settings_with())
    with_state(stack)
    log = with_engine(stack, preview="")
    assert commands.preview(stack, refresh=refresh) == 0
    assert asked(log) == [f"preview --diff{flag} --stack test"]


KEPT: Final = "--exclude-protected --exclude **docker:index/volume:Volume::** --exclude **random:index/**"


def test_down_keeps_data_and_secrets(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with_state(stack)
    log = with_engine(stack, destroy="")
    assert commands.down(stack) == 0
    assert asked(log) == [
        f"destroy --yes --skip-preview {KEPT} --exclude **docker:index/remoteImage:RemoteImage::** --stack test"
    ]
    assert "Data, keys and passwords are kept" in capsys.readouterr().out


def test_down_leaves_images_to_a_state_it_can_read_only(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://somebodys-state")
    log = with_engine(stack, stack_select="", destroy="")
    assert commands.down(stack) == 0
    assert asked(log)[-1] == f"destroy --yes --skip-preview {KEPT} --stack test", (
        "nobody could see whether they are still there"
    )


@pytest.mark.parametrize(
    ("there", "with_container", "flag"),
    [
        ("sha256:1\nsha256:2\n", False, ""),
        ("sha256:1\n", False, " --refresh"),
        ("", False, " --refresh"),
        ("", True, ""),
    ],
)
def test_an_image_that_was_cleared_away_after_down_is_made_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: str, with_container: bool, flag: str
) -> None:
    fake_command(tmp_path / "docker", "docker", {"image ls": there})
    monkeypatch.setenv("PATH", path_with(tmp_path / "docker"))
    with_checks(monkeypatch, settings=settings_with())
    images = [{"urn": f"urn::{id_}", "type": IMAGE_TYPE, "outputs": {"imageId": f"sha256:{id_}"}} for id_ in (1, 2)]
    containers = [{"urn": "urn::web", "type": "docker:index/container:Container"}] if with_container else []
    with_state(stack, resources=[*images, *containers])
    log = with_engine(stack, up="")
    assert commands.up(stack, refresh=False) == 0
    assert asked(log) == [f"up --yes --skip-preview{flag} --stack test"]


@pytest.mark.parametrize(
    ("refresh", "flags"), [(False, "--replace urn::web --replace urn::cache"), (True, "--refresh --replace urn::web")]
)
@pytest.mark.parametrize("command", ["up --yes --skip-preview", "preview --diff"])
def test_what_is_damaged_is_said_and_made_again_in_the_same_run(
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    refresh: bool,
    flags: str,
) -> None:
    damage = [
        Damage(urn="urn::web", type="docker:index/container:Container", name="reflector-test-web", what="is gone"),
        Damage(urn="urn::cache", type=NETWORK_TYPE, name="reflector-test-cache", what="is gone"),
    ]
    with_checks(monkeypatch, settings=settings_with(), damage=damage)
    with_state(stack)
    log = with_engine(stack, up="", preview="")
    run = {"up": commands.up, "preview": commands.preview}[command.split()[0]]
    assert run(stack, refresh=refresh) == 0
    (call,) = asked(log)
    assert call.startswith(f"{command} {flags}")
    said = capsys.readouterr().out
    assert "reflector-test-web is gone: it is made again\nreflector-test-cache is gone: it is made again\n" in said


def test_a_missing_volume_makes_the_engine_look_for_itself(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Damage(urn="urn::data", type=VOLUME_TYPE, name="reflector-test-postgres", what="is gone", is_gone=True)
    with_checks(monkeypatch, settings=settings_with(), damage=[lost])
    with_state(stack)
    log = with_engine(stack, up="")
    assert commands.up(stack, refresh=False) == 0
    assert asked(log) == ["up --yes --skip-preview --refresh --stack test"], "a protected one cannot be replaced"


@pytest.mark.parametrize("forgotten", [[], ["reflector-test-ollama", "reflector-test-garage-data"]])
def test_volumes_of_modes_that_are_off_are_listed_by_name(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], forgotten: list[str]
) -> None:
    with_checks(monkeypatch, settings=settings_with(), forgotten=forgotten)
    with_state(stack)
    with_engine(stack, up="")
    assert commands.up(stack, refresh=False) == 0
    said = capsys.readouterr().out
    assert ("Kept for modes that are switched off" in said) is bool(forgotten)
    assert ", ".join(forgotten) in said


def test_an_unknown_command_is_refused_with_those_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "operations", "destroy"],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    for command in ("up", "preview", "check", "down", "convert"):
        assert f"'{command}'" in done.stderr
