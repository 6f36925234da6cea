"""The renewal as a timer, a line of cron's or a workflow."""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from operations import cron, scheduled, systemd, workflow
from operations.schedule import schedule
from operations.scheduled import Command, NotScheduled
from operations.stack import Stack
from operations.systemd import Systemd
from testing.commands import calls, fake_command, path_with
from toolchain import ROOT, Layout

ODD: Final = "a folder, 100 % \"ours\" $HOME 'n' back\\slash"
"""All a path may hold that means something to systemd, cron or a shell."""


@pytest.fixture(params=["plain", ODD])
def wanted(request: pytest.FixtureRequest, tmp_path: Path) -> Command:
    """What is to be scheduled, from a checkout in a folder of any name; its Python shows what it is run with."""
    root = tmp_path / request.param
    python = root / ".toolchain" / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([os.getcwd(), sys.argv, dict(os.environ)]))\n",
        encoding="utf-8",
    )
    python.chmod(0o755)
    environ = {"PATH": f"/usr/bin:relative:/o {request.param}/bin", "DOCKER_CONFIG": f"/x {request.param}"}
    return scheduled.command(
        Stack(name="test", layout=Layout(root)), environ, at="192.0.2.1:8443", metrics=tmp_path / ODD / "a.prom"
    )


def unit(text: str) -> list[tuple[str, str]]:
    """Return the settings of a unit."""
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "["))]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def read_by_systemd(value: str, *, command: bool = False) -> list[str]:
    """Return the words of a setting as systemd reads them: quotes, escapes, specifiers, and in commands variables."""
    words = [word.replace("%%", "%") for word in shlex.split(value)]
    return [word.replace("$$", "$") for word in words] if command else words


# --- What is scheduled ------------------------------------------------------------------------------------------------


def test_the_command_knows_all_it_needs_by_whole_paths(wanted: Command) -> None:
    root = str(wanted.root)
    assert wanted.arguments[0] == f"{root}/.toolchain/venv/bin/python"
    assert wanted.arguments[1:5] == ["-m", "toolchain", "run", "--"]
    assert wanted.arguments[6:11] == ["-m", "operations", "renew", "--stack", "test"]
    assert wanted.arguments[11:13] == ["--at", "192.0.2.1:8443"]
    assert Path(wanted.arguments[14]).is_absolute()
    assert "relative" not in wanted.environment["PATH"].split(os.pathsep)


def test_two_stacks_and_two_checkouts_have_names_and_mostly_times_of_their_own(wanted: Command) -> None:
    others = [
        dataclasses.replace(wanted, stack="other"),
        *(dataclasses.replace(wanted, root=wanted.root / str(number)) for number in range(20)),
    ]
    assert len({one.name for one in [wanted, *others]}) == 22
    assert len({one.minute_of_the_day for one in [wanted, *others]}) > 10
    assert all(60 <= one.minute_of_the_day < 300 for one in others)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PULUMI_CONFIG_PASSPHRASE", "hidden"),
        ("PULUMI_ACCESS_TOKEN", "hidden"),
        ("https_proxy", "http://me:hidden@proxy.test:3128"),
    ],
)
def test_a_secret_of_the_shell_is_not_written_into_a_unit(stack: Stack, variable: str, value: str) -> None:
    environ = {"PATH": "/usr/bin", variable: value}
    with pytest.raises(NotScheduled, match=rf"^{variable} is a secret of this shell.* {variable}=<value> ") as refused:
        scheduled.command(stack, environ)
    assert "hidden" not in str(refused.value)
    file = stack.layout.home / "renewal" / "test.env"
    file.parent.mkdir(parents=True)
    file.touch(mode=0o600)
    file.write_text(f"# mine\n{variable}={value}\n", encoding="utf-8")
    wanted = scheduled.command(stack, environ)
    assert "hidden" not in systemd.service_unit(wanted) + "".join(cron.lines(wanted))
    file.chmod(0o644)
    with pytest.raises(NotScheduled, match="others can read it; chmod 600"):
        scheduled.command(stack, environ)


def test_what_the_checkout_finds_by_itself_is_not_written_down(stack: Stack) -> None:
    environ = {
        "PULUMI_BACKEND_URL": f"file://{stack.layout.state}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(stack.layout.passphrase),
    }
    assert scheduled.command(stack, environ).environment.keys() == {"PATH"}
    environ = {"PULUMI_BACKEND_URL": "s3://bucket", "PULUMI_CONFIG_PASSPHRASE_FILE": "mine"}
    carried = scheduled.command(stack, environ).environment
    assert carried["PULUMI_BACKEND_URL"] == "s3://bucket"
    assert carried["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(stack.layout.root.resolve() / "mine")


def test_a_path_no_scheduler_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotScheduled, match="no scheduler takes a path with a line break"):
        scheduled.command(Stack(name="test", layout=Layout(tmp_path / "a\nb")), {})


