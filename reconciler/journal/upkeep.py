"""Keeps a journal small and sound over years: thins old drift points, prunes old runs, checks the file once a day.

Each function is a part of one transaction and does a bounded amount of work; repeating it, and when, is left to
``store``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from reconciler.journal import announcements, rows
from reconciler.journal.budget import midnight
from reconciler.journal.checksum import intent_sum
from reconciler.journal.records import PLAN_APPROVED, Pruned
from reconciler.journal.schema import NOT_DONE, drift_points, events, group_losses, operations, runs, upkeep
from reconciler.settings import LEAST_KEPT_DAYS

THIN_AFTER = timedelta(days=30)
"""Age from which one drift point a day and pool is enough."""
CHECK_EVERY = timedelta(days=1)
"""How often a whole file is checked that is too large to be checked whenever it is opened."""
LEAST_KEPT = timedelta(days=LEAST_KEPT_DAYS)
MOST_POINTS = 5_000
"""About how many drift points one step deletes."""
MOST_HOURS = 240
"""How many hours with points one step looks at, whatever it deletes."""
MOST_RUNS = 500
"""How many runs one step deletes, with their operations and events."""

CHECKED = "checked"
THINNED = "thinned"


def is_due(connection: sa.Connection, now: datetime) -> bool:
    """Whether the whole file is to be checked again; also after a clock was set back."""
    at = _until(connection, CHECKED)
    return at is None or not timedelta(0) <= now - at < CHECK_EVERY


def note(connection: sa.Connection, what: str, until: datetime) -> None:
    """Record how far one kind of upkeep has come."""
    same = sa.update(upkeep).where(upkeep.c.what == what).values(until=until)
    if connection.execute(same).rowcount == 0:
        connection.execute(sa.insert(upkeep), {"what": what, "until": until})


def _until(connection: sa.Connection, what: str) -> datetime | None:
    return connection.scalar(sa.select(upkeep.c.until).where(upkeep.c.what == what))


def thin(connection: sa.Connection, now: datetime) -> int:
    """Delete drift points that are older than ``THIN_AFTER``, except the last of each pool on each UTC day.

    Works hour by hour from where it ended last, until about ``MOST_POINTS`` are deleted; returns how many.
    """
    end, gone = midnight(now - THIN_AFTER), 0
    for _ in range(MOST_HOURS):
        if gone >= MOST_POINTS:
            break
        done = _until(connection, THINNED)
        oldest = sa.select(sa.func.min(drift_points.c.at, type_=drift_points.c.at.type))
        at = connection.scalar(oldest.where(drift_points.c.at >= done) if done else oldest)
        if at is None or at >= end:
            break
        begin = at.replace(minute=0, second=0, microsecond=0)
        hour = begin + timedelta(hours=1)
        later = drift_points.alias()
        same_pool = [later.c[name] == drift_points.c[name] for name in ("pool_id", "target", "service")]
        another = sa.exists().where(
            *same_pool, later.c.at > drift_points.c.at, later.c.at < midnight(begin) + timedelta(days=1)
        )
        of_hour = (drift_points.c.at >= begin, drift_points.c.at < hour)
        gone += connection.execute(sa.delete(drift_points).where(*of_hour, another)).rowcount
        note(connection, THINNED, hour)
    return gone


def prune(connection: sa.Connection, before: datetime, now: datetime) -> Pruned:
    """Delete what is older than ``before``: drift points, and runs with their operations and events.

    Never what an operation holds on to that is open, or that did not end well and so is not tried again by itself,
    nor what was opened within ``LEAST_KEPT``. Such a run loses the names of people. Up to ``MOST_RUNS`` runs and
    ``MOST_POINTS`` points; nothing deleted means that nothing is left to delete.
    """
    before = min(before, now - LEAST_KEPT)
    old = [row.id for row in connection.execute(_prunable(before).limit(MOST_RUNS))]
    connection.execute(sa.delete(events).where(events.c.run_id.in_(old)))
    gone = connection.execute(sa.delete(operations).where(operations.c.run_id.in_(old))).rowcount
    connection.execute(sa.delete(runs).where(runs.c.id.in_(old)))
    _forget_names(connection, before)
    _forget_groups(connection, before, now)
    announcements.forget(connection, before)
    return Pruned(len(old), gone, _delete_points(connection, before))


def _prunable(before: datetime) -> sa.Select[tuple[str]]:
    """The oldest runs from before that time, without those that an operation still needs."""
    needed = sa.or_(operations.c.closed.is_(None), operations.c.closed >= before, NOT_DONE)
    # Two conditions, each with an index of its own: one with OR would read the whole table.
    opened = sa.exists().where(operations.c.run_id == runs.c.id, needed)
    taken_over = sa.exists().where(operations.c.owner == runs.c.id, needed)
    return sa.select(runs.c.id).where(runs.c.started < before, ~opened, ~taken_over).order_by(runs.c.started)


def _forget_names(connection: sa.Connection, before: datetime) -> None:
    """Take the names of people out of what has to stay: copies of disks, the approved plan, and who ran it."""
    stays = (NOT_DONE, operations.c.closed < before, sa.cast(operations.c.copies, sa.Text) != "[]")
    for each in connection.execute(sa.select(operations.c.id, operations.c.run_id).where(*stays)).all():
        try:
            row = connection.execute(sa.select(operations).where(operations.c.id == each.id)).one()
        except ValueError:  # damaged; what it says is left for a person to look at
            continue
        if not rows.is_sound(row):
            continue
        bare = {"copies": [], "intent_sum": intent_sum(row._asdict() | {"copies": []})}
        connection.execute(sa.update(operations).where(operations.c.id == each.id).values(bare))
        plan = (events.c.run_id == each.run_id, events.c.kind == PLAN_APPROVED)
        connection.execute(sa.delete(events).where(*plan))
        nobody: dict[str, Any] = {"principals": [], "origin": {}}
        connection.execute(sa.update(runs).where(runs.c.id == each.run_id).values(nobody))


def _forget_groups(connection: sa.Connection, before: datetime, now: datetime) -> None:
    """Delete what groups of runs claimed whose last claim is older than that."""
    last = (group_losses.c.kind == "", group_losses.c.amount)
    # Before version 4 the time of the last claim was not kept, so it counts as now.
    connection.execute(
        sa.update(group_losses).where(last[0], last[1] == 0).values(amount=int(now.timestamp()))
    )
    old = (
        sa.select(group_losses.c.run_group).where(last[0], last[1] < int(before.timestamp())).limit(MOST_RUNS)
    )
    groups = list(connection.scalars(old))
    connection.execute(sa.delete(group_losses).where(group_losses.c.run_group.in_(groups)))


def _delete_points(connection: sa.Connection, before: datetime) -> int:
    key = sa.tuple_(*drift_points.primary_key.columns)
    oldest = sa.select(*drift_points.primary_key.columns).where(drift_points.c.at < before)
    oldest = oldest.order_by(drift_points.c.at).limit(MOST_POINTS)
    return connection.execute(sa.delete(drift_points).where(key.in_(oldest))).rowcount
