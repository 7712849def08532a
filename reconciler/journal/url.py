"""Judges the text of a journal's URL before any database is imported.

Reading a URL in full is left to ``database``.
"""

from __future__ import annotations

import re

from reconciler.errors import BadInput

HOW_TO_WRITE = "sqlite:////absolute/path/to/journal.db or postgresql+psycopg://user@host/database"
_IN_MEMORY = re.compile(
    r"sqlite(\+\w+)?:(/{0,3})?\s*(:memory:|file:.*)?\s*(\?.*)?", re.IGNORECASE | re.DOTALL
)
_MEMORY_OPTION = re.compile(r"[?&](mode=memory|vfs=memdb)\b", re.IGNORECASE)
# The closing % of %NAME% must not begin an escape: %C3%BC is a letter of a password, not a variable.
_VARIABLE = re.compile(r"\$\w|\$\{|\$\(|%[A-Za-z_]\w*%(?![0-9A-Fa-f]{2})")


def check_url(url: str) -> None:
    """Raise ``BadInput`` for a journal that would not outlive the run, or a place that was not filled in.

    The message does not repeat the URL: it may hold a password.
    """
    if _VARIABLE.search(url):
        raise BadInput(
            "the journal's URL has a variable in it that nothing filled in, such as $NAME, ${NAME} or %NAME%",
            f"Set the variable and let the shell fill it in (double quotes, not single ones): {HOW_TO_WRITE}. "
            "In a password, write $ as %24 and % as %25.",
        )
    if not url.startswith("sqlite") and url.partition("?")[0].count("@") > 1:
        raise BadInput(
            "the journal's URL has more than one @ before its options, so the password may end at the wrong place",
            "In the user name and the password write @ as %40, : as %3A and / as %2F.",
        )
    if _IN_MEMORY.fullmatch(url.strip()) or (url.startswith("sqlite") and _MEMORY_OPTION.search(url)):
        raise BadInput(
            "the journal's URL names no file, so the next run would forget what this one has sent",
            f"Use {HOW_TO_WRITE}.",
        )
