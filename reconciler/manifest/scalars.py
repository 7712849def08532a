"""Resolves unquoted YAML words: text, a whole number, true or false.

Follows the YAML 1.2 core schema and refuses words that YAML 1.1 readers read differently (``yes``, ``010``,
``1e3``, dates). It sees single words; ``events`` and ``builder`` handle the structure.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
"""All spellings of null."""

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

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str) -> timedelta:
    """The length of ``90s``, ``15m``, ``24h`` or ``7d``; the schemas have checked the form."""
    return timedelta(seconds=int(text[:-1]) * _UNITS[text[-1]])


class RefusedScalar(ValueError):
    """The word is refused; the message says what to write and never quotes the word.

    The word may be a password that somebody put into the file by mistake.
    """


def resolve(word: str) -> str | int:
    """The value of an unquoted word (a bool is an int); raises ``RefusedScalar``."""
    if word in NULLS:
        raise RefusedScalar("the value is missing; write one, or remove the entry")
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    if word in _SWITCHES:
        raise RefusedScalar(f"{word} is ambiguous in YAML; write true or false, or quote it")
    if not (word[0].isascii() and (word[0].isdigit() or word[0] in "+-.")):
        return word
    if _INTEGER.fullmatch(word):
        return int(word) if len(word) <= 20 else word
    if _ODD_INTEGER.fullmatch(word):
        raise RefusedScalar(
            "a number must not have a plus sign, leading zero, prefix or underscore; write plain digits, or quote it"
        )
    if _FLOAT.fullmatch(word):
        raise RefusedScalar(
            "a number must not have a fraction or an exponent; write a whole number, or quote it"
        )
    if _DATE.fullmatch(word):
        raise RefusedScalar("dates are not allowed; quote it if you mean text")
    return word
