"""The JSON of ``resolve``: what became of operations that earlier runs left open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import Field

from reconciler.apply.partial import ByDesktop
from reconciler.apply.results import Resolution, Status
from reconciler.render.json.base import Count, Document, Entry, Flag, Said, Text, json_text

FORMAT_VERSION: Final = "1.1"


class ShareEntry(Entry):
    """One desktop's part of an operation."""

    desktop_id: Text
    desktop_name: Text = Field(description="Empty when nobody said it.")
    copies: Count = Field(description="Copies that the operation is about on this desktop.")


class DesktopsEntry(Entry):
    """How far a job came, desktop by desktop, by what its sub-jobs say."""

    copies: Count = Field(description="Copies to remove on all of these desktops; 0 when none are removed.")
    copies_gone: Count = Field(description="Copies on the desktops that are done.")
    done: list[ShareEntry]
    left: list[ShareEntry] = Field(description="Desktops whose sub-job failed.")
    unreported: list[ShareEntry] = Field(description="Desktops that no sub-job names.")


class ResolutionEntry(Entry):
    """One operation that an earlier run had left open."""

    operation: Text = Field(description="Id of the operation.")
    pool: Text = Field(description="The pool's name.")
    resolved: Flag = Field(description="True when the operation is closed and its pool is free again.")
    ending: Status
    message: Text
    hint: Said = Field(description="What to do; null when nothing can be said.")
    desktops: DesktopsEntry | None = Field(
        description="How far a job came that did only a part; null for any other end."
    )


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
        hint=resolution.result.hint,
        desktops=desktops_entry(resolution.result.desktops),
    )


def desktops_entry(found: ByDesktop | None) -> DesktopsEntry | None:
    """The desktops of an operation that was carried out in part."""
    return DesktopsEntry.model_validate(found.detail()) if found else None
