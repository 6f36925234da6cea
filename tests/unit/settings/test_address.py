"""A stack without a name: its domain is an address, and each site of the edge has a port."""

from typing import Any, Final

import pytest

from settings.base import dotted
from tests.unit.settings.examples import SEALED, outcome, parsed, refused
from tests.unit.settings.wrong import AUTHENTIK, GARAGE, OLLAMA, STORE

ADDRESS: Final = "192.0.2.9"
HERE: Final[dict[str, Any]] = {"edge": {"domain": ADDRESS}, "storage": GARAGE, "sign_in": AUTHENTIK}
ALONE: Final = (
    "an address other machines reach the Docker host by; for this machine alone a name: localhost, or "
    "reflector.localhost"
)
OF_A_LINK: Final = "an address that means the same everywhere, not one of a single link (fe80::)"
NOT_A_NAME: Final = "nothing beside an address: it is served there, by {}.https_port"
OWN: Final = "a port of its own, while edge.domain is an address"
BESIDE_A_NAME: Final = "nothing beside a name: by names it is told apart on edge.https_port"
IPV4: Final = (
    "an IPv4 address, or a name: containers have IPv4 alone, and get there as everybody does; the IPv6 address may be "
    "one of edge.extra_names"
)


def edge(**settings: object) -> dict[str, Any]:
    return {**HERE, "edge": {"domain": ADDRESS, **settings}}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (ADDRESS, ADDRESS), ("10.0.0.1", "10.0.0.1"), ("2001:DB8:0::7", "2001:db8::7"), ("::ffff:192.0.2.9", ADDRESS),
    ],
)  # fmt: skip
def test_an_address_is_taken_in_normal_form(given: str, meant: str) -> None:
    tree = {"edge": {"domain": given, "bind_addresses": ["0.0.0.0", "::"]}, "storage": {**STORE}}
    found = parsed(tree)
    assert (found.edge.domain, found.edge.addresses, found.edge.names) == (meant, (meant,), ())
    assert found.addresses == ("127.0.0.1", "::1", meant)
    assert found.application_hosts == (meant, "localhost", "127.0.0.1", "::1")


def test_each_site_has_a_port_and_all_have_the_address() -> None:
    found = parsed(HERE)
    assert found.url == "https://192.0.2.9"
    assert (found.storage_url, found.sign_in_url) == ("https://192.0.2.9:8444", "https://192.0.2.9:8445")
    assert (found.storage_domain, found.sign_in_domain) == (ADDRESS, ADDRESS)
    assert [(dotted(one.setting), one.port, one.protocol) for one in found.published] == [
        ("edge.https_port", 443, "tcp"), ("edge.https_port", 443, "udp"),
        ("storage.https_port", 8444, "tcp"), ("storage.https_port", 8444, "udp"),
        ("sign_in.https_port", 8445, "tcp"), ("sign_in.https_port", 8445, "udp"),
        ("edge.http_port", 80, "tcp"),
    ]  # fmt: skip
    assert (found.dns_names, found.edge.origins) == (("localhost",), ("https://192.0.2.9",))
    assert found.admin_email == "admin@reflector.localhost", "an address is no domain of e-mail"
    assert ADDRESS in found.reached_directly


def test_the_ports_are_what_they_are_set_to_be() -> None:
    tree = {
        **edge(https_port=8443),
        "storage": {**GARAGE, "https_port": 9443},
        "sign_in": {**AUTHENTIK, "https_port": 443},
    }
    found = parsed(tree)
    assert (found.url, found.storage_url) == ("https://192.0.2.9:8443", "https://192.0.2.9:9443")
    assert found.sign_in_url == "https://192.0.2.9"


def test_by_names_nothing_has_a_port_of_its_own() -> None:
    found = parsed({"storage": GARAGE, "sign_in": AUTHENTIK})
    assert (found.storage_port, found.sign_in_port) == (None, None)
    assert found.storage_url == "https://s3.reflector.localhost"
    assert [one.setting[1] for one in found.published] == ["https_port", "https_port", "http_port"]


def test_an_ipv6_address_does_where_no_container_has_to_go_there() -> None:
    found = parsed({"edge": {"domain": "2001:db8::7", "bind_addresses": ["::"], "https_port": 8443}, "storage": STORE})
    assert (found.url, found.edge.origins) == ("https://[2001:db8::7]:8443", ("https://[2001:db8::7]:8443",))


