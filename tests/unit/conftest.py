"""What unit tests share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testing.commands import fake_command, path_with


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a `docker` on PATH with the given answers, and return the log of its calls."""

    def install(**answers: Any) -> Path:
        monkeypatch.setenv("PATH", path_with(tmp_path))
        return fake_command(tmp_path, "docker", {key.replace("_", " "): value for key, value in answers.items()})

    return install
