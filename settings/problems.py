"""What is wrong with a configuration, said once and completely."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

SECRET: Final = "[secret]"
"""What stands in place of an encrypted value, as the engine writes it."""


def masked(text: str, encrypted: Iterable[str]) -> str:
    """Return `text` with none of the values `encrypted` in it."""
    # The longest first: one may stand in another.
    for value in sorted(encrypted, key=len, reverse=True):
        text = text.replace(value, SECRET)
    return text


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that must be changed before anything is created."""

    setting: str
    """Path of the setting, e.g. `edge.https_port` or `edge.extra_names[2]`."""
    given: str
    """What was given, as the user wrote it; never a secret."""
    allowed: str
    """What is allowed there."""
    remedy: str
    """What to do, as a command or an instruction."""

    def without(self, encrypted: Iterable[str]) -> "Problem":
        """Return the problem with none of these values in it: who looks at the host tells of it by settings."""
        hidden = frozenset(encrypted)
        return replace(self, given=masked(self.given, hidden), remedy=masked(self.remedy, hidden))

    def __str__(self) -> str:
        return f"{self.setting}: {self.given}; allowed: {self.allowed}. {self.remedy}"


class SettingsError(ValueError):
    """All problems of a configuration, as one flat list."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = "1 problem in the configuration, nothing was created:"
        if count != 1:
            heading = f"{count} problems in the configuration, nothing was created:"
        super().__init__("\n".join([heading, *(f"  - {problem}" for problem in self.problems)]))
