"""Translates between the journal's values and the rows of its tables.

Statements and transactions are left to ``store``, computing checksums to ``checksum``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from msgspec import structs
from sqlalchemy import Row

from reconciler.journal.checksum import intent_sum, state_sum, storable
from reconciler.journal.records import (
    Alarm,
    Announcement,
    Approved,
    ClosedBy,
    DamagedOperation,
    DriftPoint,
    Event,
    Intent,
    Mark,
    MarkKey,
    NewAnnouncement,
    NewMark,
    Operation,
    Origin,
    PoolKey,
    Run,
    SentDisk,
    Way,
)
from reconciler.journal.states import Outcome, State, Step
from reconciler.model import KnownBackup, LostCopy, Notice

Record = TypeVar("Record", Alarm, Announcement, DriftPoint, Event, Intent, Mark, Operation, Outcome, Run)


def pool_values(pool: PoolKey) -> dict[str, Any]:
    """The columns that name a pool."""
    return _values(pool)


def place_values(target: str | None, service: str | None) -> dict[str, Any]:
    """The columns that name a target and a service, without what is not given."""
    return {name: value for name, value in (("target", target), ("service", service)) if value is not None}


def _values(record: Any, *but: str) -> dict[str, Any]:
    """What a value of ``records`` holds, for the columns of the same names; without the fields in ``but``."""
    return {name: getattr(record, name) for name in record.__struct_fields__ if name not in but}


def _record(kind: type[Record], row: Row[Any], **other: Any) -> Record:
    """The value ``kind``: from the columns of the same names, but for the fields in ``other``."""
    own = {name: getattr(row, name) for name in kind.__struct_fields__ if name not in other}
    return kind(**own, **other)


def _pool(row: Row[Any]) -> PoolKey:
    return PoolKey(row.target, row.service, row.pool_id)


def intent_values(intent: Intent) -> dict[str, Any]:
    """The columns an intent fills."""
    return (
        pool_values(intent.pool)
        | _values(intent, "pool", "operation_id")
        | {
            "id": intent.operation_id,
            "step": intent.step.value,
            "disks": [list(disk) for disk in intent.disks],
            "disk_count": len(intent.disks),
            "keep": list(intent.keep),
            "baseline_jobs": list(intent.baseline_jobs),
            "copies": [_copy_values(copy) for copy in intent.copies],
        }
    )


def outcome_values(outcome: Outcome) -> dict[str, Any]:
    """The columns an outcome fills; the state is among them."""
    state = outcome.state.value
    return {"state": state, "outcome": state} | _values(outcome, "state", "retry_after")


def drift_values(point: DriftPoint) -> dict[str, Any]:
    """The columns of one drift point."""
    return pool_values(point.pool) | _values(point, "pool")


def summed(values: Mapping[str, Any]) -> dict[str, Any]:
    """All columns of a new row with its checksums."""
    return dict(values) | {"intent_sum": intent_sum(values), "state_sum": state_sum(values)}


def is_sound(row: Row[Any]) -> bool:
    """Whether the row is as it was written; journals before version 3 have no checksums."""
    found = row._asdict()
    if "intent_sum" not in found:
        return True
    return bool(found["intent_sum"] == intent_sum(found) and found["state_sum"] == state_sum(found))


def judged(row: Row[Any]) -> Operation | DamagedOperation:
    """One row of the operations table, whatever is in it."""
    try:
        if is_sound(row):
            return to_operation(row)
    except (ValueError, TypeError, RecursionError):  # a word or a shape that this program never wrote
        pass
    return damaged(row)


def damaged(row: Row[Any]) -> DamagedOperation:
    """What a row that cannot be trusted says of itself."""
    return DamagedOperation(str(row.id), _pool(row), str(row.pool_name))


def to_operation(row: Row[Any]) -> Operation:
    """One row of the operations table; raises ``ValueError`` or ``TypeError`` for values nobody wrote."""
    intent = _record(
        Intent,
        row,
        operation_id=row.id,
        pool=_pool(row),
        step=Step(row.step),
        disks=tuple(SentDisk(*disk) for disk in row.disks),
        keep=tuple(row.keep),
        baseline_jobs=tuple(row.baseline_jobs),
        copies=tuple(_to_copy(*copy) for copy in getattr(row, "copies", ())),
    )
    return _record(
        Operation,
        row,
        intent=intent,
        state=State(row.state),
        outcome=_to_outcome(row),
        closed_by=ClosedBy(row.closed_by) if row.closed_by else None,
    )


def _copy_values(copy: LostCopy) -> list[Any]:
    """A copy as the journal keeps it; its backups come last, where there are any, so that older rows have none."""
    *plain, users, backups = copy
    return [*plain, list(users), *([[list(each) for each in backups]] if backups else [])]


def _to_copy(*kept: Any) -> LostCopy:
    disk_id, desktop_id, desktop_name, volume_id, size, users, *rest = kept
    backups = tuple(KnownBackup(*each) for each in rest[0]) if rest else ()
    return LostCopy(disk_id, desktop_id, desktop_name, volume_id, size, tuple(users), backups)


def _to_outcome(row: Row[Any]) -> Outcome | None:
    if row.outcome is None:
        return None
    return _record(Outcome, row, state=State(row.outcome), retry_after=None)


def to_run(row: Row[Any]) -> Run:
    """One row of the runs table."""
    return _record(
        Run,
        row,
        targets=tuple(row.targets),
        approved=_to_approved(row),
        policy=getattr(row, "policy", ""),
        origin=_to_origin(row),
    )


def approved_values(approved: Approved | None) -> dict[str, Any]:
    """The columns of how a run was approved."""
    if approved is None:
        return {"way": "", "principals": []}
    return {"way": approved.way.value, "principals": list(approved.principals)}


def _to_approved(row: Row[Any]) -> Approved | None:
    way = getattr(row, "way", "")
    return Approved(Way(way), tuple(row.principals)) if way else None


def origin_values(origin: Origin) -> dict[str, Any]:
    """The column of who started a run."""
    return {"origin": {name: storable(value) for name, value in structs.asdict(origin).items()}}


def _to_origin(row: Row[Any]) -> Origin:
    found = getattr(row, "origin", {})
    if not isinstance(found, dict):
        raise TypeError("the origin of a run is no object")
    return Origin(**{name: str(found.get(name, "")) for name in Origin.__struct_fields__})


def to_event(row: Row[Any]) -> Event:
    """One row of the events table."""
    return _record(Event, row)


def alarm_values(alarm: Alarm) -> dict[str, Any]:
    """The columns of an alarm."""
    return pool_values(alarm.pool) | _values(alarm, "pool")


def to_alarm(row: Row[Any]) -> Alarm:
    """One row of the alarms table."""
    return _record(Alarm, row, pool=_pool(row))


def mark_values(new: NewMark) -> dict[str, Any]:
    """The columns that a new mark fills; its time is the journal's."""
    return pool_values(new.key.pool) | {
        "disk_id": new.key.disk_id,
        "pool_name": new.pool_name,
        "grace": int(new.grace.total_seconds()),
        "extended_until": None,
        "extended_by": "",
        "shape": new.shape,
    }


