"""One line of the console, and the counts in it: what every command prints, without what plans are made of.

Importing the words for plans costs more than checking a manifest does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reconciler.safe_text import safe_text


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


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the console, with control characters escaped, so that no name can break the line or the terminal."""

    text: str = ""
    tone: Tone = Tone.PLAIN

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", safe_text(self.text))


def count(number: int, one: str, many: str = "") -> str:
    """``1 disk``, ``2 disks``."""
    return f"{number} {one if number == 1 else many or one + 's'}"
