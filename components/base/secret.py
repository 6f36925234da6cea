"""Generated secrets: random, stable across runs, and kept when everything else is taken down.

All are protected: whatever was encrypted, signed or initialised with one is lost with it. Not so those of a mode that
can be switched off, which the engine would then refuse: what they guard takes new ones when it is switched on again.
"""

from collections.abc import Sequence

import pulumi
import pulumi_random as random


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
    """Return `size_bytes` random bytes in lower-case hexadecimal."""
    return random.RandomBytes(
        name,
        random.RandomBytesArgs(length=size_bytes),
        opts=pulumi.ResourceOptions(parent=parent, protect=not optional, aliases=list(aliases) or None),
    ).hex
