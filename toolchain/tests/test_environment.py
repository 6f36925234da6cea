"""The environment Pulumi runs in, and the commands that print and use it."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain import environment
from toolchain.layout import ROOT, Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "a check'out $(touch pwned)")


def test_it_points_into_the_checkout(layout: Layout) -> None:
    found = environment.values(layout, {"PATH": "/usr/bin"})
    assert found["PATH"] == f"{layout.bin}:/usr/bin"
    assert found["PULUMI_HOME"] == str(layout.root / ".toolchain" / "pulumi")
    assert found["PULUMI_BACKEND_URL"] == f"file://{layout.state}"
    assert found["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(layout.passphrase)
    assert found["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    assert found["PULUMI_SKIP_UPDATE_CHECK"] == "true"


def test_the_backend_is_a_url() -> None:
    assert environment.local_backend(Path("/a b/c%20d#e?f")) == "file:///a b/c%2520d%23e%3Ff"


@pytest.mark.parametrize(
    ("own", "absent"),
    [
        ({"PULUMI_BACKEND_URL": "s3://bucket"}, "PULUMI_BACKEND_URL"),
        ({"PULUMI_ACCESS_TOKEN": "pul-1"}, "PULUMI_BACKEND_URL"),
        ({"PULUMI_CONFIG_PASSPHRASE": "x"}, "PULUMI_CONFIG_PASSPHRASE_FILE"),
        ({"PULUMI_CONFIG_PASSPHRASE_FILE": "/x"}, "PULUMI_CONFIG_PASSPHRASE_FILE"),
    ],
)
def test_what_the_caller_has_set_is_left_alone(layout: Layout, own: dict[str, str], absent: str) -> None:
    assert absent not in environment.values(layout, own)


def test_a_login_elsewhere_wins_over_the_local_state(layout: Layout) -> None:
    layout.pulumi_home.mkdir(parents=True)
    credentials = layout.pulumi_home / "credentials.json"
    credentials.write_text(json.dumps({"current": "s3://bucket"}))
    assert "PULUMI_BACKEND_URL" not in environment.values(layout, {})
    # A shell that sourced env.sh before the login still has ours, which Pulumi would prefer to the login.
    assert environment.values(layout, {"PULUMI_BACKEND_URL": f"file://{layout.state}"})["PULUMI_BACKEND_URL"] is None
    credentials.write_text(json.dumps({"current": f"file://{layout.state}"}))
    assert environment.values(layout, {})["PULUMI_BACKEND_URL"] == f"file://{layout.state}"


def test_docker_variables_do_not_leak_into_providers(layout: Layout) -> None:
    found = environment.pulumi_environment(
        layout, {"DOCKER_CERT_PATH": "/x", "DOCKER_KEY_MATERIAL": "y", "DOCKER_HOST": "z"}
    )
    assert not set(environment.LEAKING) & set(found)
    assert found["DOCKER_HOST"] == "z"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_script_survives_any_path(layout: Layout, shell: str, tmp_path: Path) -> None:
    text = environment.script(layout, environment.values(layout, {"DOCKER_CERT_PATH": "/x"}))
    check = f'{text}\n{text}\nprintf "%s\\n" "$PULUMI_HOME" "$PATH" "${{DOCKER_CERT_PATH-unset}}"'
    done = subprocess.run(
        [shell, "-eu", "-c", check],
        env={"PATH": "/usr/bin:/bin", "DOCKER_CERT_PATH": "/x"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [str(layout.pulumi_home), f"{layout.bin}:/usr/bin:/bin", "unset"]
    assert list(tmp_path.iterdir()) == []


def test_env_sh_sets_the_same_from_any_folder(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", "-euc", f'. "{ROOT}/env.sh"; echo "$PULUMI_HOME"; echo "$PULUMI_BACKEND_URL"; pwd'],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    layout = Layout()
    expected = environment.values(layout, environ)
    assert done.stdout.splitlines() == [expected["PULUMI_HOME"], expected["PULUMI_BACKEND_URL"], str(tmp_path)]


def test_the_passphrase_is_made_once_and_only_for_this_user(layout: Layout) -> None:
    environment.prepare_state(layout)
    first = layout.passphrase.read_text()
    assert len(first.strip()) >= 43  # 32 bytes in base64
    assert stat.S_IMODE(layout.passphrase.stat().st_mode) == 0o600
    environment.prepare_state(layout)
    assert layout.passphrase.read_text() == first
    assert sorted(path.name for path in layout.home.iterdir()) == ["passphrase", "pulumi", "state"]


@pytest.mark.parametrize("before", ["nothing", "logs of runs", "a file"])
def test_the_engine_finds_no_folder_for_the_log_of_each_run(layout: Layout, before: str) -> None:
    if before == "logs of runs":
        layout.engine_logs.mkdir(parents=True)
        (layout.engine_logs / "pulumi-1-up.log").write_text("every value a provider was given")
    elif before == "a file":
        layout.pulumi_home.mkdir(parents=True)
        layout.engine_logs.touch()
    environment.prepare_state(layout)
    assert layout.engine_logs.is_file()
    assert layout.engine_logs.read_bytes() == b""


def test_run_restores_the_interrupt_signal() -> None:
    code = "import signal; print(signal.getsignal(signal.SIGINT) == signal.default_int_handler)"
    done = subprocess.run(
        [sys.executable, "-m", "toolchain", "run", "--", sys.executable, "-c", code],
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "True"


def test_run_passes_arguments_and_status() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toolchain", "run", "--", "sh", "-c", 'echo "$1|$PULUMI_HOME"; exit 7', "x", "a b"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == (f"a b|{Layout().pulumi_home}", 7)


def test_a_missing_program_is_one_clear_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toolchain", "run", "--", "no-such-program"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "error: no-such-program is not there; run `make setup` first.\n"
