"""The authorities of a stack by their names, each with its generations."""

from collections.abc import Mapping

import pulumi

from components.base.handles import AuthorityHandle, Issuer, TrustBundle
from components.pki.authority import COMMON_NAME_LENGTH, Authority, AuthorityArgs
from components.pki.generation import whole
from settings import authorities as registered
from settings.authorities import STACK


def authorities(name: str, settings: Mapping[str, registered.Authority], stack: str) -> Mapping[str, AuthorityHandle]:
    """Return the authorities of `stack` by their names; their roots are made once and never replaced.

    `name` is that of the one every stack has; the others are called after it and after themselves.
    """
    return {own: _authority(name, own, one, stack) for own, one in settings.items()}


def _authority(name: str, own: str, settings: registered.Authority, stack: str) -> AuthorityHandle:
    base = name if own == STACK else f"{name}-{own}"
    made: dict[str, Issuer] = {}
    for generation in sorted(settings.generations, key=registered.number_of):
        number = registered.number_of(generation)
        made[generation] = Authority(
            base, AuthorityArgs(common_name=_common_name(stack, own, number), generation=number)
        ).issuer
    trusted = {generation: made[generation] for generation in settings.trusted}
    return AuthorityHandle(
        name=own,
        purpose=settings.purpose,
        issuer=made[settings.active],
        generation=settings.active,
        trusted=TrustBundle(certificates=tuple(issuer.certificate_pem for issuer in trusted.values())),
        crls=pulumi.Output.from_input(""),
        issuers={whole(base, registered.number_of(generation)): issuer for generation, issuer in trusted.items()},
    )


def _common_name(stack: str, own: str, generation: int) -> str:
    """Return the subject of a root, another one for each: clients find a leaf's issuer by it."""
    if own == STACK and generation == 1:
        return f"Reflector {stack} root"[:COMMON_NAME_LENGTH]  # as it always was
    end = " root" if own == STACK else f" {own} root"
    end += "" if generation == 1 else f" {generation}"
    return f"Reflector {stack}"[: COMMON_NAME_LENGTH - len(end)] + end


__all__ = ["STACK", "authorities"]
