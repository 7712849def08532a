"""The JSON of a failure: what a command prints with ``--format json`` when it has no result."""

from __future__ import annotations

import re
from typing import Final

from pydantic import Field

from reconciler.errors import BadInput, ReconcilerError
from reconciler.render.json.base import Count, Document, Entry, Integer, Text, json_text

FORMAT_VERSION: Final = "1.0"


class FaultEntry(Entry):
    """One fault in the input."""

    file: Text = Field(description="Path as given, or <flags> or <environment>.")
    line: Count = Field(description="From 1; 0 when the fault concerns the whole file.")
    column: Count = Field(description="From 1, in characters; 0 when the fault concerns the whole file.")
    message: Text


class ErrorEntry(Entry):
    """What went wrong, and what to do."""

    kind: Text = Field(description="bad_input, credentials_error, permission_denied, refused, stale_plan …")
    exit_code: Integer
    message: Text
    hint: Text | None = Field(description="What to do; null where the message says it.")
    faults: list[FaultEntry] = Field(description="Every fault of the input; empty for another error.")


class ErrorDocument(Document):
    """A failure without a result."""

    error: ErrorEntry


def error_json(error: ReconcilerError, code: int) -> str:
    """The failure as JSON text."""
    return json_text(ErrorDocument(format_version=FORMAT_VERSION, error=error_entry(error, code)))


def error_entry(error: ReconcilerError, code: int) -> ErrorEntry:
    """The failure, and the exit code that stands for it."""
    faults = error.faults if isinstance(error, BadInput) else ()
    return ErrorEntry(
        kind=re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower(),
        exit_code=code,
        message=error.message,
        hint=error.hint or None,
        faults=[
            FaultEntry(file=each.file, line=each.line, column=each.column, message=each.what)
            for each in faults
        ],
    )
