"""The authorities of a stack by their names, each with its generations."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pulumi

from components.base.handles import AuthorityHandle, Issuer, RevocationList, TrustBundle
from components.pki.authority import COMMON_NAME_LENGTH, Authority, AuthorityArgs, brought_issuer
from components.pki.rollover import Rollover, RolloverArgs, guarded
from pki import naming
from settings import authorities as registered
from settings.authorities import STACK
from settings.pki import Pki

if TYPE_CHECKING:
    from pki.crl import Revoked
    from pki.signer import Signer

_DECLARED = "authorities-declared"
_DEPLOYED = "authorities-deployed"


def authorities(
    name: str,
    settings: Pki,
    stack: str,
    brought: Mapping[str, Mapping[str, "Signer"]] | None = None,
    chains: Mapping[str, str] | None = None,
) -> Mapping[str, AuthorityHandle]:
    """Return the authorities of `stack` by their names; their roots are made once and never replaced.

    `name` is that of the one every stack has; the others are called after it and after themselves. `brought` are the
    generations that are not made here, by authority and number. `chains` are certificates nobody here issues anew, with
    those over them, PEM by setting: what has signed one is not retired.
    """
    brought, every = brought or {}, settings.every_authority
    args = RolloverArgs(generations=registered.record(every, brought))
    guard = Rollover(_DECLARED, args, guarded(_DECLARED, chains or {}))
    revoked = {own: [one.revoked for one in settings.revocations.values() if one.authority == own] for own in every}
    made = {
        own: _authority(name, own, one, stack, brought.get(own, {}), revoked[own], guard) for own, one in every.items()
    }
    guard.complete(made.values())
    return made


def deployed(
    settings: Pki,
    made: Mapping[str, AuthorityHandle],
    ready: Sequence[pulumi.Resource],
    brought: Mapping[str, Mapping[str, "Signer"]] | None = None,
    chains: Mapping[str, str] | None = None,
) -> None:
    """Record the generations as deployed once everything that shows or trusts one is `ready`; see `authorities`."""
    args = RolloverArgs(generations=registered.record(settings.every_authority, brought or {}))
    Rollover(_DEPLOYED, args, guarded(_DEPLOYED, chains or {}, ready)).complete(made.values())


def _authority(
    name: str,
    own: str,
    settings: registered.Authority,
    stack: str,
    brought: Mapping[str, "Signer"],
    revoked: Sequence["Revoked"],
    guard: Rollover,
) -> AuthorityHandle:
    base = naming.authority(own, name)
    issuers: dict[str, Issuer] = {}
    anchors: dict[str, pulumi.Input[str]] = {}
    certificates: dict[str, pulumi.Input[str]] = {}
    for generation in sorted(settings.generations, key=registered.number_of):
        one = settings.generations[generation]
        if isinstance(one, registered.ImportedGeneration):
            if one.state in registered.LIVE:
                signer = brought[generation]
                issuers[generation] = brought_issuer(signer)
                anchors[generation] = signer.root or signer.certificate
                # What was encrypted in the stack file stays so.
                both = signer.certificates
                certificates[generation] = pulumi.Output.secret(both) if one.certificate is not None else both
            continue
        issuers[generation] = _made(base, own, stack, generation, one, guard)
        anchors[generation] = certificates[generation] = issuers[generation].certificate_pem
    lists: dict[str, RevocationList] = {}
    if settings.revokes:
        # Of each generation, an empty one too: who checks them takes nobody of an authority that has none.
        lists = {
            generation: issuers[generation].list_revoked(
                naming.member(base, registered.number_of(generation), "revocations"),
                revoked=revoked,
                opts=pulumi.ResourceOptions(depends_on=[guard]),
            )
            for generation in settings.trusted
        }
    called = {generation: naming.whole(base, registered.number_of(generation)) for generation in settings.trusted}
    return AuthorityHandle(
        name=own,
        purpose=settings.purpose,
        issuer=issuers[settings.active],
        generation=settings.active,
        trusted=TrustBundle(certificates=tuple(anchors[generation] for generation in settings.trusted)),
        lists=lists,
        issuers={called[generation]: issuers[generation] for generation in settings.trusted},
        generations={called[generation]: generation for generation in settings.trusted},
        certificates={generation: certificates[generation] for generation in settings.trusted},
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
