"""Harm done to a stack's state on purpose: by tests here, and by whoever ill-treats stacks for longer."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, mib: int = 4) -> Iterator[Path]:
    """Mount a file system of its own at `folder`; it is gone with all that is in it at the end."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a small disk is mounted as root only")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no room in the file system of `folder`, and return what to delete to have it back."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    return filler


def cut_off(file: Path) -> None:
    """Leave the first half of a file, as a disk does that was full or lost its power."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def empty(file: Path) -> None:
    """Leave a file of no length, as a power cut does before anything was synced."""
    file.write_bytes(b"")
