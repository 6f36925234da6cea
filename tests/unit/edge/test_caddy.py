"""The edge: the only published ports, a certificate for each name, and no restart for a new one."""

import tomllib
from typing import Any

import pytest

from components import edge
from components.base.handles import NOBODY, Route, Site
from components.edge.caddy import Caddy
from settings.edge import Edge
from testing import building
from testing.building import Built, Neighbours, delivered
from testing.certificates import certificate
from testing.engine import value_of
from toolchain import ROOT

BUILT = building.built("Caddy")


def test_an_edge_without_a_site_is_refused() -> None:
    with pytest.raises(ValueError, match="sites must hold one site or more"):
        building.build(lambda near: building.caddy_args(near, sites=[]))


def test_two_certificates_of_one_name_are_refused() -> None:
    def build(near: Neighbours) -> None:
        sites = [
            Site(names=[name], certificate=near.certificate("same"), routes=[Route(upstream="http://a:1")])
            for name in ("a.test", "b.test")
        ]
        building.caddy_args(near, sites=sites)

    with pytest.raises(ValueError, match="sites have two certificates called same"):
        building.build(build)


@pytest.mark.parametrize("ports", [(8443,), (8080,), (8444, 8444)])
def test_two_listeners_on_one_port_are_refused(ports: tuple[int, ...]) -> None:
    def build(near: Neighbours) -> None:
        shown = near.certificate("it")
        sites = [
            Site(names=["192.0.2.9"], certificate=shown, routes=[Route(upstream="http://a:1")], own_port=port)
            for port in (None, *ports)
        ]
        building.caddy_args(near, sites=sites, public_port=8443, http_port=8080)

    with pytest.raises(ValueError, match="two things listen on one of the ports"):
        building.build(build)


def test_the_edge_publishes_https_twice_and_http_once_on_each_address() -> None:
    ports = {(p["ip"], p["external"], p["protocol"]) for p in BUILT.named("it-container").plain("ports")}
    assert ports == {
        (address, number, protocol)
        for address in ("127.0.0.1", "192.0.2.1")
        for number, protocol in ((8443, "tcp"), (8443, "udp"), (8080, "tcp"))
    }


def test_the_edge_listens_on_the_port_people_see_and_is_published_on_another() -> None:
    inside = {(p["internal"], p["external"]) for p in BUILT.named("it-container").plain("ports")}
    assert inside == {(443, 8443), (8080, 8080)}, "one URL has to be right inside the stack and outside"
    front = building.environment_of(BUILT.named("it-container"))["FRONT_CADDYFILE"]
    assert "https://:443 {" in front
    assert "http://:8080 {" in front


def test_the_edge_answers_to_its_public_names_inside_the_stack() -> None:
    networks = building.networks_of(BUILT.named("it-container"))
    assert networks["reflector-test-application"] == ["caddy", "reflector.test", "s3.reflector.test"]


def test_the_edge_joins_the_networks_of_what_it_serves_and_no_other() -> None:
    assert building.networks_of(BUILT.named("it-container")).keys() == {
        "reflector-test-application", "reflector-test-storage",
    }  # fmt: skip
    alone = building.build(lambda near: Caddy("it", building.caddy_args(near, sites=near.sites()[:1])))
    assert building.networks_of(alone.named("it-container")).keys() == {"reflector-test-application"}


def test_the_edge_keeps_one_capability() -> None:
    assert BUILT.named("it-container").plain("capabilities")["adds"] == ["CAP_NET_BIND_SERVICE"]


def test_the_edge_is_published_after_what_it_serves() -> None:
    def build(near: Neighbours) -> None:
        sites = [
            Site(
                names=[f"{name}.test"],
                certificate=near.certificate(name),
                routes=[Route(upstream="http://a:1")],
                ready=[building.Anchor(name)],
            )
            for name in ("first", "second")
        ]
        Caddy("it", building.caddy_args(near, sites=sites))

    built = building.build(build)
    for name in ("first", "second"):
        assert built.named(name).urn in built.named("it-container").request.dependencies


def test_certificates_reach_the_edge_without_replacing_its_container() -> None:
    container, release = BUILT.named("it-container"), BUILT.named("it-release")
    assert building.LEAF_KEY not in container.text()
    assert "uploads" not in container.inputs
    assert release.is_secret("stdin")
    content = delivered(release)
    assert content.keys() == {
        "identifier", "kept", "sites.router", "names.certificates", "edge-certificate.pem", "store-certificate.pem",
    }  # fmt: skip
    for name in ("edge-certificate", "store-certificate"):
        assert f"Leaf {name}" in content[f"{name}.pem"]
        assert f"{building.LEAF_KEY}{name}" in content[f"{name}.pem"]
    assert content["kept"].split() == ["edge-certificate.pem", "store-certificate.pem"]


def test_each_name_is_shown_the_certificate_of_its_site() -> None:
    names = delivered(BUILT.named("it-release"))["names.certificates"]
    assert r"^reflector\.test$ edge-certificate.pem" in names
    assert r"^s3\.reflector\.test$ store-certificate.pem" in names


def test_sites_that_share_a_certificate_share_its_file() -> None:
    def build(near: Neighbours) -> None:
        shared = near.certificate("shared")
        sites = [
            Site(names=[name], certificate=shared, routes=[Route(upstream="http://a:1")])
            for name in ("a.test", "b.test")
        ]
        Caddy("it", building.caddy_args(near, sites=sites))

    content = delivered(building.build(build).named("it-release"))
    assert [name for name in content if name.endswith(".pem")] == ["shared.pem"]


