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
from toolchain.layout import ROOT, Layout, ToolchainError


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
        ({"PULUMI_CONFIG_PASSPHRASE": "x"}, "PULUMI_CONFIG_PASSPHRASE_FILE"),
        ({"PULUMI_CONFIG_PASSPHRASE_FILE": "own"}, "PULUMI_CONFIG_PASSPHRASE_FILE"),
    ],
)
def test_what_the_caller_has_set_is_left_alone(layout: Layout, own: dict[str, str], absent: str) -> None:
    layout.root.mkdir()
    (layout.root / "own").write_text("x")
    assert absent not in environment.values(layout, own)


def test_a_token_chooses_no_backend(layout: Layout) -> None:
    """It would send the state, the authority's key with it, to a cloud nobody named."""
    token = {"PULUMI_ACCESS_TOKEN": "pul-1"}
    assert environment.values(layout, token)["PULUMI_BACKEND_URL"] == f"file://{layout.state}"
    assert "PULUMI_ACCESS_TOKEN" not in environment.pulumi_environment(layout, token), "nothing here needs it"
    chosen = token | {"PULUMI_BACKEND_URL": "https://api.example.com"}
    assert chosen.items() <= environment.pulumi_environment(layout, chosen).items()


@pytest.mark.parametrize("empty", ["", " \n"])
@pytest.mark.parametrize("place", ["variable", "file of the caller", "own file"])
def test_an_empty_passphrase_is_refused(layout: Layout, place: str, empty: str) -> None:
    layout.home.mkdir(parents=True)
    (layout.root / "theirs").write_text(empty)
    layout.passphrase.write_text(empty if place == "own file" else "x")
    given = {
        "variable": {"PULUMI_CONFIG_PASSPHRASE": empty, "PULUMI_CONFIG_PASSPHRASE_FILE": str(layout.passphrase)},
        "file of the caller": {"PULUMI_CONFIG_PASSPHRASE_FILE": "theirs"},
        "own file": {},
    }[place]
    with pytest.raises(ToolchainError, match="is empty, and would encrypt every secret with nothing") as refused:
        environment.values(layout, given)
    assert "\n" not in str(refused.value)


def test_a_passphrase_file_that_is_gone_is_named(layout: Layout) -> None:
    with pytest.raises(ToolchainError, match="PULUMI_CONFIG_PASSPHRASE_FILE names /gone/passphrase, which is not"):
        environment.values(layout, {"PULUMI_CONFIG_PASSPHRASE_FILE": "/gone/passphrase"})
    # Our own is made by set-up, and env.sh may be sourced before.
    assert environment.values(layout, {})["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(layout.passphrase)


def passed_over(layout: Layout, environ: dict[str, str]) -> str | None:
    """Return what a command is told, which gets its environment by way of two."""
    found = environment.pulumi_environment(layout, environ)
    assert environment.pulumi_environment(layout, found) == found
    return found.get(environment.PASSED_OVER)


def test_who_is_logged_in_elsewhere_is_told_by_whoever_makes_a_stack(layout: Layout, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path / "home")}
    assert passed_over(layout, home) is None
    assert passed_over(layout, home | {"PULUMI_ACCESS_TOKEN": "pul-1"}) == "PULUMI_ACCESS_TOKEN"
    theirs = {"PULUMI_HOME": str(tmp_path / "own")}
    sourced = {"PULUMI_HOME": str(layout.pulumi_home), "PULUMI_BACKEND_URL": f"file://{layout.state}"}
    for folder, given in (
        (tmp_path / "home" / ".pulumi", {}),
        (tmp_path / "home" / ".pulumi", sourced),
        (tmp_path / "own", theirs),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "credentials.json").write_text('{"current": "https://api.example.com"}')
        assert passed_over(layout, home | given) == f"the login in {folder} (https://api.example.com)"
    assert passed_over(layout, home | {"PULUMI_BACKEND_URL": "s3://bucket"}) is None, "they have chosen"
    layout.pulumi_home.mkdir(parents=True)
    (layout.pulumi_home / "credentials.json").write_text('{"current": "s3://bucket"}')
    assert passed_over(layout, home) is None, "and here as well"


@pytest.mark.parametrize("content", ["", "[]", "{", '"x"', "{}", '{"accounts": {}}'])
def test_credentials_that_say_nothing_are_no_login(layout: Layout, content: str) -> None:
    layout.pulumi_home.mkdir(parents=True)
    (layout.pulumi_home / "credentials.json").write_text(content)
    assert environment.values(layout, {})["PULUMI_BACKEND_URL"] == f"file://{layout.state}"


def test_an_encrypted_login_is_one(layout: Layout) -> None:
    layout.pulumi_home.mkdir(parents=True)
    (layout.pulumi_home / "credentials.json").write_text('{"version": 1, "ciphertext": "x"}')
    assert "PULUMI_BACKEND_URL" not in environment.values(layout, {})


