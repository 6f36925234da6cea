"""Rollovers: the four steps are taken one after the other, and a jump is refused in one line."""

from types import SimpleNamespace
from typing import Any

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.rollover import ACTIVE, DISTRUSTED, RETIRED, TRUSTED, Generations, problems
from testing import building

AT = "pki.authorities.stack.generations"


def stack(made: str = "P384 for 10 years", **states: str) -> Generations:
    return {"stack": {name: {"state": state, "made": made} for name, state in states.items()}}


ACTIVE_NOW = "and it is deployed as active; allowed:"
NEVER = "and it was never deployed; allowed:"
STEPS = (
    stack(g1=ACTIVE),
    stack(g1=ACTIVE, g2=TRUSTED),
    stack(g1=TRUSTED, g2=ACTIVE),
    stack(g1=RETIRED, g2=ACTIVE),
    stack(g2=ACTIVE),
)


def test_each_step_follows_the_one_before_it() -> None:
    for before, after in zip(({}, *STEPS), STEPS, strict=False):
        assert problems(before, after) == []


def test_each_step_but_the_last_can_be_taken_back() -> None:
    assert problems(STEPS[2], STEPS[1]) == []
    assert problems(STEPS[1], stack(g1=ACTIVE, g2=RETIRED)) == []
    assert problems(STEPS[3], STEPS[2]) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (STEPS[0], stack(g1=TRUSTED, g2=ACTIVE), f"{AT}.g2.state: active, {NEVER} trusted"),
        (STEPS[1], stack(g1=RETIRED, g2=ACTIVE), f"{AT}.g1.state: retired, {ACTIVE_NOW} trusted"),
        (STEPS[2], stack(g2=ACTIVE), f"{AT}.g1: removed, and it is deployed as trusted; allowed: removing what is"),
        (STEPS[1], stack(g2=ACTIVE), f"{AT}.g1: removed, and it is deployed as active; allowed: removing what is"),
        (STEPS[3], stack(g1=ACTIVE, g2=TRUSTED), f"{AT}.g1.state: active, and it is deployed as retired;"),
        (STEPS[0], stack(g1=ACTIVE, g2=RETIRED), f"{AT}.g2.state: retired, {NEVER} active or"),
        ({}, stack(g1=TRUSTED, g2=ACTIVE), f"{AT}.g2.state: active beside g1, and none is"),
        ({}, stack(g1=RETIRED, g2=ACTIVE), f"{AT}.g1.state: retired, {NEVER} active or"),
        (stack(g1=DISTRUSTED, g2=ACTIVE), stack(g1=TRUSTED, g2=ACTIVE), f"{AT}.g1.state: trusted, and it is"),
        (STEPS[0], stack("P256 for 10 years", g1=ACTIVE), f"{AT}.g1: P256 for 10 years, and it was made as"),
    ],
)  # fmt: skip
def test_a_jump_is_refused_in_one_line(before: Generations, after: Generations, said: str) -> None:
    (problem,) = map(str, problems(before, after))
    assert problem.startswith(said)
    assert "\n" not in problem


def test_a_root_that_is_compromised_goes_at_once() -> None:
    assert problems(STEPS[0], stack(g1=DISTRUSTED, g2=ACTIVE)) == []
    assert problems(STEPS[1], stack(g1=DISTRUSTED, g2=ACTIVE)) == []
    assert problems(stack(g1=DISTRUSTED, g2=ACTIVE), stack(g2=ACTIVE)) == []


def test_authorities_do_not_meddle_with_each_other() -> None:
    relays = {"relays": stack(g1=ACTIVE)["stack"]}
    assert problems(STEPS[0], {**STEPS[1], **relays}) == [], "a further authority may come at any time"
    assert problems({**STEPS[0], **relays}, STEPS[0]) == [], "its keys are protected: that is the engine's to say"


STATES = st.sampled_from([ACTIVE, TRUSTED, RETIRED, DISTRUSTED])


@given(st.lists(st.dictionaries(st.sampled_from(["g1", "g2", "g3"]), STATES, min_size=1), min_size=2, max_size=6))
def test_whoever_signs_was_trusted_before_unless_something_is_compromised(path: list[dict[str, str]]) -> None:
    """Along whatever way the guard lets somebody go: who trusts what was deployed before takes what signs now."""
    deployed: dict[str, str] = {}
    for wanted in path:
        if list(wanted.values()).count(ACTIVE) != 1 or problems(stack(**deployed), stack(**wanted)):
            continue
        (signs,) = (name for name, state in wanted.items() if state == ACTIVE)
        compromised = any(deployed.get(name) == ACTIVE and state == DISTRUSTED for name, state in wanted.items())
        if deployed and not compromised:
            assert deployed.get(signs) in {ACTIVE, TRUSTED}
            signed = next(name for name, state in deployed.items() if state == ACTIVE)
            assert wanted.get(signed) in {ACTIVE, TRUSTED}, "what it has signed is still in use"
        deployed = wanted


# --- Inside the engine ------------------------------------------------------------------------------------------------


def asked(old: Any, new: Any) -> Any:
    return SimpleNamespace(old_inputs=None if old is None else {"generations": old}, new_inputs={"generations": new})


def test_the_engine_asks_before_anything_is_touched_and_in_a_preview() -> None:
    from components.pki.rollover import Rollover, RolloverArgs, guarded

    built = building.build(lambda _: Rollover("it", RolloverArgs(generations=STEPS[0]), guarded("it")))
    hook = built.engine.hooks["it-guard"]
    assert isinstance(hook, pulumi.ResourceHook)
    assert hook.opts is not None and hook.opts.on_dry_run
    request = built.named("it").request
    assert list(request.hooks.before_create) == list(request.hooks.before_update) == ["it-guard"]
    assert built.named("it").plain("generations") == STEPS[0]
    hook.callback(asked(STEPS[0], STEPS[1]))
    hook.callback(asked(None, STEPS[0]))
    with pytest.raises(pulumi.RunError, match="active, and it was never deployed"):
        hook.callback(asked(STEPS[0], stack(g1=TRUSTED, g2=ACTIVE)))
