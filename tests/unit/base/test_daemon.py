"""The daemon behind the provider's back, by the docker command."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from components.base.daemon import Daemon, DaemonError
from testing.commands import calls, path_with

NO_SUCH: Final = {"status": 1, "stderr": "Error response from daemon: No such container: x"}
CONTAINER: Final = json.dumps(
    [
        {
            "Config": {"Labels": None, "Image": "nginx:1.27.1"},
            "State": {
                "Status": "running",
                "ExitCode": 0,
                "Health": {"Log": [{"ExitCode": 0, "Output": "old"}, {"ExitCode": 7, "Output": "refused\n"}]},
            },
            "RestartCount": 2,
        }
    ]
)


def test_a_command_reaches_the_stacks_daemon_and_no_other(docker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    log = docker(ps="")
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    monkeypatch.setenv("DOCKER_CONFIG", "/logins")
    Daemon(address="tcp://host:2376", certificates="/certs").run("ps")
    environment = calls(log)[0]["environment"]
    assert {key: value for key, value in environment.items() if key.startswith("DOCKER_")} == {
        "DOCKER_HOST": "tcp://host:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs",
        "DOCKER_CONFIG": "/logins",
    }  # fmt: skip


def test_a_script_reaches_it_too_and_fails_with_its_own_words(docker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    log = docker(run="said")
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    daemon = Daemon(address="ssh://host")
    said = daemon.run_script("docker run $ASKED", {"ASKED": "it", "DOCKER_HOST": "unix:///other.sock"}, "given")
    (call,) = calls(log)
    assert (said, call["arguments"], call["stdin"]) == ("said", ["run", "it"], "given")
    assert call["environment"]["DOCKER_HOST"] == "ssh://host"
    with pytest.raises(DaemonError, match=r"^not so$"):
        daemon.run_script("echo not so >&2; exit 1", {}, "")
    with pytest.raises(DaemonError, match=r"^it ended with status 4$"):
        daemon.run_script("exit 4", {}, "")


def test_a_refusal_carries_the_daemons_own_words(docker: Any) -> None:
    docker(ps={"status": 1, "stderr": "permission denied\n"})
    with pytest.raises(DaemonError, match=r"^permission denied$"):
        Daemon(address="unix:///x").run("ps")


def test_a_silent_refusal_names_the_command(docker: Any) -> None:
    docker(ps={"status": 3})
    with pytest.raises(DaemonError, match="docker ps ended with status 3"):
        Daemon(address="unix:///x").run("ps")


def test_a_missing_docker_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DaemonError, match="the docker command is not installed; install the Docker client"):
        Daemon(address="unix:///x").run("ps")


def test_a_daemon_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", path_with(tmp_path))
    with pytest.raises(DaemonError, match="ssh://far did not answer within 1 s"):
        Daemon(address="ssh://far").run("ps", timeout_seconds=1)


def test_a_container_that_is_not_there_is_none(docker: Any) -> None:
    docker(container_inspect=NO_SUCH)
    assert Daemon(address="unix:///x").container("x") is None


@pytest.mark.parametrize(
    "said",
    [
        "Cannot connect to the Docker daemon",
        "error during connect: Get http://x/v1.43/containers/x/json: dial tcp: lookup x on 192.0.2.53:53: no such host",
        "make sure the URL is valid: stderr=bash: line 1: docker: command not found",
        "Error response from daemon: No such container: another",
        "open /certs/ca.pem: no such file or directory",
    ],
)
def test_trouble_with_the_daemon_is_not_taken_for_absence(docker: Any, said: str) -> None:
    docker(container_inspect={"status": 1, "stderr": said})
    with pytest.raises(DaemonError, match=re.escape(said)):
        Daemon(address="unix:///x").container("x")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("container", "Error: No such container: x"),
        ("container", "Error response from daemon: No such container: x"),
        ("volume", "Error response from daemon: get x: no such volume"),
        ("volume", "Error: No such volume: x"),
    ],
)
def test_absence_is_told_in_each_way_the_daemon_has(docker: Any, kind: str, said: str) -> None:
    docker(**{f"{kind}_inspect": {"status": 1, "stderr": f"{said}\n"}})
    assert getattr(Daemon(address="unix:///x"), kind)("x") is None


def test_last_words_are_state_last_health_check_and_log_lines(docker: Any) -> None:
    docker(container_inspect=CONTAINER, logs={"stdout": "one\ntwo\n", "stderr": "three\n"})
    words = Daemon(address="unix:///x").last_words("x", 20)
    assert words.splitlines()[:2] == [
        "state: running, exit code 0, restarted 2 times",
        "last health check: exit code 7: refused",
    ]
    assert set(words.splitlines()[3:]) == {"one", "two", "three"}, "both streams belong to the log"


def dying(*, environment: tuple[str, ...] = (), out_of_memory: bool = False) -> str:
    """Return what the daemon knows of a container in trouble."""
    (container,) = json.loads(CONTAINER)
    container["Config"]["Env"] = list(environment)
    container["State"]["OOMKilled"] = out_of_memory
    container["HostConfig"] = {"Memory": 512 * 1024**2}
    return json.dumps([container])


def test_a_kill_for_memory_is_called_one(docker: Any) -> None:
    docker(container_inspect=dying(out_of_memory=True), logs="")
    assert Daemon(address="unix:///x").last_words("x", 20).splitlines()[:2] == [
        "state: running, exit code 0, restarted 2 times",
        "a process of it was killed for memory: the limit is 512 MiB; raise the memory_mib of the service",
    ]
    docker(container_inspect=dying(), logs="")
    assert "killed for memory" not in Daemon(address="unix:///x").last_words("x", 20)


def test_secrets_among_the_last_words_are_masked(docker: Any) -> None:
    environment = (
        "DATABASE_URL=postgresql://reflector:Passw0rdOfTheBase@postgres:5432/reflector",
        "SECRET_KEY=0123456789abcdef",
        "HATCHET_CLIENT_TOKEN=eyJhbGciOi",
        "AUTH_BACKEND=password",
        "EMPTY_TOKEN=",
    )
    said = "cannot log in with Passw0rdOfTheBase, 0123456789abcdef or eyJhbGciOi at postgres:5432 by password"
    docker(container_inspect=dying(environment=environment), logs=said)
    assert Daemon(address="unix:///x").last_words("x", 20).splitlines()[-1] == (
        "cannot log in with [secret], [secret] or [secret] at postgres:5432 by password"
    )


def test_log_lines_can_be_left_out(docker: Any) -> None:
    log = docker(container_inspect=CONTAINER, logs="said")
    assert Daemon(address="unix:///x").last_words("x", 0).splitlines() == [
        "state: running, exit code 0, restarted 2 times",
        "last health check: exit code 7: refused",
    ]
    assert [call["arguments"][0] for call in calls(log)] == ["container"]


def test_without_its_log_the_rest_of_the_last_words_is_said_all_the_same(docker: Any) -> None:
    docker(container_inspect=CONTAINER, logs={"status": 1, "stderr": "connection reset\n"})
    words = Daemon(address="unix:///x").last_words("x", 20)
    assert "last health check: exit code 7: refused" in words
    assert words.endswith("last 20 log lines:\ncannot be had: connection reset")


def test_last_words_of_a_container_that_is_gone_say_so(docker: Any) -> None:
    docker(container_inspect=NO_SUCH)
    assert Daemon(address="unix:///x").last_words("x", 20) == "there is no container x any more"


SSH_127: Final = (
    'error during connect: Get "http://docker.example.com/v1.24/info": command [ssh -l deploy -- far docker system '
    "dial-stdio] has exited with exit status 127, please make sure the URL is valid, and Docker 18.09 or later is "
    "installed on the remote host: stderr=bash: line 1: docker: command not found"
)


def test_no_docker_on_the_path_of_an_ssh_session_is_told_in_one_line(docker: Any) -> None:
    docker(info={"status": 1, "stderr": SSH_127})
    with pytest.raises(DaemonError) as told:
        Daemon(address="ssh://deploy@far").run("info")
    assert str(told.value) == "the docker command is not on the PATH of a non-interactive ssh session there"
    assert told.value.remedy.startswith("Install it there, or link it to where such sessions look")


def test_the_same_status_of_something_else_is_told_as_it_is(docker: Any) -> None:
    docker(exec={"status": 127, "stderr": "sh: nothing: not found"})
    with pytest.raises(DaemonError, match="sh: nothing: not found"):
        Daemon(address="ssh://deploy@far").run("exec", "x", "nothing")
    docker(exec={"status": 1, "stderr": SSH_127})
    with pytest.raises(DaemonError, match="error during connect"):
        Daemon(address="unix:///x").run("exec", "x", "y")
