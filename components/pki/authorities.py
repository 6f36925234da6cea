"""The authorities of a stack by their names, each with its generations."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pulumi

from components.base.handles import AuthorityHandle, Issuer, TrustBundle
from components.pki.authority import COMMON_NAME_LENGTH, Authority, AuthorityArgs, brought_issuer
from components.pki.generation import member, whole
from components.pki.rollover import Rollover, RolloverArgs, guarded
from pki.rollover import MADE, STATE, Generations
from settings import authorities as registered
from settings.authorities import STACK

if TYPE_CHECKING:
    from pki.crl import Revoked
    from pki.signer import Signer

_DECLARED = "authorities-declared"
_DEPLOYED = "authorities-deployed"


def authorities(
    name: str,
    settings: Mapping[str, registered.Authority],
    stack: str,
    *,
    brought: Mapping[str, Mapping[str, "Signer"]] | None = None,
    revocations: Mapping[str, registered.Revocation] | None = None,
) -> Mapping[str, AuthorityHandle]:
    """Return the authorities of `stack` by their names; their roots are made once and never replaced.

    `name` is that of the one every stack has; the others are called after it and after themselves. `brought` are the
    generations that are not made here, by authority and number; `revocations` what they have signed and is not to be
    taken any more.
    """
    brought = brought or {}
    guard = Rollover(_DECLARED, RolloverArgs(generations=_record(settings, brought)), guarded(_DECLARED))
    revoked = {own: [one.revoked for one in (revocations or {}).values() if one.authority == own] for own in settings}
    return {
        own: _authority(name, own, one, stack, brought.get(own, {}), revoked[own], guard)
        for own, one in settings.items()
    }


def deployed(
    settings: Mapping[str, registered.Authority],
    brought: Mapping[str, Mapping[str, "Signer"]],
    ready: Sequence[pulumi.Resource],
) -> None:
    """Record the generations as deployed once everything that shows or trusts one is `ready`."""
    Rollover(_DEPLOYED, RolloverArgs(generations=_record(settings, brought)), guarded(_DEPLOYED, ready))


def _record(settings: Mapping[str, registered.Authority], brought: Mapping[str, Mapping[str, "Signer"]]) -> Generations:
    return {
        own: {
            name: {STATE: one.state, MADE: _made_as(one, brought.get(own, {}).get(name))}
            for name, one in authority.generations.items()
        }
        for own, authority in settings.items()
    }


def _made_as(generation: registered.AnyGeneration, signer: "Signer | None") -> str:
    """Return in words what a root is made as; who signs below it may be renewed, which clients do not see."""
    if isinstance(generation, registered.ImportedGeneration):
        return "brought along" + (f", {signer.anchor}" if signer is not None else "")
    only = ", ".join((*generation.permitted_names, *generation.permitted_addresses))
    return f"{generation.key_type} for {generation.years} years" + (f", {only} only" if only else "")


def _authority(
    name: str,
    own: str,
    settings: registered.Authority,
    stack: str,
    brought: Mapping[str, "Signer"],
    revoked: Sequence["Revoked"],
    guard: Rollover,
) -> AuthorityHandle:
    base = name if own == STACK else f"{name}-{own}"
    issuers: dict[str, Issuer] = {}
    anchors: dict[str, pulumi.Input[str]] = {}
    for generation in sorted(settings.generations, key=registered.number_of):
        one = settings.generations[generation]
        if isinstance(one, registered.ImportedGeneration):
            if one.state in registered.LIVE:
                signer = brought[generation]
                issuers[generation] = brought_issuer(signer)
                anchors[generation] = signer.root or signer.certificate
            continue
        issuers[generation] = _made(base, own, stack, generation, one, guard)
        anchors[generation] = issuers[generation].certificate_pem
    lists: list[pulumi.Output[str]] = []
    if settings.purpose == "client":
        # Of each generation, an empty one too: who checks them takes nobody of an authority that has none.
        lists = [
            issuers[generation].list_revoked(
                member(base, registered.number_of(generation), "revocations"),
                revoked=revoked,
                opts=pulumi.ResourceOptions(depends_on=[guard]),
            )
            for generation in settings.trusted
        ]
    return AuthorityHandle(
        name=own,
        purpose=settings.purpose,
        issuer=issuers[settings.active],
        generation=settings.active,
        trusted=TrustBundle(certificates=tuple(anchors[generation] for generation in settings.trusted)),
        crls=pulumi.Output.concat(*lists),
        issuers={whole(base, registered.number_of(generation)): issuers[generation] for generation in settings.trusted},
    )


def _made(base: str, own: str, stack: str, generation: str, settings: registered.Generation, guard: Rollover) -> Issuer:
    number = registered.number_of(generation)
    return Authority(
        base,
        AuthorityArgs(
            common_name=_common_name(stack, own, number),
            generation=number,
            key=settings.key_type,
            years=settings.years,
            permitted=settings.permitted(loopback=own == STACK),
            # What is given up may go, once its entry does.
            protected=settings.state in registered.LIVE,
        ),
        pulumi.ResourceOptions(depends_on=[guard]),
    ).issuer


def _common_name(stack: str, own: str, generation: int) -> str:
    """Return the subject of a root, another one for each: clients find a leaf's issuer by it."""
    if own == STACK and generation == 1:
        return f"Reflector {stack} root"[:COMMON_NAME_LENGTH]  # as it always was
    end = " root" if own == STACK else f" {own} root"
    end += "" if generation == 1 else f" {generation}"
    return f"Reflector {stack}"[: COMMON_NAME_LENGTH - len(end)] + end


__all__ = ["STACK", "authorities", "deployed"]
