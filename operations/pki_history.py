"""What each run of the engine has changed of certificates, who ran it, and who uses them since.

The backend keeps all of that: a record of each run, and the state it left (`.pulumi/history/<project>/<stack>`). What
is told here is the difference between the inventories of two states, so nothing is written down a second time.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from operations import inventory, rollover
from operations.healing import Resource, of_type
from operations.inventory import Certificate
from operations.pki_material import issue_of
from operations.resource_types import KEY_TYPE
from operations.stack import Stack
from operations.state import FORMATS, Damaged, StateError, read_checkpoint
from pki.rollover import STATE
from settings import Settings, masked

LAST: Final = 20
_RECORD: Final = ".history.json"
_ENCRYPTED: Final = "what there was of certificates is encrypted, or cannot be read: the next difference spans this run"


@dataclass(frozen=True, kw_only=True)
class State:
    """What a state says of certificates."""

    certificates: Mapping[str, Certificate]
    """By name."""
    keys: Mapping[str, str]
    """What tells the key of one that was issued here apart, by name."""
    revoked: frozenset[tuple[str, str]]
    """Authority and serial number, hexadecimal."""
    generations: Mapping[str, str]
    """In which state each generation of an authority is, by both their names."""


NOTHING: Final = State(certificates={}, keys={}, revoked=frozenset(), generations={})


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of the engine that has changed something, or was to."""

    kind: str
    """update, destroy, refresh, import."""
    started: datetime
    result: str
    """succeeded or failed."""
    who: str
    commit: str
    """Of the checkout it ran in, with a star where that held other changes; empty where it was none."""
    changes: Sequence[str] = field(default=())
    """Of certificates, a line each."""


