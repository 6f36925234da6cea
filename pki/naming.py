"""What the engine, and with it the state, calls authorities and certificates, and what they are made of.

Each name carries a generation, so that the next one can be made, trusted and taken into use while this one still
stands: a protected key under a name without one could only be replaced, which its protection forbids.
"""

from typing import Final

STACK: Final = "stack"
"""The authority every stack has, and which has no name of its own there (settings/authorities.py, which imports nothing
from here, for whoever reads settings alone)."""


def authority(name: str, base: str = "authority") -> str:
    """Return what the authority is called that the settings call `name`."""
    return base if name == STACK else f"{base}-{name}"


def whole(name: str, generation: int) -> str:
    """Return what `name` itself is called; the first generation has the name alone, as it always had."""
    return name if generation == 1 else f"{name}-{generation}"


def member(name: str, generation: int, part: str) -> str:
    """Return what a part of `name` is called."""
    return f"{name}-{generation}-{part}"
