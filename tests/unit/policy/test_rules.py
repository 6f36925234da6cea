"""Each rule: what it finds, in which words, and what it lets pass."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from policy.rules import (
    AUTHORITY,
    CONTAINER,
    IMAGE,
    ROLLOVER,
    RULES,
    SERVED,
    STACK,
    Resource,
    of_resource,
    of_stack,
)
from policy.rules import KEY as KEY_TYPE
from testing.sources import ROOT
from tests.unit.policy.told import KEY, KEY_LINE, UNKNOWN, resource, secret

GOOD: Final[Mapping[str, Any]] = {
    "image": f"sha256:{'1' * 64}",
    "networkMode": "bridge",
    "restart": "unless-stopped",
    "healthcheck": {"tests": ["CMD", "true"]},
    "volumes": [{"containerPath": "/data", "volumeName": "reflector-test-data"}],
}
"""A container nobody has anything against."""
LEAF_KEY: Final = KEY.replace(KEY_LINE, KEY_LINE[::-1])
ROOT_TYPE: Final = "tls:index/selfSignedCert:SelfSignedCert"
LEAF_TYPE: Final = "tls:index/locallySignedCert:LocallySignedCert"


def container(*parents: str, **changed: object) -> Resource:
    return resource(CONTAINER, *parents, **{**GOOD, **changed})


def said(one: Resource) -> list[str]:
    return [f"{rule.name}: {violation.text}" for rule, violation in of_resource(one)]


def said_of_all(*every: Resource) -> list[str]:
    return [
        f"{violation.urn.rpartition('::')[2]}: {rule.name}: {violation.text}" for rule, violation in of_stack(every)
    ]


def test_every_rule_has_a_name_of_its_own_says_what_it_is_for_and_is_asked() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.description.endswith("."), rule.name
        assert (rule.resource is None) is not (rule.stack is None), rule.name


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_a_private_key_in_clear_text_is_found_wherever_it_is() -> None:
    open_ = (
        "no-private-key-in-clear-text: uploads[0].content: a private key in clear text; allowed: encrypted ones. "
        "Wrap it: pulumi.Output.secret, or pulumi config set --secret"
    )
    assert said(container(uploads=[{"file": "/key", "content": f"x{KEY}"}])) == [open_]
    assert said(container(uploads=[{"file": "/key", "content": secret(f"x{KEY}")}])) == []
    assert said(container(uploads=secret([{"file": "/key", "content": KEY}]))) == []
    assert said(container(uploads=[{"file": "/key", "content": UNKNOWN}])) == []


def test_a_private_key_in_an_output_of_the_stack_is_found_once_it_is_known() -> None:
    output = "no-private-key-in-clear-text: key: a private key in clear text; allowed: encrypted ones. "
    (found,) = said_of_all(resource(STACK, key=KEY))
    assert found.startswith(f"it: {output}")
    assert said_of_all(resource(STACK, key=secret(KEY))) == [], "of a leaf, encrypted"


def test_a_private_key_is_nothing_for_what_has_no_use_for_it() -> None:
    (found,) = said(resource("random:index/randomId:RandomId", keepers={"key": secret(KEY)}))
    assert found == (
        "private-keys-where-they-are-used: keepers.key: a private key in random:index/randomId:RandomId; allowed: in "
        f"tls:*, {', '.join(SERVED)}. Hand on the certificate alone"
    )
    for type_ in (LEAF_TYPE, "command:local:Command", "pulumi:providers:docker"):
        assert said(resource(type_, key=secret(KEY))) == []


@pytest.mark.parametrize("type_", [STACK, "command:local:Command", "reflector:edge:Edge"])
def test_the_key_of_an_authority_is_handed_to_nobody_not_even_encrypted(type_: str) -> None:
    key = resource(KEY_TYPE, AUTHORITY, named="k", protect=True, privateKeyPem=secret(KEY))
    found = said_of_all(key, resource(type_, given=secret(f"and {KEY}"), other=secret(LEAF_KEY)))
    where = "the stack's outputs" if type_ == STACK else type_
    expected = (
        "it: authority-keys-stay-with-the-authority: given: the private key of an authority in "
        f"{where}; allowed: in tls:* alone. Hand on the authority's certificate"
    )
    assert expected in found
    assert not [line for line in found if "the-authority: other" in line], "of a leaf"


def test_that_of_one_that_was_brought_along_neither() -> None:
    leaf = resource(LEAF_TYPE, caPrivateKeyPem=secret(KEY))
    (found,) = said_of_all(leaf, resource("command:local:Command", stdin=secret(KEY)))
    assert found.startswith("it: authority-keys-stay-with-the-authority: stdin: ")


def test_only_an_authority_may_sign() -> None:
    assert said(resource(ROOT_TYPE, isCaCertificate=True)) == [
        "authorities-by-the-pki-alone: isCaCertificate: true, outside reflector:authority:Authority; allowed: in that "
        "alone. Name the authority in pki.authorities, which gives it a purpose, generations and protection"
    ]
    assert said(resource(ROOT_TYPE, AUTHORITY, isCaCertificate=True)) == []
    assert said(resource(ROOT_TYPE, "reflector:hatchet:Hatchet", isCaCertificate=False)) == []
    assert said(resource(LEAF_TYPE, isCaCertificate=True)) != []


def test_what_clients_trust_is_protected_until_it_is_given_up() -> None:
    def stack(state: str, *, protect: bool) -> list[str]:
        record = resource(ROLLOVER, named="authorities-declared", generations={"clients": {"g2": {"state": state}}})
        return said_of_all(
            record,
            resource(KEY_TYPE, AUTHORITY, named="authority-clients-2-key", protect=protect),
            resource(ROOT_TYPE, AUTHORITY, named="authority-clients-2-certificate", protect=protect),
            # Another authority, whose name begins the same.
            resource(KEY_TYPE, AUTHORITY, named="authority-clients-20-key", protect=True),
        )

    wrong = (
        "authorities-are-protected: protect: false; allowed: true until the generation is retired or distrusted, for "
        "nobody can make this root again. Set it: protect=True"
    )
    for state in ("active", "trusted"):
        assert stack(state, protect=True) == []
        assert stack(state, protect=False) == [
            f"authority-clients-2-{part}: {wrong}" for part in ("key", "certificate")
        ]
    for state in ("retired", "distrusted"):
        assert stack(state, protect=False) == []
    unrecorded = resource(KEY_TYPE, AUTHORITY, named="authority-1-key", protect=False)
    assert said_of_all(unrecorded) == [f"authority-1-key: {wrong}"]


def test_the_first_authority_has_no_name_of_its_own_in_those_of_its_parts() -> None:
    record = resource(ROLLOVER, generations={"stack": {"g1": {"state": "retired"}}})
    assert said_of_all(record, resource(KEY_TYPE, AUTHORITY, named="authority-1-key")) == []


# --- Containers -------------------------------------------------------------------------------------------------------


def test_a_good_container_passes() -> None:
    assert said(container()) == []
    assert said(container(image=UNKNOWN, healthcheck=UNKNOWN, restart=UNKNOWN, volumes=UNKNOWN)) == []
    assert said(container(image=secret("postgres:17.1"))) == []


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"privileged": True}, "privileged: true; allowed: false. Name the capabilities it needs"),
        ({"networkMode": "host"}, "networkMode: 'host'; allowed: a namespace of its own. Leave it out"),
        ({"pidMode": "host"}, "pidMode: 'host'; allowed: a namespace of its own. Leave it out"),
        ({"ipcMode": "host"}, "ipcMode: 'host'; allowed: a namespace of its own. Leave it out"),
        ({"usernsMode": "host"}, "usernsMode: 'host'; allowed: a namespace of its own. Leave it out"),
    ],
)
def test_a_container_with_power_over_its_host_is_found(changed: Mapping[str, object], text: str) -> None:
    assert said(container(**changed)) == [f"no-power-over-the-host: {text}"]


@pytest.mark.parametrize(
    "source",
    [
        "/var/run/docker.sock", "/run/docker.sock", "/run/user/1000/docker.sock", "/var/run", "/run/", "/var", "/",
        "//", "/srv/../run",
    ],
)  # fmt: skip
def test_a_container_that_reaches_docker_is_found(source: str) -> None:
    for mounted, path in (
        ({"volumes": [{"containerPath": "/x", "hostPath": source}]}, "volumes[0].hostPath"),
        ({"mounts": [{"target": "/x", "type": "bind", "source": source}]}, "mounts[0].source"),
    ):
        assert said(container(**mounted)) == [
            f"no-power-over-the-host: {path}: {source!r}, by which Docker is commanded; allowed: volumes, and paths "
            "without Docker's socket. Mount what it needs"
        ]


@pytest.mark.parametrize("source", ["/srv/data", "/runs", "/variety", "reflector-test-data", "/etc/docker.sock.d"])
def test_a_container_that_does_not_is_not(source: str) -> None:
    assert said(container(mounts=[{"target": "/x", "type": "bind", "source": source}])) == []


@pytest.mark.parametrize("parent", ["reflector:caddy:Caddy", "reflector:relay:Relay"])
def test_ports_are_published_by_the_edge_and_relays_alone(parent: str) -> None:
    ports = [{"internal": 5432, "external": 5432, "ip": "0.0.0.0"}, {"internal": 1}]
    allowed = "allowed: on the edge and relays alone. Let a route of the edge or a relay lead there"
    assert said(container("reflector:postgres:Postgres", ports=ports, publishAllPorts=True)) == [
        f"published-by-the-edge-alone: ports[0].external: 5432; {allowed}",
        f"published-by-the-edge-alone: ports[1].external: any; {allowed}",
        f"published-by-the-edge-alone: publishAllPorts: true; {allowed}",
    ]
    assert said(container(parent, ports=ports)) == []


def test_a_container_nobody_watches_is_found() -> None:
    text = "containers-are-watched: healthcheck.tests: none; allowed: CMD or CMD-SHELL with a command. "
    checks: list[dict[str, list[str]] | None] = [None, {}, {"tests": []}, {"tests": ["NONE"]}]
    for check in checks:
        (found,) = said(container(healthcheck=check))
        assert found.startswith(text)


@pytest.mark.parametrize("restart", [None, "no", "on-failure"])
def test_a_container_that_stays_down_is_found(restart: str | None) -> None:
    assert said(container(restart=restart)) == [
        f"containers-are-watched: restart: {restart or 'no'!r}; allowed: always or unless-stopped. Set it, or it stays "
        "down once its host was"
    ]


@pytest.mark.parametrize("image", ["postgres", "postgres:latest", "postgres:17", "sha256:1"])
def test_an_image_that_may_be_another_tomorrow_is_found(image: str) -> None:
    text = f"{image!r}; allowed: an image id, a digest, or a tag that is a version. Pin it"
    assert said(container(image=image)) == [f"images-are-pinned: image: {text}"]
    assert said(resource(IMAGE, name=image)) == [f"images-are-pinned: name: {text}"]


def test_of_what_a_container_has_become_only_keys_are_asked() -> None:
    """A provider reports more than anybody asked for, and what was asked for was looked at before."""
    assert said_of_all(container(privileged=True)) == []
    assert len(said_of_all(container(envs=[KEY]))) == 1


def test_every_rule_is_documented() -> None:
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    assert [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")] == [one.name for one in RULES]
