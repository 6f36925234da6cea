"""What tests of the toolchain put in the place of a machine: programs, files, parts."""

import io
import json
import textwrap
from pathlib import Path

from testing.commands import fake_command
from toolchain import needs
from toolchain.layout import Layout
from toolchain.parts import INSTALLED, REGISTRY, Obtained
from toolchain.progress import Progress


def quiet() -> Progress:
    """Return a progress nobody sees."""
    return Progress(io.StringIO())


def program(folder: Path, name: str, body: str) -> None:
    """Put a shell script called `name` into `folder`, to be found on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{textwrap.dedent(body)}\n")
    path.chmod(0o755)


def put(path: Path, content: bytes | str, mode: int = 0o644) -> Path:
    """Write a file and the folders above it, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def obtained(folder: Path, name: str, version: str, *files: str, origin: str = REGISTRY) -> Obtained:
    """Return a part whose `files` lie in `folder`, each saying name and version."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(f"{name} {version}")
        (folder / file).chmod(0o755)
    return Obtained(
        name=name,
        version=version,
        origin=origin,
        files={file: str(folder / file) for file in files},
        sha256="ab" * 32,
        key="" if origin == INSTALLED else "k",
    )


def reader(layout: Layout, answer: object, stack: str = "x", **more: object) -> Path:
    """Put a Python into the program's environment that says what `stack` needs, and return the log of its calls."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    answers = {f"{' '.join(needs.COMMAND)} {stack}": {"stdout": text, **more}}
    return fake_command(layout.venv / "bin", "python", answers)


def needed(
    docker_host: str = "unix:///var/run/docker.sock",
    minimum_free_disk_gib: float = 5,
    images: bool = False,
    aws: bool = False,
) -> dict[str, object]:
    """Return what the reader of stack files says of a stack."""
    return {
        "docker_host": docker_host,
        "minimum_free_disk_gib": minimum_free_disk_gib,
        "images": images,
        "aws": aws,
    }
