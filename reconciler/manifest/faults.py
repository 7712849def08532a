"""Owns the collecting of faults while one file is read, and the safe showing of values in them.

What counts as a fault is left to the modules that look for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.errors import Fault
from reconciler.model import Position

if TYPE_CHECKING:
    from yaml._yaml import Mark

MAX_FAULTS: Final = 1000
"""Faults kept of one file: enough for any honest mistake, and no way to fill the memory."""

_SHOWN: Final = 60


def shown(value: object) -> str:
    """The value for a message: quoted, control and bidi characters escaped, at most 60 characters of it."""
    if isinstance(value, str) and len(value) > _SHOWN:
        return repr(value[:_SHOWN]) + "…"
    return repr(value)


class TooManyFaults(Exception):
    """The file has more faults than anybody reads; reading it further is no use."""


class Faults:
    """The faults of one file, in the order in which they were found."""

    def __init__(self, file: str) -> None:
        self.file = file
        """The path as messages show it."""
        self.found: list[Fault] = []

    def position(self, mark: Mark) -> Position:
        """The parser's 0-based mark as a 1-based place in this file."""
        return Position(self.file, mark.line + 1, mark.column + 1)

    def add(self, mark: Mark, what: str) -> None:
        """Records a fault at a mark; raises ``TooManyFaults`` beyond the cap."""
        self.at(mark.line + 1, mark.column + 1, what)

    def at(self, line: int, column: int, what: str) -> None:
        """Records a fault at a 1-based place, 0:0 for the whole file; raises as ``add`` does."""
        if len(self.found) >= MAX_FAULTS:
            self.found.append(
                Fault(self.file, 0, 0, f"more than {MAX_FAULTS} faults; the rest is not listed")
            )
            raise TooManyFaults
        self.found.append(Fault(self.file, line, column, what))
