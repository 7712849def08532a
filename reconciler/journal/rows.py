"""Translates between the journal's values and the rows of its tables.

Statements and transactions are left to ``store``, computing checksums to ``checksum``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

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


def pool_values(pool: PoolKey) -> dict[str, Any]:
    """The columns that name a pool."""
    return {"target": pool.target, "service": pool.service, "pool_id": pool.pool_id}


def place_values(target: str | None, service: str | None) -> dict[str, Any]:
    """The columns that name a target and a service, without what is not given."""
    return {name: value for name, value in (("target", target), ("service", service)) if value is not None}


def intent_values(intent: Intent) -> dict[str, Any]:
    """The columns an intent fills."""
    return pool_values(intent.pool) | {
        "id": intent.operation_id,
        "run_id": intent.run_id,
        "pool_name": intent.pool_name,
        "step": intent.step.value,
        "handle_type": intent.handle_type,
        "disks": [list(disk) for disk in intent.disks],
        "disk_count": len(intent.disks),
        "keep": list(intent.keep),
        "baseline_jobs": list(intent.baseline_jobs),
        "generation": intent.generation,
        "signed_at": intent.signed_at,
        "not_after": intent.not_after,
        "plan_digest": intent.plan_digest,
        "copies": [_copy_values(copy) for copy in intent.copies],
    }


def outcome_values(outcome: Outcome) -> dict[str, Any]:
    """The columns an outcome fills; the state is among them."""
    return {
        "state": outcome.state.value,
        "outcome": outcome.state.value,
        "job_id": outcome.job_id,
        "request_id": outcome.request_id,
        "status": outcome.status,
        "code": outcome.code,
        "message": outcome.message,
    }


def drift_values(point: DriftPoint) -> dict[str, Any]:
    """The columns of one drift point."""
    return pool_values(point.pool) | {
        "run_id": point.run_id,
        "pool_name": point.pool_name,
        "at": point.at,
        "surplus": point.surplus,
        "missing": point.missing,
        "surplus_gb": point.surplus_gb,
    }


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
    except (ValueError, TypeError):  # a word or a shape that this program never wrote
        pass
    return damaged(row)


def damaged(row: Row[Any]) -> DamagedOperation:
    """What a row that cannot be trusted says of itself."""
    pool = PoolKey(row.target, row.service, row.pool_id)
    return DamagedOperation(str(row.id), pool, str(row.pool_name))


def to_operation(row: Row[Any]) -> Operation:
    """One row of the operations table; raises ``ValueError`` or ``TypeError`` for values nobody wrote."""
    intent = Intent(
        operation_id=row.id,
        run_id=row.run_id,
        pool=PoolKey(row.target, row.service, row.pool_id),
        pool_name=row.pool_name,
        step=Step(row.step),
        handle_type=row.handle_type,
        disks=tuple(SentDisk(*disk) for disk in row.disks),
        keep=tuple(row.keep),
        baseline_jobs=tuple(row.baseline_jobs),
        generation=row.generation,
        signed_at=row.signed_at,
        not_after=row.not_after,
        plan_digest=row.plan_digest,
        copies=tuple(_to_copy(*copy) for copy in getattr(row, "copies", ())),
    )
    return Operation(
        intent=intent,
        state=State(row.state),
        outcome=_to_outcome(row),
        owner=row.owner,
        lease_until=row.lease_until,
        opened=row.opened,
        closed=row.closed,
        verdict=row.verdict,
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
    return Outcome(
        state=State(row.outcome),
        job_id=row.job_id,
        request_id=row.request_id,
        status=row.status,
        code=row.code,
        message=row.message,
    )


def to_run(row: Row[Any]) -> Run:
    """One row of the runs table."""
    return Run(
        id=row.id,
        command=row.command,
        tool_version=row.tool_version,
        targets=tuple(row.targets),
        started=row.started,
        ended=row.ended,
        digest=row.digest,
        exit_code=row.exit_code,
        summary=row.summary,
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
    return {"origin": {name: storable(value) for name, value in asdict(origin).items()}}


def _to_origin(row: Row[Any]) -> Origin:
    found = getattr(row, "origin", {})
    return Origin(**{name: str(found.get(name, "")) for name in Origin.__slots__})


def to_event(row: Row[Any]) -> Event:
    """One row of the events table."""
    return Event(
        seq=row.seq,
        run_id=row.run_id,
        operation_id=row.operation_id,
        at=row.at,
        kind=row.kind,
        detail=row.detail,
    )


def alarm_values(alarm: Alarm) -> dict[str, Any]:
    """The columns of an alarm."""
    return pool_values(alarm.pool) | {
        "id": alarm.id,
        "run_id": alarm.run_id,
        "pool_name": alarm.pool_name,
        "at": alarm.at,
        "message": alarm.message,
        "acknowledged": alarm.acknowledged,
        "acknowledged_by": alarm.acknowledged_by,
    }


def to_alarm(row: Row[Any]) -> Alarm:
    """One row of the alarms table."""
    return Alarm(
        id=row.id,
        run_id=row.run_id,
        pool=PoolKey(row.target, row.service, row.pool_id),
        pool_name=row.pool_name,
        at=row.at,
        message=row.message,
        acknowledged=row.acknowledged,
        acknowledged_by=row.acknowledged_by,
    )


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
    return Mark(
        key=MarkKey(PoolKey(row.target, row.service, row.pool_id), row.disk_id),
        pool_name=row.pool_name,
        first_seen=row.first_seen,
        grace=timedelta(seconds=row.grace),
        extended_until=row.extended_until,
        extended_by=row.extended_by,
        shape=getattr(row, "shape", ""),
    )


def announcement_values(new: NewAnnouncement) -> dict[str, Any]:
    """The columns that a message fills before it is sent; its time is the journal's."""
    return pool_values(new.mark.key.pool) | {
        "id": new.id,
        "disk_id": new.mark.key.disk_id,
        "first_seen": new.mark.first_seen,
        "once": new.once,
        "pool_name": new.mark.pool_name,
        "notice": new.notice.value,
        "due": new.due,
        "text": new.text,
    }


def to_announcement(row: Row[Any]) -> Announcement:
    """One row of the announcements table."""
    return Announcement(
        id=row.id,
        key=MarkKey(PoolKey(row.target, row.service, row.pool_id), row.disk_id),
        pool_name=row.pool_name,
        first_seen=row.first_seen,
        notice=Notice(row.notice),
        due=row.due,
        text=row.text,
        run_id=row.run_id,
        begun=row.begun,
        outcome=_to_outcome(row),
    )


def to_drift(row: Row[Any]) -> DriftPoint:
    """One row of the drift table."""
    return DriftPoint(
        run_id=row.run_id,
        at=row.at,
        pool=PoolKey(row.target, row.service, row.pool_id),
        pool_name=row.pool_name,
        surplus=row.surplus,
        missing=row.missing,
        surplus_gb=row.surplus_gb,
    )


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