def test_a_login_elsewhere_wins_over_the_local_state(layout: Layout) -> None:
    layout.pulumi_home.mkdir(parents=True)
    credentials = layout.pulumi_home / "credentials.json"
    credentials.write_text(json.dumps({"current": "s3://bucket"}))
    assert "PULUMI_BACKEND_URL" not in environment.values(layout, {})
    # A shell that sourced env.sh before the login still has ours, which Pulumi would prefer to the login.
    assert environment.values(layout, {"PULUMI_BACKEND_URL": f"file://{layout.state}"})["PULUMI_BACKEND_URL"] is None
    credentials.write_text(json.dumps({"current": f"file://{layout.state}"}))
    assert environment.values(layout, {})["PULUMI_BACKEND_URL"] == f"file://{layout.state}"


REDIRECTING = (
    "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION",
    "DOCKER_CA_MATERIAL", "DOCKER_CERT_MATERIAL", "DOCKER_KEY_MATERIAL", "DOCKER_SSH_OPTS", "DOCKER_REGISTRY_USER",
    "DOCKER_REGISTRY_PASS", "DOCKER_BUILDKIT", "DOCKER_DEFAULT_PLATFORM", "DOCKER_CONTENT_TRUST",
)  # fmt: skip


@pytest.mark.parametrize("name", REDIRECTING)
@pytest.mark.parametrize("whole", [False, True])
def test_docker_variables_do_not_leak_into_providers(layout: Layout, name: str, whole: bool) -> None:
    given = {name: "elsewhere", "DOCKER_CONFIG": "/logins"}
    found = environment.pulumi_environment(layout, given, whole=whole)
    assert {key: value for key, value in found.items() if key.startswith("DOCKER_")} == {"DOCKER_CONFIG": "/logins"}
    assert environment.values(layout, given)[name] is None, "nor where env.sh is sourced"


@pytest.mark.parametrize(
    "name",
    [
        "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_PRELOAD", "BUILDX_BUILDER", "PULUMI_SKIP_CHECKPOINTS",
        "PULUMI_CREDENTIALS_PATH", "PULUMI_CONFIG", "PULUMI_CONTINUE_ON_ERROR", "AWS_ENDPOINT_URL_S3", "grpc_proxy",
        "no_grpc_proxy", "OTEL_EXPORTER_OTLP_ENDPOINT", "ANYTHING_ELSE",
    ],
)  # fmt: skip
def test_what_nobody_has_put_on_the_list_is_kept_out(layout: Layout, name: str) -> None:
    assert name not in environment.pulumi_environment(layout, {name: "x"})


@pytest.mark.parametrize(
    "name",
    [
        "HOME", "LC_ALL", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
        "https_proxy", "HTTPS_PROXY", "SSL_CERT_FILE", "PULUMI_PARALLEL", "TOOLCHAIN_CACHE", "GIT_CONFIG_GLOBAL",
    ],
)  # fmt: skip
def test_what_is_on_the_list_is_passed_on(layout: Layout, name: str) -> None:
    assert environment.pulumi_environment(layout, {name: "x"})[name] == "x"


def test_tests_keep_what_is_theirs(layout: Layout) -> None:
    given = {"GOPROXY": "https://proxy.example.com", "PYTHONPATH": "/x"}
    found = environment.pulumi_environment(layout, given, whole=True)
    assert "PYTHONPATH" not in found
    assert found["GOPROXY"] == given["GOPROXY"]


def test_passing_on_twice_is_passing_on_once(layout: Layout) -> None:
    """`make` does so for its command, and the command for the engine."""
    given = {"PATH": "/usr/bin", "http_proxy": "http://proxy.test:1", "NO_PROXY": ".test", "HOME": "/home/me"}
    once = environment.pulumi_environment(layout, given)
    assert environment.pulumi_environment(layout, once) == once


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"no_proxy": ".corp, localhost"}, ".corp,localhost,127.0.0.1,::1"),
        ({"no_proxy": "a", "NO_PROXY": "b,,a"}, "a,b,127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_loopback_never_goes_through_a_proxy(layout: Layout, name: str, given: dict[str, str], expected: str) -> None:
    found = environment.pulumi_environment(layout, given | {name: "http://proxy.test:3128"})
    assert (found["no_proxy"], found["NO_PROXY"]) == (expected, expected)
    assert found[name] == "http://proxy.test:3128"


def test_without_a_proxy_nothing_is_said_of_any(layout: Layout) -> None:
    assert environment._past_proxies({"http_proxy": "", "no_proxy": "x"}) == {}


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


def test_a_shell_is_left_alone_where_something_is_wrong() -> None:
    done = subprocess.run(
        ["bash", "-c", f'. "{ROOT}/env.sh" || echo refused; echo "${{PULUMI_HOME-unset}}"'],
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable, "PULUMI_CONFIG_PASSPHRASE": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["refused", "unset"]
    assert done.stderr.startswith("error: PULUMI_CONFIG_PASSPHRASE is empty")
    assert len(done.stderr.splitlines()) == 1


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


def test_a_passphrase_that_was_lost_is_not_made_anew(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one opens nothing, and the engine would only say that it is not the right one."""
    for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
    environment.prepare_state(layout)
    checkpoint = layout.state / ".pulumi" / "stacks" / "reflector" / "dev.json"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("{}")
    layout.passphrase.unlink()
    with pytest.raises(ToolchainError, match=r"passphrase is gone, and only it opens the state .* Bring it back"):
        environment.prepare_state(layout)
    assert not layout.passphrase.exists()
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "their own")
    environment.prepare_state(layout)
    assert layout.passphrase.exists()


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
