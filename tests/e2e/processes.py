"""Running commands so that each ends in bounded time and nothing of it outlives its test."""

import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Final

_MARK: Final = "REFLECTOR_E2E_RUN"
"""Inherited by everything a run starts; engine plugins leave its process group, but not its environment."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that has ended."""

    command: str
    status: int
    """As subprocess has it: negative for a signal."""
    output: str
    """Standard output and standard error, as a person would have seen them."""

    def succeeded(self) -> "Finished":
        """Return itself if the command succeeded, else fail the test with its output."""
        assert self.status == 0, f"{self.command} ended with status {self.status}:\n{self.output}"
        return self

    def failed(self) -> "Finished":
        """Return itself if the command failed by its own decision, else fail the test with its output."""
        assert self.status > 0, (
            f"{self.command} should have failed, but ended with status {self.status}:\n{self.output}"
        )
        return self


class Run:
    """A command under way, with all the processes it starts."""

    def __init__(self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
        self.command = " ".join(command)
        self._mark = uuid.uuid4().hex
        # A file and not a pipe: whoever survives a killed run cannot keep the reader waiting.
        self._output = tempfile.TemporaryFile("w+b")  # noqa: SIM115 -- closed with the run
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**environment, _MARK: self._mark},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def output(self) -> str:
        """Return what it has printed so far."""
        return os.pread(self._output.fileno(), 1 << 26, 0).decode(errors="replace")

    def finish(self, timeout_seconds: float) -> Finished:
        """Wait for its end; after `timeout_seconds` end it and fail the test with its output."""
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.command} did not end in {timeout_seconds:g} s:\n{self.output()}") from None
        return Finished(command=self.command, status=self._process.returncode, output=self.output())

    def kill(self) -> int:
        """Kill it and everything it started, all at once and without a word of warning; return how many that were."""
        killed = set()
        deadline = time.monotonic() + 30
        while processes := self._processes():
            for process in processes:
                try:
                    os.kill(process, SIGKILL)
                except ProcessLookupError:
                    continue
                killed.add(process)
            self._process.poll()
            assert time.monotonic() < deadline, f"processes {processes} of {self.command} cannot be killed"
            time.sleep(0.02)
        self._process.wait(10)
        return len(killed)

    def kill_only(self, name: str) -> None:
        """Kill its one process called `name`, as an out-of-memory killer would, and leave the rest to notice."""
        (process,) = (
            process
            for process in self._processes()
            if Path(f"/proc/{process}/comm").read_text(encoding="utf-8").strip() == name
        )
        os.kill(process, SIGKILL)

    def _processes(self) -> list[int]:
        mark = f"{_MARK}={self._mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    environment = (entry / "environ").read_bytes()
                except OSError:  # it has ended meanwhile, or is another user's
                    continue
                if mark in environment.split(b"\0"):
                    found.append(int(entry.name))
        return found


def run(
    command: Sequence[str],
    *,
    cwd: Path = Path("/"),
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = 60,
) -> Finished:
    """Run a command to its end."""
    process = Run(command, cwd=cwd, environment=os.environ if environment is None else environment)
    return process.finish(timeout_seconds)


def ask(command: Sequence[str], *, stdin: str | None = None, timeout_seconds: float = 60) -> str:
    """Return what a quick command prints on its standard output; fail the test if it does not succeed."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout_seconds, check=False, errors="replace"
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with status {done.returncode}: {done.stderr}{done.stdout}"
    return done.stdout
