"""Redis: fenced by its network, and what is queued survives."""

from testing import building
from testing.engine import value_of

BUILT = building.built("Redis")


def test_it_sits_on_its_internal_network_alone() -> None:
    assert building.networks_of(BUILT.named("it-container")) == {"reflector-test-cache": ["redis"]}, (
        "it has no password: who is on that network may use it"
    )
    assert BUILT.named("host-cache").plain("internal") is True


def test_redis_writes_down_what_is_queued() -> None:
    container = BUILT.named("it-container")
    assert container.plain("command") == ["redis-server", "--appendonly", "yes", "--appendfsync", "everysec"]
    assert [mount["containerPath"] for mount in container.plain("volumes")] == ["/data"]


def test_it_is_handed_over_with_its_address_and_network() -> None:
    cache = BUILT.component.cache
    assert (cache.host, cache.port, cache.network) == ("redis", 6379, "cache")
    assert value_of(cache.ready.urn) == BUILT.named("it-container").urn
