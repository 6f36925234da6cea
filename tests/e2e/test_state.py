"""State, locks, salts and the caller's environment in the hands of the real engine, which needs no Docker for it."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from operations.recovery import recover
from operations.stack import Stack
from operations.state import StateError
from tests.e2e import chaos
from toolchain import Layout, prepare_state

_PROJECT: Final = """\
name: reflector
runtime: {name: python, options: {toolchain: pip, virtualenv: .toolchain/venv}}
"""
# Runs for as long, and does, what settings of the stack say.
_PROGRAM: Final = """\
import json, os, pathlib
import pulumi, pulumi_command as command, pulumi_random as random
config = pulumi.Config()
pathlib.Path("environment.json").write_text(json.dumps(dict(os.environ)))
first = random.RandomPassword("first", length=20)
after = pulumi.ResourceOptions(depends_on=[first])
step = command.local.Command("step", create=config.get("step") or "env", opts=after)
second = random.RandomPassword("second", length=20, opts=pulumi.ResourceOptions(depends_on=[step]))
pulumi.export("password", first.result)
pulumi.export("said", step.stdout)
"""
_CHOSEN: Final = (
    "PULUMI_BACKEND_URL",
    "PULUMI_CONFIG_PASSPHRASE",
    "PULUMI_CONFIG_PASSPHRASE_FILE",
    "PULUMI_ACCESS_TOKEN",
)


def checkout(root: Path) -> Stack:
    """Make a checkout of a small program, with this checkout's toolchain, and return its stack `test`."""
    layout, ours = Layout(root), Layout()
    assert (ours.bin / "pulumi").exists(), "the engine is missing; run: make setup"
    layout.pulumi_home.mkdir(parents=True)
    for part in (ours.bin, ours.plugins, ours.venv):
        (root / part.relative_to(ours.root)).symlink_to(part.resolve())
    (root / "Pulumi.yaml").write_text(_PROJECT)
    (root / "__main__.py").write_text(_PROGRAM)
    (root / "Pulumi.test.yaml").write_text("config: {}\n")
    prepare_state(layout)
    return Stack(name="test", layout=layout)


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return checkout(tmp_path_factory.mktemp("small") / "checkout")


