"""The checks of `make check` that are programs of their own."""

import shutil
from pathlib import Path

import pytest

from toolchain import checks, system
from toolchain.layout import ROOT, Layout, ToolchainError
from toolchain.pins import Pins
from toolchain.progress import Progress


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A checkout whose Go code passes, and a PATH with a Go and nothing else."""
    folder = tmp_path / "toolchain" / "go"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "toolchain" / "versions.toml", folder.parent)
    (folder / "build.py").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    script(tmp_path / "go", f"echo go version go{Pins.read().version('go')} linux/amd64")
    return Layout(tmp_path)


@pytest.mark.parametrize(
    ("gofmt", "status"),
    [("", 0), ("echo main.go", 1), ("echo 'main.go:1:1: expected package' >&2; exit 2", 1)],
)
def test_gofmt_that_names_a_file_or_fails_is_a_finding(layout: Layout, gofmt: str, status: int) -> None:
    script(layout.root / "gofmt", gofmt)
    assert checks.go(layout, Progress()) == status


def test_a_missing_gofmt_is_an_error(layout: Layout) -> None:
    with pytest.raises(ToolchainError, match="gofmt is not on PATH"):
        checks.go(layout, Progress())


def test_caddy_is_not_built_for_a_check_where_it_could_not_run(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe is that of the images, which run on Linux."""
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TOOLCHAIN_ORIGINS", "registry")
    monkeypatch.setattr(system, "host_platform", lambda: ("darwin", "arm64"))
    monkeypatch.setattr(system, "run", lambda *_, **__: pytest.fail("nothing is to be built"))
    with pytest.raises(ToolchainError, match="cannot be built from the package registries"):
        checks.obtain_caddy(layout, Progress())


def test_shell_scripts_are_found_by_ending_and_by_first_line() -> None:
    found = checks.shell_scripts(Layout().root)
    assert {"env.sh", ".ci/run"} <= set(found)
    assert not any(name.endswith(".py") for name in found)
