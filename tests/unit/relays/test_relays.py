"""A relay: its port, what reaches it without a new container, and whom it is told to let in."""

from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

from components import relays
from components.base.handles import Service, TrustBundle
from components.relays.relay import Clients, Relay
from rendering import relay as rendering
from settings.relays import Relay as Settings
from testing import building
from testing.building import Neighbours, delivered
from testing.certificates import certificate

BUILT = building.built("Relay")


def test_a_relay_publishes_its_port_and_nothing_else() -> None:
    (port,) = BUILT.named("it-container").plain("ports")
    assert (port["ip"], port["external"], port["internal"], port["protocol"]) == ("127.0.0.1", 8444, 8443, "tcp")


def test_the_certificate_reaches_it_without_replacing_its_container() -> None:
    assert building.LEAF_KEY not in BUILT.named("it-container").text()
    assert building.LEAF_KEY in delivered(BUILT.named("it-release"))["certificate.pem"]


def test_another_client_authority_makes_a_new_container_and_changed_roots_do_not() -> None:
    def variables(**given: Any) -> dict[str, str]:
        built = building.build(lambda near: Relay("it", building.relay_args(near, **given)))
        return building.environment_of(built.named("it-container"))

    def of(said_by: str) -> Clients:
        return Clients(said_by=said_by, roots=TrustBundle(certificates=[certificate("root")[0]]))

    agents = variables(clients=of("authority agents"))
    assert agents == variables(clients=of("authority agents"))
    assert agents != variables(clients=of("authority others"))
    assert agents != variables()


def test_a_renewal_can_tell_whether_more_than_a_certificate_would_change() -> None:
    """What is delivered is secret, and changes with the certificate as well (operations/renewal.py)."""

    def planned(**given: Any) -> str:
        built = building.build(lambda near: Relay("it", building.relay_args(near, **given)))
        return str(built.named("it-release").plain("environment")["RELEASE"])

    same = planned()
    assert same == planned(certificate=building.build(lambda near: near.certificate("other")).component)
    assert len({same, planned(upstream="http://other:1"), planned(websocket_hours=1), planned(identity="X-A")}) == 4


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"allowed": ["x"]}, "of clients with certificates only"),
    ],
)
def test_what_does_not_fit_together_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        building.build(lambda near: building.relay_args(near, **given))


def test_a_pool_of_nobody_cannot_be_rendered() -> None:
    with pytest.raises(ValueError, match="authority agents: no roots"):
        Clients(said_by="authority agents", roots=TrustBundle(certificates=[]))
    root = certificate("root")[0]
    (der,) = rendering.pool(root + root)
    assert der in root.replace("\n", "")
    assert rendering.pool(f"\ufeff{root}") == (der,), "a byte order mark leaves Caddy with an empty pool"
    for empty in ("", "-----BEGIN CERTIFICATE-----\n", "nothing"):
        with pytest.raises(ValueError, match="no root"):
            rendering.pool(empty)


def made(near: Neighbours, services: list[Service], **given: Any) -> None:
    content = {"upstream": "http://api:1250", "port": 8444, "certificate": "shown", **given}
    relays.relays(
        {"it": Settings(**content)},
        near.host,
        {"caddy": near.image()},
        registry=SimpleNamespace(use=lambda name, by: near.certificate(f"{name}-of-{by}")),
        authorities={},
        services=services,
        edge=service(near, "edge"),
        names=["reflector.test"],
        trust=near.trust(),
    )


def service(near: Neighbours, name: str, port: int | None = 1250, networks: tuple[str, ...] = ("storage",)) -> Service:
    container: Any = building.Anchor(f"{name}-container")
    return Service(
        name=name, address=name, host=near.host, container=container, health_test="x", port=port, networks=networks
    )


def test_a_relay_of_a_service_waits_for_it_and_joins_its_networks() -> None:
    built = building.build(lambda near: made(near, [service(near, "api")]))
    container = built.named("relay-it-container")
    assert building.networks_of(container).keys() == {"reflector-test-application", "reflector-test-storage"}
    assert building.depends_on(built.engine, container, "api-container")
    assert "Leaf shown-of-relay it" in delivered(built.named("relay-it-release"))["certificate.pem"]


def test_a_relay_of_what_is_elsewhere_waits_for_nothing_and_trusts_whom_the_stack_trusts() -> None:
    built = building.build(lambda near: made(near, [], upstream="https://a.test/x", upstream_name="b.test"))
    files = delivered(built.named("relay-it-release"))
    assert "tls_server_name b.test" in files["router.Caddyfile"]
    assert "rewrite * /x{uri}" in files["router.Caddyfile"]
    assert "Trusted" in files["trusted.pem"]
    assert building.networks_of(built.named("relay-it-container")).keys() == {"reflector-test-application"}


def test_the_edge_may_be_behind_a_relay() -> None:
    built = building.build(lambda near: made(near, [], upstream="https://reflector.test"))
    assert building.depends_on(built.engine, built.named("relay-it-container"), "edge-container")


def test_a_service_that_answers_nobody_is_refused_in_words() -> None:
    with pytest.raises(pulumi.RunError, match=r"relays\.it\.upstream: 'http://worker:1'; allowed: a service"):
        building.build(lambda near: made(near, [service(near, "worker", None)], upstream="http://worker:1"))
