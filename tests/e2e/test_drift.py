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

    planned = deployment.planned(refresh=True)
    assert {"reflector-beat", "redis-container", "reflector-web"} <= planned.keys()
    # Whatever else is planned follows from these: nothing that holds data or secrets is touched.
    kinds = {r["urn"].rpartition("::")[2]: r["type"] for r in deployment.resources()}
    assert {kinds[name] for name in planned} <= {"docker:index/container:Container", "command:local:Command"}

    deployment.up("--refresh")
    deployment.wait_until_healthy()
    after = deployment.ids()
    assert after.keys() == before.keys()
    untouched = before.keys() - {"beat", "redis", "web"}
    assert {service: after[service] for service in untouched} == {service: before[service] for service in untouched}
    assert deployment.planned(refresh=True) == {}
    assert deployment.broken_wires() == {}
    assert traces.are_found_in(deployment)


def test_a_network_removed_by_hand_is_seen_and_healed(deployment: Stack) -> None:
    before = deployment.ids()
    network = f"{deployment.prefix}-storage"
    deployment.settled = False
    for service in ("garage", "caddy"):
        deployment.host.docker("network", "disconnect", "--force", network, before[service])
    deployment.host.docker("network", "rm", network)

    assert "host-storage" in deployment.planned(refresh=True)

    deployment.up("--refresh")
    deployment.wait_until_healthy()
    assert len(deployment.host.ids("network", deployment.prefix)) == 4
    assert deployment.broken_wires() == {}
    assert deployment.planned(refresh=True) == {}
