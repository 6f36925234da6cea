"""What somebody encrypted is not shown by our own commands either, although it may be an ordinary setting."""

from typing import Final

from settings import Settings

SECRET: Final = "[secret]"
"""As the engine writes it."""


def masked(text: str, settings: Settings) -> str:
    """Return `text` without the values that are encrypted in the stack file."""
    # The longest first: one may be a part of another.
    for value in sorted(settings.encrypted, key=len, reverse=True):
        text = text.replace(value, SECRET)
    return text
