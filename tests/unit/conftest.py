"""What unit tests share."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testing.commands import fake_command, path_with
from toolchain import ROOT, Layout, Pins, Progress, obtain_caddy


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a `docker` on PATH with the given answers, and return the log of its calls."""

    def install(**answers: Any) -> Path:
        monkeypatch.setenv("PATH", path_with(tmp_path))
        return fake_command(tmp_path, "docker", {key.replace("_", " "): value for key, value in answers.items()})

    return install


def pinned_caddy() -> Path | None:
    """Return a Caddy of this machine that is the pinned one; any other has directives of its own."""
    on_path = shutil.which("caddy")
    for path in (ROOT / ".toolchain" / "bin" / "caddy", *([Path(on_path)] if on_path else [])):
        if path.is_file() and os.access(path, os.X_OK):
            said = subprocess.run([path, "version"], capture_output=True, text=True, check=False).stdout
            if said.split()[:1] == [f"v{Pins.read().version('caddy')}"]:
                return path
    return None


@pytest.fixture(scope="session")
def caddy() -> Path:
    """The pinned Caddy, which is what production runs; in CI and for `make check` it is obtained if need be."""
    if os.environ.get("CI"):
        return obtain_caddy(Layout(), Progress())
    found = pinned_caddy()
    if found is None:
        # Elsewhere getting it may mean minutes of compiling, which is not what somebody asks for with `make unit`.
        pytest.skip("Caddy itself could not be asked: the pinned version is neither in .toolchain/ nor on PATH")
    return found
