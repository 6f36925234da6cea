"""The SDK's debug messages, which nobody hears."""

import inspect
from typing import Final

import pulumi
import pytest

from components.base.quiet import drop_debug_messages

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
