"""Container providers: what a Docker host, a Swarm or a Kubernetes cluster is commanded with, out of the registry."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import pulumi

from components.base.handles import NOBODY, AuthorityHandle, CertificateHandle, DockerHost, TrustBundle
from components.base.provider import docker_provider
from components.providers.swarm import SwarmSecrets, SwarmSecretsArgs
from rendering.kubeconfig import kubeconfig
from settings.providers import KUBERNETES, ContainerProvider

_PREFIX = "container-provider"


class Registry(Protocol):
    """Hands over certificates by name, and remembers to whom."""

    def use(self, name: str, *, by: str) -> CertificateHandle:
        """Return the certificate called `name` for whoever `by` says."""


def container_providers(
    settings: Mapping[str, ContainerProvider],
    host: DockerHost,
    *,
    registry: Registry,
    authorities: Mapping[str, AuthorityHandle],
    brought: Mapping[str, Sequence[str]],
) -> Mapping[str, Mapping[str, pulumi.Input[object]]]:
    """Return what each is commanded with, by name, and publish what a Swarm is to have as secrets.

    `brought` are the authorities (PEM of each) of servers that nobody here has signed for; `host` is whose deployment
    the secrets of a Swarm are marked with. Shapes: of each `kind`, `address`, and as PEM `ca`, whom it is known by, and
    `client_ca`, whom it has to know its clients by, which is empty where that is nobody here; of a daemon `certificate`
    and `key`, of a Swarm besides the names of `secrets`, if any; of a cluster `kubeconfig`, and the names in that of
    `cluster`, `user` and `context`. `key` and `kubeconfig` are secret.
    """
    return {name: _handed_over(name, one, host, registry, authorities, brought) for name, one in settings.items()}


def _handed_over(
    name: str,
    one: ContainerProvider,
    host: DockerHost,
    registry: Registry,
    authorities: Mapping[str, AuthorityHandle],
    brought: Mapping[str, Sequence[str]],
) -> Mapping[str, pulumi.Input[object]]:
    shown = registry.use(one.client_certificate, by=f"{_PREFIX} {name}")
    trusted = TrustBundle(certificates=brought.get(name, ()))
    if one.server_authority is not None:
        trusted = authorities[one.server_authority].trusted
    clients = authorities[shown.authority].trusted if shown.authority else NOBODY
    common: dict[str, pulumi.Input[object]] = {
        "kind": one.kind,
        "address": one.address,
        "ca": trusted.pem,
        "client_ca": clients.pem,
    }
    if one.kind == KUBERNETES:
        names = {"cluster": name, "user": one.client_certificate, "context": name}
        known = pulumi.Output.all(
            authority=trusted.pem, certificate=shown.certificate_pem, key=shown.private_key_pem
        ).apply(partial(_kubeconfig, one.address, names))
        # Secret, as the key in it is.
        return {**common, **names, "kubeconfig": known}
    common |= {"certificate": shown.certificate_pem, "key": shown.private_key_pem}
    if not one.secrets:
        return common
    secrets = SwarmSecrets(
        f"{_PREFIX}-{name}",
        SwarmSecretsArgs(
            # Nothing else of the stack is made anywhere but on its own host.
            provider=docker_provider(
                f"{_PREFIX}-{name}-manager",
                address=one.address,
                authority=trusted.pem,
                certificate=shown.certificate_pem,
                key=shown.private_key_pem,
            ),
            prefix=host.prefix,
            deployment=host.deployment,
            certificates={each: registry.use(each, by=f"{_PREFIX} {name}") for each in one.secrets},
        ),
    )
    return {**common, "secrets": secrets.names}


def _kubeconfig(address: str, names: Mapping[str, str], known: Mapping[str, Any]) -> str:
    return kubeconfig(address, **names, **known)
