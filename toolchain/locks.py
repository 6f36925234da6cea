"""Locks that keep two runs from making the same thing at once."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from toolchain.progress import Progress


@contextlib.contextmanager
def locked(path: Path, title: str, progress: Progress) -> Iterator[int]:
    """Hold the lock file at `path`, after waiting for another run that holds it, and yield its descriptor.

    Child processes that are given the descriptor hold the lock too, should they outlive this one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            with progress.step(f"{title}: waiting for another set-up that is getting it (process {owner})"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock.fileno()
