"""A service that does not become healthy stops `up`, which says why."""

import pytest

from components.base.daemon import Daemon
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

MANIFEST = "/data/appendonlydir/appendonly.aof.manifest"


def test_a_service_that_never_gets_healthy_fails_up_with_its_last_words_and_is_retried(deployment: Stack) -> None:
    # Redis refuses a damaged manifest.
    traces = deployment.leave_traces()
    image = deployment.containers()["redis"]["Image"]
    deployment.settled = False
    deployment.inside("redis", "sh", "-c", f"cp {MANIFEST} /data/manifest.kept && echo damaged > {MANIFEST}")
    deployment.configure({"data.redis.memory_mib": 160})

    output = deployment.run("up").failed().output
    assert f"{deployment.prefix}-redis did not become healthy" in output
    assert "log lines" in output
    assert "AOF manifest" in output, output  # Redis' own words
    failed = deployment.ids()["redis"]

    mend = f"mv /data/manifest.kept {MANIFEST}"
    volume = f"{deployment.prefix}-redis:/data"
    deployment.host.docker("run", "--rm", "--user", "999", "--volume", volume, "--entrypoint", "sh", image, "-c", mend)
    deployment.up()
    assert deployment.ids()["redis"] != failed
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
