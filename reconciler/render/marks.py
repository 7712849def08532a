"""Renders the marks of surplus disks as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from reconciler.journal.records import Mark
from reconciler.planning.permissions import grace_words
from reconciler.render.text import Line, Tone
from reconciler.render.words import count


def marks_lines(marks: Sequence[Mark], now: datetime) -> Iterator[Line]:
    """One block per mark, the longest first; ``now`` is the journal's time."""
    for each in marks:
        due = f"due {each.due:%Y-%m-%d %H:%M} UTC"
        yield Line(
            f"{each.pool_name}/{each.key.disk_id}: {due}{' (now)' if each.due <= now else ''}", Tone.STRONG
        )
        yield Line(
            f"    surplus since {each.first_seen:%Y-%m-%d %H:%M} UTC; grace {grace_words(each.grace)}; "
            f"pool {each.key.pool.pool_id} of {each.key.pool.target}",
            Tone.FAINT,
        )
        if each.extended_until:
            yield Line(f"    {each.extended_by} lets it wait until {each.extended_until:%Y-%m-%d %H:%M} UTC")
    yield Line(f"{count(len(marks), 'marked disk')}." if marks else "No disk is marked.")
