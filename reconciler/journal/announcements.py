"""Statements about messages to the people of pools, each a part of one transaction.

Whether one is to be sent is left to ``planning.announcements``; the check before a removal shares no code with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Select, and_, delete, exists, select, update

from reconciler.errors import Refused
from reconciler.journal import rows
from reconciler.journal.records import Announcement, GraceRule, Intent, Mark, NewAnnouncement, PoolKey
from reconciler.journal.schema import announcements, equal, given, marks, matching
from reconciler.journal.states import Outcome, State

BEGUN = "announcement.begun"
"""The kind of the event that says which message a run is about to send."""
ENDED = "announcement.ended"
"""The kind of the event that says what became of it."""
_OPEN = update(announcements).where(
    *matching(announcements, "id", "run_id"), announcements.c.outcome.is_(None)
)
_OF_MARK = ("target", "service", "pool_id", "disk_id", "first_seen")
_EXTENDED = select(marks.c.extended_until).where(*matching(marks, *_OF_MARK))
REACHED_NOBODY = (State.NOT_SENT.value, State.REJECTED.value)
"""Outcomes after which the same message may be sent once more."""


def find(connection: Connection, target: str | None, service: str | None) -> tuple[Announcement, ...]:
    """The messages about marks that are there, oldest first."""
    place = rows.place_values(target, service)
    return tuple(map(rows.to_announcement, connection.execute(_of_marks(*place), given(place))))


@cache
def _of_marks(*columns: str) -> Select[Any]:
    # From the few marks to their messages, however many there ever were of marks that are gone.
    query = select(announcements).select_from(marks.join(announcements, _of_mark()))
    return query.where(*matching(marks, *columns)).order_by(announcements.c.begun, announcements.c.id)


def of_run(connection: Connection, run_id: str) -> tuple[Announcement, ...]:
    """The messages that a run sent last, oldest first."""
    return _oldest_first(connection, select(announcements).where(announcements.c.run_id == run_id))


def of_pool(connection: Connection, pool: PoolKey) -> tuple[Announcement, ...]:
    """Every message about disks of one pool, oldest first."""
    same = equal(announcements, rows.pool_values(pool))
    return _oldest_first(connection, select(announcements).where(*same))


def _oldest_first(connection: Connection, query: Select[Any]) -> tuple[Announcement, ...]:
    ordered = query.order_by(announcements.c.begun, announcements.c.id)
    return tuple(map(rows.to_announcement, connection.execute(ordered)))


def begin(connection: Connection, insert: Insert, new: NewAnnouncement, run_id: str, now: datetime) -> bool:
    """Record a message that is about to be sent; False when it was sent before, or when its mark has changed."""
    if not _is_as_it_was(connection, new.mark):
        return False
    begun = {"run_id": run_id, "begun": now}
    if connection.execute(insert, rows.announcement_values(new) | begun).rowcount:
        return True
    again = update(announcements).where(*_same(new), announcements.c.outcome.in_(REACHED_NOBODY))
    nothing = dict.fromkeys(("outcome", "job_id", "request_id", "status", "code", "message"))
    said = {"id": new.id, "due": new.due, "text": new.text, "pool_name": new.mark.pool_name}
    return connection.execute(again.values(begun | said | nothing)).rowcount == 1


def end(connection: Connection, announcement_id: str, run_id: str, outcome: Outcome) -> bool:
    """Record what became of it, unless that is recorded; False when there is nothing to record it of."""
    values = rows.outcome_values(outcome)
    del values["state"]
    own = given({"id": announcement_id, "run_id": run_id})
    return connection.execute(_OPEN, own | values).rowcount == 1


def check_told(
    connection: Connection, intent: Intent, rule: GraceRule, found: Mapping[str, Mark], now: datetime
) -> None:
    """Raise ``Refused`` unless the people have been notified of every disk of a removal, for long enough."""
    if rule.announced is None:
        return
    at = now if rule.service_time is None else min(now, rule.service_time)
    for disk in intent.disks:
        mark = found.get(disk.id)
        told = _accepted(connection, mark) if mark else None
        if told is None or at - told < max(rule.announced, timedelta(0)):
            since = f"only since {told:%Y-%m-%d %H:%M:%S} UTC" if told else "not at all"
            raise Refused(
                f"pool {intent.pool_name}: the policy demands that people are notified before a removal, and of disk "
                f"{disk.id} they know {since}; nothing was sent for this pool",
                "plan again: the plan shows what to do; reconciler marks lists which messages were sent",
            )


def forget(connection: Connection, before: datetime) -> None:
    """Delete messages from before that time whose marks are gone; while a mark is there, they keep it from twice."""
    connection.execute(
        delete(announcements).where(announcements.c.begun < before, ~exists().where(_of_mark()))
    )


def _accepted(connection: Connection, mark: Mark) -> datetime | None:
    """When the first message about a mark was sent that the service accepted."""
    about = [*_about(mark), announcements.c.outcome == State.ACCEPTED.value]
    first = select(announcements.c.begun).where(*about).order_by(announcements.c.begun).limit(1)
    return connection.execute(first).scalar_one_or_none()


def _is_as_it_was(connection: Connection, mark: Mark) -> bool:
    """Whether nobody has cleared or extended it since the text was made, which says when the disk goes."""
    row = connection.execute(_EXTENDED, given(_place(mark))).first()
    return row is not None and row.extended_until == mark.extended_until


def _about(mark: Mark) -> list[ColumnElement[bool]]:
    return equal(announcements, _place(mark))


def _place(mark: Mark) -> dict[str, Any]:
    """The values of ``_OF_MARK``."""
    return rows.pool_values(mark.key.pool) | {"disk_id": mark.key.disk_id, "first_seen": mark.first_seen}


def _same(new: NewAnnouncement) -> list[ColumnElement[bool]]:
    return [*_about(new.mark), announcements.c.once == new.once]


def _of_mark() -> ColumnElement[bool]:
    return and_(*(marks.c[name] == announcements.c[name] for name in _OF_MARK))
