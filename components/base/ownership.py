"""Whom things on a Docker host belong to: the labels that say so. Nothing here imports pulumi."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LABEL_STACK: Final = "org.reflector.stack"
"""Marks what a stack owns on a host; the value is the stack's prefix."""
LABEL_SERVICE: Final = "org.reflector.service"
LABEL_DEPLOYMENT: Final = "org.reflector.deployment"
"""Tells two stacks of one name apart, each with a state of its own, as those of two checkouts are."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whom a container or a network belongs to."""

    stack: str
    """The stack's prefix; empty for what no stack made."""
    deployment: str

    @classmethod
    def of(cls, labels: Mapping[str, str] | None) -> "Owner":
        """Return whom something with these labels belongs to."""
        labels = labels or {}
        return cls(stack=labels.get(LABEL_STACK, ""), deployment=labels.get(LABEL_DEPLOYMENT, ""))
