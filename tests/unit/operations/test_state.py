"""The engine's file backend, read without the engine, and what killed runs leave in it."""

import gzip
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from operations.stack import Stack
from testing.commands import calls
from tests.unit.operations.stand_ins import PENDING, asked, ended_process, with_engine, with_state


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
    lock = with_state(stack, lock={"pid": ended_process(), "hostname": socket.gethostname()})
    stack.recover()
    assert not lock.exists()
    assert capsys.readouterr().out == "Removed the lock of a run that did not end (1).\n"


def test_the_lock_of_a_number_that_is_another_programs_by_now_is_removed(stack: Stack) -> None:
    lock = with_state(stack, lock={"pid": os.getpid(), "hostname": socket.gethostname()})
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


def test_the_lock_of_a_running_engine_is_respected(stack: Stack, tmp_path: Path) -> None:
    engine = tmp_path / "pulumi"
    engine.symlink_to("/bin/sleep")
    running = subprocess.Popen([engine, "60"])
    try:
        # The kernel names a process a moment after Popen has returned.
        while "pulumi" not in Path(f"/proc/{running.pid}/comm").read_text(encoding="utf-8"):
            time.sleep(0.01)
        lock = with_state(stack, lock={"pid": running.pid, "hostname": socket.gethostname()})
        stack.recover()
        assert lock.exists()
    finally:
        running.kill()
        running.wait()


def test_the_lock_of_an_engine_nobody_has_collected_is_removed(stack: Stack, tmp_path: Path) -> None:
    engine = tmp_path / "pulumi"
    engine.symlink_to("/bin/true")
    ended = subprocess.Popen([engine])
    # Without reaping it: what a container without an init is full of.
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    lock = with_state(stack, lock={"pid": ended.pid, "hostname": socket.gethostname()})
    stack.recover()
    ended.wait()
    assert not lock.exists()


def test_the_lock_of_another_machine_is_respected(stack: Stack) -> None:
    lock = with_state(stack, lock={"pid": ended_process(), "hostname": "another-machine"})
    stack.recover()
    assert lock.exists()


def test_operations_under_way_are_stripped_and_said(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with_state(stack, pending=True)
    log = with_engine(stack, stack_export=json.dumps(dict(PENDING)), stack_import="")
    stack.recover()
    assert asked(log) == ["stack export --stack test", "stack import --stack test"]
    assert json.loads(calls(log)[1]["stdin"]) == {"version": 3, "deployment": {"resources": [{"urn": "kept"}]}}
    assert "The last run was interrupted while creating urn:interrupted" in capsys.readouterr().out


def test_a_run_that_ended_well_needs_no_recovery(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with_state(stack)
    log = with_engine(stack)
    stack.recover()
    assert asked(log) == []
    assert capsys.readouterr().out == ""


def test_a_backend_of_the_users_own_is_left_to_itself(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = with_state(stack, lock={"pid": ended_process(), "hostname": socket.gethostname()})
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://somebodys-state")
    stack.recover()
    assert lock.exists()
