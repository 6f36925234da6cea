"""A checkout with nothing in it yet, and a Docker host that tells what it is told to."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from operations.stack import Stack
from testing.certificates import Issued
from testing.commands import fake_command, path_with
from tests.unit.operations.stand_ins import INFO, VERSION, Docker, Listener
from toolchain import Layout


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """Puts a `docker` on PATH that tells of this host, and returns the log of its calls."""

    def install(
        containers: str = "",
        info: Mapping[str, Any] = INFO,
        version: Mapping[str, Any] = VERSION,
        *,
        volumes: str = "",
        networks: str = "",
        addresses: Sequence[Mapping[str, Any]] = (),
    ) -> Path:
        monkeypatch.setenv("PATH", path_with(tmp_path / "path"))
        answers = {
            "info": json.dumps(dict(info)),
            "version": json.dumps(dict(version)),
            "ps": containers,
            "volume ls": volumes,
            "network ls": networks,
        }
        if addresses:
            answers |= {
                "network ls --no-trunc --quiet": "".join(f"id-of-{network['Name']}\n" for network in addresses),
                "network inspect": json.dumps(list(addresses)),
            }
        return fake_command(tmp_path / "path", "docker", answers)

    return install


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack of a checkout with local state, no engine and no file yet."""
    for variable in (
        "PULUMI_BACKEND_URL",
        "PULUMI_ACCESS_TOKEN",
        "PULUMI_CONFIG_PASSPHRASE",
        "PULUMI_CONFIG_PASSPHRASE_FILE",
    ):
        monkeypatch.delenv(variable, raising=False)
    root = tmp_path / "checkout"
    root.mkdir()
    return Stack(name="test", layout=Layout(root))


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Have somebody listen at a port with a certificate, see `Listener`."""
    started: list[Listener] = []

    def start(of: Issued, port: int, clients: Issued | None = None, above: Sequence[Issued] = ()) -> None:
        started.append(Listener(tmp_path / f"listener-{port}", of, port, clients, above))

    yield start
    for one in started:
        one.stop()
