"""Owns what an unquoted YAML word means: text, a whole number, true or false.

Follows the YAML 1.2 core schema, and refuses what readers of YAML 1.1 would take for something else
(``yes``, ``010``, ``1e3``, dates); words are looked at one by one, structure is left to ``events``.
"""

from __future__ import annotations

import re
from typing import Final

NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
"""The ways to write that there is no value."""

_BOOLEANS: Final[dict[str, bool]] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SWITCHES: Final = frozenset(
    form for word in ("yes", "no", "on", "off") for form in (word, word.capitalize(), word.upper())
)
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_ODD_INTEGER: Final = re.compile(r"[-+]?(?:0[0-9_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+|[0-9][0-9_]*)")
_FLOAT: Final = re.compile(
    r"[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))"
    r"|\.(?:nan|NaN|NAN)"
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\s].*)?")


class RefusedScalar(ValueError):
    """The word is not taken; the message says what to write and never repeats the word.

    Silence about the word is deliberate: it may be a password that somebody put into the file.
    """


def resolve(word: str) -> str | int:
    """The value of an unquoted word (a bool is an int); raises ``RefusedScalar``."""
    if word in NULLS:
        raise RefusedScalar("no value stands here; write one, or remove the entry")
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    if word in _SWITCHES:
        raise RefusedScalar(f"{word} is not a value here; write true or false, or quote it")
    if not (word[0].isascii() and (word[0].isdigit() or word[0] in "+-.")):
        return word
    if _INTEGER.fullmatch(word):
        return int(word) if len(word) <= 20 else word
    if _ODD_INTEGER.fullmatch(word):
        raise RefusedScalar(
            "a number with a plus sign, leading zero, prefix or underscore; write plain digits, or quote it"
        )
    if _FLOAT.fullmatch(word):
        raise RefusedScalar("a number with a fraction or an exponent; write a whole number, or quote it")
    if _DATE.fullmatch(word):
        raise RefusedScalar("dates are not values here; quote it if text is meant")
    return word