# --- systemd ----------------------------------------------------------------------------------------------------------


def test_systemd_reads_back_what_was_meant(wanted: Command) -> None:
    settings = unit(systemd.service_unit(wanted, user="somebody"))
    values = dict(settings)
    shell, flag, script, _, *arguments = read_by_systemd(values["ExecStart"], command=True)
    assert (shell, flag, script, arguments) == ("/bin/sh", "-c", 'exec "$@"', list(wanted.arguments))
    assert values["WorkingDirectory"].replace("%%", "%") == str(wanted.root)
    assert values["EnvironmentFile"].replace("%%", "%") == f"-{wanted.secrets}"
    variables = [read_by_systemd(value) for name, value in settings if name == "Environment"]
    assert sorted(variables) == sorted([f"{name}={value}"] for name, value in wanted.environment.items())
    assert (values["Type"], values["User"]) == ("oneshot", "somebody")


def test_a_users_own_unit_names_nobody_and_waits_for_nothing_of_the_system(wanted: Command) -> None:
    names = {name for name, _ in unit(systemd.service_unit(wanted))}
    assert not names & {"User", "After", "Wants"}


def test_a_run_that_was_missed_is_made_up_for_and_never_put_off_by_chance(wanted: Command) -> None:
    settings = dict(unit(systemd.timer_unit(wanted)))
    assert re.fullmatch(r"\*-\*-\* 0[1-4]:[0-5]\d:00", settings["OnCalendar"])
    assert (settings["Persistent"], settings["OnStartupSec"]) == ("true", "15min")
    assert "RandomizedDelaySec" not in settings
    assert settings["Unit"] == f"{wanted.name}.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
@pytest.mark.parametrize("user", [None, "root"])
def test_systemd_itself_takes_the_units(wanted: Command, tmp_path: Path, user: str | None) -> None:
    list(Systemd(folder=tmp_path, user=user, enable=False).install(wanted))
    units = [str(path) for path in tmp_path.glob("reflector-*")]
    assert len(units) == 2
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "reflector" in line]) == (0, [])


def test_units_are_written_once_and_removed(wanted: Command, tmp_path: Path) -> None:
    units = Systemd(folder=tmp_path / "units", user=None, enable=False)
    assert len(list(units.install(wanted))) == 2
    assert list(units.install(wanted)) == [f"{wanted.name} is as it was"]
    other = dataclasses.replace(wanted, stack="other")
    list(units.install(other))
    assert len(list((tmp_path / "units").iterdir())) == 4
    assert len(list(units.remove(wanted))) == 2
    assert {path.stem for path in (tmp_path / "units").iterdir()} == {other.name}
    assert list(units.remove(wanted)) == [f"{wanted.name} is not scheduled"]


def test_a_timer_is_switched_on_and_its_next_run_shown(
    wanted: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "_see_that_it_runs", lambda: None)
    monkeypatch.setenv("PATH", path_with(tmp_path / "path"))
    fake_command(tmp_path / "path", "loginctl", {"show-user": "no\n"})
    answers = {
        "--user daemon-reload": "",
        "--user enable": "",
        "--user restart": "",
        "--user list-timers": "NEXT\nTue\n",
    }
    log = fake_command(tmp_path / "path", "systemctl", answers)
    said = list(Systemd(folder=tmp_path / "units", user=None).install(wanted))
    assert said[2:4] == ["NEXT", "Tue"]
    assert "sudo loginctl enable-linger" in said[-1]
    asked = [" ".join(call["arguments"]) for call in calls(log)]
    assert asked[:3] == [
        "--user daemon-reload",
        f"--user enable --now {wanted.name}.timer",
        f"--user restart {wanted.name}.timer",
    ]
    fake_command(tmp_path / "path", "systemctl", {"": {"stderr": "no bus\n", "status": 1}})
    with pytest.raises(NotScheduled, match=r"^systemctl --user daemon-reload: no bus$"):
        list(Systemd(folder=tmp_path / "units", user=None).install(wanted))


# --- cron -------------------------------------------------------------------------------------------------------------


def test_cron_runs_what_was_meant_with_no_more_than_was_meant(wanted: Command) -> None:
    mark, line = cron.lines(wanted)
    assert mark == f"# {wanted.name}"
    minute, *stars, command = line.split(" ", 5)
    assert (0 <= int(minute) < 60, stars) == (True, ["*"] * 4)
    # To cron an unescaped percent sign is the end of the command.
    assert not re.search(r"(?<!\\)%", command)
    script = command.replace(r"\%", "%").replace(">/dev/null", "")
    wanted.secrets.parent.mkdir(parents=True)
    wanted.secrets.write_text("EXTRA='a b'\n", encoding="utf-8")
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"HOME": "/h", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    folder, arguments, environment = yaml.safe_load(done.stdout)
    assert folder == str(wanted.root)
    assert [wanted.arguments[0], *arguments[1:]] == list(wanted.arguments)
    assert dict(wanted.environment).items() <= environment.items()
    assert environment["EXTRA"] == "a b"