def test_the_edge_brings_along_what_it_answers_until_something_is_delivered() -> None:
    environment = building.environment_of(BUILT.named("it-container"))
    assert environment["STANDBY_SITES"].count(" 503\n") == 2
    assert environment["STANDBY_NAMES"] == "rewrite * /edge-certificate.pem\n"


def test_a_route_that_is_served_at_one_name_only_reaches_the_edge_as_such() -> None:
    def build(near: Neighbours) -> None:
        routes = [Route(paths=["/v1/*"], upstream="http://a:1"), Route(upstream="http://b:2", canonical=True)]
        site = Site(names=["a.test", "b.test"], certificate=near.certificate(), routes=routes)
        Caddy("it", building.caddy_args(near, sites=[site]))

    text = delivered(building.build(build).named("it-release"))["sites.router"]
    assert text.count("redir @other") == 1
    assert "redir @other1_2 https://a.test{uri} 307" in text


def test_one_caddy_is_checked_and_built_and_pulled() -> None:
    pins = tomllib.loads((ROOT / "toolchain" / "versions.toml").read_text(encoding="utf-8"))
    assert pins["images"]["caddy"]["tag"] == f"{pins['caddy']['version']}-alpine", (
        "move both: make pin PART=caddy and PART=images.caddy"
    )


# --- The page about trust ---------------------------------------------------------------------------------------------


def with_roots(*names: str, **given: Any) -> Built:
    """Return an edge whose clients have to be given roots of these names."""
    pem = "".join(certificate(name)[0] for name in names)
    return building.build(lambda near: Caddy("it", building.caddy_args(near, private_roots_pem=pem, **given)))


def test_where_clients_have_nothing_to_trust_there_is_no_page_about_it() -> None:
    content = delivered(BUILT.named("it-release"))
    assert not [name for name in content if name.startswith("trust/")]
    assert "/trust" not in content["sites.router"]
    assert BUILT.component.trust_page_url is None


def test_what_clients_have_to_trust_is_delivered_with_the_release() -> None:
    built = with_roots("the root")
    content = delivered(built.named("it-release"))
    assert {name.removeprefix("trust/") for name in content if name.startswith("trust/")} == {
        "index.html", "first-contact.html", "ca.pem", "ca.crt", "ca.mobileconfig", "fingerprint.txt",
    }  # fmt: skip
    assert "the root" in content["trust/index.html"]
    assert "http://reflector.test:8080/trust" in content["trust/index.html"]
    assert "<b>s3.reflector.test</b>" in content["trust/index.html"], "the one certificate is for it, too"
    assert "host reflector.test\n" in content["sites.router"], "at the names of the application alone"
    assert built.component.trust_page_url == "https://reflector.test/trust"


def test_each_of_several_roots_is_on_the_page_once() -> None:
    content = delivered(with_roots("one root", "another root").named("it-release"))
    assert content["trust/ca.pem"].count("BEGIN CERTIFICATE") == 2
    assert content["trust/index.html"].count('class="card"') == 2


def test_the_page_about_trust_is_reached_by_the_ports_people_see() -> None:
    content = delivered(with_roots("the root", public_port=8443, http_port=80).named("it-release"))
    assert "https://reflector.test:8443/trust" in content["trust/first-contact.html"]
    assert "http://reflector.test/trust" in content["trust/index.html"]


def test_a_client_that_names_nothing_means_the_first_site() -> None:
    front = building.environment_of(BUILT.named("it-container"))["FRONT_CADDYFILE"]
    assert "default_sni reflector.test" in front


# --- From settings ----------------------------------------------------------------------------------------------------


def made(settings: Edge) -> Built:
    def build(near: Neighbours) -> Caddy:
        return edge.edge(settings, near.host, {"caddy": near.image()}, sites=near.sites(), roots=NOBODY)

    return building.build(build)


def test_behind_a_router_the_edge_listens_on_the_port_of_the_urls() -> None:
    built = made(Edge(https_port=8443, http_port=8080, public_port=443, bind_addresses=("127.0.0.1",)))
    ports = {(p["internal"], p["external"], p["protocol"]) for p in built.named("caddy-container").plain("ports")}
    assert ports == {(443, 8443, "tcp"), (443, 8443, "udp"), (8080, 8080, "tcp")}
    assert built.component.service.port == 443


def test_the_edge_is_told_of_proxies_in_front_and_of_none_by_default() -> None:
    assert "trusted_proxies" not in building.environment_of(BUILT.named("it-container"))["FRONT_CADDYFILE"]
    built = made(Edge(trusted_proxies=("10.0.0.0/8", "10.0.0.0/8"), proxy_protocol=True))
    base = building.environment_of(built.named("caddy-container"))["FRONT_CADDYFILE"]
    assert "trusted_proxies static 10.0.0.0/8\n" in base
    assert "allow 10.0.0.0/8\n" in base


def test_an_address_that_is_named_twice_is_published_once() -> None:
    built = made(Edge(bind_addresses=("127.0.0.1", "127.0.0.1")))
    assert len(built.named("caddy-container").plain("ports")) == 3, "Docker refuses the second"


def test_the_edge_is_ready_once_its_sites_are_delivered() -> None:
    built = made(Edge())
    assert value_of(built.component.ready.urn) == built.named("caddy-release").urn
