"""The value tree of one YAML document: plain values that remember their positions.

``schema`` and ``rules`` decide what the values mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias, Union

if TYPE_CHECKING:
    from yaml._yaml import Mark


class Broken(Enum):
    """Placeholder for a value that was already refused, so that later checks do not report it again."""

    BROKEN = "broken"


BROKEN: Final = Broken.BROKEN
Value: TypeAlias = Union[str, int, "Map", "Seq", Broken]
"""A bool is an int. Null is left out because no key of a manifest accepts it."""


class Map(dict[str, Value]):
    """A mapping with positions; compares and validates as a plain dict."""

    __slots__ = ("at", "marks")

    def __init__(self, at: Mark) -> None:
        super().__init__()
        self.at = at
        """Start of the mapping, 0-based as the parser counts."""
        self.marks: list[Mark] = []
        """Key, value, key, value … in the order of the entries; flat because it is built in a hot loop."""

    def key_mark(self, key: str) -> Mark:
        """Position of the key."""
        return self.marks[2 * list(self).index(key)]

    def value_mark(self, key: str) -> Mark:
        """Position of the key's value."""
        return self.marks[2 * list(self).index(key) + 1]


class Seq(list[Value]):
    """A list with positions; compares and validates as a plain list."""

    __slots__ = ("at", "marks")

    def __init__(self, at: Mark) -> None:
        super().__init__()
        self.at = at
        self.marks: list[Mark] = []
        """Position of each item."""


def locate(root: Value, at: Mark, path: Sequence[str | int]) -> Mark:
    """Position of the value at a path of keys and indexes, or of the nearest enclosing value that exists."""
    node = root
    for step in path:
        if isinstance(node, Map) and isinstance(step, str) and step in node:
            at, node = node.value_mark(step), node[step]
        elif isinstance(node, Seq) and isinstance(step, int) and step < len(node):
            at, node = node.marks[step], node[step]
        else:
            break
    return at
