"""The engine's file backend, read without the engine, and what killed runs leave in it."""

import contextlib
import gzip
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest

from operations import __main__ as commands
from operations.stack import Stack
from operations.state import StateError, read_checkpoint
from testing.commands import calls
from tests.unit.operations.stand_ins import (
    PENDING,
    asked,
    checkpoint,
    ended_process,
    lock_of,
    with_engine,
    with_file,
    with_state,
)


def test_the_resources_of_a_state_in_files_are_known_without_the_engine(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stack.resources() == ()
    with_state(stack)
    assert stack.resources() == (), "made, and never brought up"
    with_state(stack, resources=[{"urn": "urn::web"}])
    assert stack.resources() == [{"urn": "urn::web"}]
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://somebodys-state")
    assert stack.resources() is None, "only the engine could tell"


@pytest.mark.parametrize(
    ("deployment", "expected"), [({"resources": [{"urn": "urn::web"}]}, [{"urn": "urn::web"}]), (None, ())]
)
def test_the_engine_tells_of_the_resources_of_any_state(stack: Stack, deployment: object, expected: object) -> None:
    with_engine(stack, stack_export=json.dumps({"version": 3, "deployment": deployment}))
    assert stack.exported_resources() == expected


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file://{root}/else where", "else where"),
        ("file://{root}/else%20where?no_tmp_dir=true", "else where"),
        ("file://~", "home"),
        ("file://~/deep/er", "home/deep/er"),
        ("file://./near", "near"),
    ],
)
def test_the_state_is_found_where_the_engine_keeps_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, url: str, folder: str, compressed: bool
) -> None:
    root = stack.layout.root
    monkeypatch.setenv("HOME", str(root / "home"))
    monkeypatch.setenv("PULUMI_BACKEND_URL", url.format(root=root))
    with_state(stack, root / folder, resources=[{"urn": "urn::web"}])
    if compressed:
        (plain,) = (root / folder).rglob("test.json")
        plain.with_name("test.json.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    assert stack.resources() == [{"urn": "urn::web"}]


def test_the_lock_of_a_dead_run_is_removed(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    lock = with_state(stack, lock=lock_of(ended_process()))
    stack.recover()
    assert not lock.exists()
    assert capsys.readouterr().out == "Removed the lock of a run that did not end (1).\n"


def test_the_lock_of_a_number_that_is_another_programs_by_now_is_removed(stack: Stack) -> None:
    lock = with_state(stack, lock=lock_of(os.getpid()))
    stack.recover()
    assert not lock.exists(), "this process is no engine"


def test_half_a_file_of_attributes_does_not_make_the_state_unreadable(stack: Stack) -> None:
    lock = with_state(stack)
    checkpoints = stack.layout.state / ".pulumi" / "stacks" / "reflector"
    torn, whole = checkpoints / "test.json.attrs", checkpoints / "test.json.bak.attrs"
    beside_lock = lock.with_name("lock.json.attrs")
    torn.write_text("")
    beside_lock.write_text('{"md5":')
    whole.write_text("{}")
    stack.ensure()
    assert (torn.exists(), beside_lock.exists(), whole.exists()) == (False, False, True)


@contextlib.contextmanager
def running_engine(folder: Path, cwd: Path | None = None) -> Iterator[int]:
    """Run what looks like an engine; yield its process id."""
    engine = folder / "pulumi"
    engine.symlink_to("/bin/sleep")
    running = subprocess.Popen([engine, "60"], cwd=cwd or folder)
    try:
        # The kernel names a process a moment after Popen has returned.
        while "pulumi" not in Path(f"/proc/{running.pid}/comm").read_text(encoding="utf-8"):
            time.sleep(0.01)
        yield running.pid
    finally:
        running.kill()
        running.wait()


def test_whoever_comes_second_is_told_who_is_at_work_and_changes_nothing(stack: Stack, tmp_path: Path) -> None:
    with running_engine(tmp_path) as pid:
        lock = with_state(stack, pending=True, lock=lock_of(pid))
        log = with_engine(stack)
        checkpoint = stack.files.checkpoint
        assert checkpoint
        before = checkpoint.read_bytes()
        with pytest.raises(StateError) as refused, stack.alone():
            pytest.fail("it is not alone")
        assert str(refused.value) == (
            f"The stack test is in use by somebody@{socket.gethostname()} (process {pid}, `pulumi 60`) since 2026-01-02"
            f" 03:04:05. Nothing was changed. Wait until it has ended, or end it (kill {pid})."
        )
        assert lock.exists()
        assert checkpoint.read_bytes() == before
        assert asked(log) == []


def test_of_two_commands_that_begin_at_once_one_is_told_of_the_other(stack: Stack) -> None:
    with_state(stack)
    with stack.alone():
        with pytest.raises(
            StateError, match=rf"in use by .*\(process {os.getpid()}, `python -m operations\b"
        ) as refused:
            stack.alone().__enter__()
        assert "\n" not in str(refused.value)
    with stack.alone():
        pass


def test_a_look_at_a_stack_somebody_is_at_work_on_says_so(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_state(stack)
    stack.mention_who_is_at_work()
    assert capsys.readouterr().err == ""
    with running_engine(tmp_path) as pid:
        with_state(stack, lock=lock_of(pid))
        stack.mention_who_is_at_work()
    assert capsys.readouterr().err.startswith("Hint: the stack test is in use by somebody@")


@pytest.mark.parametrize("content", ["", "{", "null", '{"pid": 1}'])
def test_a_lock_that_cannot_be_read_is_removed_unless_an_engine_is_at_work_here(
    stack: Stack, tmp_path: Path, content: str
) -> None:
    lock = with_state(stack)
    lock.write_text(content)
    with running_engine(tmp_path, cwd=stack.layout.root), pytest.raises(StateError) as refused, stack.alone():
        pass
    assert str(refused.value) == (
        f"The stack test is in use by an unreadable lock, {lock}. Nothing was changed. Wait until every run of this"
        " stack has ended."
    )
    (tmp_path / "pulumi").unlink()
    with running_engine(tmp_path), stack.alone():  # in another checkout
        stack.recover()
    assert not lock.exists()


def test_a_lock_of_another_machine_is_named_and_left(stack: Stack) -> None:
    lock = with_state(stack, lock=lock_of(ended_process(), "another-machine"))
    with pytest.raises(StateError, match="in use by somebody@another-machine ") as refused, stack.alone():
        pass
    assert "if it is certain that it has: pulumi cancel --stack test" in str(refused.value)
    assert lock.exists()


@pytest.mark.parametrize("command", ["up", "down", "recover"])
def test_no_command_that_changes_anything_begins_beside_another(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setattr(commands, "Layout", lambda: stack.layout)
    monkeypatch.setattr(sys, "argv", ["operations", command, "--stack", "test"])
    log = with_engine(stack)
    with running_engine(tmp_path) as pid:
        with_state(stack, lock=lock_of(pid))
        assert commands.main() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("error: The stack test is in use by ")
    assert asked(log) == []


def test_a_full_disk_is_said_before_a_run_begins(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with_state(stack)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100 << 10))
    with (
        pytest.raises(StateError, match=r"is full: 100 KiB are free, 10\d\d KiB are needed\. Nothing is lost"),
        stack.alone(),
    ):
        pass


# --- Damage -----------------------------------------------------------------------------------------------------------

WHOLE: Final = checkpoint(resources=[{"urn": "urn:pulumi:test::reflector::random:index/x:X::key", "type": "x"}])
DAMAGES: Final[dict[str, tuple[bytes, str]]] = {
    "empty": (b"", "is empty"),
    "zeros of a power cut": (b"\0" * 4096, "is empty"),
    "cut in the middle": (WHOLE[: len(WHOLE) // 2].encode(), "is cut off"),
    "cut at the end": (WHOLE[:-1].encode(), "is cut off"),
    "cut in a word": (WHOLE[: WHOLE.index("random") + 3].encode(), "is cut off"),
    "no JSON": (b"<html>", "holds no JSON"),
    "another JSON": (b"[1]", "is no checkpoint"),
    "no snapshot": (b'{"checkpoint": {"latest": 1}}', "is no checkpoint"),
    "no text": (b"\xff\xfe\xfa", "is no checkpoint"),
    "gzip cut off": (gzip.compress(WHOLE.encode())[:-9], "is cut off"),
    "gzip broken": (b"\x1f\x8b\x08\0" + b"\xff" * 40, "is no checkpoint"),
}


@pytest.mark.parametrize(("content", "said"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_one_line_with_the_file_and_the_way_back(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    with_state(stack)
    file = stack.files.checkpoint
    assert file is not None
    file.write_bytes(content)
    log = with_engine(stack)
    monkeypatch.setattr(commands, "Layout", lambda: stack.layout)
    for command in ("up", "preview", "down"):
        with_file(stack, {})
        monkeypatch.setattr(sys, "argv", ["operations", command, "--stack", "test"])
        assert commands.main() == 1
        assert capsys.readouterr().err == (
            f"error: The state of the stack test is damaged: {file} {said}. Nothing was changed. Bring back the"
            " engine's own copy: make recover STACK=test\n"
        )
    assert file.read_bytes() == content
    assert asked(log) == []


def test_a_state_that_is_gone_is_not_taken_for_a_new_stack(stack: Stack) -> None:
    with_state(stack)
    file = stack.files.checkpoint
    assert file is not None
    stack.files.history.mkdir(parents=True)
    (stack.files.history / "test-1795809136908672453.checkpoint.json").write_text(WHOLE)
    file.unlink()
    with pytest.raises(StateError, match="is gone, and its history is not"):
        stack.ensure()


def test_of_two_formats_the_newer_one_is_the_state(stack: Stack) -> None:
    """A kill while the engine goes from one to the other leaves both."""
    with_state(stack, salt="old")
    file = stack.files.checkpoint
    assert file is not None
    newer = file.with_name("test.json.gz")
    newer.write_bytes(gzip.compress(checkpoint(salt="new").encode()))
    os.utime(file, (1, 1))
    assert stack.files.salt() == "new"
    os.utime(newer, (0, 0))
    assert stack.files.salt() == "old"


def test_the_lock_of_an_engine_nobody_has_collected_is_removed(stack: Stack, tmp_path: Path) -> None:
    engine = tmp_path / "pulumi"
    engine.symlink_to("/bin/true")
    ended = subprocess.Popen([engine])
    # Without reaping it: what a container without an init is full of.
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    lock = with_state(stack, lock=lock_of(ended.pid))
    stack.recover()
    ended.wait()
    assert not lock.exists()


def test_operations_under_way_are_stripped_and_said(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with_state(stack, pending=True)
    log = with_engine(stack, stack_export=json.dumps(dict(PENDING)), stack_import="")
    stack.recover()
    assert asked(log) == ["stack export --stack test", "stack import --stack test"]
    assert json.loads(calls(log)[1]["stdin"]) == {"version": 3, "deployment": {"resources": [{"urn": "kept"}]}}
    assert "The last run was interrupted while creating urn:interrupted" in capsys.readouterr().out


def test_what_nothing_here_would_find_again_is_not_forgotten(stack: Stack) -> None:
    bucket = {
        "urn": "urn:pulumi:test::reflector::aws:s3/bucket:Bucket::objects",
        "type": "aws:s3/bucket:Bucket",
        "inputs": {"bucket": "reflector-test-audio"},
    }
    container = {"urn": "urn:web", "type": "docker:index/container:Container"}
    with_state(stack, pending=[{"type": "creating", "resource": resource} for resource in (container, bucket)])
    log = with_engine(stack)
    with pytest.raises(StateError) as refused:
        stack.recover()
    assert f"  - {bucket['urn']} (bucket: reflector-test-audio)\n" in str(refused.value)
    assert "urn:web" not in str(refused.value)
    assert "pulumi refresh --yes --stack test --clear-pending-creates" in str(refused.value)
    assert asked(log) == [], "nothing is forgotten"


@pytest.mark.parametrize("operation", ["updating", "deleting", "reading"])
def test_what_the_state_knows_already_can_be_interrupted_anywhere(stack: Stack, operation: str) -> None:
    with_state(stack, pending=[{"type": operation, "resource": {"urn": "urn:x", "type": "aws:s3/bucket:Bucket"}}])
    with_engine(stack, stack_export=json.dumps(dict(PENDING)), stack_import="")
    stack.recover()


def test_an_engine_that_refuses_to_forget_is_one_line(stack: Stack, capfd: pytest.CaptureFixture[str]) -> None:
    with_state(stack, pending=True)
    with_engine(stack, stack_export={"status": 255, "stderr": "error: broken\n"})
    with pytest.raises(StateError, match="cannot forget what the last run of the stack test was at; above is why"):
        stack.recover()
    assert capfd.readouterr().err == "error: broken\n"


def test_a_run_that_ended_well_needs_no_recovery(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with_state(stack)
    log = with_engine(stack)
    stack.recover()
    assert asked(log) == []
    assert capsys.readouterr().out == ""


def test_a_backend_of_the_users_own_is_left_to_itself(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = with_state(stack, lock=lock_of(ended_process()))
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://somebodys-state")
    stack.recover()
    assert lock.exists()


def test_a_state_is_read_once_for_all_who_ask_until_it_is_written(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path) -> object:
        read.append(path)
        return read_checkpoint(path)

    monkeypatch.setattr("operations.state.read_checkpoint", counted)
    with_state(stack, resources=[{"urn": "urn::web"}])
    assert [stack.resources(), stack.files.pending_operations(), stack.files.salt()][0] == [{"urn": "urn::web"}]
    assert len(read) == 1
    with_state(stack, resources=[{"urn": "urn::other"}])
    assert stack.resources() == [{"urn": "urn::other"}]
