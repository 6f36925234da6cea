"""A damaged state, brought back from the engine's own copies."""

import gzip
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from operations.recovery import recover
from operations.stack import Stack
from operations.state import StateError
from tests.unit.operations.stand_ins import checkpoint, ended_process, lock_of, with_state

KEY: Final = "urn:pulumi:test::reflector::reflector:pki:Authority$tls:index/privateKey:PrivateKey::key"
WEB: Final = "urn:pulumi:test::reflector::docker:index/container:Container::web"
EARLIER: Final = "2026-01-01T00:00:00Z"
LATER: Final = "2026-01-02T00:00:00Z"
LATER_IN_SECONDS: Final = 1767312000


def state_of(*urns: str, time: str = EARLIER, creating: str = "") -> str:
    """Return a checkpoint that knows these resources."""
    kind = creating.rpartition("::")[0].rpartition("$")[2]
    pending = [{"type": "creating", "resource": {"urn": creating, "type": kind}}] if creating else False
    return checkpoint(resources=[{"urn": urn} for urn in urns], time=time, pending=pending)


def damage(stack: Stack, content: str | bytes = "") -> Path:
    """Give `stack` a state with this content, and return its file."""
    with_state(stack)
    file = stack.files.checkpoint
    assert file is not None
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def keep(stack: Stack, where: str, content: str | bytes, moment: int = 1795809136908672453) -> Path:
    """Put a copy where the engine does."""
    files = stack.files
    path = {
        "bak": files.checkpoints / "test.json.bak",
        "gzip bak": files.checkpoints / "test.json.gz.bak",
        "backup": files.backups / f"test.{moment}.json",
        "history": files.history / f"test-{moment}.checkpoint.json",
    }[where]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def keep_update(stack: Stack, moment: int = 1795809136908672454, **entry: object) -> None:
    """Note a run in the history."""
    kept = {"kind": "update", "endTime": LATER_IN_SECONDS, "result": "succeeded", "resourceChanges": {"create": 2}}
    path = stack.files.history / f"test-{moment}.history.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept | entry))


def content(stack: Stack) -> Mapping[str, Any]:
    file = stack.files.checkpoint
    assert file is not None
    found: Mapping[str, Any] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize("where", ["bak", "backup", "history"])
