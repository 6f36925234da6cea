"""Generated secrets: random, stable across runs, and kept when everything else is taken down.

All are protected: whatever was encrypted, signed or initialised with one is lost with it.
"""

import pulumi
import pulumi_random as random


def password(name: str, parent: pulumi.Resource) -> pulumi.Output[str]:
    """Return a password of 40 letters and digits, safe in URLs, SQL and environment files alike (≈ 238 bits)."""
    return random.RandomPassword(
        name,
        # Hatchet insists on one of each class.
        random.RandomPasswordArgs(length=40, special=False, min_lower=1, min_upper=1, min_numeric=1),
        opts=pulumi.ResourceOptions(parent=parent, protect=True),
    ).result


def token(name: str, parent: pulumi.Resource, *, size_bytes: int = 32) -> pulumi.Output[str]:
    """Return `size_bytes` random bytes in lower-case hexadecimal."""
    return random.RandomBytes(
        name, random.RandomBytesArgs(length=size_bytes), opts=pulumi.ResourceOptions(parent=parent, protect=True)
    ).hex
