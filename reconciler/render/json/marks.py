"""The JSON of the marks of surplus disks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic import Field

from reconciler.journal.records import Mark
from reconciler.render.json.base import Count, Document, Entry, Flag, Moment, Text, json_text

FORMAT_VERSION: Final = "1.0"


class MarkEntry(Entry):
    """A surplus disk that waits for the end of its grace, or is due."""

    target: Text = Field(description="region/project_id.")
    service: Text = Field(description="Host of the endpoint, or sandbox:<world>.")
    pool_id: Text
    pool: Text = Field(description="The pool's name when a run last looked.")
    disk: Text
    since: Moment = Field(description="Since when it is surplus.")
    grace_seconds: Count = Field(description="The pool's grace when a run last looked.")
    due: Moment = Field(description="From when on it may go, by that grace.")
    is_due: Flag
    extended_until: Moment | None = Field(description="Until when a person lets it wait; null: nobody does.")
    extended_by: Text | None


class MarksDocument(Document):
    """The marks of a journal."""

    marks: list[MarkEntry] = Field(description="The longest first.")


def marks_json(marks: Sequence[Mark], now: datetime) -> str:
    """The marks as JSON text; ``now`` is the journal's time."""
    return json_text(MarksDocument(format_version=FORMAT_VERSION, marks=[_mark(each, now) for each in marks]))


def _mark(mark: Mark, now: datetime) -> MarkEntry:
    return MarkEntry(
        target=mark.key.pool.target,
        service=mark.key.pool.service,
        pool_id=mark.key.pool.pool_id,
        pool=mark.pool_name,
        disk=mark.key.disk_id,
        since=mark.first_seen,
        grace_seconds=int(mark.grace.total_seconds()),
        due=mark.due,
        is_due=mark.due <= now,
        extended_until=mark.extended_until,
        extended_by=mark.extended_by or None,
    )
