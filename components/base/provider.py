"""The one place Docker's provider is made: what it is told of certificates, and that the key of these stays secret."""

from collections.abc import Sequence

import pulumi
import pulumi_docker as docker


def docker_provider(
    name: str,
    *,
    address: str,
    authority: pulumi.Input[str] | None = None,
    certificate: pulumi.Input[str] | None = None,
    key: pulumi.Input[str] | None = None,
    registry_auth: Sequence[docker.ProviderRegistryAuthArgs] | None = None,
) -> docker.Provider:
    """Return what makes things on the daemon at `address`.

    By tcp:// it trusts `authority` and shows `certificate`, both PEM; without them it would verify nothing at all.
    """
    return docker.Provider(
        name,
        host=address,
        ca_material=authority,
        cert_material=certificate,
        key_material=pulumi.Output.secret(key) if key else None,
        registry_auth=registry_auth,
    )
