"""The engine's file backend, read without the engine: asking it takes as long as all other checks together.

Formats known here: version 3 of a checkpoint (`.pulumi/stacks/<project>/<stack>.json`, or `.json.gz` with
PULUMI_SELF_MANAGED_STATE_GZIP), its copies (`.bak` beside it, `.pulumi/backups`, `.pulumi/history`), the attributes
beside each file, and locks (`.pulumi/locks/organization/…`), all of the project-scoped layout of engine 3.61 and later.
Nothing is written but what removes a dead run's leavings, and a lock of our own.
"""

import contextlib
import fcntl
import getpass
import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

FORMATS: Final = (".json", ".json.gz", ".json.zst")
"""How the name of a checkpoint ends."""

_FOUND_AGAIN: Final = frozenset({"docker", "command", "random", "tls", "pulumi", "reflector"})
"""Packages of which an interrupted creation leaves nothing behind that is not found by name and label, or nothing at
all: what random and tls make is only ever in the state."""
_NAMING: Final = ("bucket", "name", "user", "role")
"""Inputs by which somebody finds a thing that was being made."""

_WRITES: Final = 6
"""How many files as large as the state one step may need at once: a draft, the backup's draft, copies of the end."""
_LEAST_FREE_BYTES: Final = 1 << 20


