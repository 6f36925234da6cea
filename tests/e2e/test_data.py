"""Taking it down keeps what cannot be made again."""

import pytest

from settings import PROJECT, parse
from tests.e2e.docker_host import Events
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

KILLED = 128 + 9


def test_down_keeps_the_data_and_a_killed_and_repeated_up_brings_all_of_it_back(
    deployment: Stack, events: Events
) -> None:
    traces = deployment.leave_traces()
    before = deployment.outputs()
    volumes = sorted(deployment.host.ids("volume", deployment.prefix))
    assert volumes
    services = deployment.containers().keys()
    deployment.settled = False

    output = deployment.run("down").succeeded().output
    assert "Data, keys and passwords are kept" in output
    # Each was told to stop and did: nobody had to be killed.
    assert services - events.exit_codes.keys() == set()
    assert {service for service, code in events.exit_codes.items() if code == KILLED} == set()
    assert deployment.host.ids("container", deployment.prefix) == []
    assert deployment.host.ids("network", deployment.prefix) == []
    assert sorted(deployment.host.ids("volume", deployment.prefix)) == volumes
    deployment.run("down").succeeded()

    # The worst moment for the way back, too: networks and data services half made.
    run = deployment.start("up")
    events.wait_for("create", "postgres", timeout_seconds=180)
    run.kill()

    deployment.up()
    deployment.wait_until_healthy()
    after = deployment.outputs()
    for name in ("ca_certificate", "trust_bundle", "admin_email", "admin_password", "url", "storage"):
        assert after[name] == before[name], name
    assert sorted(deployment.host.ids("volume", deployment.prefix)) == volumes
    assert traces.are_found_in(deployment)
    assert deployment.broken_wires() == {}
    assert deployment.planned(refresh=True) == {}


def test_the_database_takes_the_connections_of_its_budget_and_fits_its_limit(deployment: Stack) -> None:
    def shown(name: str) -> str:
        return deployment.inside("postgres", "psql", "-AtU", "postgres", "-c", f"SHOW {name}").strip()

    budget = parse({}, deployment.name, PROJECT).connections
    assert int(shown("max_connections")) == sum(budget.values())
    limit = deployment.containers()["postgres"]["HostConfig"]["Memory"] // 2**20
    assert shown("shared_buffers") == f"{limit // 8}MB"
    in_use = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    found = deployment.inside("postgres", "psql", "-AtU", "postgres", "-c", in_use)
    assert int(found) <= sum(budget.values()) - budget["spare"]
