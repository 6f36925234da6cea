"""A step: a command in a running container, which tells nobody what it was told."""

import os
import subprocess
from typing import Any

import pulumi
import pytest

from components.base.handles import Service
from components.base.service import HealthCheck, ServiceArgs, service
from components.base.step import StepArgs, step
from testing import building
from testing.building import Neighbours
from testing.engine import Registered


def redis(near: Neighbours) -> Service:
    """Return a service `redis`."""
    args = ServiceArgs(
        host=near.host,
        service="redis",
        image=building.IMAGE_ID,
        memory_mib=64,
        health=HealthCheck(test=("CMD", "true")),
        networks={"cache": ()},
    )
    return service("redis", args, near.ready)


def made(secret: str | None = None, **given: Any) -> Registered:
    """Return the command a step in the container of `redis` becomes; its variable KEY is secret."""
    given = {"script": "true", **given}

    def build(near: Neighbours) -> None:
        if secret is not None:
            given["environment"] = {"KEY": pulumi.Output.secret(secret), "A": "1"}
        step("it", StepArgs(service=redis(near), **given), near.ready)

    return building.build(build).named("it")


def test_a_step_passes_variables_on_by_name() -> None:
    step_ = made("HandedSecret")
    assert step_.plain("interpreter") == [
        "docker", "exec", "--interactive", "--env=A", "--env=KEY", "--env=PULUMI_COMMAND_STDOUT",
        "--env=STEP", "reflector-test-redis", "sh", "-c",
    ]  # fmt: skip
    assert "HandedSecret" not in step_.open_text()


def test_a_step_beside_the_engine_is_told_its_container() -> None:
    step_ = made(inside=False)
    assert step_.plain("interpreter") == ["python3", "-c"]
    assert step_.plain("environment")["CONTAINER"] == "reflector-test-redis"


def test_a_step_talks_to_the_stacks_own_daemon() -> None:
    assert made().plain("environment")["DOCKER_HOST"] == "unix:///var/run/docker.sock"


def test_a_step_runs_again_with_a_new_container_or_script() -> None:
    step_ = made()
    assert step_.plain("environment")["CONTAINER_ID"] == "redis-id"
    assert step_.plain("update") == step_.plain("create"), "nothing would run again"
    assert step_.plain("environment")["STEP"] == "true", "a changed script alone would not run again"


@pytest.mark.parametrize("inside", [True, False])
def test_a_step_that_fails_is_called_by_its_name_and_not_by_its_script(inside: bool) -> None:
    script = "read -r line; echo $line; exit 3" if inside else "import sys; print(input()); sys.exit(3)"
    step_ = made(inside=inside, script=script)
    assert script not in step_.plain("create")
    assert step_.plain("create").endswith(" # it")
    # Run as the provider does, in a container or beside it.
    done = subprocess.run(
        [*(["sh", "-c"] if inside else step_.plain("interpreter")), step_.plain("create")],
        env={"PATH": os.environ["PATH"], "STEP": building.script_of(step_)},
        input="said\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "said\n"), done.stderr


def test_a_step_with_a_secret_output_never_logs_it() -> None:
    step_ = made(secret_output=True)
    assert step_.plain("logging") == "none"
    assert {"stdout", "stderr"} <= set(step_.request.additionalSecretOutputs)


def test_a_step_shows_its_output_only_when_asked() -> None:
    assert made().plain("logging") == "stderr"
    assert made(show_progress=True).plain("logging") == "stdoutAndStderr"


def test_a_step_cannot_show_a_secret_output() -> None:
    with pytest.raises(ValueError, match="a step whose output is secret must not show it"):
        made(secret_output=True, show_progress=True)


def test_a_step_shows_no_secret_in_its_repr() -> None:
    def build(near: Neighbours) -> str:
        secret = "HandedSecret"
        return repr(StepArgs(service=redis(near), script="", stdin=secret, environment={"KEY": secret}))

    assert "HandedSecret" not in building.build(build).component, "a traceback would print it"
