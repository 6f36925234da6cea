"""Progress of long steps: what runs, for how long, and its last line of output.

On a terminal one line is kept up to date; in a log a line appears every 15 seconds: a long step never looks hung.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

LOG_INTERVAL_SECONDS = 15.0
"""How often a running step is mentioned in a log."""

_TERMINAL_INTERVAL_SECONDS = 1.0


def duration(seconds: float) -> str:
    """Return `seconds` as people write it: 0.4 s, 12 s, 3 min 05 s."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def size(count: int) -> str:
    """Return a number of bytes as people write it."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


class Step:
    """One running step; `detail` is its latest line of output."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = time.monotonic()
        self.detail = ""
        self.mentioned = self.started

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started


class Progress:
    """Prints the steps of a run; may be used from several threads."""

    def __init__(self, stream: TextIO | None = None, interval: float = LOG_INTERVAL_SECONDS) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._terminal = self._stream.isatty()
        self._interval = interval
        self._lock = threading.Lock()
        self._steps: list[Step] = []
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._said: set[str] = set()

    def say(self, line: str) -> None:
        """Print one line."""
        with self._lock:
            self._print(line)

    def once(self, key: str, line: str) -> None:
        """Print one line, unless a line was already printed under the same key."""
        with self._lock:
            if key not in self._said:
                self._said.add(key)
                self._print(line)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Run the body as a step called `title`: announced, mentioned while it runs, and closed with its time."""
        step = Step(title)
        with self._lock:
            self._steps.append(step)
            self._print(f"{title} …")
            if self._thread is None:
                self._thread = threading.Thread(target=self._tick, daemon=True)
                self._thread.start()
        try:
            yield step
        except BaseException:
            self._close(step, f"{title}: failed after {duration(step.elapsed)}")
            raise
        self._close(step, f"{title}: done in {duration(step.elapsed)}")

    def _close(self, step: Step, line: str) -> None:
        with self._lock:
            self._steps.remove(step)
            self._print(line)

    def _print(self, line: str) -> None:
        if self._terminal:
            self._stream.write("\r\033[K")
        self._stream.write(line + "\n")
        self._stream.flush()

    def _tick(self) -> None:
        while True:
            self._wake.wait(_TERMINAL_INTERVAL_SECONDS if self._terminal else min(1.0, self._interval / 3))
            with self._lock:
                if not self._steps:
                    self._thread = None
                    return
                if self._terminal:
                    text = " | ".join(f"{s.title} {duration(s.elapsed)}" for s in self._steps)
                    if len(self._steps) == 1 and self._steps[0].detail:
                        text += f": {self._steps[0].detail}"
                    self._stream.write("\r\033[K" + text[:110])
                    self._stream.flush()
                    continue
                now = time.monotonic()
                for step in self._steps:
                    if now - step.mentioned >= self._interval:
                        step.mentioned = now
                        detail = f": {step.detail[:100]}" if step.detail else ""
                        self._print(f"{step.title}, {duration(step.elapsed)}{detail}")
