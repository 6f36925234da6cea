"""Fixtures of several tests."""

import shutil
from pathlib import Path

import pytest

from toolchain import system
from toolchain.layout import ROOT, Layout
from toolchain.tests.bench import Bench


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A checkout of nothing but the pinned set."""
    (tmp_path / "toolchain").mkdir()
    shutil.copy(ROOT / "toolchain" / "versions.toml", tmp_path / "toolchain")
    return Layout(tmp_path)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose PATH holds only what the test puts there; nobody's root."""
    folder = tmp_path / "machine"
    folder.mkdir()
    (folder / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GOTOOLCHAIN", "auto")
    monkeypatch.setattr(system, "is_root_on_debian", lambda: False)
    return folder


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
