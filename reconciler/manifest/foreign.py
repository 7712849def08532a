"""Recognises YAML files that are made for something else, such as a Kubernetes object beside the manifests.

It looks at the text, since the strict reader refuses what such files may hold. ``load`` leaves them out by name.
"""

from __future__ import annotations

import re
from typing import Final

_DOCUMENTS: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_LINE_WITHOUT_CONTENT: Final = re.compile(r"\s*(#|%|$)")
_KEY: Final = re.compile(r"""(["']?)([\w.-]+)\1\s*:(?=\s|$)""")
_FOREIGN: Final = frozenset({"apiVersion", "kind"})
_OURS: Final = frozenset({"target", "pools", "limits", "defaults", "drift"})
"""Keys of a manifest. Without ``version``, which a Helm chart has too: a manifest has ``target`` at least."""


def is_foreign(data: bytes) -> bool:
    """True if every document has ``kind`` or ``apiVersion`` at its root, and no key of a manifest.

    When in doubt it is a manifest, with its faults: in doubt is, for example, a root written with braces.
    """
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
    if not _KEY.match(lines[0]):
        return False
    keys = {found[2] for line in lines if (found := _KEY.match(line))}
    return bool(keys & _FOREIGN) and not keys & _OURS
