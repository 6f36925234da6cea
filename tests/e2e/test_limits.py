"""The shipped memory limits hold the real software: the probe takes as much as that was measured to take."""

import json
import time
from collections.abc import Mapping
from typing import Final

import pytest

from rendering import startup
from settings.application import Application
from settings.workflow import Workflow
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

_START: Final = ("sh", "-c", startup.runserver())
_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    # Its start script migrates first, for which there is no database here.
    "server": ("/app/.venv/bin/uvicorn", "reflector.app:app", "--host", "0.0.0.0", "--port", "1250"),
    "worker": _START,
    "beat": _START,
    "hatchet-worker-llm": _START,
    "web": ("probe", "run", "web"),
    "hatchet": ("/hatchet-lite", "--config", "/config"),
}
_LIMITS: Final[Mapping[str, int]] = {
    "server": Application().server.memory_mib,
    "worker": Application().worker.memory_mib,
    "beat": Application().beat.memory_mib,
    "hatchet-worker-llm": Application().hatchet_worker_llm.memory_mib,
    "web": Application().web.memory_mib,
    "hatchet": Workflow().memory_mib,
}
"""Service → its limit in MiB where no setting says another."""


@pytest.mark.parametrize("service", _COMMANDS)
def test_a_shipped_limit_holds_the_real_software(deployment: Stack, service: str) -> None:
    assert not killed(deployment, service, _LIMITS[service])


def test_the_scheduler_does_not_fit_into_512_mib(deployment: Stack) -> None:
    assert killed(deployment, "beat", 512)


def killed(deployment: Stack, service: str, memory_mib: int) -> bool:
    """Return whether the kernel kills a service as large as the real one for its memory, before it is ready.

    Only the container starts, beside the stack: memory is taken before anything is connected to.
    """
    limit = ("--memory", f"{memory_mib}m", "--memory-swap", f"{memory_mib}m")
    image = deployment.containers()[service]["Image"]
    variables = ("PROBE_REAL_SIZE=true", f"ENTRYPOINT={service}", "WORKER_PROCESSES=2")
    options = ("--detach", "--network", "none", *limit, *(f"--env={variable}" for variable in variables))
    container = deployment.host.docker("run", *options, image, *_COMMANDS[service]).strip()
    try:
        deadline = time.monotonic() + 60
        while True:
            state = json.loads(deployment.host.docker("inspect", container))[0]["State"]
            if state["OOMKilled"]:
                return True
            if "at its peak" in deployment.host.logs(container):
                return False
            assert state["Running"], deployment.host.logs(container)
            assert time.monotonic() < deadline, "it neither grew nor was killed"
            time.sleep(0.2)
    finally:
        deployment.host.docker("rm", "--force", container)