def test_a_damaged_state_is_brought_back_from_wherever_a_whole_one_is(
    stack: Stack, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    file = damage(stack, state_of(KEY, WEB)[:60])
    file.with_name("test.json.attrs").write_text("{}")
    copy = keep(stack, where, state_of(KEY, WEB))
    stale = with_state_lock(stack)
    assert recover(stack, accept_loss=False) == 0
    assert file.read_text() == copy.read_text() == state_of(KEY, WEB)
    assert not file.with_name("test.json.attrs").exists(), "it speaks of the damaged file"
    assert not stale.exists()
    (kept,) = (stack.files.folder / "damaged").iterdir()
    assert kept.read_text() == state_of(KEY, WEB)[:60]
    assert capsys.readouterr().out.splitlines() == [
        f"The state of the stack test is damaged: {file} is cut off.",
        f"The newest whole copy is {copy}, of 2026-01-01 00:00:00, with 2 resources.",
        f"The copy is in place. The damaged file is kept: {kept}.",
        "Go on with: make up STACK=test",
    ]


def with_state_lock(stack: Stack) -> Path:
    lock = stack.files.locks / "lock.json"
    lock.write_text(json.dumps(lock_of(ended_process())))
    return lock


def test_a_whole_state_is_left_alone(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    file = damage(stack, state_of(KEY))
    keep(stack, "bak", state_of())
    assert recover(stack, accept_loss=True) == 0
    assert file.read_text() == state_of(KEY)
    assert "is whole" in capsys.readouterr().out


def test_of_several_copies_the_newest_state_is_taken_not_the_newest_file(stack: Stack) -> None:
    file = damage(stack)
    keep(stack, "history", state_of(time=EARLIER), moment=1795809136908672453)
    keep(stack, "history", state_of(KEY, time=LATER), moment=1795809136908672999)
    os.utime(keep(stack, "bak", state_of(time=EARLIER)), (2**32, 2**32))
    assert recover(stack, accept_loss=False) == 0
    assert file.read_text() == state_of(KEY, time=LATER)


@pytest.mark.parametrize(
    ("left", "creating", "line"),
    [
        (state_of(KEY, WEB)[:-60], "", f"  - lost: {KEY}"),
        (gzip.compress(state_of(KEY, WEB).encode())[:-8], "", f"  - lost: {KEY}"),
        ("", KEY, f"  - lost: {KEY}"),
    ],
    ids=["cut off", "gzip cut off", "was being made"],
)
def test_what_would_be_lost_is_named_and_has_to_be_accepted(
    stack: Stack, capsys: pytest.CaptureFixture[str], left: str | bytes, creating: str, line: str
) -> None:
    file = damage(stack, left)
    before = file.read_bytes()
    copy = keep(stack, "bak", state_of(creating=creating) if creating else state_of())
    assert recover(stack, accept_loss=False) == 1
    said = capsys.readouterr().out
    assert line in said
    assert said.endswith("make recover STACK=test ARGS=--accept-loss\n")
    assert file.read_bytes() == before
    assert recover(stack, accept_loss=True) == 0
    assert file.read_text() == copy.read_text()


def test_what_is_found_again_by_name_is_no_loss(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    damage(stack, state_of(KEY, WEB)[:-4])
    keep(stack, "bak", state_of(KEY))
    assert recover(stack, accept_loss=False) == 0
    assert f"  - not in the copy, and found or made again by the next up: {WEB}" in capsys.readouterr().out


def test_runs_after_the_copy_are_a_loss(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    damage(stack)
    keep(stack, "backup", state_of(KEY))
    keep_update(stack, moment=1, endTime=LATER_IN_SECONDS - 10**6)
    keep_update(stack, moment=2, endTime=LATER_IN_SECONDS + 60, resourceChanges={"same": 9})
    assert recover(stack, accept_loss=False) == 0, "neither the run that made it, nor one that changed nothing"
    damage(stack)
    keep_update(stack)
    assert recover(stack, accept_loss=False) == 1
    assert "  - lost: what the update of 2026-01-02 00:00:00, which succeeded, changed" in capsys.readouterr().out


def test_a_run_ends_a_moment_after_its_last_copy_was_made(stack: Stack) -> None:
    damage(stack)
    keep(stack, "bak", state_of(KEY, time=EARLIER))
    keep(stack, "history", state_of(KEY, time=EARLIER), moment=1795809136908672454)
    keep_update(stack, moment=1795809136908672454)
    assert recover(stack, accept_loss=False) == 0


def test_a_newer_copy_that_is_damaged_too_may_have_held_more(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    damage(stack)
    os.utime(keep(stack, "history", state_of(KEY)), (1, 1))
    broken = keep(stack, "bak", "")
    assert recover(stack, accept_loss=False) == 1
    assert f"  - perhaps more: {broken} is newer, and damaged too" in capsys.readouterr().out
    os.utime(broken, (0, 0))
    assert recover(stack, accept_loss=False) == 0


def test_a_compressed_copy_stays_one(stack: Stack) -> None:
    file = damage(stack)
    compressed = gzip.compress(state_of(KEY).encode())
    keep(stack, "gzip bak", compressed)
    assert recover(stack, accept_loss=False) == 0
    found = stack.files.checkpoint
    assert found == file.with_name("test.json.gz")
    assert found.read_bytes() == compressed
    assert not file.exists(), "of two the engine takes the newer, whatever is in it"


def test_a_state_that_is_gone_comes_back(stack: Stack) -> None:
    damage(stack).unlink()
    keep(stack, "history", state_of(KEY))
    assert recover(stack, accept_loss=False) == 0
    assert content(stack) == json.loads(state_of(KEY))


def test_where_there_is_no_copy_nothing_is_done(stack: Stack) -> None:
    file = damage(stack, "{")
    with pytest.raises(StateError, match="There is no whole copy of the state of the stack test in"):
        recover(stack, accept_loss=True)
    assert file.read_text() == "{"


def test_another_backend_is_not_for_us_to_recover(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://somebodys-state")
    with pytest.raises(StateError, match="is in s3://somebodys-state, not in files"):
        recover(stack, accept_loss=True)


def test_a_disk_that_is_full_loses_nothing(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    file = damage(stack, "{")
    keep(stack, "bak", state_of(KEY))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match=r"cannot be written: No space left on device\. Nothing was changed"):
        recover(stack, accept_loss=False)
    assert [path.name for path in sorted(file.parent.iterdir())] == ["test.json", "test.json.bak"]
    assert file.read_text() == "{"
