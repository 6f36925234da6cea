"""From one root to the next, a step at a time: which changes of generations are taken, and which are jumps.

A root is rolled over in four steps, each of which has to have reached everybody before the next: the new one is trusted
(prepare), it signs (switch), nothing of the old one is left (settle), the old one is trusted no more (retire). One that
is compromised goes at once.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from pki.pem import Certificate

Generations: TypeAlias = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Authority → generation → STATE, and MADE: what it was made as."""
Certificates: TypeAlias = Mapping[str, Mapping[str, str]]
"""Authority → generation → PEM of who signs, and of the root clients have instead where that is another."""

STATE: Final = "state"
MADE: Final = "made"
ACTIVE: Final = "active"
TRUSTED: Final = "trusted"
RETIRED: Final = "retired"
DISTRUSTED: Final = "distrusted"
GIVEN_UP: Final = frozenset({RETIRED, DISTRUSTED})
_LIVE: Final = frozenset({ACTIVE, TRUSTED})
_PEM: Final = "-----BEGIN CERTIFICATE-----"


class Jump(NamedTuple):
    """Why something may not follow; as text it is one line."""

    setting: str
    given: str
    allowed: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.given}; allowed: {self.allowed}. {self.remedy}"


def problems(deployed: Generations, wanted: Generations) -> list[Jump]:
    """Return why what is wanted may not follow what is deployed, with the setting and what to do.

    What is deployed is nothing where a stack is new, or was deployed by a release that did not know of generations.
    """
    return [
        problem
        # One that goes as a whole is nobody's any more: its keys are protected, and that is for the engine to say.
        for authority in wanted
        for problem in _of_authority(authority, deployed.get(authority, {}), wanted[authority])
    ]


def readable(recorded: object) -> Certificates:
    """Return what a record has of certificates, without what is encrypted there, or not known yet."""
    authorities = recorded if isinstance(recorded, Mapping) else {}
    return {
        authority: {
            generation: text for generation, text in of.items() if isinstance(text, str) and text.startswith(_PEM)
        }
        for authority, of in authorities.items()
        if isinstance(of, Mapping)
    }


def retiring(deployed: Generations, wanted: Generations) -> Iterator[tuple[str, str]]:
    """Yield authority and generation of each that is trusted as deployed, and is to be retired.

    What is distrusted goes whoever relies on it.
    """
    for authority, generations in wanted.items():
        for name, one in generations.items():
            if one[STATE] == RETIRED and deployed.get(authority, {}).get(name, {}).get(STATE) in _LIVE:
                yield authority, name


def relied_on(
    deployed: Generations, wanted: Generations, certificates: Certificates, chains: Mapping[str, str]
) -> list[Jump]:
    """Return why what is about to retire may not: it has signed something that nobody here issues anew.

    `chains` are what is shown of those, PEM: a certificate and who is over it, by the name people are told. What is
    issued here is signed by another already: that was the step before.
    """
    return [
        Jump(
            f"pki.authorities.{authority}.generations.{generation}.state",
            f"{RETIRED}, and it has signed {', '.join(users)}",
            f"{TRUSTED} as long as any of that is in use: nobody would take it any more",
            f"Bring others in their place, or remove them: {', '.join(users)}",
        )
        for authority, generation in retiring(deployed, wanted)
        if (users := _signed_by(generation, wanted[authority], certificates.get(authority, {}), chains))
    ]


def _signed_by(
    generation: str,
    wanted: Mapping[str, Mapping[str, str]],
    certificates: Mapping[str, str],
    chains: Mapping[str, str],
) -> list[str]:
    """Return which of the chains a generation has signed: none of those after it would do for them."""
    if not chains or generation not in certificates:
        return []
    from pki import facts  # a tenth of a second, for those who bring any

    # Two issuing authorities may stand under one root, which then stays.
    kept = {one for name, each in wanted.items() if each[STATE] in _LIVE for one in _read(certificates.get(name, ""))}
    gone = [one for one in _read(certificates[generation]) if one not in kept]
    return [
        name
        for name, chain in chains.items()
        if any(facts.signed_by(each, one) for each in _read(chain) for one in gone)
    ]


def _read(text: str) -> "list[Certificate]":
    from pki import pem

    return pem.certificates(text.encode()) if text else []


def _of_authority(
    authority: str, deployed: Mapping[str, Mapping[str, str]], wanted: Mapping[str, Mapping[str, str]]
) -> Iterator[Jump]:
    states = {name: one[STATE] for name, one in deployed.items()}
    compromised = any(states.get(name) == ACTIVE and one[STATE] == DISTRUSTED for name, one in wanted.items())
    for name in sorted({*deployed, *wanted}, key=_number):
        before, after = states.get(name), wanted[name][STATE] if name in wanted else None
        setting = f"pki.authorities.{authority}.generations.{name}"
        if after is None:
            if before not in GIVEN_UP:
                yield Jump(
                    setting,
                    f"removed, and it is deployed as {before}",
                    "removing what is retired or distrusted",
                    f"Put it back, and {_steps(before)}",
                )
            continue
        if before is None:
            yield from _new(setting, name, after, wanted, is_first=not states, compromised=compromised)
            continue
        if said := _jump(before, after, compromised=compromised):
            yield Jump(f"{setting}.state", f"{after}, and it is deployed as {before}", *said)
        made, known = wanted[name].get(MADE), deployed[name].get(MADE)
        if before not in GIVEN_UP and known is not None and made != known:
            yield Jump(
                setting,
                f"{made}, and it was made as {known}",
                "what it was made as, for clients have this very root",
                "Put that back, and give what is new to a further generation",
            )


def _new(
    setting: str,
    name: str,
    state: str,
    wanted: Mapping[str, Mapping[str, str]],
    *,
    is_first: bool,
    compromised: bool,
) -> Iterator[Jump]:
    """Yield why a generation may not appear as it is."""
    setting = f"{setting}.state"
    never = f"{state}, and it was never deployed"
    if state in GIVEN_UP:
        yield Jump(setting, never, "active or trusted", "Remove it")
    elif is_first:
        older = [one for one in wanted if _number(one) < _number(name) and wanted[one][STATE] == TRUSTED]
        if state == ACTIVE and older:
            yield Jump(
                setting,
                f"active beside {', '.join(older)}, and none is deployed",
                "the oldest one",
                f"Make {older[0]} active and deploy that first, or remove it",
            )
    elif state == ACTIVE and not compromised:
        known = "trusted, so that everybody knows it before it signs"
        yield Jump(setting, never, known, "Set that and deploy it first: make up")


def _jump(before: str, after: str, *, compromised: bool) -> tuple[str, str] | None:
    """Return what is allowed instead of a change of state, and what to do; nothing where it is allowed."""
    if before == after:
        return None
    match before, after:
        case ("active", "trusted" | "distrusted") | ("trusted", "active" | "retired" | "distrusted"):
            return None
        case ("retired", "trusted" | "distrusted"):
            return None
        case ("active", "retired"):
            return "trusted first, while another signs", "Set that, make up, and retire it then"
        case ("retired", "active"):
            if compromised:
                return None
            return "trusted first, so that everybody knows it again", "Set that, make up, and make it active then"
        case _:
            kept = "distrusted, for ever: somebody else may have its key"
            return kept, "Set that, and take a further generation"


def _steps(before: str | None) -> str:
    return (
        "retire it first: docs/pki-rollover.md" if before == TRUSTED else "let another sign first: docs/pki-rollover.md"
    )


def _number(generation: str) -> int:
    return int(generation.removeprefix("g"))
