"""What the tests ask a Docker daemon, beside the program and not through it."""

import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from components.base.daemon import Daemon
from components.base.ownership import LABEL_SERVICE, LABEL_STACK
from testing.docker import erase
from tests.e2e.processes import ask


@dataclass(frozen=True, kw_only=True)
class DockerHost:
    """A Docker daemon."""

    address: str = "unix:///var/run/docker.sock"

    def docker(self, *arguments: str, stdin: str | None = None, timeout_seconds: float = 60) -> str:
        """Return what `docker` prints; fail the test if it fails."""
        return ask(("docker", "--host", self.address, *arguments), stdin=stdin, timeout_seconds=timeout_seconds)

    def ids(self, kind: str, prefix: str) -> list[str]:
        """Return what the stack called `prefix` has of a kind: `container`, `network` or `volume`."""
        every = ("--all",) if kind == "container" else ()
        label = f"label={LABEL_STACK}={prefix}"
        return self.docker(kind, "ls", *every, "--quiet", "--filter", label).split()

    def containers(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Return what Docker knows of each container of a stack, by service."""
        ids = self.ids("container", prefix)
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", *ids)) if ids else []
        return {container["Config"]["Labels"][LABEL_SERVICE]: container for container in found}

    def logs(self, container: str) -> str:
        """Return everything a container has written to both its streams."""
        done = subprocess.run(
            ["docker", "--host", self.address, "logs", container],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=True,
            errors="replace",
        )
        return done.stdout

    def erase(self, prefix: str) -> None:
        """Remove everything that carries the label of a stack, its data too."""
        erase(Daemon(address=self.address), prefix)

    @contextmanager
    def events(self, prefix: str) -> Iterator["Events"]:
        """Watch what happens to the containers of a stack."""
        command = ("docker", "--host", self.address, "events", "--format", "{{json .}}")
        filters = ("--filter", "type=container", "--filter", f"label={LABEL_STACK}={prefix}")
        with subprocess.Popen((*command, *filters), stdout=subprocess.PIPE, text=True, env=os.environ) as process:
            try:
                yield Events(process)
            finally:
                process.kill()


class Events:
    """Events of containers as they come."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._new: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self.actions: list[str] = []
        """Everything seen so far; Docker's own words, for a command inside a container with its whole command line."""
        self.exit_codes: dict[str, int] = {}
        """How each service's container ended last."""
        assert process.stdout is not None
        self._stream = process.stdout
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            event = json.loads(line)
            self.actions.append(event["Action"])
            if event["Action"] == "die":
                attributes = event["Actor"]["Attributes"]
                self.exit_codes[attributes[LABEL_SERVICE]] = int(attributes["exitCode"])
            self._new.put(event)

    def wait_for(self, action: str, service: str, timeout_seconds: float) -> None:
        """Wait until `action` happens to the container of `service`."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                event = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {action} of {service} within {timeout_seconds:g} s") from None
            if event["Action"] == action and event["Actor"]["Attributes"].get(LABEL_SERVICE) == service:
                return
