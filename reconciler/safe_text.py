"""Makes text from outside safe to print, store and compare.

``api`` and ``workspace`` apply it where text enters; ``cli`` and ``render`` decide how it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.redaction import redact

LONGEST = 1000
"""Maximum length of one text, in characters; the service documents no longer message."""

CONSIDERED = 20 * LONGEST
"""Characters of a text that are looked at; an answer may be made to fill memory and time."""

# Characters that Unicode calls printable although they are invisible.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(n) for n in range(0xFE00, 0xFE10)
}


def safe_text(text: str) -> str:
    """Redact secrets, escape control, bidirectional and invisible characters (as in ``\\u202e``), limit the length.

    Idempotent: safe text comes back unchanged.
    """
    whole = len(text)
    text = redact(text[:CONSIDERED])  # before more is cut or anything is escaped: half a secret is one too
    if len(text) > LONGEST or whole > CONSIDERED:
        # The mark counts towards the limit, so that a second call has nothing left to cut.
        mark = f"… ({whole} characters)"
        text = text[: LONGEST - len(mark)] + mark
    if text.isprintable() and (text.isascii() or _INVISIBLE.isdisjoint(text)):
        return text
    return _capped("".join(_seen(character) for character in text))


def all_safe(texts: Iterable[str]) -> bool:
    """Whether ``safe_text`` would leave each of these as it is, asked of all at once: a pool has a dozen.

    False may be wrong, as of long texts, and True never is: what hides in one of them hides in all together.
    """
    together = "|".join(texts)
    return len(together) <= LONGEST and safe_text(together) == together


def _seen(character: str) -> str:
    if character.isprintable() and character not in _INVISIBLE:
        return character
    return character.encode("unicode_escape").decode("ascii")


def _capped(text: str) -> str:
    """Cut again, because an escape is longer than its character."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