class StateError(Exception):
    """What is wrong with a stack's state and what to do about it; its text is the whole message."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Who is at work on a stack, by the engine's lock or by ours."""

    user: str = "somebody"
    host: str = ""
    pid: int = 0
    since: str = ""
    """In ISO 8601."""
    command: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is of this machine."""
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        if not self.pid:
            return self.host
        command = f", `{self.command}`" if self.command else ""
        return f"{self.user}@{self.host} (process {self.pid}{command}) since {self.since[:19].replace('T', ' ')}"


@dataclass(frozen=True, kw_only=True)
class StateFiles:
    """The files of one stack in the engine's file backend."""

    folder: Path
    """The backend's own."""
    project: str
    stack: str
    root: Path
    """Where engines on this stack are run."""

    @property
    def checkpoints(self) -> Path:
        """Folder with one file for each stack of the project, and the copy each had before it was last written."""
        return self.folder / ".pulumi" / "stacks" / self.project

    @property
    def locks(self) -> Path:
        """Folder with one file for each run of this stack that is under way."""
        return self.folder / ".pulumi" / "locks" / "organization" / self.project / self.stack

    @property
    def backups(self) -> Path:
        """Folder with a copy of the state as each run has left it."""
        return self.folder / ".pulumi" / "backups" / self.project / self.stack

    @property
    def history(self) -> Path:
        """Folder with the same once more, and what each run did; `pulumi stack rm` empties it."""
        return self.folder / ".pulumi" / "history" / self.project / self.stack

    @property
    def checkpoint(self) -> Path | None:
        """The file with the state; None before there is any. Of several the newest counts, as for the engine."""
        found = [path for ending in FORMATS if (path := self.checkpoints / f"{self.stack}{ending}").exists()]
        return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)

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

    # --- Who is at work -----------------------------------------------------------------------------------------------

    def live_locks(self) -> list[Lock]:
        """Return the engine's locks, but for those of runs that are no more."""
        return [lock for _, lock in self._locks() if lock is not None]

    def remove_stale_locks(self) -> int:
        """Remove the locks of runs that are no more, and return how many there were."""
        stale = [path for path, lock in self._locks() if lock is None]
        for path in stale:
            path.unlink()
        return len(stale)

    def _locks(self) -> Iterator[tuple[Path, Lock | None]]:
        """Yield each of the engine's locks, with None where nobody holds it any more."""
        for path in sorted(self.locks.glob("*.json")):
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                lock = Lock(
                    user=content["username"],
                    host=content["hostname"],
                    pid=int(content["pid"]),
                    since=content["timestamp"],
                    command=_command(int(content["pid"])),
                )
            except FileNotFoundError:  # its run has just ended
                continue
            except (ValueError, KeyError, TypeError):
                # The engine writes a lock whole; one that is not has been through a power cut or a full disk.
                yield path, Lock(host=f"an unreadable lock, {path}") if self._engines() else None
                continue
            yield path, None if lock.is_local and _is_gone(lock.pid) else lock

    def _engines(self) -> list[int]:
        """Return the processes of this machine that may be engines at work in this checkout."""
        if sys.platform != "linux":
            listed = subprocess.run(["ps", "-axo", "pid=,comm="], capture_output=True, text=True, check=False).stdout
            lines = [line.split(None, 1) for line in listed.splitlines() if line.strip()]
            return [int(pid) for pid, name in lines if Path(name).name == "pulumi"]
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _process(int(entry.name))[1] == "pulumi" and not _is_gone(int(entry.name)):
                try:
                    elsewhere = (entry / "cwd").resolve(strict=True) != self.root.resolve()
                except OSError:  # another user's
                    elsewhere = False
                if not elsewhere:
                    found.append(int(entry.name))
        return found

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other command of ours off this stack, and be kept off by it.

        The engine's own lock comes only with its run, and of two that begin at once both may give way; what is repaired
        before must not be repaired by two, or under a run.
        Raises: StateError, which says who is at work.
        """
        if not self.folder.is_dir():  # the engine says so in its own words, and must not find one made by us
            yield
            return
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context((self.folder / f"{self.project}.{self.stack}.lock").open("a+"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.seek(0)
                    raise self._in_use(_noted(file.read())) from None
                live = self.live_locks()
                if live:
                    raise self._in_use(live[0])
                file.truncate(0)
                file.write(json.dumps(_myself()))
                file.flush()
            except OSError as error:
                raise StateError(
                    f"{self.folder}, which holds the state of the stack {self.stack}, cannot be written to:"
                    f" {error.strerror}. Nothing was changed."
                ) from error
            yield

    def _in_use(self, lock: Lock) -> StateError:
        wait = f"Wait until it has ended, or end it (kill {lock.pid})"
        if not lock.pid:
            wait = "Wait until every run of this stack has ended"
        elif not lock.is_local:
            wait = f"Wait until it has ended; if it is certain that it has: pulumi cancel --stack {self.stack}"
        return StateError(f"The stack {self.stack} is in use by {lock}. Nothing was changed. {wait}.")

    # --- Room ---------------------------------------------------------------------------------------------------------

    def see_that_there_is_room(self) -> None:
        """Raise StateError if a run might not be able to write what it did."""
        if not self.folder.is_dir():
            return
        size = self.checkpoint.stat().st_size if self.checkpoint else 0
        free, needed = shutil.disk_usage(self.folder).free, _LEAST_FREE_BYTES + _WRITES * size
        if free < needed:
            raise StateError(
                f"The disk with the state of the stack {self.stack}, {self.folder}, is full: {free >> 10} KiB are free,"
                f" {needed >> 10} KiB are needed. Nothing is lost. Free some, then run this again."
            )

    # --- What is in it ------------------------------------------------------------------------------------------------

    def pending_operations(self) -> list[Mapping[str, Any]]:
        """Return what the last run was in the middle of."""
        return list(self._latest().get("pending_operations") or ())

    def salt(self) -> str:
        """Return what the passphrase opens the state's secrets with; empty if there is none, or a key instead."""
        provider = self._latest().get("secrets_providers") or {}
        return str(provider["state"]["salt"]) if provider.get("type") == "passphrase" else ""

    def resources(self) -> Sequence[Mapping[str, Any]]:
        """Return the resources in the state, as the engine writes them."""
        return self._latest().get("resources") or ()

    def copies(self) -> list[str]:
        """Return where the engine keeps earlier states of this stack: folders, and the files beside the checkpoint."""
        root = self.checkpoints.parent.parent
        folders = [root / kind / self.checkpoints.name / self.stack for kind in ("backups", "history")]
        beside = sorted(self.checkpoints.glob(f"{self.stack}.json*.bak*"))
        return [str(path) for path in (*folders, *beside) if path.exists()]

    def past(self) -> list[Path]:
        """Return the states earlier runs have left, the newest first."""
        found = [path for ending in FORMATS for path in self.history.glob(f"*.checkpoint{ending}")]
        return sorted(found, key=lambda path: path.name, reverse=True)

    def _latest(self) -> Mapping[str, Any]:
        if self.checkpoint is not None:
            try:
                status = self.checkpoint.stat()
                return _as_last_read(self.checkpoint, (status.st_ino, status.st_mtime_ns, status.st_size))
            except Damaged as damage:
                raise StateError(
                    f"The state of the stack {self.stack} is damaged: {self.checkpoint} {damage}. Nothing was changed."
                    f" Bring back the engine's own copy: make recover STACK={self.stack}"
                ) from None
        if any(self.history.glob("*.checkpoint.json*")):
            # Whoever removes a stack removes its history as well.
            raise StateError(
                f"The state of the stack {self.stack} is gone, and its history is not: there is no"
                f" {self.checkpoints / self.stack}.json. Nothing was changed. Bring back the engine's own copy: make"
                f" recover STACK={self.stack}"
            )
        return {}


