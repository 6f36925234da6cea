"""What no stack may do, as a command: the pack in a preview, and the state itself."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from operations import __main__ as commands
from operations import checks, policy
from operations.checks import Checked
from operations.stack import Stack
from settings import parse
from tests.unit.policy.told import KEY


@pytest.fixture
def asked(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A stack whose preview is fine; what the engine was asked."""
    settings = parse({"edge": {"domain": "a.test"}}, stack.name, "reflector")
    monkeypatch.setattr(checks, "check", lambda _: Checked(settings=settings, problems=[], hints=[], damage=[]))
    monkeypatch.setattr(Stack, "ensure", lambda _: None)
    monkeypatch.setattr(commands, "upgrade", lambda _: None)
    found: list[tuple[str, ...]] = []

    def answer(_: Stack, *arguments: str) -> int:
        found.append(arguments)
        return 0

    monkeypatch.setattr(Stack, "pulumi", answer)
    return found


def exporting(monkeypatch: pytest.MonkeyPatch, *resources: Mapping[str, object], **rest: object) -> None:
    exported = {"version": 3, "deployment": {"resources": resources, **rest}}
    monkeypatch.setattr(Stack, "ask", lambda *_: json.dumps(exported))


def run(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(commands, "Layout", lambda: stack.layout)
    monkeypatch.setattr("sys.argv", ["operations", "policy", "--stack", stack.name])
    return commands.main()


def resource(**properties: object) -> dict[str, Any]:
    return {"urn": "urn:pulumi:test::reflector::a:b:C::it", **properties}


def test_the_pack_is_asked_in_a_preview(
    stack: Stack,
    asked: list[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    exporting(monkeypatch, resource(outputs={"certificate": "-----BEGIN CERTIFICATE-----"}))
    assert run(stack, monkeypatch) == 0
    assert asked == [("preview", "--diff", "--policy-pack", str(stack.layout.root / "policy"))]
    assert f"the stack {stack.name} holds no private key in clear text" in capsys.readouterr().out


@pytest.mark.usefixtures("asked")
def test_a_private_key_in_the_state_fails_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encrypted = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x"}
    exporting(
        monkeypatch,
        resource(inputs={"key": encrypted}, outputs={"files": [{"content": KEY}]}),
        pending_operations=[{"type": "creating", "resource": {"inputs": {"key": KEY}}}],
    )
    assert run(stack, monkeypatch) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "error: it: outputs.files[0].content: a private key in clear text in the state; allowed: encrypted ones. Take "
        "it for known to others: make it anew, and have what makes it say that it is a secret"
    )
    assert second.startswith("error: state: pending_operations[0].resource.inputs.key: ")


def test_a_preview_that_breaks_a_rule_fails_it_and_the_state_is_looked_through_all_the_same(
    stack: Stack, asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Stack, "pulumi", lambda *_: 255)
    exporting(monkeypatch)
    assert run(stack, monkeypatch) == 255
    assert "no private key" in capsys.readouterr().out


def test_a_state_that_cannot_be_had_is_no_good_state(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise subprocess.CalledProcessError(7, "pulumi")

    monkeypatch.setattr(Stack, "ask", fail)
    assert policy.see_that_the_state_holds_no_key(stack) == 7
