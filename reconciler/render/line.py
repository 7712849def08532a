"""One line of the console, and the counts in it: what every command prints, without what plans are made of.

Importing the words for plans costs more than checking a manifest does.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec.structs import force_setattr

from reconciler.safe_text import safe_text
from reconciler.values import Struct


class Tone(StrEnum):
    """The meaning of a line; ``cli`` maps it to a colour."""

    PLAIN = "plain"
    STRONG = "strong"
    DESTROY = "destroy"
    ADD = "add"
    CHANGE = "change"
    BLOCK = "block"
    WARN = "warn"
    FAINT = "faint"


class Line(Struct, frozen=True):
    """One line of the console, with control characters escaped, so that no name can break the line or the terminal."""

    text: str = ""
    tone: Tone = Tone.PLAIN

    def __post_init__(self) -> None:
        force_setattr(self, "text", safe_text(self.text))


def count(number: int, one: str, many: str = "") -> str:
    """``1 disk``, ``2 disks``."""
    return f"{number} {one if number == 1 else many or one + 's'}"
