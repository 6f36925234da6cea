"""The state of an earlier release, taken to today's form, where the program alone cannot do it.

Tokens were made by RandomBytes, whose id is its value with the official plugin and so in clear text. They are made by
RandomPassword now (components/base/secret.py). No alias can carry a value from one type to the other, and a new value
would lock the stack out of its own data, so the state is rewritten: the same name, parent, protection and value. Values
stay encrypted all the way; a ciphertext does not say where in the state it belongs.

All it made was protected, which would keep a mode from being switched off in the first run of this release.
"""

import base64
import binascii
import json
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from operations.stack import Stack

FORMER_TYPE: Final = "random:index/randomBytes:RandomBytes"
_TYPE: Final = "random:index/randomPassword:RandomPassword"
_OPTIONAL: Final = frozenset(
    {
        "garage-admin-token", "garage-data", "garage-key-id", "garage-key-secret", "garage-meta", "garage-rpc-secret",
        "ollama-models", "reflector-admin", "reflector-admin-salt", "reflector-models", "s3-bucket", "sign-in-admin",
        "sign-in-admin-salt", "transcription-models",
    }
)  # fmt: skip
"""Names of what that release protected, although it belongs to a mode that can be switched off."""
_COMPONENTS: Final = "reflector:"
"""What the types of the program's own components start with: what is below another is somebody else's."""


@dataclass(frozen=True, kw_only=True)
class Upgraded:
    """A state in today's form."""

    deployment: Mapping[str, Any]
    """Of the shape of `pulumi stack export`."""
    names: list[str] = field(default_factory=list)
    """The tokens that were taken over; empty if there was nothing to do."""
    shown: list[str] = field(default_factory=list)
    """Those whose value stood in clear text, as their id."""


def upgraded(deployment: Mapping[str, Any]) -> Upgraded:
    """Return a state, of the shape of `pulumi stack export`, with every token of the program in today's form."""
    urns: dict[str, str] = {}
    names: list[str] = []
    shown: list[str] = []
    resources: list[dict[str, Any]] = []
    for resource in deployment["deployment"].get("resources") or ():
        name = resource["urn"].rpartition("::")[2]
        if name in _OPTIONAL:
            resource = {**resource, "protect": False}
        if not _is_former_token(resource):
            resources.append(resource)
            continue
        urns[resource["urn"]] = resource["urn"].replace(f"{FORMER_TYPE}::", f"{_TYPE}::")
        names.append(name)
        if _is_value(resource["id"], int(resource["inputs"]["length"])):
            shown.append(name)
        resources.append(_token(resource))
    if not names:
        return Upgraded(deployment=deployment)
    changed = {**deployment, "deployment": {**deployment["deployment"], "resources": resources}}
    return Upgraded(deployment=_renamed(changed, urns), names=names, shown=shown)


def upgrade(stack: Stack, *, ask: bool = False) -> None:
    """Take the state of `stack` to today's form and say what was done; nothing is said where there is nothing to do.

    Whether there is, state in files tells at once. For any other backend the engine has to be asked, which takes as
    long as all checks together, so that is only done with `ask`.

    Raises: subprocess.CalledProcessError if the engine fails. It takes the new state as a whole or not at all.
    """
    known = stack.resources()
    if (known is None and not ask) or (known is not None and not any(map(_is_former_token, known))):
        return
    result = upgraded(json.loads(stack.ask("stack", "export")))
    if not result.names:
        return
    stack.ask("stack", "import", stdin=json.dumps(result.deployment))
    print(
        f"The state of an earlier release was taken over: {len(result.names)} tokens keep their values, under ids that"
        " tell nothing. That release can no longer run this stack."
    )
    if result.shown:
        copies = stack.copies_of_the_state
        print(
            f"In clear text, as ids, it held: {', '.join(result.shown)}. Every copy of it from before still does. "
            + (f"To remove those: rm -r -- {shlex.join(copies)}" if copies else "Remove those your backend keeps.")
        )


def remedy(stack: Stack) -> str | None:
    """Return what to do about a run that failed because the state is an earlier release's; None if it is not.

    Only where the state is not in files: `up` and `preview` take over the others by themselves.
    """
    if stack.resources() is not None:
        return None
    try:
        due = bool(upgraded(json.loads(stack.ask("stack", "export"))).names)
    except subprocess.CalledProcessError:
        return None  # The engine has said why, and it is the same as ended the run.
    if not due:
        return None
    return (
        "The state is that of an earlier release. Take it over first, with all its secrets:"
        f" make convert STACK={stack.name}"
    )


def _is_former_token(resource: Mapping[str, Any]) -> bool:
    parent_type = str(resource.get("parent", "")).split("::")[-2:][0].split("$")[-1]
    return resource["type"] == FORMER_TYPE and parent_type.startswith(_COMPONENTS)


def _is_value(id_: str, size_bytes: int) -> bool:
    """Return whether the id of random bytes is their value: those of another plugin are a fixed text."""
    try:
        return len(base64.b64decode(id_, validate=True)) == size_bytes
    except (binascii.Error, ValueError):
        return False


def _token(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return a token in today's form: what the provider would have in its state had it made it.

    But for the bcrypt hash, which nobody reads; the provider neither misses it nor makes it up.
    """
    inputs = {
        "length": 2 * int(resource["inputs"]["length"]),
        "lower": False,
        "numeric": False,
        "overrideSpecial": "0123456789abcdef",
        "special": True,
        "upper": False,
    }
    return {
        **resource,
        "type": _TYPE,
        "id": "none",
        "inputs": inputs,
        "outputs": {
            **inputs,
            "__meta": json.dumps({"schema_version": "3"}),
            "id": "none",
            "minLower": 0,
            "minNumeric": 0,
            "minSpecial": 0,
            "minUpper": 0,
            "number": False,
            "result": resource["outputs"]["hex"],
        },
        "propertyDependencies": {name: [] for name in inputs},
        "additionalSecretOutputs": ["bcryptHash", "result"],
    }


def _renamed(value: Any, urns: Mapping[str, str]) -> Any:
    """Return `value` with every text in it that is one of `urns` replaced; none is ever part of a longer text."""
    match value:
        case str():
            return urns.get(value, value)
        case dict():
            return {key: _renamed(item, urns) for key, item in value.items()}
        case list():
            return [_renamed(item, urns) for item in value]
        case _:
            return value
