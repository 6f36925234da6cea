"""Names of what an authority or a certificate is made of.

Each carries a generation, so that the next one can be made, trusted and taken into use while this one still stands: a
protected key under a name without one could only be replaced, which its protection forbids.
"""

import pulumi


def whole(name: str, generation: int) -> str:
    """Return the resource name of `name` itself; the first generation has the name alone, as it always had."""
    return name if generation == 1 else f"{name}-{generation}"


def member(name: str, generation: int, part: str) -> str:
    """Return the resource name of a part of `name`."""
    return f"{name}-{generation}-{part}"


def former_names(name: str, generation: int, part: str) -> list[pulumi.Alias] | None:
    """Return what it was called before there were generations: the first one is what was there."""
    return [pulumi.Alias(name=f"{name}-{part}")] if generation == 1 else None
