"""Rollovers before the engine is asked: a jump is refused with nothing touched, and so is a root somebody relies on.

The program refuses jumps itself, for whoever runs the engine alone. Without a preview it comes to that when a part of
the authority is registered already, which stays in the state as an empty component.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from operations.healing import Resource, of_type
from operations.resource_types import AUTHORITY_TYPE, ROLLOVER_TYPE
from pki.rollover import ACTIVE, MADE, RETIRED, STATE, TRUSTED, Generations, problems
from settings import Problem, Settings
from settings.authorities import STACK, ImportedGeneration, number_of, record
from settings.base import dotted

if TYPE_CHECKING:
    from pki.pem import Certificate


def rollover_problems(settings: Settings, resources: Sequence[Resource]) -> Iterator[Problem]:
    """Yield why the generations of the settings may not follow what is deployed."""
    found: dict[str, Problem] = {}
    records = [(one.get("inputs") or {}).get("generations") or {} for one in of_type(resources, ROLLOVER_TYPE)]
    for deployed in records:
        for one in problems(deployed, _wanted(settings, deployed)):
            found.setdefault(str(one), Problem(**one._asdict()))
    yield from found.values()
    if not found and records:
        yield from _relied_on(settings, resources, records)


def _wanted(settings: Settings, deployed: Generations) -> Generations:
    """Return what is wanted; what is brought along and not decrypted yet counts as what is deployed."""
    wanted: dict[str, dict[str, Mapping[str, str]]] = {}
    for name, authority in record(settings.pki.every_authority, settings.signers).items():
        for generation, one in authority.items():
            is_unknown = isinstance(
                settings.pki.every_authority[name].generations[generation], ImportedGeneration
            ) and generation not in settings.signers.get(name, {})
            known = deployed.get(name, {}).get(generation, {}).get(MADE)
            kept = {MADE: known} if is_unknown and known is not None else {}
            wanted.setdefault(name, {})[generation] = {**one, **kept}
    return wanted


def _relied_on(
    settings: Settings, resources: Sequence[Resource], records: Sequence[Mapping[str, Any]]
) -> Iterator[Problem]:
    """Yield the generations that are to be retired while somebody shows what they have signed, and nobody here renews.

    What is issued here is signed by another already: that was the step before.
    """
    for name, authority in settings.pki.every_authority.items():
        for generation, one in authority.generations.items():
            before = {each.get(name, {}).get(generation, {}).get(STATE) for each in records}
            if one.state != RETIRED or not before & {ACTIVE, TRUSTED}:
                continue
            if users := list(_signed_by(settings, resources, name, generation)):
                setting = dotted(("pki", "authorities", name, "generations", generation, "state"))
                yield Problem(
                    setting=setting,
                    given=f"{RETIRED}, and it has signed {', '.join(users)}",
                    allowed=f"{TRUSTED} as long as any of that is in use: nobody would take it any more",
                    remedy=f"Bring others in their place, or remove them: {', '.join(users)}",
                )


def _signed_by(settings: Settings, resources: Sequence[Resource], authority: str, generation: str) -> Iterator[str]:
    """Yield what is imported or looked at, and has a certificate of this generation in its chain."""
    brought = {**settings.registered.imported, **settings.registered.external}
    signer = settings.signers.get(authority, {}).get(generation)
    text = signer.certificate if signer is not None else _root(resources, authority, generation)
    if not brought or not text:
        return
    from pki import facts, pem  # a tenth of a second, for those who bring any

    (root, *_) = pem.certificates(text.encode())
    for name, one in brought.items():
        chain: list[Certificate] = pem.certificates(one.chain.encode())
        if any(facts.signed_by(each, root) for each in chain):
            yield dotted(("pki", "certificates", name))


def _root(resources: Sequence[Resource], authority: str, generation: str) -> str:
    """Return the root of a generation that was made here, PEM; empty where the state has none."""
    number = number_of(generation)
    # As components/pki calls it.
    called = ("authority" if authority == STACK else f"authority-{authority}") + (f"-{number}" if number > 1 else "")
    for one in of_type(resources, AUTHORITY_TYPE):
        if str(one["urn"]).rpartition("::")[2] == called:
            return str((one.get("outputs") or {}).get("certificate_pem") or "")
    return ""
