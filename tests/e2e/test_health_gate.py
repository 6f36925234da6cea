"""A service that does not become healthy stops `up`, which says why."""

from pathlib import Path
from typing import Final

import pytest

from components.base.daemon import Daemon
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

MANIFEST: Final = "/data/appendonlydir/appendonly.aof.manifest"
VERSION: Final = "/var/lib/postgresql/data/PG_VERSION"


def mend(stack: Stack, image: str, user: str, volume: str, script: str) -> None:
    """Run a script on a volume whose service does not run, as the user that has it."""
    flags = ("--rm", "--user", user, "--volume", f"{stack.prefix}-{volume}", "--entrypoint", "sh")
    stack.host.docker("run", *flags, image, "-c", script)


def test_services_that_never_get_healthy_fail_up_with_their_last_words_and_are_retried(deployment: Stack) -> None:
    """Two in one run, as the engine waits for both at once: it takes its time until a service counts as failed.

    Redis refuses a damaged manifest. And PostgreSQL's volume is of another version, which a plain `pulumi up` finds, as
    it checks nothing before: refused, nothing lost, and served again once it fits.
    """
    traces = deployment.leave_traces()
    images = {service: container["Image"] for service, container in deployment.containers().items()}
    deployment.settled = False
    deployment.inside("redis", "sh", "-c", f"cp {MANIFEST} /data/manifest.kept && echo damaged > {MANIFEST}")
    deployment.inside("postgres", "sh", "-c", f"echo 14 > {VERSION}")
    memory = deployment.setting("data.postgres.memory_mib")
    deployment.configure({"data.redis.memory_mib": 160, "data.postgres.memory_mib": memory + 8})

    output = deployment.run("up").failed().output
    for service in ("redis", "postgres"):
        assert f"{deployment.prefix}-{service} did not become healthy" in output
    assert "log lines" in output
    assert "AOF manifest" in output, output  # Redis' own words
    assert "PostgreSQL is not started, and the volume is as it was: its data are of version 14" in output, output
    failed = deployment.ids()

    mend(deployment, images["redis"], "999", "redis:/data", f"mv /data/manifest.kept {MANIFEST}")
    mend(deployment, images["postgres"], "70:70", f"postgres:{Path(VERSION).parent}", f"echo 15 > {VERSION}")
    deployment.up()
    retried = deployment.ids()
    assert retried["redis"] != failed["redis"]
    assert retried["postgres"] != failed["postgres"]
    deployment.wait_until_healthy()
    assert deployment.broken_wires() == {}
    assert traces.are_found_in(deployment)
    assert deployment.planned(refresh=True) == {}


def test_a_container_killed_for_memory_is_told_from_one_that_merely_failed(deployment: Stack) -> None:
    image = deployment.containers()["web"]["Image"]
    name = f"{deployment.prefix}-hungry"
    flags = ("--detach", "--name", name, "--memory", "32m", "--memory-swap", "32m", "--entrypoint", "python3")
    deployment.host.docker("run", *flags, image, "-c", "kept = bytearray(256 << 20)\nkept[::4096] = kept[::4096]")
    try:
        deployment.host.docker("wait", name)
        words = Daemon(address=deployment.host.address).last_words(name, 5)
        assert "a process of it was killed for memory: the limit is 32 MiB" in words, words
    finally:
        deployment.host.docker("rm", "--force", name)
