"""Owns the value tree of one YAML document: plain values that remember where they stand.

What the values mean is left to ``schema`` and ``rules``.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias, Union

if TYPE_CHECKING:
    from yaml._yaml import Mark


class Broken(Enum):
    """Stands where a value was refused already, so that later checks do not report it again."""

    BROKEN = "broken"


BROKEN: Final = Broken.BROKEN
Value: TypeAlias = Union[str, int, "Map", "Seq", Broken]
"""A bool is an int; null is not among them, because no key of a manifest takes it."""


class Map(dict[str, Value]):
    """A mapping; equal to, and validated as, the plain dict it is."""

    __slots__ = ("at", "marks")

    def __init__(self, at: Mark) -> None:
        super().__init__()
        self.at = at
        """Where the mapping begins, 0-based as the parser counts."""
        self.marks: list[Mark] = []
        """Key, value, key, value … in the order of the entries; flat, because it is built in a hot loop."""

    def key_mark(self, key: str) -> Mark:
        """Where the key stands."""
        return self.marks[2 * list(self).index(key)]

    def value_mark(self, key: str) -> Mark:
        """Where the key's value begins."""
        return self.marks[2 * list(self).index(key) + 1]


class Seq(list[Value]):
    """A list; equal to, and validated as, the plain list it is."""

    __slots__ = ("at", "marks")

    def __init__(self, at: Mark) -> None:
        super().__init__()
        self.at = at
        self.marks: list[Mark] = []
        """Where each item begins."""


def locate(root: Value, at: Mark, path: Sequence[str | int]) -> Mark:
    """Where the value under a path of keys and indexes begins, or the nearest enclosing value that exists."""
    node = root
    for step in path:
        if isinstance(node, Map) and isinstance(step, str) and step in node:
            at, node = node.value_mark(step), node[step]
        elif isinstance(node, Seq) and isinstance(step, int) and step < len(node):
            at, node = node.marks[step], node[step]
        else:
            break
    return at
