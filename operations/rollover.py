"""Rollovers before the engine is asked: a jump is refused with nothing touched, and so is a root somebody relies on.

The program refuses both itself, for whoever runs the engine alone. Without a preview it comes to that when a part of
the authority is registered already, which stays in the state as an empty component. What an endpoint shows is asked for
here alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from operations import inventory, pki_material
from operations.healing import Resource, of_type
from operations.resource_types import ROLLOVER_TYPE
from pki.rollover import MADE, Certificates, Generations, Jump, problems, readable, relied_on, retiring
from settings import Problem, Settings
from settings.authorities import ImportedGeneration, record


def rollover_problems(settings: Settings, resources: Sequence[Resource]) -> Iterator[Problem]:
    """Yield why the generations of the settings may not follow what is deployed."""
    found: dict[str, Problem] = {}
    for one in of_type(resources, ROLLOVER_TYPE):
        for jump in _refused(settings, resources, one):
            found.setdefault(str(jump), Problem(**jump._asdict()))
    yield from found.values()


def _refused(settings: Settings, resources: Sequence[Resource], deployed: Resource) -> list[Jump]:
    """Return why the generations of the settings may not follow those of a record; as the program finds it."""
    before: Generations = (deployed.get("inputs") or {}).get("generations") or {}
    after = _wanted(settings, before)
    found = problems(before, after)
    if found or not any(retiring(before, after)):
        return found
    return relied_on(before, after, _certificates(settings, resources, deployed), settings.registered.chains)


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


def _certificates(settings: Settings, resources: Sequence[Resource], deployed: Resource) -> Certificates:
    """Return who signs for the generations of a record.

    Records of releases before have none of that, and none that can be read where they were brought along encrypted:
    then it is what the inventory calls a root of theirs, and what the settings bring.
    """
    found: dict[str, dict[str, str]] = {}
    for one in inventory.listed_in(resources) or ():
        if one.authority and one.is_authority and (root := pki_material.chain_of(one, resources)):
            found.setdefault(one.authority, {})[one.generation] = root
    for authority, signers in settings.signers.items():
        for generation, signer in signers.items():
            found.setdefault(authority, {})[generation] = signer.certificates
    outputs: Mapping[str, Any] = deployed.get("outputs") or {}
    for authority, recorded in readable(outputs.get("certificates")).items():
        found[authority] = {**found.get(authority, {}), **recorded}
    return found
