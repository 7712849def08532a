"""Owns how foreign text is made harmless before anyone prints, stores or compares it.

Where foreign text enters is left to ``api`` and ``live``; its looks to ``cli`` and ``render``.
"""

from __future__ import annotations

LONGEST = 1000
"""Characters kept of one text; the service documents no longer message."""

# Letters and marks that Unicode calls printable although nothing of them is seen.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(n) for n in range(0xFE00, 0xFE10)
}


def safe_text(text: str) -> str:
    """Show control, bidirectional and invisible characters as escapes such as ``\\u202e``; cap the length.

    Idempotent: text that went through once comes back unchanged.
    """
    if len(text) > LONGEST:
        # The mark takes part in the limit, so that a second pass has nothing left to cut.
        mark = f"… ({len(text)} characters)"
        text = text[: LONGEST - len(mark)] + mark
    if text.isascii() and text.isprintable():
        return text
    return _capped("".join(_seen(character) for character in text))


def _seen(character: str) -> str:
    if character.isprintable() and character not in _INVISIBLE:
        return character
    return character.encode("unicode_escape").decode("ascii")


def _capped(text: str) -> str:
    """Escapes are longer than what they stand for."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
