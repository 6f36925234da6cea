"""Certificates of the registry as secrets of a Swarm, for whatever runs there."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_docker as docker
import pulumi_random as random

from components.base.handles import CertificateHandle
from components.base.ownership import LABEL_DEPLOYMENT, LABEL_STACK

_VERSION_BYTES: Final = 4


@dataclass(frozen=True, kw_only=True)
class SwarmSecretsArgs:
    """Certificates, and the Swarm that is to have them."""

    provider: docker.Provider
    """Of a manager."""
    prefix: str
    """What every name begins with: `<project>-<stack>`."""
    deployment: pulumi.Input[str]
    """What tells it apart from another state's stack of the same name."""
    certificates: Mapping[str, CertificateHandle]
    """By the names the secrets have."""

    def __post_init__(self) -> None:
        if not self.certificates:
            raise ValueError("there is no certificate to be had as a secret")


class SwarmSecrets(pulumi.ComponentResource):
    """A certificate and a key for each, in secrets whose names end in a version.

    A secret of a Swarm cannot be changed, and not be removed while a service has it. So another certificate is another
    pair of secrets, and the pair before stays where it is, for the services that still have it: whoever deploys these
    names the new one there, and removes the old one after that (docs/container-providers.md).
    """

    names: Mapping[str, Mapping[str, pulumi.Output[str]]]
    """Of the secrets, by name of the certificate: `certificate` and `key`."""

    def __init__(self, name: str, args: SwarmSecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:providers:SwarmSecrets", name, {}, opts)
        labels = [
            docker.SecretLabelArgs(label=LABEL_DEPLOYMENT, value=args.deployment),
            docker.SecretLabelArgs(label=LABEL_STACK, value=args.prefix),
        ]
        names: dict[str, dict[str, pulumi.Output[str]]] = {}
        for one, handle in args.certificates.items():
            # Of its own, and no sum of the content: what was there before may be there still, under its name.
            version = random.RandomId(
                f"{name}-{one}-version",
                random.RandomIdArgs(
                    byte_length=_VERSION_BYTES, keepers={"certificate": handle.certificate_pem.apply(_sum)}
                ),
                opts=pulumi.ResourceOptions(parent=self),
            ).hex
            contents: Mapping[str, pulumi.Output[str]] = {
                "certificate": handle.certificate_pem,
                "key": handle.private_key_pem,
            }
            names[one] = {
                part: docker.Secret(
                    f"{name}-{one}-{part}",
                    docker.SecretArgs(
                        name=pulumi.Output.format("{0}-{1}-{2}-{3}", args.prefix, one, part, version),
                        data=_content(content),
                        labels=labels,
                    ),
                    opts=pulumi.ResourceOptions(parent=self, provider=args.provider, retain_on_delete=True),
                ).name
                for part, content in contents.items()
            }
        self.names = names
        self.register_outputs({})


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _content(content: pulumi.Output[str]) -> pulumi.Output[str]:
    """Return content as the provider takes it; secret also where it is a certificate, as the Swarm has it."""
    encoded: pulumi.Output[str] = content.apply(_encoded)
    return pulumi.Output.secret(encoded)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
