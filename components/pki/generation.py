"""What authorities and certificates were called before there were generations."""

import pulumi


def former_names(name: str, generation: int, part: str) -> list[pulumi.Alias] | None:
    """Return what it was called before there were generations: the first one is what was there."""
    return [pulumi.Alias(name=f"{name}-{part}")] if generation == 1 else None