def test_a_crontab_keeps_what_others_wrote(tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = scheduled.command(stack, {})
    monkeypatch.setenv("PATH", path_with(tmp_path / "path"))
    fake_command(tmp_path / "path", "crontab", {"-l": {"stderr": "no crontab for me\n", "status": 1}, "-": ""})
    assert list(cron.remove(wanted)) == [f"{wanted.name} is not scheduled"]
    present = ["MAILTO=me@a.test", f"# {wanted.name}", "1 * * * * old", "5 5 * * * theirs"]
    log = fake_command(tmp_path / "path", "crontab", {"-l": "\n".join(present) + "\n", "-": ""})
    log.write_text("", encoding="utf-8")
    list(cron.install(wanted))
    written = calls(log)[-1]["stdin"].splitlines()
    assert written == ["MAILTO=me@a.test", "5 5 * * * theirs", *cron.lines(wanted)]
    fake_command(tmp_path / "path", "crontab", {"-l": "\n".join(written) + "\n", "-": ""})
    log.write_text("", encoding="utf-8")
    assert next(iter(cron.install(wanted))) == f"{wanted.name} is as it was"
    assert [call["arguments"] for call in calls(log)] == [["-l"]]
    list(cron.remove(wanted))
    assert calls(log)[-1]["stdin"].splitlines() == ["MAILTO=me@a.test", "5 5 * * * theirs"]


# --- GitHub -----------------------------------------------------------------------------------------------------------


def test_a_workflow_is_as_careful_as_our_own(stack: Stack) -> None:
    text = workflow.text(scheduled.command(stack, {}), at="192.0.2.1:443")
    content: dict[Any, Any] = yaml.safe_load(text)
    assert content["permissions"] == {}
    (job,) = content["jobs"].values()
    assert job["permissions"] == {"contents": "read"}
    assert all("${{" not in step.get("run", "") for step in job["steps"]), "values travel as variables: text is no code"
    assert job["steps"][-1]["run"].splitlines()[-1] == "make renew STACK=test ARGS='--at 192.0.2.1:443'"
    minute, hour, *rest = content[True]["schedule"][0]["cron"].split()  # YAML 1.1 reads the key `on` as true
    assert (int(minute) < 60, 1 <= int(hour) < 5, rest) == (True, True, ["*"] * 3)
    ours = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    for action in re.findall(r"uses: (.*)", text):
        assert f"uses: {action}\n" in ours, "the same pins as our own"


def test_a_workflow_needs_a_state_it_can_reach(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = scheduled.command(stack, {})
    with pytest.raises(NotScheduled, match="in files of this machine"):
        list(workflow.install(stack, wanted, at=None))
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://bucket")
    said = list(workflow.install(stack, wanted, at=None))
    assert said[0].endswith("renew-test.yml; commit it")
    assert next(iter(workflow.install(stack, wanted, at=None))).endswith("is as it was")
    assert next(workflow.remove(wanted)).startswith("removed ")


# --- The command ------------------------------------------------------------------------------------------------------


def test_nothing_is_scheduled_that_would_not_run(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert schedule(stack, output=tmp_path / "units") == 1
    assert "cannot be run: No such file or directory; make setup" in capsys.readouterr().err
    python = stack.layout.venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" >&2; exit 1\n', encoding="utf-8")
    python.chmod(0o755)
    assert schedule(stack, output=tmp_path / "units") == 1
    said = capsys.readouterr().err
    assert "the command fails where it has no shell of yours: -m toolchain run -- " in said
    assert "renew --stack test --dry-run" in said
    assert not (tmp_path / "units").exists()
    python.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    assert schedule(stack, output=tmp_path / "units") == 0
    assert len(list((tmp_path / "units").iterdir())) == 2
    assert schedule(stack, output=tmp_path / "units", remove=True) == 0
    assert list((tmp_path / "units").iterdir()) == []


@pytest.mark.parametrize(
    ("way", "shown"), [("systemd", "OnCalendar="), ("cron", " * * * * cd "), ("github", "runs-on:")]
)
def test_a_dry_run_shows_all_and_writes_nothing(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str], way: str, shown: str
) -> None:
    assert schedule(stack, way=way, output=tmp_path / "units", dry_run=True) == 0
    assert shown in capsys.readouterr().out
    assert not (tmp_path / "units").exists()