def to_mark(row: Row[Any]) -> Mark:
    """One row of the marks table."""
    key, grace = MarkKey(_pool(row), row.disk_id), timedelta(seconds=row.grace)
    return _record(Mark, row, key=key, grace=grace, shape=getattr(row, "shape", ""))


def announcement_values(new: NewAnnouncement) -> dict[str, Any]:
    """The columns that a message fills before it is sent; its time is the journal's."""
    mark = new.mark
    return (
        pool_values(mark.key.pool)
        | _values(new, "mark")
        | {"disk_id": mark.key.disk_id, "first_seen": mark.first_seen, "pool_name": mark.pool_name}
        | {"once": new.once, "notice": new.notice.value}
    )


def to_announcement(row: Row[Any]) -> Announcement:
    """One row of the announcements table."""
    key = MarkKey(_pool(row), row.disk_id)
    return _record(Announcement, row, key=key, notice=Notice(row.notice), outcome=_to_outcome(row))


def to_drift(row: Row[Any]) -> DriftPoint:
    """One row of the drift table."""
    return _record(DriftPoint, row, pool=_pool(row))


def changes(found: Iterable[Any], memory: timedelta) -> tuple[DriftPoint, ...]:
    """The points that a chart needs: those that differ from the pool's point before, and no gap that was not there.

    ``found`` are tuples of the drift table's columns in their order, by time; texts and times may be bytes.
    """
    kept: list[Any] = []
    states: dict[tuple[Any, ...], list[Any]] = {}
    """For each pool its last row, its last row that was kept, what that measured, and until when it counts."""

    def keep(key: tuple[Any, ...], row: Any) -> None:
        kept.append(row)
        states[key] = [row, row, row[6:], _later(row[5], memory)]

    for row in found:
        key = row[1:4]
        state = states.get(key)
        if state is None:
            keep(key, row)
            continue
        if row[5] > state[3] and state[0] is not state[1]:
            keep(key, state[0])
            state = states[key]
        if row[6:] == state[2] and row[5] <= state[3]:
            state[0] = row
        else:
            keep(key, row)
    kept += [last for last, last_kept, *_ in states.values() if last is not last_kept]
    return tuple(sorted(map(_to_point, kept), key=lambda point: point.at))


def _to_point(row: Iterable[Any]) -> DriftPoint:
    run_id, target, service, pool_id, name, at, *measured = map(_plain, row)
    time = datetime.fromisoformat(at).replace(tzinfo=UTC) if isinstance(at, str) else at.astimezone(UTC)
    return DriftPoint(run_id, time, PoolKey(target, service, pool_id), name, *measured)


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _later(at: datetime | bytes, span: timedelta) -> datetime | bytes:
    """A later time in the form of the given one, so that the two can be compared."""
    if isinstance(at, datetime):
        return at + span
    return f"{datetime.fromisoformat(at.decode()) + span:%Y-%m-%d %H:%M:%S.%f}".encode()
