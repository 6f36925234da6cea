"""Generated secrets: random, stable across runs, and kept when everything else is taken down.

All are protected: whatever was encrypted, signed or initialised with one is lost with it. Not so those of a mode that
can be switched off, which the engine would then refuse: what they guard takes new ones when it is switched on again.

None is made by a resource whose id is its value: an id is in clear text in the state, its backups, its history and
every export of it.
"""

from collections.abc import Sequence
from typing import Final

import pulumi
import pulumi_random as random

_HEXADECIMAL: Final = "0123456789abcdef"
_FORMER_TOKEN_TYPE: Final = "random:index/randomBytes:RandomBytes"
"""What tokens were made by in earlier releases; with the official plugin its id is its value."""


def password(
    name: str, parent: pulumi.Resource, *, optional: bool = False, aliases: Sequence[pulumi.Alias] = ()
) -> pulumi.Output[str]:
    """Return a password of 40 letters and digits, safe in URLs, SQL and environment files alike (≈ 238 bits).

    `optional`: a mode brings it that can be switched off. `aliases` is what it was called in an earlier release, if
    anything else.
    """
    return random.RandomPassword(
        name,
        # Hatchet insists on one of each class.
        random.RandomPasswordArgs(length=40, special=False, min_lower=1, min_upper=1, min_numeric=1),
        opts=pulumi.ResourceOptions(parent=parent, protect=not optional, aliases=list(aliases) or None),
    ).result


def token(
    name: str,
    parent: pulumi.Resource,
    *,
    size_bytes: int = 32,
    optional: bool = False,
    aliases: Sequence[pulumi.Alias] = (),
) -> pulumi.Output[str]:
    """Return `size_bytes` random bytes in lower-case hexadecimal; `optional` and `aliases` as for a password."""
    # What operations/upgrade.py has not taken over yet is found by its former type. The engine would replace that, and
    # may not where it is protected, so a preview of a stack of before fails, and names it.
    former = [
        pulumi.Alias(
            name=alias.name, type_=_FORMER_TOKEN_TYPE, parent=alias.parent, stack=alias.stack, project=alias.project
        )
        for alias in aliases
    ]
    return random.RandomPassword(
        name,
        # Digits of both kinds are drawn from one alphabet, each with the same chance: 4 bits a digit.
        random.RandomPasswordArgs(
            length=2 * size_bytes,
            special=True,
            override_special=_HEXADECIMAL,
            lower=False,
            upper=False,
            numeric=False,
        ),
        opts=pulumi.ResourceOptions(
            parent=parent,
            protect=not optional,
            aliases=[*aliases, pulumi.Alias(type_=_FORMER_TOKEN_TYPE), *former],
        ),
    ).result
