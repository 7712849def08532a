"""Owns strict YAML: bytes of one file to value trees, built from PyYAML's C event stream.

``yaml.load`` is not used, because its loaders merge duplicate keys, follow aliases and can crash the
interpreter on deep input. What the keys and values mean is left to ``schema`` and ``rules``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import ReconcilerError
from reconciler.manifest.faults import Faults, TooManyFaults, shown
from reconciler.manifest.scalars import NULLS, RefusedScalar, resolve
from reconciler.manifest.tree import BROKEN, Map, Seq, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from yaml._yaml import Mark
    from yaml.events import Event

MAX_BYTES: Final = 1024 * 1024
"""Bytes of one file."""
MAX_DEPTH: Final = 16
"""Mappings and lists inside each other; the schema needs six."""
MAX_SCALAR: Final = 4096
"""Characters of one key or value."""
MAX_NODES: Final = 400_000
"""Keys, values and containers of one file."""

_FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)
"""Control characters, line ends that editors disagree on, and marks that make text read in another order."""
_LINE_END: Final = re.compile("\r\n|\r|\n")

_ADVICE: Final = (
    ("cannot start any token", "this character cannot begin a value; indent with spaces, quote the value"),
    (
        "mapping values are not allowed",
        "a ':' where no key can stand; check the indentation, quote the value",
    ),
    ("could not find expected ':'", "a key without ':' after it; write 'key: value'"),
    ("did not find expected ',' or ']'", "a list opened with '[' is not closed; write ',' or ']'"),
    ("did not find expected ',' or '}'", "a mapping opened with '{' is not closed; write ',' or '}'"),
    ("did not find expected key", "a key was expected here; check the indentation and the quotes"),
    ("did not find expected '-' indicator", "a '- ' was expected here; check the indentation"),
    ("unexpected end of stream", "a quoted value is not closed; write the closing quote"),
    ("unexpected document indicator", "a quoted value is not closed; write the closing quote"),
    ("unknown escape character", "no such escape; write '\\\\' for a backslash, or use single quotes"),
    ("undefined tag handle", "tags are not allowed; write the plain value"),
    ("exceeded max depth", "nested too deeply; a manifest needs six levels"),
)
"""Parts of libyaml's problems, and what a person can do about each."""


class _Unreadable(Exception):
    """The rest of the file cannot be understood; the fault is recorded already."""


class Document:
    """One YAML document of a file."""

    __slots__ = ("at", "root")

    def __init__(self, root: Value, at: Mark) -> None:
        self.root = root
        self.at = at
        """Where its value begins."""


class _Builder:
    """Turns events into trees, checking each before anything is built from it."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.documents: list[Document] = []
        self.stack: list[Map | Seq] = []
        self.top: Map | Seq | None = None
        self.key: str | None = None
        """The key that waits for its value in the innermost mapping."""
        self.key_mark: Mark | None = None
        self.nodes = 0
        self.words: dict[str, Value] = {}
        """Unquoted words resolved before: the same few come back thousands of times."""

    def stop(self, mark: Mark, what: str) -> None:
        """Records a fault after which the file makes no sense."""
        self.faults.add(mark, what)
        raise _Unreadable

    def document_start(self, event: Any) -> None:
        """Refuses directives; they could switch the meaning of what follows."""
        if event.version is not None or event.tags:
            self.faults.add(event.start_mark, "'%' directives are not allowed; remove the line")

    def scalar(self, event: Any) -> None:
        """Takes a key, or resolves a value and puts it where it belongs."""
        word: str = event.value
        mark: Mark = event.start_mark
        if len(word) > MAX_SCALAR:
            self.stop(mark, f"{len(word)} characters in one value; at most {MAX_SCALAR} are taken")
        if event.anchor is not None or event.tag is not None:
            self.refuse_properties(event)
        if self.key is None and type(self.top) is Map:
            self.nodes += 1
            self.key = word
            self.key_mark = mark
        elif event.style:
            self.put(word, mark)
        elif self.top is None and word in NULLS:
            pass  # '---' at the very end, or twice, makes an empty document that says nothing
        elif word in self.words:
            self.put(self.words[word], mark)
        else:
            self.put(self.resolved(word, mark), mark)

    def resolved(self, word: str, mark: Mark) -> Value:
        """The value of an unquoted word, or ``BROKEN`` with a fault recorded."""
        try:
            value = resolve(word)
        except RefusedScalar as refusal:
            self.faults.add(mark, str(refusal))
            return BROKEN
        self.words[word] = value
        return value

    def put(self, value: Value, mark: Mark) -> None:
        """Adds a value to the innermost container, or makes it the document."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.stop(mark, f"more than {MAX_NODES} keys and values in one file; split the file")
        top = self.top
        if top is None:
            self.documents.append(Document(value, mark))
        elif type(top) is Seq:
            top.append(value)
            top.marks.append(mark)
        elif type(top) is Map and self.key is not None and self.key_mark is not None:
            key, self.key = self.key, None
            if key in top:
                first = self.faults.position(top.key_mark(key))
                self.faults.add(
                    self.key_mark, f"key {shown(key)} stands twice; it stands first at {first}; keep one"
                )
            else:
                top[key] = value
                top.marks.append(self.key_mark)
                top.marks.append(mark)

    def mapping_start(self, event: Any) -> None:
        """Opens a mapping."""
        self.open(Map(event.start_mark), event)

    def sequence_start(self, event: Any) -> None:
        """Opens a list."""
        self.open(Seq(event.start_mark), event)

    def open(self, container: Map | Seq, event: Any) -> None:
        """Puts an empty container in place and goes inside."""
        if len(self.stack) >= MAX_DEPTH:
            self.stop(event.start_mark, f"nested more than {MAX_DEPTH} deep; a manifest needs six levels")
        if event.anchor is not None or event.tag is not None:
            self.refuse_properties(event)
        if self.key is None and type(self.top) is Map:
            self.stop(event.start_mark, "a mapping or list cannot be a key; write a word as the key")
        self.put(container, container.at)
        self.stack.append(container)
        self.top = container

    def close(self, _event: Any) -> None:
        """Leaves the innermost container."""
        self.stack.pop()
        self.top = self.stack[-1] if self.stack else None

    def alias(self, event: Any) -> None:
        """Refuses an alias, and goes on with the rest of the file."""
        if self.key is None and type(self.top) is Map:
            self.stop(event.start_mark, "aliases ('*name') are not allowed; write a word as the key")
        self.faults.add(event.start_mark, "aliases ('*name') are not allowed; write the value out")
        self.put(BROKEN, event.start_mark)

    def refuse_properties(self, event: Any) -> None:
        """Records an anchor or a tag as a fault."""
        if event.anchor is not None:
            self.faults.add(event.start_mark, "anchors ('&name') are not allowed; write each value out")
        if event.tag is not None:
            self.faults.add(event.start_mark, "tags ('!name') are not allowed; write the plain value")


