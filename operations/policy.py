"""What no stack may do: the policy pack beside a preview, and private keys in clear text in the state itself."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from operations.stack import Stack
from policy.properties import keys_in, texts

_PACK: Final = "policy"


def flags(stack: Stack) -> tuple[str, ...]:
    """Return what makes the engine ask the pack in a preview or an update."""
    return ("--policy-pack", str(stack.layout.root / _PACK))


def see_that_the_state_holds_no_key(stack: Stack) -> int:
    """Print every private key that anybody who can read the state could read, and return the exit status.

    An exported state is looked through as text, not by rules: also what is under way, and what no rule is about.
    """
    try:
        exported = json.loads(stack.ask("stack", "export"))
    except subprocess.CalledProcessError as error:
        return error.returncode  # the engine has said why
    found = list(open_keys(exported))
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    if not found:
        print(f"The state of the stack {stack.name} holds no private key in clear text.")
    return 1 if found else 0


def open_keys(exported: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each private key in clear text in a state, as the engine exports it."""
    deployment: Mapping[str, Any] = exported.get("deployment") or {}
    resources: Sequence[Mapping[str, Any]] = deployment.get("resources") or ()
    rest = {key: value for key, value in deployment.items() if key != "resources"}
    places = [(str(one["urn"]).rpartition("::")[2], one) for one in resources]
    for name, value in (*places, ("state", rest)):
        for each in texts(value):
            if keys_in(each.text):
                yield (
                    f"{name}: {each.path}: a private key in clear text in the state; allowed: encrypted ones. Take it "
                    "for known to others: make it anew, and have what makes it say that it is a secret"
                )
