"""A container of Caddy's, as far as its scripts see it, run here without Docker."""

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from rendering import caddyfile

TIMEOUT_SECONDS: Final = 30


class CaddyContainer(ABC):
    """Volume, variables, and Caddy on PATH. Who derives from it says what is run, and when it is healthy."""

    script: str
    """Its start script."""

    def __init__(self, folder: Path, caddy: Path, loopback: int) -> None:
        """`loopback` is the port at which what is inside asks it for its health."""
        self.folder = folder
        self.config = folder / "config"
        self.loopback = loopback
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "bin").mkdir()
        (folder / "run").mkdir()
        (folder / "bin" / "caddy").symlink_to(caddy)

    def here(self, text: str) -> str:
        """Return text with the places and the port of this container."""
        return (
            text.replace(caddyfile.CONFIG_DIRECTORY, str(self.config))
            .replace(caddyfile.RUN_DIRECTORY, str(self.folder / "run"))
            .replace(f":{caddyfile.LOOPBACK_PORT}", f":{self.loopback}")
            # Harder than the container has it, and sooner over.
            .replace(f":{caddyfile.DRAIN_SECONDS}s}}", ":1s}")
        )

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the container."""
        return {"PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": str(self.folder)}

    @abstractmethod
    def is_healthy(self) -> bool:
        """Return what its health check would say."""

    def start(self) -> None:
        """Start it, and wait until it is healthy."""
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                ["sh", "-c", self.here(self.script)], env=self.environment, stderr=sink, start_new_session=True
            )
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not self.is_healthy():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once, as the kernel does once the first process has ended."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
