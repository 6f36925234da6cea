"""Rollovers: the four steps are taken one after the other, and a jump is refused in one line."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.output import Unknown

from components.base.handles import AuthorityHandle
from components.pki.authorities import authorities, deployed
from components.pki.rollover import Rollover, RolloverArgs, guarded
from pki.rollover import ACTIVE, DISTRUSTED, RETIRED, TRUSTED, Generations, problems, readable, relied_on
from settings import parse
from settings.base import Sealed
from testing import building
from testing.certificates import Issued, issue
from testing.engine import value_of

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


# --- What somebody relies on ------------------------------------------------------------------------------------------

NOW = datetime.now(UTC)
ROOTS = {name: issue(f"root {name}", now=NOW, ca=True, to_days=3000) for name in ("g1", "g2")}
BELOW = issue("issuing authority", ROOTS["g1"], now=NOW, ca=True, to_days=3000)
KNOWN = {"stack": {name: one.pem.decode() for name, one in ROOTS.items()}}


def chain(by: Issued, *above: Issued) -> dict[str, str]:
    leaf = issue("corp", by, now=NOW, sans=["corp.test"])
    return {"pki.certificates.corp": "".join(one.pem.decode() for one in (leaf, *above))}


@pytest.mark.parametrize("shown", [chain(ROOTS["g1"]), chain(BELOW, BELOW)])
def test_what_has_signed_something_nobody_here_renews_is_not_retired(shown: dict[str, str]) -> None:
    (problem,) = map(str, relied_on(STEPS[2], STEPS[3], KNOWN, shown))
    assert problem == (
        f"{AT}.g1.state: retired, and it has signed pki.certificates.corp; allowed: trusted as long as any of that is "
        "in use: nobody would take it any more. Bring others in their place, or remove them: pki.certificates.corp"
    )


@pytest.mark.parametrize(
    ("before", "after", "certificates", "shown"),
    [
        (STEPS[2], STEPS[3], KNOWN, chain(ROOTS["g2"])),
        (STEPS[2], STEPS[3], KNOWN, {}),
        (STEPS[2], STEPS[3], {}, chain(ROOTS["g1"])),
        (STEPS[1], STEPS[2], KNOWN, chain(ROOTS["g1"])),
        (STEPS[3], STEPS[3], KNOWN, chain(ROOTS["g1"])),
        (STEPS[3], STEPS[4], KNOWN, chain(ROOTS["g1"])),
        (STEPS[2], stack(g1=DISTRUSTED, g2=ACTIVE), KNOWN, chain(ROOTS["g1"])),
    ],
)
def test_of_another_root_or_in_another_step_it_is_no_reason(
    before: Generations, after: Generations, certificates: dict[str, dict[str, str]], shown: dict[str, str]
) -> None:
    assert relied_on(before, after, certificates, shown) == []


def test_a_root_two_issuing_authorities_stand_under_stays_with_one_of_them() -> None:
    other = issue("another issuing authority", ROOTS["g1"], now=NOW, ca=True, to_days=3000)
    root = ROOTS["g1"].pem.decode()
    known = {"stack": {"g1": BELOW.pem.decode() + root, "g2": other.pem.decode() + root}}
    assert relied_on(STEPS[2], STEPS[3], known, chain(BELOW, BELOW)), "its lists of what is revoked go with it"
    assert relied_on(STEPS[2], STEPS[3], known, chain(ROOTS["g1"])) == []
    alone = {"stack": {"g1": BELOW.pem.decode() + root, "g2": ROOTS["g2"].pem.decode()}}
    assert relied_on(STEPS[2], STEPS[3], alone, chain(ROOTS["g1"])), "whom clients have instead of who signs"


# --- Inside the engine ------------------------------------------------------------------------------------------------


def hook_of(chains: Mapping[str, str]) -> Callable[..., None]:
    """Return what the engine asks before it changes a record, from and to these generations."""
    built = building.build(lambda _: Rollover("it", RolloverArgs(generations=STEPS[0]), guarded("it", chains)))
    hook = built.engine.hooks["it-guard"]
    assert isinstance(hook, pulumi.ResourceHook)
    assert hook.opts is not None and hook.opts.on_dry_run, "in a preview too"
    request = built.named("it").request
    assert list(request.hooks.before_create) == list(request.hooks.before_update) == ["it-guard"]
    assert built.named("it").plain("generations") == STEPS[0]

    async def answer(before: Any, after: Any, certificates: Any, *, secret: bool) -> None:
        handed = pulumi.Output.secret if secret else lambda known: known
        args = SimpleNamespace(
            old_inputs=None if before is None else {"generations": handed(before)},
            new_inputs={"generations": handed(after)},
            old_outputs=None if certificates is None else {"certificates": handed(certificates)},
        )
        await cast("Coroutine[Any, Any, None]", hook.callback(cast("pulumi.ResourceHookArgs", args)))

    def ask(before: Any, after: Any, certificates: Any = None, *, secret: bool = False) -> None:
        asyncio.run(answer(before, after, certificates, secret=secret))

    return ask


@pytest.mark.parametrize("secret", [False, True])
def test_the_engine_asks_before_anything_is_touched_and_in_a_preview(*, secret: bool) -> None:
    ask = hook_of({})
    ask(STEPS[0], STEPS[1], secret=secret)
    ask(None, STEPS[0], secret=secret)
    with pytest.raises(pulumi.RunError, match="active, and it was never deployed"):
        ask(STEPS[0], stack(g1=TRUSTED, g2=ACTIVE), secret=secret)


@pytest.mark.parametrize("secret", [False, True])
def test_the_engine_is_told_what_a_root_that_retires_has_signed(*, secret: bool) -> None:
    ask = hook_of(chain(ROOTS["g1"]))
    with pytest.raises(pulumi.RunError, match=r"retired, and it has signed pki\.certificates\.corp; allowed: trusted"):
        ask(STEPS[2], STEPS[3], KNOWN, secret=secret)
    ask(STEPS[1], STEPS[2], KNOWN, secret=secret)
    unknown = Unknown()  # type: ignore[no-untyped-call]  # the SDK's
    ask(STEPS[2], STEPS[3], {"stack": {"g1": unknown}}, secret=secret)
    ask(STEPS[2], STEPS[3])


@pytest.mark.parametrize("kept", ["certificate_file", "certificate"])
def test_a_record_has_who_signs_and_no_key(kept: str, tmp_path: Path) -> None:
    """And once the authorities are made, as they are what it is asked before."""
    (tmp_path / "ca.pem").write_bytes(BELOW.pem + ROOTS["g1"].pem)
    (tmp_path / "ca.key").write_bytes(BELOW.key_pem)
    given = str(tmp_path / "ca.pem") if kept == "certificate_file" else Sealed((BELOW.pem + ROOTS["g1"].pem).decode())
    generations = {
        "g1": {"mode": "created", "state": "retired"},
        "g2": {"mode": "imported", "state": "active", kept: given, "key_file": str(tmp_path / "ca.key")},
        "g3": {"mode": "created", "state": "trusted"},
    }
    settings = parse({"pki": {"authorities": {"stack": {"generations": generations}}}}, "test", "reflector", NOW)

    def made(_: object) -> Mapping[str, AuthorityHandle]:
        found = authorities("authority", settings.pki, "test", settings.signers)
        deployed(settings.pki, found, [], settings.signers)
        return found

    built = building.build(made)
    for name in ("authorities-declared", "authorities-deployed"):
        outputs = built.engine.outputs_of(name)
        assert outputs["generations"] == built.named(name).plain("generations")
        certificates = outputs["certificates"]
        assert pulumi.runtime.rpc.is_rpc_secret(certificates) == (kept == "certificate"), "it stays what it was"
        found = readable(plain(certificates))
        assert found["stack"]["g2"] == (BELOW.pem + ROOTS["g1"].pem).decode()
        assert found["stack"]["g3"] == value_of(built.component["stack"].issuers["authority-3"].certificate_pem)
        assert found["stack"].keys() == {"g2", "g3"}
        assert "PRIVATE KEY" not in str(outputs)


def plain(value: Any) -> Any:
    return pulumi.runtime.rpc.unwrap_rpc_secret(value) if pulumi.runtime.rpc.is_rpc_secret(value) else value