def documents(data: bytes, faults: Faults) -> list[Document]:
    """The documents of a file of at most ``MAX_BYTES``; what is wrong with it goes to ``faults``.

    Raises ``ReconcilerError`` when PyYAML has no C extension.
    """
    builder = _Builder(faults)
    try:
        _run(builder, _text(data, faults))
    except (_Unreadable, TooManyFaults):
        # What came before the unreadable part is still looked at, so that all its faults show at once.
        if builder.stack:
            builder.documents.pop()
    if not builder.documents and not faults.found:
        faults.at(0, 0, "the file declares nothing; write at least version, target and pools")
    return builder.documents


def _run(builder: _Builder, text: str) -> None:
    try:
        from yaml._yaml import CParser  # noqa: PLC0415 - only reading manifests pays for it
    except ImportError as error:
        raise ReconcilerError(
            "PyYAML is installed without its C extension, which reading manifests needs",
            "Install PyYAML from a wheel: pip install --force-reinstall --only-binary :all: pyyaml",
        ) from error
    from yaml import MarkedYAMLError, YAMLError, events  # noqa: PLC0415

    handlers: dict[type[Event], Callable[[Any], None]] = {
        events.ScalarEvent: builder.scalar,
        events.MappingStartEvent: builder.mapping_start,
        events.MappingEndEvent: builder.close,
        events.SequenceStartEvent: builder.sequence_start,
        events.SequenceEndEvent: builder.close,
        events.AliasEvent: builder.alias,
        events.DocumentStartEvent: builder.document_start,
    }
    quiet = frozenset({events.StreamStartEvent, events.StreamEndEvent, events.DocumentEndEvent})
    try:
        next_event = CParser(text).get_event
        while (event := next_event()) is not None:
            kind = type(event)
            if kind not in quiet:
                handlers[kind](event)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        builder.faults.at(line, column, _sentence(error))
        raise _Unreadable from error
    except YAMLError as error:
        builder.faults.at(0, 0, "not YAML that can be read; check the file's encoding")
        raise _Unreadable from error


def _sentence(error: Any) -> str:
    problem = str(error.problem or error.context)
    advice = next((advice for part, advice in _ADVICE if part in problem), "")
    if advice:
        return advice
    # Fixed phrases of the parser that never repeat what the file says.
    return f"not valid YAML: {', '.join(str(part) for part in (error.context, problem) if part)}"


def _text(data: bytes, faults: Faults) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        lines = _LINE_END.split(data[: error.start].decode("utf-8"))
        faults.at(len(lines), len(lines[-1]) + 1, "not UTF-8; save the file as UTF-8")
        raise _Unreadable from error
    text = text.removeprefix("\ufeff")
    if _FORBIDDEN.search(text):
        for number, line_text in enumerate(_LINE_END.split(text), start=1):
            if match := _FORBIDDEN.search(line_text):
                code = f"\\u{ord(match.group()):04x}"
                what = f'control character {code}; remove it, or write "{code}" in double quotes'
                faults.at(number, match.start() + 1, what)
        raise _Unreadable
    return text
