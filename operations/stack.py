"""A stack's life around the engine: made on first use, freed from what an interrupted run left, taken up and down."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from settings.schema import schema
from toolchain import environment
from toolchain.layout import Layout

# The engine writes the salt of the stack's secrets into the stack file. It belongs to this machine's passphrase, so git
# is told to leave that line out of what it compares and commits.
_SALT_FILTER: Final = "sed -e /^encryptionsalt:/d"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One stack of this checkout, run with the checkout's own engine, plugins and state."""

    name: str
    layout: Layout

    @property
    def environment(self) -> dict[str, str]:
        """What the engine runs in."""
        return environment.applied(self.layout, os.environ)

    def pulumi(self, *arguments: str) -> int:
        """Run the engine on this stack, its output passed through, and return its exit status."""
        return subprocess.run(
            [str(self.layout.bin / "pulumi"), *arguments, "--stack", self.name],
            cwd=self.layout.root,
            env=self.environment,
            check=False,
        ).returncode

    def ask(self, *arguments: str, stdin: str | None = None) -> str:
        """Run the engine on this stack and return what it prints; its complaints are passed through.

        Raises: subprocess.CalledProcessError if it fails.
        """
        return subprocess.run(
            [str(self.layout.bin / "pulumi"), *arguments, "--stack", self.name],
            cwd=self.layout.root,
            env=self.environment,
            input=stdin,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    @property
    def _local_state(self) -> Path | None:
        """The folder of the state if it is kept in files, None for any other backend."""
        backend = urlsplit(self.environment.get("PULUMI_BACKEND_URL", ""))
        return Path(unquote(backend.path)) / ".pulumi" if backend.scheme == "file" else None

    def _checkpoint(self) -> Path | None:
        state = self._local_state
        return state and state / "stacks" / schema().project / f"{self.name}.json"

    def ensure(self) -> None:
        """Make sure the stack exists, and that git sees nothing of its salt whoever made it."""
        self._keep_salt_out_of_git()
        checkpoint = self._checkpoint()
        if checkpoint is None or not checkpoint.exists():
            status = self.pulumi("stack", "select", "--create")
            if status != 0:
                sys.exit(status)
        self._let_git_see_that_nothing_changed()

    def _keep_salt_out_of_git(self) -> None:
        if (self.layout.root / ".git").exists():
            self._git("config", "--local", "filter.pulumi-salt.clean", _SALT_FILTER)

    def _let_git_see_that_nothing_changed(self) -> None:
        """Bring git's note of the stack file's size up to date.

        A file of another size counts as modified for `git status`, whatever the filter makes of it.
        """
        file = f"Pulumi.{self.name}.yaml"
        if (self.layout.root / ".git").exists() and self._git("diff", "--quiet", "--", file, check=False) == 0:
            self._git("add", "--update", "--", file)

    def _git(self, *arguments: str, check: bool = True) -> int:
        return subprocess.run(["git", *arguments], cwd=self.layout.root, check=check).returncode

    def recover(self) -> None:
        """Clear away what a killed run left: its lock, and its note of operations under way.

        What those operations may have made on the Docker host is found by name and label when it is made again.
        """
        state = self._local_state
        checkpoint = self._checkpoint()
        if state is None or checkpoint is None or not checkpoint.exists():
            return
        locks = state / "locks" / "organization" / schema().project / self.name
        dead = [
            lock for lock in sorted(locks.glob("*.json")) if _is_stale(json.loads(lock.read_text(encoding="utf-8")))
        ]
        for lock in dead:
            lock.unlink()
        if dead:
            print(f"Removed the lock of a run that did not end ({len(dead)}).")
        # Beside each file the backend keeps its attributes, written in place: a kill in that moment leaves half a file,
        # and the state itself then counts as unreadable ("EOF"). Nothing needs them.
        for attributes in (*checkpoint.parent.glob(f"{self.name}.json*.attrs"), *locks.glob("*.attrs")):
            try:
                json.loads(attributes.read_text(encoding="utf-8"))
            except ValueError:
                attributes.unlink()
        if not json.loads(checkpoint.read_text(encoding="utf-8"))["checkpoint"]["latest"].get("pending_operations"):
            return
        deployment = json.loads(self.ask("stack", "export"))
        pending: list[dict[str, Any]] = deployment["deployment"].pop("pending_operations", [])
        for operation in pending:
            print(f"The last run was interrupted while {operation['type']} {operation['resource']['urn']}")
        self.ask("stack", "import", stdin=json.dumps(deployment))

    def outputs(self) -> dict[str, Any]:
        """Return the stack's outputs, secrets in the clear: for this process only."""
        outputs: dict[str, Any] = json.loads(self.ask("stack", "output", "--json", "--show-secrets"))
        return outputs


def _is_stale(lock: Mapping[str, Any]) -> bool:
    """Return whether a lock of the file backend belongs to a process of this machine that is no more."""
    if lock["hostname"] != socket.gethostname():
        return False
    # ps knows on every system, and says nothing of a process that is no more.
    process = subprocess.run(
        ["ps", "-o", "stat=,comm=", "-p", str(lock["pid"])], capture_output=True, text=True, check=False
    ).stdout.strip()
    # Killed, but its parent is gone too and nobody has collected it ("Z"), as in a container without an init; or
    # the number is another process's by now.
    return process.startswith(("Z", "X")) or "pulumi" not in process
