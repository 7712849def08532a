"""Reads from the journal since when disks are surplus, as planning takes it; ``engine.marks`` makes marks."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.journal.records import Journal
from reconciler.planning.marks import DiskMark, Marks
from reconciler.planning.plan import Service


def marks_of(journal: Journal, services: Iterable[Service]) -> Marks:
    """What a journal knows of the surplus disks of these services, and what time it is there."""
    now = journal.now()
    found = (each for one in services for each in journal.marks(str(one.target), one.name))
    return Marks(
        {
            (each.key.pool.target, each.key.pool.pool_id, each.key.disk_id): DiskMark(
                each.first_seen, each.extended_until, each.extended_by
            )
            for each in found
        },
        now,
    )
