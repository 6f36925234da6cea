"""Rollovers before the engine is asked: a jump is refused with nothing touched, and so is a root somebody relies on.

The program refuses both itself, for whoever runs the engine alone. Without a preview it comes to that when a part of
the authority is registered already, which stays in the state as an empty component. What an endpoint shows is asked for
here alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from operations import inventory, pki_material
from operations.healing import Resource, of_type
from operations.resource_types import ROLLOVER_TYPE
from operations.served import Place, shown_at_once
from pki.rollover import MADE, Certificates, Generations, problems, readable, relied_on, retiring
from settings import Problem, Settings
from settings.authorities import ImportedGeneration, record
from settings.registry import External, entry_setting

_ANSWER_SECONDS: Final = 4
"""In which an endpoint has to show what it has; all are asked at once."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What came of holding the settings against the state."""

    problems: list[Problem] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


def records(resources: Iterable[Resource]) -> Iterator[tuple[Resource, Generations]]:
    """Yield each record of a state with the generations in it.

    One that is encrypted, as a setting whose value stands in it was, is left to the program.
    """
    for one in of_type(resources, ROLLOVER_TYPE):
        found = (one.get("inputs") or {}).get("generations") or {}
        if all(isinstance(generations, Mapping) for generations in found.values()):
            yield one, found


def look(settings: Settings, resources: Sequence[Resource]) -> Looked:
    """Return why the generations of the settings may not follow what is deployed, as the program finds it.

    Endpoints are asked where a generation is to be retired, and then alone.
    """
    found: dict[str, Problem] = {}
    elsewhere: _Elsewhere | None = None
    for one, before in records(resources):
        after = _wanted(settings, before)
        jumps = problems(before, after)
        if not jumps and any(retiring(before, after)):
            elsewhere = elsewhere or _at_endpoints(settings)
            chains = {**settings.registered.chains, **elsewhere.chains}
            jumps = relied_on(before, after, _certificates(settings, resources, one), chains)
        for jump in jumps:
            found.setdefault(str(jump), Problem(**jump._asdict()))
    return Looked(problems=[*found.values()], hints=elsewhere.hints if elsewhere is not None else [])


@dataclass(frozen=True, kw_only=True)
class _Elsewhere:
    """What endpoints show."""

    chains: Mapping[str, str]
    """PEM, by setting."""
    hints: list[str]
    """Of those that could not be looked at, and why."""


def _at_endpoints(settings: Settings) -> _Elsewhere:
    asked = {
        entry_setting(name): (Place.of(one.endpoint), inventory.server_name(one.names))
        for name, one in settings.pki.certificates.items()
        if isinstance(one, External) and one.endpoint is not None
    }
    chains: dict[str, str] = {}
    hints: list[str] = []
    for setting, answer in shown_at_once(asked, _ANSWER_SECONDS).items():
        why = str(answer)
        if isinstance(answer, list):
            try:
                chains[setting] = _pem(answer)
                continue
            except ValueError as error:
                why = f"{asked[setting][0]} shows what cannot be read ({error})"
        hints.append(f"{setting}: {why}; whether it was signed by what is retired now could not be looked at")
    return _Elsewhere(chains=chains, hints=hints)


def _pem(chain: Iterable[bytes]) -> str:
    """Return certificates in DER as PEM.

    Raises: ValueError, where nobody can make sense of one.
    """
    from pki import facts, pem

    found = [pem.der_certificate(der) for der in chain]
    for one in found:
        if why := facts.unreadable(one):
            raise ValueError(why)
    return pem.certificates_text(found)


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
