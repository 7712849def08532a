"""The text of a message to the people of a pool: which fields it can have, and how they are filled in.

When one is sent is left to ``engine.announcements``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from reconciler.safe_text import safe_text

FIELDS: Final = ("disk", "size", "date", "pool")
"""What can stand in braces."""
_FIELD: Final = re.compile(r"\{(" + "|".join(FIELDS) + r")\}")
_BRACES: Final = re.compile(r"\{[^{}]*\}?|\}")
_SHOWN: Final = 40
"""Characters shown of what is no field."""


def unknown_fields(text: str) -> tuple[str, ...]:
    """What stands in braces and is no field, and every brace alone: somebody would read it as it is."""
    rest = _FIELD.sub("", text)
    return tuple(dict.fromkeys(each[:_SHOWN] for each in _BRACES.findall(rest)))


def is_blank(text: str) -> bool:
    """Whether nobody would see anything of it: spaces, and characters without a form of their own."""
    return all(each.isspace() or safe_text(each) != each for each in text)


def filled_in(text: str, values: Mapping[str, str]) -> str:
    """The text with the value of each field; a value is taken as it is, whatever braces a pool's name has."""
    return _FIELD.sub(lambda found: values[found[1]], text)
