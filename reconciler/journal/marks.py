"""Statements about marks, each a part of one transaction, and the check that what a removal names is due.

The check shares no code with the plan that has decided the same before: both would have to be wrong in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Select, func, or_, select, update
from sqlalchemy import delete as delete_from

from reconciler.errors import PoolHeld, Refused
from reconciler.journal import rows
from reconciler.journal.records import GraceRule, Intent, Mark, MarkKey, NewMark, PoolKey
from reconciler.journal.schema import LATEST, SHAPES_SINCE, equal, given, marks, matching, operations
from reconciler.values import replace

KEPT = "marks.kept"
"""The kind of the event that says which disks a run marked, and of which it cleared the mark."""
CLEARED = "mark.cleared"
"""The kind of the event that says who took a mark away."""
EXTENDED = "mark.extended"
"""The kind of the event that says who lets a disk wait, and until when."""
RESTORED = "marks.restored"
"""The kind of the event that says which marks began anew in a journal that was restored from a backup."""


# Built once: composing a statement takes longer than SQLite needs to run it.
_NUMBER = select(func.count()).select_from(marks)
_DELETE = delete_from(marks).where(*matching(marks, "target", "service", "pool_id", "disk_id"))


def words(key: MarkKey) -> str:
    """``region/project/pool id/disk id``."""
    return f"{key.pool.target}/{key.pool.pool_id}/{key.disk_id}"


@cache
def _longest_first(*columns: str, shapes: bool = True) -> Select[Any]:
    order = (marks.c.first_seen, marks.c.pool_id, marks.c.disk_id)
    readable = (each for each in marks.c if shapes or each is not marks.c.shape)
    return select(*readable).where(*matching(marks, *columns)).order_by(*order)


def find(
    connection: Connection, target: str | None, service: str | None, version: int, pool_id: str | None = None
) -> tuple[Mark, ...]:
    """Marks of one target, service and pool, or of all, the longest first, from a journal of this version."""
    place = rows.place_values(target, service) | ({"pool_id": pool_id} if pool_id is not None else {})
    query = _longest_first(*place, shapes=version >= SHAPES_SINCE)
    found = connection.execute(query, given(place))
    return tuple(rows.to_mark(row) for row in found)


def of_pool(connection: Connection, pool: PoolKey) -> Mapping[str, Mark]:
    """The marks of one pool, by disk."""
    values = rows.pool_values(pool)
    found = connection.execute(_longest_first(*values), given(values))
    return {row.disk_id: rows.to_mark(row) for row in found}


def add(
    connection: Connection, new: Insert, run_id: str, surplus: Sequence[NewMark], since: datetime
) -> tuple[Mark, ...]:
    """Add the marks that are not there yet; one that is there keeps its time, and the rest follows."""
    added: list[Mark] = []
    for each in surplus:
        values = rows.mark_values(each)
        if connection.execute(new, values | {"run_id": run_id, "first_seen": since}).rowcount:
            added.append(Mark(each.key, each.pool_name, since, each.grace, shape=each.shape))
            continue
        shown = {name: values[name] for name in ("pool_name", "grace", "shape")}
        differs = or_(*(marks.c[name] != value for name, value in shown.items()))
        connection.execute(update(marks).where(*_at(each.key), differs).values(shown))
    return tuple(added)


def number(connection: Connection) -> int:
    """How many marks there are."""
    return connection.execute(_NUMBER).scalar_one()


def places(connection: Connection) -> Sequence[tuple[str, str]]:
    """The targets and services that have marks, in one order."""
    here = (marks.c.target, marks.c.service)
    return [(row[0], row[1]) for row in connection.execute(select(*here).distinct().order_by(*here))]


def begin_anew(connection: Connection, run_id: str, since: datetime) -> tuple[Mark, ...]:
    """Let the grace of every mark begin anew; what people said of the disks stays."""
    connection.execute(
        update(marks).where(marks.c.first_seen < since).values(first_seen=since, run_id=run_id)
    )
    return find(connection, None, None, LATEST)


def as_of(found: Mark, now: datetime) -> Mark:
    """A mark that nothing vouches for, as if its disk had become surplus just now."""
    return replace(found, first_seen=max(found.first_seen, now))


def delete(connection: Connection, key: MarkKey) -> bool:
    """Take a mark away; False when there is none."""
    at = rows.pool_values(key.pool) | {"disk_id": key.disk_id}
    return connection.execute(_DELETE, given(at)).rowcount == 1


def extend(connection: Connection, key: MarkKey, by: str, until: datetime) -> bool:
    """Let a disk wait until then, unless it does so already; False when there is no mark."""
    if connection.execute(select(marks.c.disk_id).where(*_at(key))).first() is None:
        return False
    sooner = marks.c.extended_until.is_(None) | (marks.c.extended_until < until)
    longer = {"extended_until": until, "extended_by": by}
    connection.execute(update(marks).where(*_at(key), sooner).values(longer))
    return True


def check_not_going(connection: Connection, key: MarkKey) -> None:
    """Raise ``PoolHeld`` while an operation on the pool is open: then it is too late to object, or not known."""
    going = equal(operations, rows.pool_values(key.pool))
    row = connection.execute(select(operations.c.id).where(*going, operations.c.closed.is_(None))).first()
    if row:
        raise PoolHeld(
            f"operation {row.id} on the pool is open, so its disks may be going right now; the mark stays as it is",
            "wait until it has ended: reconciler resolve",
        )


def check_due(intent: Intent, rule: GraceRule, found: Mapping[str, Mark], now: datetime) -> None:
    """Raise ``Refused`` unless every disk of a removal has been surplus for long enough, by both clocks."""
    at = now if rule.service_time is None else min(now, rule.service_time)
    for disk in intent.disks:
        mark = found.get(disk.id)
        if mark is None and rule.grace:
            raise _early(intent, f"disk {disk.id} is not marked, so its grace has not begun")
        if mark is None:
            continue
        if rule.grace and at - mark.first_seen < rule.grace:
            raise _early(
                intent, f"disk {disk.id} is surplus since {mark.first_seen:%Y-%m-%d %H:%M:%S} UTC only"
            )
        if mark.extended_until and at < mark.extended_until:
            until = f"{mark.extended_until:%Y-%m-%d %H:%M:%S} UTC"
            raise _early(intent, f"{mark.extended_by} lets disk {disk.id} wait until {until}")


def _early(intent: Intent, why: str) -> Refused:
    return Refused(
        f"pool {intent.pool_name}: {why}; nothing was sent for this pool",
        "plan again: the plan shows when it is due; reconciler marks lists who lets what wait",
    )


def _at(key: MarkKey) -> list[ColumnElement[bool]]:
    return equal(marks, rows.pool_values(key.pool) | {"disk_id": key.disk_id})
