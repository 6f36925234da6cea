"""A stack's life around the engine: made on first use, freed from what an interrupted run left, taken up and down."""

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from settings.schema import schema
from toolchain import Layout, pulumi_environment

# The engine writes the salt of the stack's secrets into the stack file. It belongs to this machine's passphrase, so git
# is told to leave that line out of what it compares and commits.
_SALT_FILTER: Final = "filter.pulumi-salt.clean"
_WITHOUT_SALT: Final = "sed -e /^encryptionsalt:/d"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One stack of this checkout, run with the checkout's own engine, plugins and state."""

    name: str
    layout: Layout

    @property
    def environment(self) -> dict[str, str]:
        """What the engine runs in."""
        return pulumi_environment(self.layout, os.environ)

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

    def _files(self) -> "_StateFiles | None":
        """Where the state is if it is kept in files, None for any other backend."""
        url = self.environment.get("PULUMI_BACKEND_URL", "")
        if not url.startswith("file://"):
            return None
        # As the engine reads it: a home, or a folder relative to where it runs, may stand there too.
        folder = (
            self.layout.root / Path(unquote(url.removeprefix("file://").partition("?")[0])).expanduser() / ".pulumi"
        )
        return _StateFiles(
            checkpoints=folder / "stacks" / schema().project,
            locks=folder / "locks" / "organization" / schema().project / self.name,
            stack=self.name,
        )

    @property
    def deployment(self) -> str | None:
        """What marks containers and networks on the host as this state's own (see components/host.py).

        Empty before the first `up`; None where the state is not in files, and asking would take the engine.
        """
        files = self._files()
        return None if files is None else files.deployment()

    def ensure(self) -> None:
        """Make sure the stack exists and can be read, and that git sees nothing of its salt whoever made it."""
        files = self._files()
        if files is not None:
            files.remove_torn_attributes()
        if files is None or files.checkpoint is None:
            status = self.pulumi("stack", "select", "--create")
            if status != 0:
                sys.exit(status)
        self._keep_salt_out_of_git()

    def _keep_salt_out_of_git(self) -> None:
        """Define the filter that leaves it out, and bring git's note of the stack file's size up to date.

        A file of another size counts as modified for `git status`, whatever the filter makes of it.
        """
        if not (self.layout.root / ".git").exists() or shutil.which("git") is None:
            return
        file = f"Pulumi.{self.name}.yaml"
        try:
            modified = self._git("status", "--porcelain", "--", file)
            if self._git("config", "--default", "", "--get", _SALT_FILTER).strip() != _WITHOUT_SALT:
                self._git("config", "--local", _SALT_FILTER, _WITHOUT_SALT)
            if modified and not self._git("diff", "--name-only", "--", file):
                self._git("add", "--update", "--", file)
        except subprocess.CalledProcessError as error:
            # Somebody else's checkout, for one, git calls dubious and leaves alone. The stack can do without.
            reason, *_ = error.stderr.splitlines() or [str(error)]
            print(f"git may show {file} as modified: {reason}", file=sys.stderr)

    def _git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.layout.root, capture_output=True, text=True, check=True
        ).stdout

    def recover(self) -> None:
        """Clear away what a killed run left: its lock, and its note of operations under way.

        What those operations may have made on the Docker host is found by name and label when it is made again.
        """
        files = self._files()
        if files is None or files.checkpoint is None:
            return
        removed = files.remove_stale_locks()
        if removed:
            print(f"Removed the lock of a run that did not end ({removed}).")
        if not files.has_pending_operations():
            return
        deployment = json.loads(self.ask("stack", "export"))
        pending: list[dict[str, Any]] = deployment["deployment"].pop("pending_operations", [])
        for operation in pending:
            print(f"The last run was interrupted while {operation['type']} {operation['resource']['urn']}")
        self.ask("stack", "import", stdin=json.dumps(deployment))

    def outputs(self) -> dict[str, Any]:
        """Return the stack's outputs, with "[secret]" in place of each secret."""
        outputs: dict[str, Any] = json.loads(self.ask("stack", "output", "--json"))
        return outputs


@dataclass(frozen=True, kw_only=True)
class _StateFiles:
    """The files of one stack in the engine's file backend."""

    checkpoints: Path
    """Folder with one file for each stack of the project, and their backups."""
    locks: Path
    """Folder with one file for each run of this stack that is under way."""
    stack: str

    @property
    def checkpoint(self) -> Path | None:
        """The file with the state; None before there is any."""
        # The second is what PULUMI_SELF_MANAGED_STATE_GZIP makes of it.
        for name in (f"{self.stack}.json", f"{self.stack}.json.gz"):
            if (self.checkpoints / name).exists():
                return self.checkpoints / name
        return None

    def remove_torn_attributes(self) -> None:
        """Remove what makes the whole state count as unreadable ("EOF").

        The backend keeps attributes beside each of its files and writes them in place, so a kill in that moment leaves
        half a file. Nothing needs them.
        """
        beside_checkpoint = self.checkpoints.glob(f"{self.stack}.json*.attrs")
        for attributes in (*beside_checkpoint, *self.locks.glob("*.attrs")):
            try:
                json.loads(attributes.read_text(encoding="utf-8"))
            except ValueError:
                attributes.unlink()

    def remove_stale_locks(self) -> int:
        """Remove the locks of runs that are no more, and return how many there were."""
        stale = [lock for lock in sorted(self.locks.glob("*.json")) if _is_stale(json.loads(lock.read_text("utf-8")))]
        for lock in stale:
            lock.unlink()
        return len(stale)

    def has_pending_operations(self) -> bool:
        """Return whether the last run ended in the middle of an operation."""
        return bool(self._latest().get("pending_operations"))

    def deployment(self) -> str:
        """Return the number in the state that marks what is its own; empty if there is none yet."""
        for resource in self._latest().get("resources") or ():
            if resource["urn"].endswith("::host-deployment"):
                return str(resource["outputs"]["hex"])
        return ""

    def _latest(self) -> Mapping[str, Any]:
        if self.checkpoint is None:
            return {}
        data = self.checkpoint.read_bytes()
        content = json.loads(gzip.decompress(data) if self.checkpoint.suffix == ".gz" else data)
        latest: Mapping[str, Any] = content["checkpoint"].get("latest") or {}
        return latest


def _is_stale(lock: Mapping[str, Any]) -> bool:
    """Return whether a lock of the file backend belongs to a process of this machine that is no more."""
    if lock["hostname"] != socket.gethostname():
        return False
    state, name = _process(lock["pid"])
    # Killed, but its parent is gone too and nobody has collected it ("Z"), as in a container without an init; or
    # the number is another process's by now.
    return state in {"", "Z", "X"} or "pulumi" not in name


def _process(pid: int) -> tuple[str, str]:
    """Return the state letter and the program name of a process, both empty if there is none."""
    if sys.platform == "linux":  # where a slim system has no ps
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return "", ""
        # The name stands in parentheses and may hold some itself.
        name, _, rest = stat.partition("(")[2].rpartition(")")
        return rest.split()[0], name
    command = ["ps", "-o", "stat=,comm=", "-p", str(pid)]
    state, _, name = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().partition(" ")
    return state[:1], name