def show(stack: Stack, settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the last runs, and return the exit status.

    Raises: StateError, OSError.
    """
    if arguments.last < 1:
        raise StateError(f"--last: {arguments.last}; allowed: 1 or more")
    if not stack.keeps_state_in_files:
        raise StateError(
            f"the state of {stack.name} is not in files, and other backends hand out no earlier states; who ran what "
            "is told by pulumi stack history"
        )
    found = list(runs(stack.files.history, settings))[-arguments.last :]
    if arguments.json:
        text = json.dumps([_described(one) for one in found], indent=2, ensure_ascii=False)
    else:
        text = "\n".join(line for one in found for line in _lines(one)) or f"{stack.name} was never deployed"
    print(masked(text, settings.encrypted))
    return 0


def runs(folder: Path, settings: Settings) -> Iterator[Run]:
    """Yield every run a backend has kept, the oldest first.

    Raises: StateError for a record that cannot be read.
    """
    before: State | None = NOTHING
    for path in sorted(folder.glob(f"*{_RECORD}"), key=_moment):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            kind, started, result = record["kind"], record["startTime"], record["result"]
            environment: Mapping[str, str] = record.get("environment") or {}
            at = datetime.fromtimestamp(started, UTC)
        except (OSError, ValueError, KeyError, TypeError):
            raise StateError(f"{path} cannot be read: the history has a hole there") from None
        after = _state(path, settings)
        told = [_ENCRYPTED] if after is None else list(changes(before, after)) if before is not None else []
        before = after if after is not None else before
        yield Run(
            kind=str(kind),
            started=at,
            result=str(result),
            who=_who(str(record.get("message") or ""), environment),
            commit=_commit(environment),
            changes=told,
        )


def _moment(path: Path) -> int:
    """Return when a run ended, as the engine has put it into the name of its record: nanoseconds."""
    number = path.name.removesuffix(_RECORD).rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def _who(message: str, environment: Mapping[str, str]) -> str:
    """Return who ran it, as `operations.stack.by_whom` has noted; plain pulumi has the last commit's subject there."""
    if message.startswith("by ") and "@" in message:
        return message
    name = environment.get("git.committer", "")
    return f"plain pulumi, at a commit of {name}" if name else "plain pulumi"


def _commit(environment: Mapping[str, str]) -> str:
    head = environment.get("git.head", "")[:12]
    return head + ("*" if head and environment.get("git.dirty") == "true" else "")


def _state(record: Path, settings: Settings) -> State | None:
    """Return what the state a run left says; None where it does not."""
    base = record.with_name(record.name.removesuffix(_RECORD))
    for ending in FORMATS:
        path = base.with_name(f"{base.name}.checkpoint{ending}")
        if path.exists():
            try:
                return state_of(read_checkpoint(path).get("resources") or (), settings)
            except (Damaged, OSError):
                return None
    return None


def state_of(resources: Sequence[Resource], settings: Settings) -> State | None:
    """Return what a state's resources say of certificates; None where that is encrypted."""
    every = inventory.listed_in(resources, settings.pki.renewal_hours)
    if every is None:
        return None
    found = [one for one in every if not one.is_list]  # of lists counts what is in them
    return State(
        certificates={one.called: one for one in found},
        keys={one.called: key for one in found if (key := _key(one, resources))},
        revoked=frozenset((one.authority, serial) for one in every for serial in one.revoked),
        generations={
            f"{authority} {name}": str(one.get(STATE))
            for _, recorded in rollover.records(resources)
            for authority, generations in recorded.items()
            for name, one in generations.items()
        },
    )


def _key(one: Certificate, resources: Sequence[Resource]) -> str:
    """Return the public key of one that was issued here; empty for another."""
    try:
        _, key = issue_of(one.name, of_type(resources, KEY_TYPE))
    except StateError:
        return ""
    found = (key.get("outputs") or {}).get("publicKeyPem")
    return found if isinstance(found, str) else ""


def changes(before: State, after: State) -> Iterator[str]:
    """Yield what is different, a line each."""
    for name in sorted({*before.certificates, *after.certificates}):
        old, new = before.certificates.get(name), after.certificates.get(name)
        if new is None:
            assert old is not None  # it is in one of the two
            yield f"- {name}{_number(old)}: gone"
            continue
        if old is None:
            signed = " ".join(filter(None, (new.authority, new.generation)))
            origin = "an authority" if new.is_authority else new.source + (f" by {signed}" if signed else "")
            yield f"+ {name}{_number(new)}: {origin}{_end(new)}{_used(new)}"
            continue
        if old.sha256 != new.sha256:
            again = "another certificate"
            if name in before.keys and name in after.keys:
                again = "renewed" if before.keys[name] == after.keys[name] else "with a new key"
            if old.generation != new.generation:
                again += f", {new.authority} {old.generation} → {new.generation}"
            yield f"~ {name}{_number(new)}: {again}, before{_number(old) or ' unknown'}{_end(new)}{_used(new)}"
        if old.users != new.users:
            now, then = (_used(one).removeprefix(", used by ") or "nobody" for one in (new, old))
            yield f"~ {name}: used by {now}, before by {then}"
    for name in sorted({*before.generations, *after.generations}):
        was, is_ = before.generations.get(name, "not there"), after.generations.get(name, "not there")
        if was != is_:
            yield f"~ authority {name}: {is_}, before {was}"
    for sign, found in (("+", after.revoked - before.revoked), ("-", before.revoked - after.revoked)):
        for authority, serial in sorted(found):
            yield f"{sign} revoked: {serial} of {authority}"


def _number(one: Certificate) -> str:
    return f" {one.serial}" if one.serial else ""


def _end(one: Certificate) -> str:
    return f", ends {one.expires:%Y-%m-%d}" if one.expires is not None else ""


def _used(one: Certificate) -> str:
    users = "; ".join(f"{kind} {', '.join(names)}" for kind, names in one.users.items() if names)
    return f", used by {users}" if users else ""


def _lines(one: Run) -> Iterator[str]:
    commit = f", at {one.commit}" if one.commit else ""
    yield f"{one.started:%Y-%m-%d %H:%M:%S} UTC  {one.kind} {one.result}  {one.who}{commit}"
    yield from (f"  {line}" for line in one.changes)


def _described(one: Run) -> Mapping[str, Any]:
    return {
        "started": f"{one.started:%Y-%m-%dT%H:%M:%SZ}",
        "kind": one.kind,
        "result": one.result,
        "who": one.who,
        "commit": one.commit or None,
        "changes": list(one.changes),
    }
