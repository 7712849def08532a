"""Renders the marks of surplus disks, and what people have heard of them, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from reconciler.apply.marks import why_of
from reconciler.journal.records import Announcement, Mark
from reconciler.journal.states import State
from reconciler.planning.permissions import grace_words
from reconciler.render.line import Line, Tone, count


def marks_lines(
    marks: Sequence[Mark], now: datetime, announcements: Sequence[Announcement] = ()
) -> Iterator[Line]:
    """One block per mark, the longest first, with the messages about it; ``now`` is the journal's time."""
    for each in marks:
        due = f"due {each.due:%Y-%m-%d %H:%M} UTC{' (now)' if each.due <= now else ''}"
        yield Line(f"{each.pool_name}/{each.key.disk_id}: {due}", Tone.STRONG)
        what = f"{each.shape}, " if each.shape else ""
        yield Line(
            f"    {what}surplus since {each.first_seen:%Y-%m-%d %H:%M} UTC; grace {grace_words(each.grace)}; "
            f"pool {each.key.pool.pool_id} of {each.key.pool.target}",
            Tone.FAINT,
        )
        if each.extended_until:
            yield Line(f"    {each.extended_by} lets it wait until {each.extended_until:%Y-%m-%d %H:%M} UTC")
        for message in about(each, announcements):
            yield Line(f"    {announcement_words(message)}")
    yield Line(f"{count(len(marks), 'marked disk')}." if marks else "No disk is marked.")


def about(mark: Mark, announcements: Sequence[Announcement]) -> list[Announcement]:
    """The messages about this very mark."""
    return [each for each in announcements if (each.key, each.first_seen) == (mark.key, mark.first_seen)]


def announcement_words(message: Announcement) -> str:
    """Which message it is, when it was sent, and what became of it."""
    sent = f"{message.notice.value}: sent {message.begun:%Y-%m-%d %H:%M} UTC"
    job = message.outcome.job_id if message.outcome else ""
    match message.state:
        case State.ACCEPTED:
            return f"{sent}, accepted as job {job}"
        case State.REJECTED | State.NOT_SENT:
            return f"{sent}, not accepted: {why_of(message)}; the next run that marks sends it again"
        case _:
            return f"{sent}; whether it arrived is not known: {why_of(message)}; it is not repeated"
