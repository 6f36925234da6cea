"""The Python environments."""

import io
import json
import threading
from pathlib import Path

import pytest

from toolchain import system, venvs
from toolchain.layout import Layout, ToolchainError
from toolchain.progress import Progress


def test_aws_is_not_asked_for_until_a_resource_of_it_is_registered(tmp_path: Path) -> None:
    marker = tmp_path / "pulumi_aws" / "pulumi-plugin.json"
    marker.parent.mkdir()
    marker.write_text('{"resource": true, "name": "aws", "version": "7.51.1"}')
    venvs.quiet_aws(tmp_path)
    assert json.loads(marker.read_text()) == {"resource": False, "name": "aws", "version": "7.51.1"}


def test_the_installed_environment_is_quiet_about_aws_alone() -> None:
    """Of the environment these tests run in: made by set-up, with every SDK the program imports."""
    import pulumi_aws
    import pulumi_docker

    flags = {
        module.__name__: json.loads((Path(str(module.__file__)).parent / "pulumi-plugin.json").read_text())["resource"]
        for module in (pulumi_aws, pulumi_docker)
    }
    assert flags == {"pulumi_aws": False, "pulumi_docker": True}


def test_an_environment_appears_whole_or_not_at_all(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    (layout.root / "requirements.txt").write_text("a==1\n")
    (layout.root / "requirements-aws.txt").write_text("b==1\n")
    steps: list[list[str]] = []
    broken = True

    def run(command: list[str], **_: object) -> int:
        steps.append(command)
        if command[1:3] == ["-m", "venv"]:
            (Path(command[3]) / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
        elif broken and "install" in command:
            raise ToolchainError("no index")
        return 0

    monkeypatch.setattr(system, "run", run)
    with pytest.raises(ToolchainError, match="no index"):
        venvs.ensure(layout, Progress(io.StringIO()))
    assert not layout.venv.exists()
    broken = False
    assert venvs.ensure(layout, Progress(io.StringIO())) == layout.venv
    first = venvs._made_from(layout.venv)
    assert first
    steps.clear()
    venvs.ensure(layout, Progress(io.StringIO()))
    assert steps == []
    (layout.root / "requirements.txt").write_text("a==2\n")
    venvs.ensure(layout, Progress(io.StringIO()))
    assert venvs._made_from(layout.venv) not in ("", first)
    assert [path.name for path in (layout.home / "venvs").iterdir()] == ["runtime.lock"], "nothing of before is left"
    assert any("check" in step for step in steps), "a set of pins that does not hold together must not pass"


def test_two_runs_at_once_make_an_environment_once(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    (layout.root / "requirements.txt").write_text("a==1\n")
    (layout.root / "requirements-aws.txt").write_text("b==1\n")
    begun, go_on = threading.Event(), threading.Event()
    made: list[str] = []
    held: list[object] = []

    def run(command: list[str], **options: object) -> int:
        held.append(options["pass_fds"])
        if command[1:3] == ["-m", "venv"]:
            made.append(command[3])
            (Path(command[3]) / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
            begun.set()
            assert go_on.wait(10)
        return 0

    class Log(io.StringIO):
        def write(self, text: str) -> int:
            if "waiting for another set-up" in text:
                go_on.set()
            return super().write(text)

    monkeypatch.setattr(system, "run", run)
    first = threading.Thread(target=venvs.ensure, args=(layout, Progress(io.StringIO())))
    first.start()
    assert begun.wait(10)
    assert venvs.ensure(layout, Progress(Log())) == layout.venv
    first.join()
    assert made == [str(layout.home / "venvs" / venvs._made_from(layout.venv))]
    assert held
    assert all(held), "what outlives a killed run must hold the lock too"


def stand_in(command: list[str], **_: object) -> int:
    """Do what matters here of making an environment."""
    if command[1:3] == ["-m", "venv"]:
        folder = Path(command[3])
        (folder / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
        (folder / "bin").mkdir()
        (folder / "bin" / "pip").write_text(f"#!{folder}/bin/python\n")
        (folder / "bin" / "python").symlink_to("/usr/bin/env")
    return 0


@pytest.mark.parametrize("before", ["nothing", "a link", "a dead link", "what pulumi install makes", "half of a move"])
def test_the_programs_environment_is_a_folder_whatever_was_there(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """`pulumi install` renews it in place, which Python's venv refuses at a link."""
    (layout.root / "requirements.txt").write_text("a==1\n")
    (layout.root / "requirements-aws.txt").write_text("b==1\n")
    monkeypatch.setattr(system, "run", stand_in)
    layout.home.mkdir()
    if before == "a link":
        (layout.home / "venvs" / "runtime-old").mkdir(parents=True)
    if before in ("a link", "a dead link"):
        layout.venv.symlink_to("venvs/runtime-old")
    elif before == "what pulumi install makes":
        (layout.venv / "lib").mkdir(parents=True)
    elif before == "half of a move":
        venvs.ensure(layout, Progress(io.StringIO()))
        layout.venv.rename(layout.home / "venvs" / venvs._made_from(layout.venv))
    assert venvs.ensure(layout, Progress(io.StringIO())) == layout.venv
    assert layout.venv.is_dir()
    assert not layout.venv.is_symlink()
    assert (layout.venv / "bin" / "pip").read_text() == f"#!{layout.venv}/bin/python\n"
    assert [path.name for path in (layout.home / "venvs").iterdir()] == ["runtime.lock"]


def test_the_environment_for_tests_is_built_where_it_stays(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in venvs.requirement_files(layout, dev=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a==1\n")
    monkeypatch.setattr(system, "run", stand_in)
    venvs.ensure(layout, Progress(io.StringIO()), dev=True)
    assert layout.venv_dev.is_symlink()
    assert (layout.venv_dev / "bin" / "pip").read_text() == f"#!{layout.venv_dev.resolve()}/bin/python\n"
