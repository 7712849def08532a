"""Parses the bytes of one file as strict YAML, using PyYAML's C event stream.

``yaml.load`` is not used: its loaders merge duplicate keys, follow aliases and can crash the interpreter on
deep input. ``schema`` and ``rules`` decide what keys and values mean.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import ReconcilerError
from reconciler.manifest.builder import Builder, Document, Unreadable
from reconciler.manifest.faults import Faults, TooManyFaults

if TYPE_CHECKING:
    from collections.abc import Callable

    from yaml.events import Event

MAX_BYTES: Final = 1024 * 1024
"""Maximum size of one file, in bytes."""
MAX_EVENTS: Final = 400_000
"""Maximum number of events in one file; bounds memory, and is far above what a real manifest needs."""

FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)
"""Control characters, line ends that editors disagree on, and marks that change the reading order of text."""
_LINE_END: Final = re.compile("\r\n|\r|\n")

_ADVICE: Final = (
    (
        "cannot start any token",
        "a value cannot start with this character; indent with spaces, or quote the value",
    ),
    (
        "mapping values are not allowed",
        "no key is allowed before this ':'; check the indentation, or quote the value",
    ),
    ("could not find expected ':'", "the key has no ':' after it; write 'key: value'"),
    ("did not find expected ',' or ']'", "a list opened with '[' is not closed; write ',' or ']'"),
    ("did not find expected ',' or '}'", "a mapping opened with '{' is not closed; write ',' or '}'"),
    (
        "did not find expected node content",
        "a value is missing here; write one, or close the bracket before it",
    ),
    ("did not find expected key", "a key is missing here; check the indentation and the quotes"),
    ("did not find expected '-' indicator", "a '- ' is missing here; check the indentation"),
    ("unexpected end of stream", "a quoted value is not closed; write the closing quote"),
    ("unexpected document indicator", "a quoted value is not closed; write the closing quote"),
    ("unknown escape character", "unknown escape; write '\\\\' for a backslash, or use single quotes"),
    ("undefined tag handle", "tags are not allowed; write the plain value"),
    ("exceeded max depth", "nested too deeply; a manifest needs six levels"),  # libyaml to 0.2.5
    ("exceeded maximum nesting depth", "nested too deeply; a manifest needs six levels"),  # from 0.2.6
)
"""Parts of libyaml's error messages, each with a message that says what to write instead."""


def documents(data: bytes, faults: Faults, least: str = "version, target and pools") -> list[Document]:
    """The documents of a file of at most ``MAX_BYTES``; faults are added to ``faults``.

    ``least``: what an empty file lacks. Raises ``ReconcilerError`` if PyYAML has no C extension.
    """
    builder = Builder(faults)
    try:
        _run(builder, _text(data, faults))
    except (Unreadable, TooManyFaults):
        # The documents before the unreadable part are still checked, so that all faults show at once.
        # The last one is incomplete if a container is open, and would report keys that are only cut off.
        if builder.stack:
            builder.documents.pop()
    if not builder.documents and not faults.found:
        faults.at(0, 0, f"the file is empty; write at least {least}")
    return builder.documents


def _run(builder: Builder, text: str) -> None:
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
        # Events are pulled one at a time and counted, so that the bounds apply before anything large is built.
        next_event = CParser(text).get_event
        for _ in range(MAX_EVENTS):
            event = next_event()
            if event is None:
                return
            kind = type(event)
            if kind not in quiet:
                handlers[kind](event)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        builder.faults.at(line, column, _sentence(error))
        raise Unreadable from error
    except YAMLError as error:
        builder.faults.at(0, 0, "the YAML cannot be read; check the file's encoding")
        raise Unreadable from error
    builder.faults.at(0, 0, "too many keys and values in one file; split it into several files")
    raise Unreadable


def _sentence(error: Any) -> str:
    problem = str(error.problem or error.context)
    advice = next((advice for part, advice in _ADVICE if part in problem), "")
    if advice:
        return advice
    # These are fixed phrases of the parser; they never quote the file, which may hold a secret.
    return f"not valid YAML: {', '.join(str(part) for part in (error.context, problem) if part)}"


def _text(data: bytes, faults: Faults) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        # Everything before the first bad byte decodes, so the place counts characters, not bytes.
        lines = _LINE_END.split(data[: error.start].decode("utf-8"))
        faults.at(len(lines), len(lines[-1]) + 1, "not UTF-8; save the file as UTF-8")
        raise Unreadable from error
    text = text.removeprefix("\ufeff")
    if FORBIDDEN.search(text):
        # Split as the parser does: ``splitlines`` also splits at characters that the parser keeps in a line.
        for number, line_text in enumerate(_LINE_END.split(text), start=1):
            if match := FORBIDDEN.search(line_text):
                code = f"\\u{ord(match.group()):04x}"
                what = f'control character {code}; remove it, or write "{code}" in double quotes'
                faults.at(number, match.start() + 1, what)
        raise Unreadable
    return text
