"""The budget of connections, and what PostgreSQL is told of its memory."""

import pytest

from rendering import authentik, connections


def test_a_server_that_is_big_enough_carries_all_its_connections() -> None:
    for count in (20, 92, 500):
        least = connections.needed_memory_mib(count)
        parameters = connections.server_parameters(least, count)
        buffers = int(parameters["shared_buffers"].removesuffix("MB"))
        maintenance = int(parameters["maintenance_work_mem"].removesuffix("MB"))
        assert buffers + maintenance + count * connections.MIB_EACH <= least
        assert buffers + maintenance + count * connections.MIB_EACH > 0.85 * least, "and not by asking for much more"
        assert parameters["max_connections"] == str(count)


@pytest.mark.parametrize("memory_mib", [64, 512, 2560, 65536])
def test_parameters_are_within_the_limit_whatever_it_is(memory_mib: int) -> None:
    parameters = connections.server_parameters(memory_mib, 92)
    sizes = {name: int(value.removesuffix("MB")) for name, value in parameters.items() if value.endswith("MB")}
    assert sizes.keys() == {"shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem"}
    assert all(size >= 1 for size in sizes.values())
    assert sizes["shared_buffers"] + sizes["maintenance_work_mem"] <= memory_mib / 2
    assert sizes["effective_cache_size"] <= memory_mib
    assert sizes["work_mem"] <= 32


def test_hatchets_maintenance_cannot_wait_for_itself() -> None:
    """Two jobs hold a connection each while they ask for another."""
    assert connections.HATCHET_MAINTENANCE_POOL >= 3


def test_authentik_has_a_connection_for_each_of_its_threads_and_some_for_what_comes_and_goes() -> None:
    told = authentik.environment(
        url="", administrator_email="", trusted_proxies="", secret_key="", administrator_hash="", database={}
    )
    server = int(told["AUTHENTIK_WEB__WORKERS"]) * int(told["AUTHENTIK_WEB__THREADS"])
    worker = int(told["AUTHENTIK_WORKER__PROCESSES"]) * int(told["AUTHENTIK_WORKER__THREADS"])
    # Both listen for news, and `ak` is run beside them.
    assert server + worker + 3 <= connections.AUTHENTIK
