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
    first = layout.venv.resolve()
    steps.clear()
    venvs.ensure(layout, Progress(io.StringIO()))
    assert steps == []
    (layout.root / "requirements.txt").write_text("a==2\n")
    venvs.ensure(layout, Progress(io.StringIO()))
    assert layout.venv.resolve() != first
    assert not first.exists()
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
    assert made == [str(layout.venv.resolve())]
    assert held
    assert all(held), "what outlives a killed run must hold the lock too"
