"""Recognises YAML files that are made for something else, such as a Kubernetes object beside the manifests.

It looks at the text, since the strict reader refuses what such files may hold. ``load`` leaves them out by name.
"""

from __future__ import annotations

import re
from typing import Final

_DOCUMENTS: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_LINE_WITHOUT_CONTENT: Final = re.compile(r"\s*(#|%|$)")
_KEY: Final = re.compile(r"""(["']?)([\w.-]+)\1\s*:(?=\s|$)""")
_PART_OF_VALUE: Final = "-]}"
"""How a line can begin that has no indentation and is no key: a list's item, the end of braces."""
_FOREIGN: Final = frozenset({"apiVersion", "kind"})
_WORDS: Final = tuple(word.encode() for word in _FOREIGN)
_OURS: Final = frozenset({"target", "pools", "limits", "defaults", "drift"})
"""Keys of a manifest. Without ``version``, which a Helm chart has too: a manifest has ``target`` at least."""


def is_foreign(data: bytes) -> bool:
    """True if every document has ``kind`` or ``apiVersion`` at its root, and no key of a manifest.

    When in doubt it is a manifest, with its faults: in doubt is, for example, a root written with braces.
    """
    if not any(word in data for word in _WORDS):  # as a rule
        return False
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    documents = [found for part in _DOCUMENTS.split(text) if (found := _lines(part))]
    return bool(documents) and all(map(_is_foreign, documents))


def _lines(document: str) -> list[str]:
    lines = document.splitlines()
    return [line for line in lines if not _LINE_WITHOUT_CONTENT.match(line) and line.strip() != "..."]


def _is_foreign(lines: list[str]) -> bool:
    # Lines without indentation are keys of the root, or belong to one of them. Any other could hide a key of ours.
    outer = [line for line in lines if not line[0].isspace()]
    keys = [_KEY.match(line) for line in outer]
    if lines[0] not in outer[:1] or not keys[0]:
        return False
    if not all(key or line[0] in _PART_OF_VALUE for key, line in zip(keys, outer, strict=True)):
        return False
    names = {key[2] for key in keys if key}
    return bool(names & _FOREIGN) and not names & _OURS
