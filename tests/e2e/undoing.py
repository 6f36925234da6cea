"""Things of a test's own that are undone in the reverse order of their making, also where the making fails half-way."""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Self


class Undoing(ABC):
    """Something that is started when it is entered; whatever it does registers with `_undo` how that is undone."""

    def __init__(self) -> None:
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @abstractmethod
    def _start(self) -> None:
        """Start it."""
