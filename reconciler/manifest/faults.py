"""Collects the faults of one file, and shows values in messages safely.

The other modules of this package decide what is a fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.errors import Fault
from reconciler.model import Position

if TYPE_CHECKING:
    from yaml._yaml import Mark

MAX_FAULTS: Final = 1000
"""Maximum number of faults kept per file; bounds memory."""

_SHOWN: Final = 60


def shown(value: object) -> str:
    """The value for a message: quoted, with control and bidi characters escaped, cut to 60 characters."""
    if isinstance(value, str) and len(value) > _SHOWN:
        return repr(value[:_SHOWN]) + "…"
    return repr(value)


class TooManyFaults(Exception):
    """The file has more than ``MAX_FAULTS`` faults; reading stops."""


class Faults:
    """The faults of one file, in the order they were found."""

    def __init__(self, file: str) -> None:
        self.file = file
        """The path as shown in messages."""
        self.found: list[Fault] = []

    def position(self, mark: Mark) -> Position:
        """The parser's 0-based mark as a 1-based position in this file."""
        return Position(self.file, mark.line + 1, mark.column + 1)

    def add(self, mark: Mark, what: str) -> None:
        """Record a fault at a mark; raises ``TooManyFaults`` above the maximum."""
        self.at(mark.line + 1, mark.column + 1, what)

    def at(self, line: int, column: int, what: str) -> None:
        """Record a fault at a 1-based position (0:0: the whole file); raises as ``add`` does."""
        if len(self.found) >= MAX_FAULTS:
            self.found.append(
                Fault(self.file, 0, 0, f"more than {MAX_FAULTS} faults; the others are not listed")
            )
            raise TooManyFaults
        self.found.append(Fault(self.file, line, column, what))
