"""The daemon behind the provider's back, and the hooks that guard what is made on it."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pulumi
import pytest

import components
from components.daemon import Daemon, DaemonError
from components.host import NETWORKS, Owner, remove_left_over_container, remove_left_over_networks
from tests.unit import building
from tests.unit.building import PREFIX, calls, fake_command, path_with
from tests.unit.engine import Engine

DEPLOYMENT: Final = "0123456789abcdef"
OWNER: Final = Owner(stack=PREFIX, deployment=DEPLOYMENT)
DAEMON: Final = Daemon(address="unix:///var/run/docker.sock")
NO_SUCH: Final = {"status": 1, "stderr": "Error response from daemon: No such container: x"}


def labels(owner: Owner | None) -> dict[str, str] | None:
    """Return the labels of what belongs to `owner`; None, as Docker says it, of what has none."""
    if owner is None:
        return None
    return {"org.reflector.stack": owner.stack, "org.reflector.deployment": owner.deployment}


def container(owner: Owner | None = OWNER, **config: Any) -> str:
    """Return what `docker container inspect` prints of a container."""
    return json.dumps(
        [
            {
                "Config": {"Labels": labels(owner), "Image": "nginx:1.27.1", **config},
                "State": {
                    "Status": "running",
                    "ExitCode": 0,
                    "Health": {"Log": [{"ExitCode": 0, "Output": "old"}, {"ExitCode": 7, "Output": "refused\n"}]},
                },
                "RestartCount": 2,
            }
        ]
    )


def network(owner: Owner | None = OWNER, containers: tuple[str, ...] = ()) -> str:
    return json.dumps(
        [
            {
                "Id": "network-id",
                "Labels": labels(owner),
                "Containers": {name: {"Name": name} for name in containers},
            }
        ]
    )


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a `docker` on PATH with the given answers, and return the log of its calls."""

    def install(**answers: Any) -> Path:
        monkeypatch.setenv("PATH", path_with(tmp_path))
        return fake_command(tmp_path, "docker", {key.replace("_", " "): value for key, value in answers.items()})

    return install


def commands(log: Path) -> list[str]:
    return [" ".join(call["arguments"]) for call in calls(log)]


# --- The daemon -------------------------------------------------------------------------------------------------------


