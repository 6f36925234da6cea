"""Where the SDK is made to take less time: debug messages that nobody hears, and outputs that are waited for."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Final

import pulumi
import pulumi_random as random
import pytest
from pulumi.runtime import stack
from pulumi.runtime.settings import SETTINGS, get_root_resource

from components.base.sdk import drop_debug_messages, export
from testing.engine import Engine

SPOKEN: Final = pulumi.log.debug
"""As it is before any test runs the whole program, which takes it away."""


def test_no_debug_message_reaches_the_engine_and_every_other_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr("pulumi.log._log", lambda _engine, _severity, message, *_: heard.append(message))
    monkeypatch.setattr(pulumi.log, "debug", SPOKEN)
    monkeypatch.setattr("pulumi.log.get_engine", lambda: object())
    pulumi.log.debug("a step of a registration")
    assert heard == ["a step of a registration"], "the SDK has another way by now; look again what it costs"
    told = inspect.signature(pulumi.log.debug).parameters.keys()
    drop_debug_messages()
    pulumi.log.debug("a step of a registration")
    pulumi.log.warn("something")
    assert heard == ["a step of a registration", "something"]
    assert inspect.signature(pulumi.log.debug).parameters.keys() == told


def late(value: str, turns: int) -> pulumi.Output[str]:
    """Return an output that is known after so many turns of the event loop."""

    async def known(_: None) -> str:
        for _turn in range(turns):
            await asyncio.sleep(0)
        return value

    return pulumi.Output.from_input(None).apply(known)


def open_at_the_end(program: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many outputs are still open when the SDK begins to wait for all that is."""
    found: list[int] = []
    wait = stack.wait_for_rpcs

    async def counted() -> None:
        found.append(len(SETTINGS.outputs))
        await wait()

    with monkeypatch.context() as patch:
        patch.setattr(stack, "wait_for_rpcs", counted)
        Engine().run(program)
    return max(found)


def outputs() -> dict[str, pulumi.Output[str]]:
    """Return outputs of resources that are made one after the other."""
    made: list[random.RandomId] = []
    for number in range(40):
        options = pulumi.ResourceOptions(depends_on=made[-1:])
        made.append(random.RandomId(f"r{number}", byte_length=4, opts=options))
    return {f"o{number}": one.hex for number, one in enumerate(made)}


def test_outputs_are_known_before_the_sdk_waits_for_all_that_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain() -> None:
        for name, value in outputs().items():
            pulumi.export(name, value)

    before = open_at_the_end(plain, monkeypatch)
    after = open_at_the_end(lambda: export(outputs()), monkeypatch)
    assert before > 200, "the SDK has another way by now; look again what it costs"
    assert after <= 40, "what it makes of the outputs themselves"


def test_what_is_exported_is_what_it_was() -> None:
    engine = Engine()
    engine.run(
        lambda: export({"a": late("x", turns=2), "b": pulumi.Output.secret("y"), "c": {"d": [late("z", turns=1)]}})
    )
    assert engine.exports == {"a": "x", "b": "y", "c": {"d": ["z"]}}
    assert engine.secret_exports == {"b"}


def test_what_is_not_known_yet_leaves_the_rest_of_an_output_as_it_is() -> None:
    # One output of it all would be unknown as a whole in a preview, and the renewal would take that for a change.
    made: list[pulumi.Resource | None] = []

    def program() -> None:
        export({"a": [{"b": late("x", turns=1), "c": "d"}]})
        made.append(get_root_resource())

    Engine().run(program)
    (root,) = made
    assert isinstance(root, stack.Stack)
    (entry,) = root.outputs["a"]
    assert entry["c"] == "d"
    assert isinstance(entry["b"], pulumi.Output)


def test_a_program_fails_by_an_output_that_fails() -> None:
    def fails(_: str) -> str:
        raise ValueError("of no use")

    with pytest.raises(ValueError, match="of no use"):
        Engine().run(lambda: export({"a": late("x", turns=2).apply(fails), "b": late("y", turns=9)}))
