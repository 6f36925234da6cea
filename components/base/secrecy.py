"""Ordinary settings that somebody encrypted stay secret to the end.

A secret setting has a type of its own and is wrapped where it is used. Any other setting may be encrypted in the stack
file too (`pulumi config set --secret`), although the program has to look at it: to check it, or to decide what to make.
What such a value got into is therefore recognised by the value itself, as late as can be: on every input of every
resource and on every output of the stack.
"""

from collections.abc import Mapping
from typing import Any

import pulumi

from settings.base import Secret


def revealed(secret: Secret | None) -> pulumi.Output[str] | None:
    """Return the value of a secret setting as a secret output; None where it is not set."""
    return None if secret is None else pulumi.Output.secret(secret.value or "")


def keep_secret(encrypted: frozenset[str]) -> None:
    """Make every input of every resource from here on secret that holds one of the values `encrypted`."""
    if not encrypted:
        return

    def seal(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
        props = {name: sealed(value, encrypted) for name, value in (args.props or {}).items()}
        return pulumi.ResourceTransformationResult(props, args.opts)

    pulumi.runtime.register_stack_transformation(seal)


def sealed(value: Any, encrypted: frozenset[str]) -> Any:
    """Return `value` as it is, or as a secret output if it holds one of the values `encrypted`."""
    if value is None or not encrypted:
        return value
    return pulumi.Output.from_input(value).apply(
        lambda known: pulumi.Output.secret(known) if mentions(known, encrypted) else known
    )


def mentions(value: object, encrypted: frozenset[str]) -> bool:
    """Return whether one of the values stands in `value`, at any depth."""
    if value is None or isinstance(value, bool):
        return False
    if isinstance(value, str):
        return any(one in value for one in encrypted)
    if isinstance(value, int | float):
        # On the way through the engine a whole number becomes a float.
        return str(int(value) if value == value // 1 else value) in encrypted
    if isinstance(value, Mapping):
        return any(mentions(item, encrypted) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return any(mentions(item, encrypted) for item in value)
    # The SDK's classes of inputs and its assets are objects with what they hold in attributes.
    return mentions(vars(value), encrypted) if hasattr(value, "__dict__") else False
