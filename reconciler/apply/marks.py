"""Reads from the journal since when disks are surplus, and what its people were sent; ``engine.marks`` makes marks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from reconciler.journal.records import Announcement, Journal, Mark, MarkKey, PoolKey
from reconciler.journal.states import Outcome, State
from reconciler.planning.change import Heard, Told
from reconciler.planning.marks import DiskMark, Marks
from reconciler.planning.plan import Service

HEARD: Mapping[State, Heard] = {
    State.ACCEPTED: Heard.ACCEPTED,
    State.REJECTED: Heard.REFUSED,
    State.NOT_SENT: Heard.REFUSED,
}
"""What an outcome means for the people of the pool; of every other nobody knows whether they got the message."""


def marks_of(journal: Journal, services: Iterable[Service]) -> Marks:
    """What a journal knows of the surplus disks of these services, and what time it is there."""
    now = journal.now()
    asked = [(str(one.target), one.name) for one in services]
    found = [each for place in asked for each in journal.marks(*place)]
    messages = [each for place in asked for each in journal.announcements(*place)] if found else []
    return _marks(found, messages, now)


def marks_of_pool(journal: Journal, pool: PoolKey) -> Marks:
    """The same of one pool: who goes through many must not read the marks of all of them for each."""
    now = journal.now()
    found = journal.marks(pool.target, pool.service, pool.pool_id)
    return _marks(found, journal.messages(pool) if found else (), now)


def _marks(found: Sequence[Mark], messages: Sequence[Announcement], now: datetime) -> Marks:
    told: dict[tuple[MarkKey, datetime], list[Told]] = defaultdict(list)
    for each in messages:
        told[each.key, each.first_seen].append(told_of(each))
    return Marks(
        {
            (each.key.pool.target, each.key.pool.pool_id, each.key.disk_id): DiskMark(
                each.first_seen,
                each.extended_until,
                each.extended_by,
                tuple(told.get((each.key, each.first_seen), ())),
            )
            for each in found
        },
        now,
    )


def told_of(message: Announcement) -> Told:
    """What a message means for the people of its pool, as planning takes it."""
    heard = HEARD.get(message.state, Heard.UNKNOWN)
    return Told(message.notice, heard, message.begun, message.due, why_of(message))


def why_of(message: Announcement) -> str:
    """The answer to a message that was not accepted; empty for one that was."""
    if message.outcome is None:
        return "its outcome was not recorded"
    return "" if message.state is State.ACCEPTED else answer_of(message.outcome)


def answer_of(outcome: Outcome) -> str:
    """What the service answered, in words."""
    parts = [outcome.message or "no answer"]
    parts += [f"HTTP {outcome.status}"] if outcome.status else []
    return ", ".join([*parts, *filter(None, [outcome.code])])
