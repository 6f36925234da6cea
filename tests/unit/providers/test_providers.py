"""Container providers: what each is handed, that its keys are secret, and what a Swarm is given to keep."""

import base64
import json
from types import SimpleNamespace
from typing import Any, Final

import pulumi
import pytest
import yaml

from components import providers
from components.providers.swarm import SwarmSecrets
from rendering.kubeconfig import kubeconfig
from settings.providers import ContainerProvider
from testing import building
from testing.building import Built, Neighbours, in_the_open, searchable

SECRET: Final = "docker:index/secret:Secret"
PROVIDER: Final = "pulumi:providers:docker"
SWARM: Final[dict[str, Any]] = {
    "kind": "swarm", "address": "tcp://swarm.test:2376", "client_certificate": "deployer", "server_authority": "docker",
}  # fmt: skip
CLUSTER: Final[dict[str, Any]] = {
    "kind": "kubernetes", "address": "https://a.test:6443", "client_certificate": "admin",
    "server_authority_file": "ca.pem",
}  # fmt: skip


def made(given: dict[str, Any], name: str = "it") -> Built:
    """Return a provider called so, with the output that hands it over."""
    used: list[tuple[str, str]] = []

    def build(near: Neighbours) -> list[tuple[str, str]]:
        def use(certificate: str, by: str) -> Any:
            used.append((certificate, by))
            return near.certificate(f"{certificate}-certificate")

        found = providers.container_providers(
            {name: ContainerProvider(**given)},
            near.host,
            registry=SimpleNamespace(use=use),
            authorities={"docker": SimpleNamespace(trusted=near.trust())},  # type: ignore[dict-item]  # all that counts
            brought={name: ("-----BEGIN CERTIFICATE-----\nBrought\n-----END CERTIFICATE-----\n",)},
        )
        for each, value in found[name].items():
            pulumi.export(each, value)
        return used

    return building.build(build)


def test_a_daemon_is_handed_over_as_a_docker_command_wants_it() -> None:
    built = made({**SWARM, "kind": "docker"})
    outputs = built.engine.exports
    assert outputs.keys() == {"kind", "address", "ca", "client_ca", "certificate", "key"}
    assert (outputs["kind"], outputs["address"]) == ("docker", "tcp://swarm.test:2376")
    assert "Trusted" in outputs["ca"]
    assert "Leaf deployer-certificate" in outputs["certificate"]
    assert f"{building.LEAF_KEY}deployer-certificate" in outputs["key"]
    assert built.engine.secret_exports == {"key"}
    assert built.component == [("deployer", "container-provider it")]
    assert [one.name for one in built.engine.of_type(PROVIDER)] == ["host-provider"], "nothing here is made there"


def test_a_cluster_is_handed_over_as_a_kubeconfig() -> None:
    built = made(CLUSTER)
    outputs = built.engine.exports
    content = yaml.safe_load(outputs["kubeconfig"])
    assert [outputs[one] for one in ("cluster", "user", "context")] == ["it", "admin", "it"]
    (cluster,) = content["clusters"]
    assert cluster["cluster"]["server"] == "https://a.test:6443"
    assert "Brought" in base64.b64decode(cluster["cluster"]["certificate-authority-data"]).decode()
    assert built.engine.secret_exports == {"kubeconfig"}


def test_a_kubeconfig_has_all_in_it_and_verifies_against_its_authority_alone() -> None:
    text = kubeconfig(
        "https://a.test:6443", cluster="c", user="u", context="x", authority="A", certificate="C", key="K"
    )
    assert yaml.safe_load(text) == json.loads(text) == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "c", "cluster": {"server": "https://a.test:6443", "certificate-authority-data": "QQ=="}}
        ],
        "users": [{"name": "u", "user": {"client-certificate-data": "Qw==", "client-key-data": "Sw=="}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }  # fmt: skip


def test_a_swarm_keeps_a_certificate_and_its_key_under_names_with_a_version() -> None:
    built = made({**SWARM, "secrets": ["api", "web"]})
    outputs = built.engine.exports["secrets"]
    assert outputs["api"] == {
        "certificate": "reflector-test-api-certificate-0123456789abcdef",
        "key": "reflector-test-api-key-0123456789abcdef",
    }
    assert outputs.keys() == {"api", "web"}
    assert "secrets" not in built.engine.secret_exports
    assert built.component[1:] == [("api", "container-provider it"), ("web", "container-provider it")]
    key = built.named("container-provider-it-api-key")
    assert f"{building.LEAF_KEY}api-certificate" in base64.b64decode(key.plain("data")).decode()
    assert key.is_secret("data")
    assert key.request.retainOnDelete, "a service may have it still, and Docker would refuse"
    assert {one["label"] for one in key.plain("labels")} == {"org.reflector.stack", "org.reflector.deployment"}


def test_what_makes_them_is_a_provider_of_the_swarm_with_its_key_secret() -> None:
    built = made({**SWARM, "secrets": ["api"]})
    (manager,) = (one for one in built.engine.of_type(PROVIDER) if one.name != "host-provider")
    assert manager.plain("host") == "tcp://swarm.test:2376"
    assert "Trusted" in manager.plain("caMaterial")
    assert "Leaf deployer" in manager.plain("certMaterial")
    assert manager.is_secret("keyMaterial")
    for one in built.engine.of_type(SECRET):
        assert f"::{manager.name}::" in one.request.provider
    assert in_the_open(built.engine.resources, [searchable(f"x\n{building.LEAF_KEY}deployer-certificate\nx")]) == []


def test_another_certificate_is_another_version() -> None:
    def keepers(certificate: str) -> Any:
        built = building.build(
            lambda near: SwarmSecrets(
                "it", building.swarm_args("it", near, certificates={"api": near.certificate(certificate)})
            )
        )
        return built.named("it-api-version").plain("keepers")

    assert keepers("one") == keepers("one") != keepers("two")


def test_secrets_of_nothing_are_a_mistake_here() -> None:
    with pytest.raises(ValueError, match="no certificate"):
        building.build(lambda near: building.swarm_args("it", near, certificates={}))
