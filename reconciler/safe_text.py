"""Makes text from outside safe to print, store and compare.

``api`` and ``workspace`` apply it where text enters; ``cli`` and ``render`` decide how it is shown.
"""

from __future__ import annotations

from reconciler.redaction import redact

LONGEST = 1000
"""Maximum length of one text, in characters; the service documents no longer message."""

# Characters that Unicode calls printable although they are invisible.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(n) for n in range(0xFE00, 0xFE10)
}


def safe_text(text: str) -> str:
    """Redact secrets, escape control, bidirectional and invisible characters (as in ``\\u202e``), limit the length.

    Idempotent: safe text comes back unchanged.
    """
    text = redact(text)  # before anything is cut or escaped: half a secret is one too
    if len(text) > LONGEST:
        # The mark counts towards the limit, so that a second call has nothing left to cut.
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
    """Cut again, because an escape is longer than its character."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