def test_a_command_reaches_the_stacks_daemon_and_no_other(docker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    log = docker(ps="")
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    Daemon(address="tcp://host:2376", certificates="/certs").run("ps")
    environment = calls(log)[0]["environment"]
    assert {key: value for key, value in environment.items() if key.startswith("DOCKER_")} == {
        "DOCKER_HOST": "tcp://host:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs",
    }  # fmt: skip


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


def test_trouble_with_the_daemon_is_not_taken_for_absence(docker: Any) -> None:
    docker(container_inspect={"status": 1, "stderr": "Cannot connect to the Docker daemon"})
    with pytest.raises(DaemonError, match="Cannot connect"):
        Daemon(address="unix:///x").container("x")


def test_last_words_are_state_last_health_check_and_log_lines(docker: Any) -> None:
    docker(container_inspect=container(), logs={"stdout": "one\ntwo\n", "stderr": "three\n"})
    words = Daemon(address="unix:///x").last_words("x", 20)
    assert words.splitlines()[:2] == [
        "state: running, exit code 0, restarted 2 times",
        "last health check: exit code 7: refused",
    ]
    assert set(words.splitlines()[3:]) == {"one", "two", "three"}, "both streams belong to the log"


def test_without_its_log_the_rest_of_the_last_words_is_said_all_the_same(docker: Any) -> None:
    docker(container_inspect=container(), logs={"status": 1, "stderr": "connection reset\n"})
    words = Daemon(address="unix:///x").last_words("x", 20)
    assert "last health check: exit code 7: refused" in words
    assert words.endswith("last 20 log lines:\ncannot be had: connection reset")


def test_last_words_of_a_container_that_is_gone_say_so(docker: Any) -> None:
    docker(container_inspect=NO_SUCH)
    assert Daemon(address="unix:///x").last_words("x", 20) == "there is no container x any more"


# --- What interrupted runs left ---------------------------------------------------------------------------------------


def test_a_free_name_is_left_alone(docker: Any) -> None:
    log = docker(container_inspect=NO_SUCH)
    remove_left_over_container(DAEMON, "x", OWNER)
    assert commands(log) == ["container inspect x"]


def test_our_own_left_over_container_is_stopped_with_its_grace_and_removed(docker: Any) -> None:
    log = docker(container_inspect=container(StopTimeout=77), stop="", rm="")
    remove_left_over_container(DAEMON, "x", OWNER)
    assert commands(log)[1:] == ["stop --time 77 x", "rm --force x"]


@pytest.mark.parametrize("owner", [None, Owner(stack="reflector-other", deployment=DEPLOYMENT)])
def test_somebody_elses_container_is_refused_and_not_touched(docker: Any, owner: Owner | None) -> None:
    log = docker(container_inspect=container(owner))
    with pytest.raises(RuntimeError) as refusal:
        remove_left_over_container(DAEMON, "reflector-test-caddy", OWNER)
    assert str(refusal.value) == (
        "the container reflector-test-caddy (image nginx:1.27.1) on unix:///var/run/docker.sock has a name this stack "
        "needs and is not this stack's; rename or remove it, or use another stack name"
    )
    assert commands(log) == ["container inspect reflector-test-caddy"]


def test_our_own_left_over_network_goes_after_the_containers_on_it(docker: Any) -> None:
    log = docker(
        network_ls="network-id\n", network_inspect=network(containers=("x",)), container_inspect=container(), stop="",
        rm="", network_rm="",
    )  # fmt: skip
    remove_left_over_networks(DAEMON, "n", OWNER)
    assert commands(log)[0] == "network ls --no-trunc --quiet --filter name=^n$", (
        "a filter by part of a name hits others"
    )
    assert commands(log)[-2:] == ["rm --force x", "network rm network-id"]


@pytest.mark.parametrize("owner", [None, Owner(stack="reflector-other", deployment=DEPLOYMENT)])
def test_somebody_elses_network_is_refused_and_not_touched(docker: Any, owner: Owner | None) -> None:
    log = docker(network_ls="network-id\n", network_inspect=network(owner))
    with pytest.raises(RuntimeError) as refusal:
        remove_left_over_networks(DAEMON, "n", OWNER)
    assert str(refusal.value) == (
        "the network n on unix:///var/run/docker.sock has a name this stack needs and is not this stack's; rename or "
        "remove it, or use another stack name"
    )
    assert not any("rm" in command.split() for command in commands(log))


@pytest.mark.parametrize("deployment", ["", "fedcba9876543210"])
def test_what_another_state_of_the_same_stack_runs_is_refused_and_not_touched(docker: Any, deployment: str) -> None:
    theirs = Owner(stack=PREFIX, deployment=deployment)
    log = docker(
        container_inspect=container(theirs),
        network_ls="network-id\n",
        network_inspect=network(theirs, containers=("x",)),
    )
    with pytest.raises(
        RuntimeError, match="already runs a stack of this name that another state knows: the container x"
    ):
        remove_left_over_container(DAEMON, "x", OWNER)
    with pytest.raises(RuntimeError, match="already runs a stack of this name that another state knows: the network n"):
        remove_left_over_networks(DAEMON, "n", OWNER)
    assert {command.rpartition(" ")[0] for command in commands(log)} <= {
        "container inspect", "network inspect", "network ls --no-trunc --quiet --filter",
    }  # fmt: skip


def test_a_foreign_container_keeps_our_left_over_network(docker: Any) -> None:
    log = docker(
        network_ls="network-id\n",
        network_inspect=network(containers=("x",)),
        container_inspect=container(Owner(stack="other", deployment="")),
    )
    with pytest.raises(RuntimeError, match=r"the container x .* is not this stack's"):
        remove_left_over_networks(DAEMON, "n", OWNER)
    assert "network rm network-id" not in commands(log)


# --- The hooks, as the engine calls them ------------------------------------------------------------------------------


def hooks_of(engine: Engine) -> Any:
    engine.run(lambda: components.Host("host", building.host_args()))
    return engine.hooks


def before_create(name: str) -> pulumi.ResourceHookArgs:
    inputs = {"name": name, "labels": [{"label": key, "value": value} for key, value in (labels(OWNER) or {}).items()]}
    return pulumi.ResourceHookArgs(urn="urn", id="", name="n", type="t", new_inputs=inputs)


def failure(*errors: str) -> pulumi.ErrorHookArgs:
    return pulumi.ErrorHookArgs(
        urn="urn", id="", name="n", type="t", new_inputs={"name": "reflector-test-caddy"}, failed_operation="create",
        errors=list(errors),
    )  # fmt: skip


def test_the_engine_clears_a_left_over_container_before_it_makes_one(engine: Engine, docker: Any) -> None:
    log = docker(container_inspect=container(), stop="", rm="")
    asyncio.run(hooks_of(engine)["host-left-over-containers"](before_create("x")))
    assert commands(log)[-1] == "rm --force x"


def test_the_engine_clears_a_left_over_network_before_it_makes_one(engine: Engine, docker: Any) -> None:
    log = docker(network_ls="network-id\n", network_inspect=network(), network_rm="")
    asyncio.run(hooks_of(engine)["host-left-over-networks"](before_create("n")))
    assert commands(log)[-1] == "network rm network-id"


def test_networks_are_guarded_and_labelled(engine: Engine) -> None:
    hooks_of(engine)
    made = engine.of_type(building.NETWORK)
    assert {resource.name for resource in made} == {f"host-{role}" for role in NETWORKS}
    for resource in made:
        assert list(resource.request.hooks.before_create) == ["host-left-over-networks"]
        assert resource.plain("labels") == [
            {"label": "org.reflector.deployment", "value": DEPLOYMENT},
            {"label": "org.reflector.stack", "value": PREFIX},
        ]
    assert engine.named("host-deployment").request.protect, "without it nothing on the host would be known again"


@pytest.mark.parametrize("role", sorted(NETWORKS))
def test_data_networks_have_no_route_out(engine: Engine, role: str) -> None:
    hooks_of(engine)
    assert engine.named(f"host-{role}").plain("internal") is (role != "application")


def test_a_container_that_does_not_become_healthy_says_why(
    engine: Engine, docker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "error", said.append)
    log = docker(container_inspect=container(), logs="the reason\n")
    retry = asyncio.run(hooks_of(engine)["host-last-words"].callback(failure("container did not become healthy")))
    assert retry is False, "the next run replaces it; trying at once would only hide the reason"
    assert said[0].startswith("reflector-test-caddy did not become healthy\n")
    assert "the reason" in said[0]
    assert commands(log)[1] == "logs --tail 20 reflector-test-caddy"


def test_a_container_that_never_ran_is_not_asked_for_last_words(engine: Engine, docker: Any) -> None:
    log = docker()
    assert asyncio.run(hooks_of(engine)["host-last-words"].callback(failure("no such image"))) is False
    assert commands(log) == []


def test_two_hosts_have_hooks_of_their_own(engine: Engine) -> None:
    engine.run(lambda: [components.Host(name, building.host_args(prefix=name)) for name in ("one", "two")])
    assert len(engine.hooks) == 6
