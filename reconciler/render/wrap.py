"""Breaks lines for a narrow terminal between words, never inside one: ids and paths stay whole, to be copied."""

from __future__ import annotations

import re

LEAST = 20
"""Columns of a terminal below which nothing is wrapped: there is no way to make that readable."""
_COMMAND = re.compile(r"(?<![\w/.-])reconciler (?!will )[a-z]+ ")
"""Where a printed command begins; of sentences with these words, only Terraform's own has the program as subject."""


def wrapped(text: str, width: int) -> list[str]:
    """The line as one or more lines of at most ``width`` columns, the later ones indented below the first.

    A word that is longer stands alone on its line. So does a printed command, which has to be pasted as it is.
    """
    if len(text) <= width or width < LEAST:
        return [text]
    command = _COMMAND.search(text)
    words_end = command.start() if command else len(text)
    indent = text[: len(text) - len(text.lstrip())]
    later = indent + "  " if len(indent) + 2 < width // 2 else indent
    lines, line = [], indent
    for word in text[len(indent) : words_end].split(" "):
        longer = f"{line} {word}" if line.strip() else f"{line}{word}"
        if len(longer.rstrip()) > width and line.strip():
            lines.append(line.rstrip())
            line = later + word
        else:
            line = longer
    if line.strip():
        lines.append(line.rstrip())
    if command:
        lines.append(later + text[words_end:])
    return lines