@pytest.mark.parametrize(
    ("tree", "path", "given", "allowed"),
    [
        (edge(domain="127.0.0.1"), "edge.domain", "'127.0.0.1'", ALONE),
        (edge(domain="127.9.9.9"), "edge.domain", "'127.9.9.9'", ALONE),
        (edge(domain="::1"), "edge.domain", "'::1'", ALONE),
        (edge(domain="::ffff:127.0.0.1"), "edge.domain", "'::ffff:127.0.0.1'", ALONE),
        (edge(domain="0.0.0.0"), "edge.domain", "'0.0.0.0'", ALONE),
        (edge(domain="::"), "edge.domain", "'::'", ALONE),
        (edge(domain="fe80::1"), "edge.domain", "'fe80::1'", OF_A_LINK),
        (edge(domain="2001:db8::1%eth0"), "edge.domain", "'2001:db8::1%eth0'", OF_A_LINK),
        (edge(domain="224.0.0.1"), "edge.domain", "'224.0.0.1'", "an address of one machine, not of a group"),
        (edge(public_port=8443), "edge.public_port", f"8443, while domain is '{ADDRESS}'",
         "nothing beside an address: containers get to the edge by it as well, through the port that is published on "
         "the Docker host"),
        (edge(bind_addresses=["127.0.0.1"]), "edge.bind_addresses", f"127.0.0.1, while domain is '{ADDRESS}'",
         "an IPv4 address others reach the Docker host by, or 0.0.0.0"),
        (edge(bind_addresses=["::"]), "edge.bind_addresses", f"::, while domain is '{ADDRESS}'",
         "an IPv4 address others reach the Docker host by, or 0.0.0.0"),
        ({"edge": {"domain": "2001:db8::7", "bind_addresses": ["::"]}, "storage": GARAGE}, "edge.domain",
         "'2001:db8::7', while storage.mode is 'garage'", IPV4),
        ({"edge": {"domain": "2001:db8::7", "bind_addresses": ["::"]}, "storage": STORE, "sign_in": AUTHENTIK},
         "edge.domain", "'2001:db8::7', while sign_in.mode is 'authentik'", IPV4),
        ({**HERE, "storage": {**GARAGE, "domain": "s3.a.test"}}, "storage.domain",
         f"'s3.a.test', while edge.domain is '{ADDRESS}'", NOT_A_NAME.format("storage")),
        ({**HERE, "sign_in": {**AUTHENTIK, "domain": "auth.a.test"}}, "sign_in.domain",
         f"'auth.a.test', while edge.domain is '{ADDRESS}'", NOT_A_NAME.format("sign_in")),
        ({**HERE, "storage": {**GARAGE, "https_port": 443}}, "storage.https_port", "443, which edge.https_port is too",
         OWN),
        ({**HERE, "storage": {**GARAGE, "https_port": 80}}, "storage.https_port", "80, which edge.http_port is too",
         OWN),
        ({**HERE, "sign_in": {**AUTHENTIK, "https_port": 8444}}, "sign_in.https_port",
         "8444, which storage.https_port is too", OWN),
        (edge(https_port=8444), "storage.https_port", "nothing, and 8444 is meant, which edge.https_port is too", OWN),
        ({**HERE, "storage": {**GARAGE, "https_port": 2080}}, "storage.https_port",
         "2080, on which Caddy listens for itself", OWN),
        ({**HERE, "storage": {**GARAGE, "https_port": 6000}}, "storage.https_port", "6000",
         "a port browsers ask, such as 8443: this one they take for another protocol's"),
        ({"storage": {**GARAGE, "https_port": 8444}}, "storage.https_port",
         "8444, while edge.domain is 'reflector.localhost'", BESIDE_A_NAME),
        ({"sign_in": {**AUTHENTIK, "https_port": 8445}}, "sign_in.https_port",
         "8445, while edge.domain is 'reflector.localhost'", BESIDE_A_NAME),
        ({**HERE, "certificate": {"mode": "acme"}, "sign_in": {"mode": "password"}, "storage": STORE}, "edge.domain",
         f"'{ADDRESS}', while Let's Encrypt is to sign for it",
         "names: of an address it makes no certificate that lives as long as those of names"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_an_address_is_one_line(
    tree: dict[str, Any], path: str, given: str, allowed: str
) -> None:
    (problem,) = refused(tree)
    assert (problem.setting, problem.given, problem.allowed) == (path, given, allowed)


@pytest.mark.parametrize("port", ["", ":443", ":8444", ":80"])
def test_what_listens_elsewhere_on_the_docker_host_is_reached_there_and_the_stack_itself_is_no_such_thing(
    port: str,
) -> None:
    def model(url: str) -> dict[str, Any]:
        return {**HERE, "language_model": {"mode": "external", "url": url, "model": "m"}}

    assert parsed(model(f"http://{ADDRESS}:11434/v1")).language_model.mode == "external"
    scheme = "http" if port == ":80" else "https"
    (problem,) = refused(model(f"{scheme}://{ADDRESS}{port}/v1"))
    assert problem.setting == "language_model.url"


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"edge": {"domain": "a.test/reflector"}}, "edge.domain"),
        ({"edge": {"domain": f"{ADDRESS}/reflector"}}, "edge.domain"),
        ({"edge": {"domain": "https://a.test/reflector"}}, "edge.domain"),
        ({"edge": {"extra_names": ["DNS:a.test/reflector"]}}, "edge.extra_names[0]"),
        ({"edge": {"public_port": "443/reflector"}}, "edge.public_port"),
        ({"edge": {"path_prefix": "/reflector"}}, "edge.path_prefix"),
        ({"storage": {**GARAGE, "domain": "s3.a.test/store"}}, "storage.domain"),
        ({"storage": {**GARAGE, "domain": "https://s3.a.test/store"}}, "storage.domain"),
        ({"storage": {**GARAGE, "endpoint": "https://tunnel.test/store"}}, "storage.endpoint"),
        ({"storage": {**STORE, "endpoint": "https://tunnel.test/store"}}, "storage.endpoint"),
        ({"sign_in": {**AUTHENTIK, "domain": "auth.a.test/sso"}}, "sign_in.domain"),
    ],
)
def test_no_path_can_be_put_before_what_is_served(tree: dict[str, Any], path: str) -> None:
    """Case f12: a signed URL fixes its whole path, so one a tunnel adds is what no signature is for."""
    (problem,) = refused(tree)
    assert problem.setting == path


def test_what_is_not_decrypted_yet_is_no_conflict() -> None:
    assert not isinstance(outcome({"edge": {"domain": SEALED}, "storage": {**GARAGE, "https_port": 8444}}), tuple)
    assert not isinstance(outcome({**HERE, "storage": {**GARAGE, "https_port": SEALED}}), tuple)
    assert parsed({**HERE, "language_model": OLLAMA}).storage_port == 8444
