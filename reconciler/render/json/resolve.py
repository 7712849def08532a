"""The JSON of ``resolve``: what became of operations that earlier runs left open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import Field

from reconciler.apply.results import Resolution, Status
from reconciler.render.json.base import Document, Entry, Flag, Text, json_text

FORMAT_VERSION: Final = "1.0"


class ResolutionEntry(Entry):
    """One operation that an earlier run had left open."""

    operation: Text = Field(description="Id of the operation.")
    pool: Text = Field(description="The pool's name.")
    resolved: Flag = Field(description="True when the operation is closed and its pool is free again.")
    ending: Status
    message: Text
    hint: Text | None = Field(description="What to do; null when nothing can be said.")


class ResolveDocument(Document):
    """What became of operations that earlier runs left open."""

    operations: list[ResolutionEntry]


def resolve_json(resolutions: Sequence[Resolution]) -> str:
    """What was found out, as JSON text."""
    entries = [resolution_entry(each) for each in resolutions]
    return json_text(ResolveDocument(format_version=FORMAT_VERSION, operations=entries))


def resolution_entry(resolution: Resolution) -> ResolutionEntry:
    """One resolved or still open operation."""
    return ResolutionEntry(
        operation=resolution.operation.id,
        pool=resolution.operation.intent.pool_name,
        resolved=resolution.resolved,
        ending=resolution.result.status,
        message=resolution.result.message,
        hint=resolution.result.hint or None,
    )
