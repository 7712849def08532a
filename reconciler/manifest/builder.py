"""Builds value trees from YAML events and refuses YAML features that a manifest must not use.

``events`` supplies the events; ``schema`` and ``rules`` decide what keys and values mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from reconciler.manifest.faults import Faults, shown
from reconciler.manifest.scalars import NULLS, RefusedScalar, resolve
from reconciler.manifest.tree import BROKEN, Map, Seq, Value

if TYPE_CHECKING:
    from yaml._yaml import Mark

MAX_DEPTH: Final = 16
"""Levels of nested mappings and lists; the schema needs six."""
MAX_SCALAR: Final = 4096
"""Maximum length of one key or value, in characters."""


class Unreadable(Exception):
    """The rest of the file cannot be parsed; the fault is already recorded."""


class Document:
    """One YAML document of a file."""

    __slots__ = ("at", "root")

    def __init__(self, root: Value, at: Mark) -> None:
        self.root = root
        self.at = at
        """Position of its root value."""


class Builder:
    """Turns events into trees, with one method per event type; raises ``Unreadable`` and ``TooManyFaults``.

    Events are typed ``Any`` and attributes are read repeatedly on purpose: these methods run 300,000 times
    for 10,000 pools, where a cast or an extra call is measurable.
    """

    __slots__ = ("documents", "faults", "key", "key_mark", "stack", "top", "words")

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.documents: list[Document] = []
        self.stack: list[Map | Seq] = []
        """Open containers, outermost first; if any is left at the end, the last document is incomplete."""
        # Always ``stack[-1]``, kept apart because every event needs it.
        self.top: Map | Seq | None = None
        self.key: str | None = None
        """Key of the innermost mapping whose value has not come yet."""
        self.key_mark: Any = None
        self.words: dict[str, Value] = {}
        """Cache of resolved unquoted words: the same few words appear thousands of times."""

    def document_start(self, event: Any) -> None:
        """Refuse directives: they can change the meaning of what follows."""
        if event.version is not None or event.tags:
            self.faults.add(event.start_mark, "'%' directives are not allowed; remove the line")

    def scalar(self, event: Any) -> None:
        """Take a key, or resolve a value and add it to the open container."""
        word: str = event.value
        if len(word) > MAX_SCALAR:
            self._stop(event, f"{len(word)} characters in one value; write at most {MAX_SCALAR}")
        if event.anchor is not None or event.tag is not None:
            self._refuse_properties(event)
        # The events do not say which scalar is a key: in a mapping, keys and values alternate.
        if self.key is None and type(self.top) is Map:
            self.key = word
            self.key_mark = event.start_mark
        elif event.style:
            # Any quotes make it text: '100' is not the number 100.
            self._put(word, event.start_mark)
        elif word in self.words:
            self._put(self.words[word], event.start_mark)
        elif self.top is not None or word not in NULLS:
            self._put(self._resolved(word, event.start_mark), event.start_mark)
        # Otherwise it is an empty document ('---' at the end, or twice in a row), which is ignored.

    def mapping_start(self, event: Any) -> None:
        """Open a mapping."""
        self._open(Map(event.start_mark), event)

    def sequence_start(self, event: Any) -> None:
        """Open a list."""
        self._open(Seq(event.start_mark), event)

    def close(self, _event: Any) -> None:
        """Close the innermost container."""
        self.stack.pop()
        self.top = self.stack[-1] if self.stack else None

    def alias(self, event: Any) -> None:
        """Refuse an alias and continue with the rest of the file."""
        if self.key is None and type(self.top) is Map:
            # An unknown key would shift every later key and value of this mapping, so reading stops.
            self._stop(event, "aliases ('*name') are not allowed; write a word as the key")
        self.faults.add(event.start_mark, "aliases ('*name') are not allowed; write the value out")
        self._put(BROKEN, event.start_mark)

    def _put(self, value: Value, mark: Mark) -> None:
        top = self.top
        if type(top) is Map and self.key is not None:
            key, self.key = self.key, None
            if key in top:
                # YAML loaders keep the last of two equal keys without a word; a second ``disks`` would
                # then decide what is deleted.
                first = self.faults.position(top.key_mark(key))
                self.faults.add(
                    self.key_mark, f"duplicate key {shown(key)}; it is already set at {first}; keep one"
                )
            else:
                top[key] = value
                top.marks += (self.key_mark, mark)
        elif type(top) is Seq:
            top.append(value)
            top.marks.append(mark)
        else:
            self.documents.append(Document(value, mark))

    def _open(self, container: Map | Seq, event: Any) -> None:
        if len(self.stack) >= MAX_DEPTH:
            self._stop(event, f"nested more than {MAX_DEPTH} deep; a manifest needs six levels")
        if event.anchor is not None or event.tag is not None:
            self._refuse_properties(event)
        if self.key is None and type(self.top) is Map:
            self._stop(event, "a mapping or list cannot be a key; write a word as the key")
        self._put(container, container.at)
        self.stack.append(container)
        self.top = container

    def _resolved(self, word: str, mark: Mark) -> Value:
        try:
            value = resolve(word)
        except RefusedScalar as refusal:
            self.faults.add(mark, str(refusal))
            return BROKEN
        self.words[word] = value
        return value

    def _refuse_properties(self, event: Any) -> None:
        if event.anchor is not None:
            self.faults.add(event.start_mark, "anchors ('&name') are not allowed; write each value out")
        if event.tag is not None:
            self.faults.add(event.start_mark, "tags ('!name') are not allowed; write the plain value")

    def _stop(self, event: Any, what: str) -> NoReturn:
        self.faults.add(event.start_mark, what)
        raise Unreadable
