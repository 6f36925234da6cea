"""Container providers in the settings: what they show, whom they trust, and what of it does not fit their kind."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

import settings
from settings import PROJECT, SettingsError
from testing.certificates import issue
from tests.unit.settings.examples import only, parsed

NOW: Final = datetime.now(UTC)
PKI: Final[dict[str, Any]] = {
    "authorities": {
        "clusters": {"purpose": "client"},
        "docker": {"purpose": "docker-hosts"},
    },
    "certificates": {
        "daemon": {"mode": "issued", "names": ["IP:192.0.2.7"], "authority": "docker"},
        "deployer": {"mode": "issued", "kind": "client", "authority": "docker"},
        "admin": {"mode": "issued", "kind": "client", "authority": "clusters"},
        "api": {"mode": "issued", "names": ["DNS:api.test"]},
        "seen": {"mode": "external", "kind": "client", "certificate_file": "seen.pem"},
    },
}
DAEMON: Final[dict[str, Any]] = {
    "kind": "docker", "address": "tcp://192.0.2.7:2376", "client_certificate": "deployer", "server_authority": "docker",
}  # fmt: skip
CLUSTER: Final[dict[str, Any]] = {
    "kind": "kubernetes", "address": "https://192.0.2.8:6443", "client_certificate": "admin",
    "server_authority": "stack",
}  # fmt: skip


def tree(provider: dict[str, Any], /, **more: Any) -> dict[str, Any]:
    """Return a stack with a container provider called it."""
    given = {name: value for name, value in provider.items() if value is not None}
    return {"pki": PKI, "container_providers": {"it": given}, **more}


@pytest.mark.parametrize(
    "provider",
    [
        DAEMON,
        {**DAEMON, "kind": "swarm", "secrets": ["api", "admin"]},
        {**DAEMON, "address": "TCP://[2001:DB8::7]:2376/"},
        {**DAEMON, "server_authority": None, "server_authority_file": "ca.pem"},
        CLUSTER,
    ],
)
def test_what_fits_is_taken(provider: dict[str, Any]) -> None:
    (found,) = parsed(tree(provider)).container_providers.values()
    assert found.address in {"tcp://192.0.2.7:2376", "tcp://[2001:db8::7]:2376", "https://192.0.2.8:6443"}


@pytest.mark.parametrize(
    ("provider", "setting", "given", "allowed"),
    [
        ({**DAEMON, "address": "https://a.test:2376"}, "address", "while kind is docker", "tcp://<host>:<port>"),
        ({**CLUSTER, "address": "tcp://a.test:6443"}, "address", "while kind is kubernetes", "https://<host>:<port>"),
        ({**DAEMON, "address": "tcp://a.test"}, "address", "'tcp://a.test'", "tcp://<host>:<port> of a Docker daemon"),
        ({**DAEMON, "address": "unix:///x.sock"}, "address", "'unix:///x.sock'", "tcp://<host>:<port>"),
        ({**CLUSTER, "address": "https://a.test:1/x"}, "address", "'https://a.test:1/x'", "of a Kubernetes API server"),
        ({**CLUSTER, "address": "https://me@a.test:1"}, "address", "a.test:1'", "of a Kubernetes API server"),
        ({**DAEMON, "kind": "podman"}, "kind", "'podman'", "docker, swarm or kubernetes"),
        ({**DAEMON, "server_authority": None}, "server_authority", "nothing", "or server_authority_file"),
        (
            {**DAEMON, "server_authority_file": "ca.pem"}, "server_authority_file", "set beside server_authority",
            "one of server_authority and server_authority_file",
        ),
        (
            {**DAEMON, "server_authority": "stack"}, "server_authority", "'stack', whose purpose is server",
            "for kind docker one with the purpose docker-hosts: docker",
        ),
        (
            {**CLUSTER, "server_authority": "docker"}, "server_authority", "'docker', whose purpose is docker-hosts",
            "for kind kubernetes one with the purpose server: stack",
        ),
        (
            {**DAEMON, "client_certificate": "admin"}, "client_certificate",
            "'admin', signed by clusters, whose purpose is client",
            "for kind docker one of an authority with the purpose docker-hosts: deployer",
        ),
        (
            {**CLUSTER, "client_certificate": "deployer"}, "client_certificate",
            "'deployer', signed by docker, whose purpose is docker-hosts",
            "for kind kubernetes one of an authority with the purpose client: admin",
        ),
        ({**DAEMON, "client_certificate": "daemon"}, "client_certificate", "'daemon', whose kind is server", "client"),
        (
            {**DAEMON, "client_certificate": "seen"}, "client_certificate",
            "'seen', which is external: its key is elsewhere", "issued or imported",
        ),
        ({**DAEMON, "secrets": ["api"]}, "secrets", "set while kind is docker", "only for a swarm"),
        ({**DAEMON, "kind": "swarm", "secrets": ["api", "api"]}, "secrets[1]", "'api', which is there", "each name"),
        (
            {**DAEMON, "kind": "swarm", "secrets": ["deployer"]}, "secrets[0]",
            "'deployer', signed by docker, whose purpose is docker-hosts", "whose purpose is server or client",
        ),
        (
            {**DAEMON, "kind": "swarm", "secrets": ["seen"]}, "secrets[0]",
            "'seen', which is external: its key is elsewhere", "issued or imported",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_a_line(provider: dict[str, Any], setting: str, given: str, allowed: str) -> None:
    problem = only(tree(provider))
    assert problem.setting == f"container_providers.it.{setting}"
    assert given in problem.given
    assert allowed in problem.allowed


def test_an_authority_nobody_trusts_any_more_is_refused() -> None:
    gone = {"purpose": "docker-hosts", "generations": {"g1": {"mode": "created", "state": "retired"}}}
    pki = {**PKI, "authorities": {**PKI["authorities"], "gone": gone}}
    found = settings_refused(tree({**DAEMON, "server_authority": "gone"}, pki=pki))
    assert any("'gone', which has no trusted generation" in line for line in found)


def test_what_is_missing_is_said_with_all_who_name_it() -> None:
    pki = {**PKI, "certificates": {name: one for name, one in PKI["certificates"].items() if name != "deployer"}}
    both = {"one": DAEMON, "two": {**DAEMON, "kind": "swarm"}}
    problem = only({"pki": pki, "container_providers": both})
    assert problem.setting == "pki.certificates.deployer"
    assert problem.given == "missing, used by container_providers.one, container_providers.two"


def test_what_commands_docker_hosts_is_for_nothing_else() -> None:
    """An authority of Docker hosts serves one kind of relying party (pki.authorities.<name>.purpose)."""
    relay = {"upstream": "http://server:1250", "port": 8444, "certificate": "daemon"}
    problem = only({"pki": PKI, "relays": {"agents": relay}})
    assert problem.setting == "relays.agents.certificate"
    assert problem.given == "'daemon', signed by docker, whose purpose is docker-hosts"
    relay = {**relay, "certificate": "api", "client_authority": "clusters", "allow": ["deployer"]}
    problem = only({"pki": PKI, "relays": {"agents": relay}})
    assert (problem.setting, problem.given) == ("relays.agents.allow[0]", "'deployer', which docker signs")


def test_a_certificate_a_provider_shows_is_in_use() -> None:
    used = tree({**DAEMON, "kind": "swarm", "secrets": ["api"]})
    (hint,) = [hint for hint in parsed(used).hints() if hint.startswith("pki.certificates: ")]
    assert "uses daemon, admin;" in hint


def settings_refused(content: dict[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        settings.parse(content, "test", PROJECT, NOW)
    return [str(problem) for problem in refusal.value.problems]


def test_a_file_with_its_authorities_is_read_and_held_against_what_it_is_for(tmp_path: Path) -> None:
    root = issue("root of a cluster", now=NOW, ca=True)
    file = tmp_path / "ca.pem"
    brought = tree({**DAEMON, "server_authority": None, "server_authority_file": str(file)})
    brought["pki"] = {**PKI, "certificates": {k: v for k, v in PKI["certificates"].items() if k != "seen"}}
    (line,) = settings_refused(brought)
    assert line.startswith(f"container_providers.it.server_authority_file: {file}: No such file")
    file.write_bytes(issue("leaf", now=NOW, sans=["a.test"]).pem)
    (line,) = settings_refused(brought)
    assert "allowed: authorities, in their time, and nothing else" in line
    file.write_bytes(root.pem)
    found = settings.parse(brought, "test", PROJECT, NOW).container_authorities
    assert found == {"it": (root.pem.decode(),)}
