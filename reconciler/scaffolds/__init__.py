"""The files that ``reconciler init`` writes: CI workflows, scheduler manifests, IAM policies.

Each folder holds the files of one kind; those of ``iam`` come with every kind. ``cli`` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from reconciler import __version__

WITH_EVERY_KIND = "iam"
WITHOUT_IDENTITY = frozenset({"prometheus"})
"""Kinds that run nothing of ours, so need no policies."""
_MARK = "@VERSION@"
_PACKAGE = "@PACKAGE@"


def files(kind: str, package: str) -> dict[str, str]:
    """Relative path and text of every file of a kind, including the IAM policies.

    ``package`` is what they pass to ``pip install``: it says where reconciler comes from, quoted for a shell.
    """
    root = resources.files(__package__)
    own = {path: text.replace(_PACKAGE, package) for path, text in _texts(root / kind, "")}
    if kind in WITHOUT_IDENTITY:
        return own
    shared = {f"iam/{path}": text for path, text in _texts(root / WITH_EVERY_KIND, "")}
    return own | shared


def _texts(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from _texts(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.read_text(encoding="utf-8").replace(_MARK, __version__)
