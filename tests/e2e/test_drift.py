"""What somebody breaks by hand is seen, and mended."""

import pytest

from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker


def test_containers_killed_stopped_or_removed_by_hand_are_seen_and_healed(deployment: Stack) -> None:
    traces = deployment.leave_traces()
    before = deployment.ids()
    deployment.settled = False
    deployment.host.docker("kill", before["beat"])
    deployment.host.docker("stop", before["redis"], timeout_seconds=120)
    deployment.host.docker("rm", "--force", before["web"])
    network = f"{deployment.prefix}-storage"
    for service in ("garage", "caddy"):
        deployment.host.docker("network", "disconnect", "--force", network, before[service])
    deployment.host.docker("network", "rm", network)

    planned = deployment.planned(refresh=True)
    assert {"reflector-beat", "redis-container", "reflector-web", "host-storage"} <= planned.keys()
    # Whatever else is planned follows from these: nothing that holds data or secrets is touched.
    kinds = {resource["urn"].rpartition("::")[2]: resource["type"] for resource in deployment.resources()}
    assert {kinds[name] for name in planned} <= {
        "docker:index/container:Container",
        "docker:index/network:Network",
        "command:local:Command",
    }

    # With a look of the engine's own at everything, and then without.
    said = deployment.run("preview", "--refresh").succeeded().output
    output = deployment.up()
    for line in (
        f"{deployment.prefix}-beat does not run (exited): it is made again",
        f"{deployment.prefix}-web is gone: it is made again",
        f"{network} is gone: it is made again",
    ):
        assert line in said
        assert line in output
    deployment.wait_until_healthy()
    after = deployment.ids()
    assert after.keys() == before.keys()
    # A network made anew needs everybody on it to be put there; and without a broker a worker gets unhealthy by itself.
    untouched = before.keys() - {"beat", "redis", "web", "garage", "caddy", "worker"}
    assert {service: after[service] for service in untouched} == {service: before[service] for service in untouched}
    assert len(deployment.host.ids("network", deployment.prefix)) == 4
    assert deployment.planned(refresh=True) == {}
    assert deployment.broken_wires() == {}
    assert traces.are_found_in(deployment)
