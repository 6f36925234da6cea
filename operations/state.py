"""The engine's file backend, read without the engine: asking it takes as long as all other checks together.

Formats known here: version 3 of a checkpoint (`.pulumi/stacks/<project>/<stack>.json`, or `.json.gz` with
PULUMI_SELF_MANAGED_STATE_GZIP), the attributes beside each file, and locks (`.pulumi/locks/organization/…`), all of the
project-scoped layout that engine 3.61 and later make. Nothing is written but what removes a dead run's leavings.
"""

import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class StateFiles:
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

    def resources(self) -> Sequence[Mapping[str, Any]]:
        """Return the resources in the state, as the engine writes them."""
        return self._latest().get("resources") or ()

    def copies(self) -> list[str]:
        """Return where the engine keeps earlier states of this stack: folders, and the files beside the checkpoint."""
        root = self.checkpoints.parent.parent
        folders = [root / kind / self.checkpoints.name / self.stack for kind in ("backups", "history")]
        beside = sorted(self.checkpoints.glob(f"{self.stack}.json*.bak*"))
        return [str(path) for path in (*folders, *beside) if path.exists()]

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