@pytest.fixture
def stack(_made: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A small stack."""
    for name in _CHOSEN:
        monkeypatch.delenv(name, raising=False)
    return _made


def up(stack: Stack) -> int:
    """Do what `make up` does, but for the checks of settings and host, and return the engine's status."""
    with stack.alone():
        stack.ensure()
        stack.recover()
        return stack.pulumi("up", "--yes", "--skip-preview", "--non-interactive")


def password(stack: Stack) -> str:
    return stack.ask("stack", "output", "password", "--show-secrets").strip()


def is_settled(stack: Stack) -> bool:
    """Return whether nothing is left to do, seen by a preview that looks at everything."""
    return stack.pulumi("preview", "--refresh", "--expect-no-changes", "--non-interactive") == 0


# --- The caller's environment -----------------------------------------------------------------------------------------


def test_nothing_of_the_callers_shell_reaches_program_and_commands_but_what_is_listed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the proxy nobody is, a program without `no_proxy` would look for its engine."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", ".corp.example.com")
    monkeypatch.setenv("no_grpc_proxy", "x")
    hostile = {
        "DOCKER_HOST": "tcp://192.0.2.1:2376",
        "DOCKER_CONTEXT": "prod",
        "DOCKER_TLS_VERIFY": "1",
        "PYTHONPATH": "/elsewhere",
        "PULUMI_SKIP_CHECKPOINTS": "true",
        "PULUMI_ACCESS_TOKEN": "pul-not-for-anybody",
        "UNHEARD_OF": "x",
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", hostile["PULUMI_ACCESS_TOKEN"])
    assert up(stack) == 0
    seen = [
        json.loads((stack.layout.root / "environment.json").read_text()),
        dict(line.partition("=")[::2] for line in stack.ask("stack", "output", "said").splitlines()),
    ]
    for environment in seen:
        assert not hostile.keys() & environment.keys()
        assert environment["no_proxy"] == ".corp.example.com,127.0.0.1,localhost,::1"
        assert environment["http_proxy"] == "http://127.0.0.1:9"


def test_an_empty_passphrase_encrypts_nothing(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    done = subprocess.run(
        [shutil.which("python3") or "python3", "-m", "toolchain", "run", "--", "pulumi", "stack", "ls"],
        cwd=Layout().root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: PULUMI_CONFIG_PASSPHRASE is empty")
    assert len(done.stderr.splitlines()) == 1


# --- Passphrase and salt ----------------------------------------------------------------------------------------------


def test_a_wrong_passphrase_is_one_line_of_ours_and_changes_nothing(
    stack: Stack, capfd: pytest.CaptureFixture[str]
) -> None:
    assert up(stack) == 0
    right = password(stack)
    file = stack.files.checkpoint
    assert file is not None
    before = file.read_bytes()
    kept = stack.layout.passphrase.read_text()
    stack.layout.passphrase.write_text("another\n")
    capfd.readouterr()
    assert up(stack) == 1
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    assert said.err.splitlines()[-1].startswith(f"error: The passphrase in {stack.layout.passphrase} is not the one")
    assert file.read_bytes() == before
    stack.layout.passphrase.write_text(kept)
    assert up(stack) == 0
    assert password(stack) == right


@pytest.mark.parametrize("salt", ["committed", "left out"])
def test_a_committed_stack_file_with_secrets_works_in_a_clone_with_state_and_passphrase(
    stack: Stack, tmp_path: Path, capfd: pytest.CaptureFixture[str], salt: str
) -> None:
    assert up(stack) == 0
    assert stack.pulumi("config", "set", "--secret", "token", "ConfiguredToken") == 0
    clone = checkout(tmp_path / "clone")
    text = (stack.layout.root / "Pulumi.test.yaml").read_text()
    assert "secure: " in text
    if salt == "left out":  # as an earlier release's filter has committed it
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("encryptionsalt:"))
    (clone.layout.root / "Pulumi.test.yaml").write_text(text)
    shutil.rmtree(clone.layout.state)
    shutil.copytree(stack.layout.state, clone.layout.state)
    shutil.copy(stack.layout.passphrase, clone.layout.passphrase)
    capfd.readouterr()
    assert up(clone) == 0
    assert stack.pulumi("config", "rm", "token") == 0
    assert ("gets that of the state back" in capfd.readouterr().out) is (salt == "left out")
    assert clone.ask("config", "get", "token").strip() == "ConfiguredToken"
    assert password(clone) == password(stack)
    assert "encryptionsalt: " in (clone.layout.root / "Pulumi.test.yaml").read_text()


# --- Two at once ------------------------------------------------------------------------------------------------------


def test_whoever_comes_second_changes_nothing_and_what_a_dead_run_left_is_cleared(
    stack: Stack, capfd: pytest.CaptureFixture[str]
) -> None:
    assert up(stack) == 0
    right = password(stack)
    assert stack.pulumi("config", "set", "step", "sleep 60") == 0
    engine = subprocess.Popen(
        [stack.layout.bin / "pulumi", "up", "--yes", "--skip-preview", "--stack", "test"],
        cwd=stack.layout.root,
        env=stack.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    file = stack.files.checkpoint
    assert file is not None
    try:
        deadline = time.monotonic() + 60
        while not stack.files.pending_operations():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = file.read_bytes()
        capfd.readouterr()
        with pytest.raises(StateError, match=rf"in use by .*\(process {engine.pid}, `pulumi up --yes ") as refused:
            up(stack)
        assert "\n" not in str(refused.value)
        assert capfd.readouterr() == ("", "")
        assert file.read_bytes() == before
    finally:
        os.kill(engine.pid, signal.SIGKILL)
        engine.wait()
    assert stack.pulumi("config", "rm", "step") == 0
    assert up(stack) == 0
    said = capfd.readouterr().out
    assert "Removed the lock of a run that did not end (1)." in said
    assert "The last run was interrupted while updating" in said
    assert password(stack) == right
    assert is_settled(stack)


def test_what_nothing_would_find_again_waits_for_somebody_to_look(stack: Stack) -> None:
    assert up(stack) == 0
    file = stack.files.checkpoint
    assert file is not None
    content = json.loads(file.read_text())
    urn = "urn:pulumi:test::reflector::aws:s3/bucket:Bucket::objects"
    content["checkpoint"]["latest"]["pending_operations"] = [
        {
            "type": "creating",
            "resource": {"urn": urn, "custom": True, "type": "aws:s3/bucket:Bucket", "inputs": {"bucket": "audio-1"}},
        }
    ]
    file.write_text(json.dumps(content))
    with pytest.raises(StateError) as refused:
        up(stack)
    assert f"{urn} (bucket: audio-1)" in str(refused.value)
    *_, command = str(refused.value).splitlines()
    done = subprocess.run(
        command.split(), cwd=stack.layout.root, env=stack.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert up(stack) == 0
    assert is_settled(stack)


# --- Damage -----------------------------------------------------------------------------------------------------------


def gzip_and_cut(file: Path) -> None:
    """What a power cut leaves of a compressed state."""
    file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes())[:-20])
    file.unlink()


@pytest.mark.parametrize("harm", [chaos.cut_off, chaos.empty, gzip_and_cut, Path.unlink])
def test_a_damaged_state_is_brought_back_and_nothing_is_lost(
    stack: Stack, capfd: pytest.CaptureFixture[str], harm: object
) -> None:
    assert up(stack) == 0
    right = password(stack)
    file = stack.files.checkpoint
    assert file is not None
    assert callable(harm)
    harm(file)
    capfd.readouterr()
    with pytest.raises(StateError, match=r"Bring back the engine's own copy: make recover STACK=test$"):
        up(stack)
    assert capfd.readouterr() == ("", "")
    with stack.alone():
        assert recover(stack, accept_loss=False) == 0
    assert up(stack) == 0
    assert password(stack) == right
    assert is_settled(stack)


def test_files_of_no_length_beside_the_state_are_in_nobodys_way(stack: Stack) -> None:
    assert up(stack) == 0
    files = stack.files
    assert files.checkpoint is not None
    chaos.empty(files.locks / "0.json")
    chaos.empty(files.checkpoint.with_name("test.json.attrs"))
    assert up(stack) == 0


def test_a_disk_that_fills_up_in_the_middle_loses_nothing(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The engine tries for half a minute before it gives up."""
    with chaos.small_disk(tmp_path / "disk") as disk:
        monkeypatch.setenv("PULUMI_BACKEND_URL", disk.as_uri())
        assert up(stack) == 0
        right = password(stack)
        filler = disk / "filler"
        assert stack.pulumi("config", "set", "step", f"dd if=/dev/zero of={filler} bs=1k 2>&1 || true") == 0
        capfd.readouterr()
        assert up(stack) == 1
        said = capfd.readouterr().err
        assert said.splitlines()[-1].startswith(f"error: The disk with the state of the stack test, {disk}, is full: ")
        assert "Traceback" not in said
        # As long as it is, that is said before anything is touched.
        with pytest.raises(StateError, match=r"Nothing is lost\. Free some, then run this again"):
            up(stack)
        filler.unlink()
        assert stack.pulumi("config", "rm", "step") == 0
        assert up(stack) == 0
        assert password(stack) == right
        assert is_settled(stack)