# --- Checkpoints ------------------------------------------------------------------------------------------------------


class Damaged(ValueError):
    """A checkpoint that cannot be read; its text ends a sentence that begins with the file."""


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Return the snapshot a checkpoint holds, {} if it holds none yet.

    Raises: Damaged.
    """
    data = path.read_bytes()
    if not data.strip(b"\0 \r\n"):
        raise Damaged("is empty")
    if ".json.zst" in path.name:
        raise Damaged("is compressed by zstd, which is not read here")
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except EOFError:
        raise Damaged("is cut off") from None
    except (OSError, zlib.error, UnicodeDecodeError):
        raise Damaged("is no checkpoint") from None
    try:
        checkpoint = json.loads(text)["checkpoint"]
        latest = checkpoint.get("latest") or {}
    except json.JSONDecodeError as error:
        # Cut off inside a text, the beginning of that is what json complains of.
        is_cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        raise Damaged("is cut off" if is_cut else "holds no JSON") from None
    except (KeyError, TypeError, AttributeError):
        raise Damaged("is no checkpoint") from None
    if not isinstance(latest, dict):
        raise Damaged("is no checkpoint")
    return latest


def mentions(path: Path, text: str) -> bool:
    """Return whether a checkpoint has `text` anywhere; that of one which cannot be read is not known, so it may.

    Much quicker than to read it.
    Raises: OSError.
    """
    if ".json.zst" in path.name:
        return True
    data = path.read_bytes()
    try:
        return text.encode() in (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return True


@lru_cache(maxsize=1)
def _as_last_read(path: Path, _stamp: tuple[int, int, int]) -> Mapping[str, Any]:
    """Return what a checkpoint holds: several ask within one run, and in between only an engine writes it."""
    return read_checkpoint(path)


def is_found_again(kind: str) -> bool:
    """Return whether a resource of this type that was half made is no loss: it is found again, or made anew."""
    return kind.partition(":")[0] in _FOUND_AGAIN


def unknown_creations(operations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each thing that may have been made and that nothing here would find again."""
    lines = []
    for operation in operations:
        resource = operation["resource"]
        if operation["type"] == "creating" and not is_found_again(resource["type"]):
            inputs = resource.get("inputs") or {}
            names = [f"{key}: {inputs[key]}" for key in _NAMING if isinstance(inputs.get(key), str)]
            lines.append(resource["urn"] + (f" ({', '.join(names)})" if names else ""))
    return lines


# --- Processes --------------------------------------------------------------------------------------------------------


def _myself() -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        user = str(os.getuid())
    return {
        "username": user,
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "timestamp": datetime.now(UTC).isoformat(),
        "command": " ".join(["python -m operations", *sys.argv[1:]]),
    }


def _noted(text: str) -> Lock:
    """Return who has written a lock of ours."""
    try:
        content = json.loads(text)
        return Lock(
            user=content["username"],
            host=content["hostname"],
            pid=content["pid"],
            since=content["timestamp"],
            command=content["command"],
        )
    except (ValueError, KeyError, TypeError):  # in the very moment it is written
        return Lock(host="another run that has just begun")


def _is_gone(pid: int) -> bool:
    """Return whether the process of an engine of this machine is no more."""
    state, name = _process(pid)
    # Killed, but its parent is gone too and nobody has collected it ("Z"), as in a container without an init; or
    # the number is another process's by now.
    return state in {"", "Z", "X"} or "pulumi" not in name


def _command(pid: int) -> str:
    """Return the command line of a process of this machine, empty if that cannot be told."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    return " ".join([Path(words[0]).name, *words[1:]]).strip()


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
