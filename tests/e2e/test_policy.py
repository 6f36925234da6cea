"""The policy pack on the real engine: beside a preview of what is deployed, and over a state with a violation in it."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from policy.rules import CONTAINER, RULES, STACK
from tests.e2e.processes import Finished
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

KEY: Final = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIMhSnEt\n-----END PRIVATE KEY-----\n"
"""Of nobody."""


def analyzed(stack: Stack, exported: dict[str, Any], file: Path) -> Finished:
    """Let the engine ask the pack about a state, with neither the program nor the host."""
    file.write_text(json.dumps(exported), encoding="utf-8")
    pack = str(stack.checkout.layout.root / "policy")
    command = ("pulumi", "policy", "analyze", "--file", str(file), "--policy-pack", pack)
    return stack.checkout.start(*command, environment=stack.environment).finish(120)


def test_what_is_deployed_breaks_no_rule_and_what_does_is_found(deployment: Stack, tmp_path: Path) -> None:
    said = deployment.run("policy").succeeded().output
    assert "Policy Packs run:" in said, "the pack was asked"
    assert "[mandatory]" not in said
    assert f"The state of the stack {deployment.name} holds no private key in clear text." in said

    exported = deployment.export()
    for one in exported["deployment"]["resources"]:
        if one["type"] == STACK:
            one["outputs"]["key"] = KEY
        if one["type"] == CONTAINER and one["inputs"]["name"] == f"{deployment.prefix}-postgres":
            one["inputs"]["privileged"] = True
        if one["urn"].endswith("::authority-1-key"):
            one["protect"] = False
    finished = analyzed(deployment, exported, tmp_path / "state.json")
    assert finished.status != 0
    found = {rule.name for rule in RULES if f"[mandatory]  {rule.name} " in finished.output}
    assert found == {"no-private-key-in-clear-text", "no-power-over-the-host", "authorities-are-protected"}
    assert "key: a private key in clear text; allowed: encrypted ones." in finished.output
