"""The JSON of the marks of surplus disks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic import Field

from reconciler.apply.marks import why_of
from reconciler.journal.records import Announcement, Mark
from reconciler.journal.states import State
from reconciler.model import Notice
from reconciler.render.json.base import Count, Document, Entry, Flag, Moment, Text, json_text
from reconciler.render.marks import about

FORMAT_VERSION: Final = "1.0"


class AnnouncementEntry(Entry):
    """One message about a disk to the people of its pool, and what became of it."""

    id: Text
    run: Text = Field(description="The run that sent it last.")
    pool: Text
    pool_id: Text
    disk: Text
    notice: Notice = Field(description="marked: the first one; reminder: a day before the disk is due.")
    text: Text
    at: Moment = Field(description="When it was sent.")
    due: Moment = Field(description="The time that it names.")
    state: State = Field(
        description="accepted; rejected and not_sent: nobody got it; intended and unknown: nobody knows, and it is "
        "not repeated."
    )
    job_id: Text | None = Field(description="Null where the service gave none; the job is not followed.")
    why: Text | None = Field(description="The answer, where it was not accepted.")


class MarkEntry(Entry):
    """A surplus disk that waits for the end of its grace, or is due."""

    target: Text = Field(description="region/project_id.")
    service: Text = Field(description="Host of the endpoint, or sandbox:<world>.")
    pool_id: Text
    pool: Text = Field(description="The pool's name when a run last looked.")
    disk: Text
    shape: Text | None = Field(description="Type and size; null where no run has written it down yet.")
    since: Moment = Field(description="Since when it is surplus.")
    grace_seconds: Count = Field(description="The pool's grace when a run last looked.")
    due: Moment = Field(description="From when on it may go, by that grace.")
    is_due: Flag
    extended_until: Moment | None = Field(description="Until when a person lets it wait; null: nobody does.")
    extended_by: Text | None
    announcements: list[AnnouncementEntry] = Field(description="The messages about it, oldest first.")


class MarksDocument(Document):
    """The marks of a journal."""

    marks: list[MarkEntry] = Field(description="The longest first.")


def marks_json(marks: Sequence[Mark], now: datetime, announcements: Sequence[Announcement] = ()) -> str:
    """The marks as JSON text; ``now`` is the journal's time."""
    entries = [_mark(each, now, announcements) for each in marks]
    return json_text(MarksDocument(format_version=FORMAT_VERSION, marks=entries))


def _mark(mark: Mark, now: datetime, announcements: Sequence[Announcement]) -> MarkEntry:
    return MarkEntry(
        target=mark.key.pool.target,
        service=mark.key.pool.service,
        pool_id=mark.key.pool.pool_id,
        pool=mark.pool_name,
        disk=mark.key.disk_id,
        shape=mark.shape or None,
        since=mark.first_seen,
        grace_seconds=int(mark.grace.total_seconds()),
        due=mark.due,
        is_due=mark.due <= now,
        extended_until=mark.extended_until,
        extended_by=mark.extended_by or None,
        announcements=[announcement_entry(each) for each in about(mark, announcements)],
    )


def announcement_entry(message: Announcement) -> AnnouncementEntry:
    """One message as JSON."""
    return AnnouncementEntry(
        id=message.id,
        run=message.run_id,
        pool=message.pool_name,
        pool_id=message.key.pool.pool_id,
        disk=message.key.disk_id,
        notice=message.notice,
        text=message.text,
        at=message.begun,
        due=message.due,
        state=message.state,
        job_id=(message.outcome.job_id if message.outcome else "") or None,
        why=why_of(message) or None,
    )
