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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from settings import digest_of

IMAGE_TYPE: Final = "docker:index/remoteImage:RemoteImage"
_CONTAINER_TYPE: Final = "docker:index/container:Container"


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

    def deployment(self) -> str:
        """Return the number in the state that marks what is its own; empty if there is none yet."""
        for resource in self._latest().get("resources") or ():
            if resource["urn"].endswith("::host-deployment"):
                return str(resource["outputs"]["hex"])
        return ""

    def kept_images(self) -> list[str]:
        """Return the ids of the images that are to be found again where a stack was taken down; none of one that is up.

        Docker removes no image that has a container, so while there are any nobody has to look.
        """
        resources = self._latest().get("resources") or ()
        if any(resource.get("type") == _CONTAINER_TYPE for resource in resources):
            return []
        return [str(resource["outputs"]["imageId"]) for resource in resources if resource.get("type") == IMAGE_TYPE]

    def pulled(self) -> dict[str, str]:
        """Return the images that were pulled by a tag, see `pulled_images`."""
        return pulled_images(self._latest())

    def _latest(self) -> Mapping[str, Any]:
        if self.checkpoint is None:
            return {}
        data = self.checkpoint.read_bytes()
        content = json.loads(gzip.decompress(data) if self.checkpoint.suffix == ".gz" else data)
        latest: Mapping[str, Any] = content["checkpoint"].get("latest") or {}
        return latest


def pulled_images(deployment: Mapping[str, Any]) -> dict[str, str]:
    """Return the images of a state that were pulled by a tag, each with its digest; empty where the daemon knows none.

    One whose name is secret is left out: it is a ciphertext there.
    """
    found: dict[str, str] = {}
    for resource in deployment.get("resources") or ():
        inputs, outputs = resource.get("inputs") or {}, resource.get("outputs") or {}
        name, digest = inputs.get("name"), outputs.get("repoDigest")
        if resource.get("type") != IMAGE_TYPE or "build" in inputs or resource.get("delete"):
            continue
        if isinstance(name, str) and isinstance(digest, str) and digest_of(name) is None:
            found[name] = digest_of(digest) or ""
    return found


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
