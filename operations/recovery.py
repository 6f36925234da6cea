"""A damaged state, brought back from one of the copies the engine keeps of it."""

import contextlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from operations.stack import Stack
from operations.state import Damaged, StateError, StateFiles, is_found_again, read_checkpoint

_URN: Final = re.compile(r'"urn": ?"([^"\\]+)"')


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A whole copy of a stack's state."""

    path: Path
    snapshot: Mapping[str, Any]

    @property
    def time(self) -> str:
        """When the state was so, in ISO 8601; empty for a stack that had nothing yet."""
        return str((self.snapshot.get("manifest") or {}).get("time", ""))

    @property
    def urns(self) -> set[str]:
        """What it knows."""
        return {resource["urn"] for resource in self.snapshot.get("resources") or ()}


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What was in the damaged state, as far as can be told, and is not in a copy."""

    resources: Sequence[str] = ()
    """URNs of what is nowhere but in the state, or would not be found again."""
    found_again: Sequence[str] = ()
    """URNs of what the next `up` finds by name, or makes anew without harm."""
    updates: Sequence[str] = ()
    """Runs that ended after the copy was made."""
    unreadable: Sequence[Path] = ()
    """Newer copies that are damaged too, so that there may be more."""

    def __bool__(self) -> bool:
        return bool(self.resources or self.updates or self.unreadable)

    def lines(self) -> Iterator[str]:
        """Yield what somebody has to know before it is gone."""
        yield from (f"lost: {urn}" for urn in self.resources)
        yield from (f"lost: what the {update} changed" for update in self.updates)
        yield from (f"perhaps more: {path} is newer, and damaged too" for path in self.unreadable)
        yield from (f"not in the copy, and found or made again by the next up: {urn}" for urn in self.found_again)


def recover(stack: Stack, *, accept_loss: bool) -> int:
    """Put the newest whole copy in the place of a damaged state, and return the exit status.

    What is damaged is kept. Where something would be lost, that is said and nothing done, unless it is accepted.
    Raises: StateError if there is nothing to bring back.
    """
    files = stack.files
    damaged = files.checkpoint
    if damaged is not None:
        try:
            read_checkpoint(damaged)
        except Damaged as damage:
            print(f"The state of the stack {stack.name} is damaged: {damaged} {damage}.")
        else:
            print(f"The state of the stack {stack.name} is whole: {damaged}. There is nothing to recover.")
            return 0
    copy, unreadable = newest_copy(files)
    if copy is None:
        raise StateError(
            f"There is no whole copy of the state of the stack {stack.name} in {files.folder}. Bring one back from a"
            " backup of yours; if there is none, every key and password of the stack is lost."
        )
    print(f"The newest whole copy is {copy.path}, of {_shown(copy.time)}, with {len(copy.urns)} resources.")
    loss = loss_of(files, damaged, copy, unreadable)
    for line in loss.lines():
        print(f"  - {line}")
    if loss and not accept_loss:
        print(f"Nothing was changed. To take the copy all the same: make recover STACK={stack.name} ARGS=--accept-loss")
        return 1
    kept = _put_in_place(files, damaged, copy)
    files.remove_stale_locks()
    print("The copy is in place." + (f" The damaged file is kept: {kept}." if kept else ""))
    print(f"Go on with: make up STACK={stack.name}")
    return 0


def newest_copy(files: StateFiles) -> tuple[Copy | None, list[Path]]:
    """Return the newest whole copy of a state, and the damaged ones that are newer."""
    best: Copy | None = None
    damaged = []
    for group in _copies(files):
        # In each group the newest comes first, and the others are older states.
        for path in group:
            try:
                found = Copy(path=path, snapshot=read_checkpoint(path))
            except (Damaged, OSError):
                damaged.append(path)
                continue
            if best is None or found.time > best.time:
                best = found
            break
    if best is not None:
        made = best.path.stat().st_mtime_ns
        damaged = [path for path in damaged if path.stat().st_mtime_ns >= made]
    return best, damaged


def _copies(files: StateFiles) -> Iterator[list[Path]]:
    for path in (*files.checkpoints.glob(f"{files.stack}.json*.bak"), *files.checkpoints.glob(f"{files.stack}.json*")):
        if path != files.checkpoint and path.suffix in {".bak", ".json", ".gz"}:
            yield [path]
    for folder, pattern in ((files.history, "*.checkpoint.json*"), (files.backups, "*.json*")):
        yield sorted((path for path in folder.glob(pattern) if path.suffix != ".attrs"), key=_moment, reverse=True)


def _moment(path: Path) -> int:
    """Return the nanoseconds in the name of a copy the engine has made at the end of a run."""
    found = re.findall(r"\d{15,}", path.name)
    return int(found[-1]) if found else 0


def loss_of(files: StateFiles, damaged: Path | None, copy: Copy, unreadable: Sequence[Path]) -> Loss:
    """Return what a copy lacks of what is known: from what is left of the damaged file, and from the history."""
    kinds = {urn: _kind(urn) for urn in _remains(damaged)}
    for operation in copy.snapshot.get("pending_operations") or ():
        if operation["type"] == "creating":
            kinds[operation["resource"]["urn"]] = operation["resource"]["type"]
    missing = sorted(kinds.keys() - copy.urns)
    lost = [urn for urn in missing if not is_found_again(kinds[urn]) or _is_only_in_the_state(kinds[urn])]
    return Loss(
        resources=lost,
        found_again=[urn for urn in missing if urn not in lost],
        updates=list(_updates_after(files, copy)),
        unreadable=unreadable,
    )


def _remains(damaged: Path | None) -> set[str]:
    """Return every URN that can still be read in a damaged state."""
    data = damaged.read_bytes() if damaged is not None else b""
    if data[:2] == b"\x1f\x8b":
        stream = zlib.decompressobj(wbits=31)
        try:
            data = stream.decompress(data)
        except zlib.error:
            data = b""
    return set(_URN.findall(data.decode(errors="replace")))


def _kind(urn: str) -> str:
    """Return the type of a resource by its URN, without those of its parents."""
    return urn.split("::")[2].rpartition("$")[2] if urn.count("::") >= 3 else ""


def _is_only_in_the_state(kind: str) -> bool:
    return kind.partition(":")[0] in {"random", "tls"}


def _updates_after(files: StateFiles, copy: Copy) -> Iterator[str]:
    for path in sorted(files.history.glob("*.history.json"), key=_moment, reverse=True):
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            ended = datetime.fromtimestamp(entry["endTime"], UTC).isoformat()
            if _is_from_before(path, ended, copy):
                return
            if any(kind != "same" for kind in entry.get("resourceChanges") or {}):
                yield f"{entry['kind']} of {_shown(ended)}, which {entry['result']},"
        except (ValueError, KeyError, TypeError):
            yield f"run in {path.name}, which cannot be read,"


def _is_from_before(entry: Path, ended: str, copy: Copy) -> bool:
    """Return whether what a run in the history did is in the copy."""
    # The copies in the history and in the backups are made at the end of a run.
    if _moment(entry) <= _moment(copy.path):
        return True
    for result in entry.parent.glob(f"{entry.name.removesuffix('.history.json')}.checkpoint.json*"):
        with contextlib.suppress(Damaged, OSError):
            return Copy(path=result, snapshot=read_checkpoint(result)).time <= copy.time
    return ended[:19] <= copy.time[:19]


def _shown(time: str) -> str:
    return time[:19].replace("T", " ") or "before the first run"


def _put_in_place(files: StateFiles, damaged: Path | None, copy: Copy) -> Path | None:
    """Make the copy the state, in one move, and return where what was damaged is kept."""
    name = f"{files.stack}.json" + (".gz" if copy.path.read_bytes()[:2] == b"\x1f\x8b" else "")
    place = files.checkpoints / name
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f"{name}.{os.getpid()}.new")
    kept = None
    try:
        with copy.path.open("rb") as source, draft.open("wb") as sink:
            shutil.copyfileobj(source, sink)
            sink.flush()
            os.fsync(sink.fileno())
        if damaged is not None:
            aside = files.folder / "damaged"
            aside.mkdir(mode=0o700, exist_ok=True)
            kept = aside / f"{damaged.name}.{datetime.now(UTC):%Y%m%dT%H%M%S}"
            shutil.copy2(damaged, kept)
        draft.replace(place)
    except OSError as error:
        raise StateError(
            f"{error.filename or place} cannot be written: {error.strerror}. Nothing was changed."
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    if damaged is not None and damaged != place:
        damaged.unlink()
    for attributes in files.checkpoints.glob(f"{files.stack}.json*.attrs"):
        attributes.unlink()  # of the damaged file; nothing needs them
    return kept
