"""Owns the journal's statements: each method is one transaction, conditional where others may act.

Connecting is left to ``database``, tables to ``schema``, values to ``records``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from reconciler.errors import PoolHeld, StalePlan
from reconciler.journal import rows
from reconciler.journal.database import Database, parse
from reconciler.journal.records import (
    FINAL,
    HARMLESS,
    OUTCOMES,
    Clock,
    ClosedBy,
    DriftPoint,
    Intent,
    Operation,
    Outcome,
    PoolKey,
    Run,
    RunRecord,
    StaleGeneration,
    State,
    Step,
)
from reconciler.journal.schema import (
    budgets,
    drift_points,
    events,
    operations,
    plans,
    pools,
    prepare,
    runs,
    version_of,
)


def open_journal(url: str, clock: Clock) -> Store:
    """Open the journal, creating or migrating it; raises ``JournalError`` when it cannot be trusted."""
    database = Database(parse(url))
    database.create_file()
    with database.write() as connection:
        prepare(connection)
    return Store(database, clock)


def find_journal(url: str, clock: Clock) -> Store | None:
    """Open a journal that exists already; None where there is none yet, and nothing is created."""
    database = Database(parse(url))
    if database.path is not None and not database.path.exists():
        return None
    with database.read() as connection:
        if version_of(connection) is None:
            return None
    return open_journal(url, clock)


class Store:
    """The journal in a database; see ``records.Journal`` for what each method promises."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._now = clock

    def open_run(self, run_id: str, command: str, tool_version: str, targets: Sequence[str]) -> None:
        """Note that a run has started now."""
        row = {
            "id": run_id,
            "command": command,
            "tool_version": tool_version,
            "targets": list(targets),
            "started": self._now(),
            "digest": "",
            "summary": {},
        }
        with self._database.write() as connection:
            connection.execute(runs.insert(), row)

    def close_run(self, run_id: str, exit_code: int, digest: str, summary: Mapping[str, Any]) -> None:
        """Note that a run ends now."""
        told = {"ended": self._now(), "exit_code": exit_code, "digest": digest, "summary": dict(summary)}
        with self._database.write() as connection:
            connection.execute(update(runs).where(runs.c.id == run_id), told)

    def record_event(
        self, run_id: str, kind: str, detail: Mapping[str, Any], operation_id: str | None = None
    ) -> None:
        """Note something that happened."""
        row = {
            "run_id": run_id,
            "operation_id": operation_id,
            "at": self._now(),
            "kind": kind,
            "detail": dict(detail),
        }
        with self._database.write() as connection:
            connection.execute(events.insert(), row)

    def generation(self, pool: PoolKey) -> int:
        """Count of openings and closings of operations on the pool."""
        with self._database.read() as connection:
            return int(connection.scalar(select(pools.c.generation).where(_is(pool))) or 0)

    def generations(self, target: str, service: str) -> Mapping[str, int]:
        """Generation by pool id, for a whole target."""
        wanted = select(pools.c.pool_id, pools.c.generation).where(
            pools.c.target == target, pools.c.service == service
        )
        with self._database.read() as connection:
            return {row.pool_id: row.generation for row in connection.execute(wanted)}

    def open_operation(self, intent: Intent, owner: str, lease_seconds: float) -> Operation:
        """Write the intent down and hold the pool, or raise ``PoolHeld`` or ``StaleGeneration``."""
        now = self._now()
        row = rows.intent_row(intent) | {
            "state": State.INTENDED.value,
            "owner": owner,
            "lease_until": now + timedelta(seconds=lease_seconds),
            "opened": now,
            "verdict": "",
        }
        with self._database.write() as connection:
            connection.execute(
                self._database.insert_new(pools),
                {
                    "target": intent.pool.target,
                    "service": intent.pool.service,
                    "pool_id": intent.pool.pool_id,
                    "generation": 0,
                },
            )
            moved = connection.execute(
                update(pools)
                .where(_is(intent.pool), pools.c.generation == intent.generation)
                .values(generation=pools.c.generation + 1)
            )
            held = self._holder(connection, intent.pool)
            if held is not None:
                raise _held(held, intent.pool_name)
            if moved.rowcount != 1:
                raise StaleGeneration(
                    f"pool {intent.pool_name} was acted on after it was read",
                    "nothing was sent; apply again, which reads anew",
                )
            written = connection.execute(self._database.insert_new(operations), row)
            if written.rowcount != 1:
                raise PoolHeld(f"another run holds pool {intent.pool_name}", "run again later")
            found = connection.execute(select(operations).where(operations.c.id == intent.operation_id))
            return rows.operation(found.mappings().one())

    def renew_lease(self, operation_id: str, owner: str, lease_seconds: float) -> None:
        """Keep others from taking over until so many seconds from now."""
        self._owned(operation_id, owner, {"lease_until": self._now() + timedelta(seconds=lease_seconds)})

    def record_outcome(self, operation_id: str, owner: str, outcome: Outcome) -> None:
        """Note what came back."""
        if outcome.state not in OUTCOMES:
            raise ValueError(f"{outcome.state} is not an outcome")
        self._owned(operation_id, owner, rows.outcome_row(outcome) | {"state": outcome.state.value})

    def close_operation(
        self,
        operation_id: str,
        owner: str,
        state: State,
        verdict: str,
        *,
        closed_by: ClosedBy = ClosedBy.RUN,
    ) -> None:
        """End the operation and free the pool."""
        if state not in FINAL:
            raise ValueError(f"{state} is not final")
        told = {
            "state": state.value,
            "verdict": verdict,
            "closed": self._now(),
            "closed_by": closed_by.value,
        }
        with self._database.write() as connection:
            self._owned_in(connection, operation_id, owner, told)
            mine = select(operations).where(operations.c.id == operation_id).subquery()
            connection.execute(
                update(pools)
                .where(
                    pools.c.target == mine.c.target,
                    pools.c.service == mine.c.service,
                    pools.c.pool_id == mine.c.pool_id,
                )
                .values(generation=pools.c.generation + 1)
            )

    def take_over(self, operation_id: str, owner: str, lease_seconds: float) -> Operation:
        """Become the owner of an operation whose lease has run out."""
        now = self._now()
        with self._database.write() as connection:
            taken = connection.execute(
                update(operations)
                .where(
                    operations.c.id == operation_id,
                    operations.c.closed.is_(None),
                    (operations.c.lease_until <= now) | (operations.c.owner == owner),
                )
                .values(owner=owner, lease_until=now + timedelta(seconds=lease_seconds))
            )
            row = (
                connection.execute(select(operations).where(operations.c.id == operation_id))
                .mappings()
                .first()
            )
            if row is None:
                raise PoolHeld(f"the journal has no operation {operation_id}")
            found = rows.operation(row)
            if taken.rowcount != 1:
                raise _held(found, found.intent.pool_name)
            return found

    def operation(self, operation_id: str) -> Operation | None:
        """One operation, or None."""
        found = self._operations(operations.c.id == operation_id)
        return found[0] if found else None

    def operations(self, since: datetime) -> tuple[Operation, ...]:
        """All operations opened at or after a time, oldest first."""
        return self._operations(operations.c.opened >= since)

    def unresolved(self, target: str | None = None, service: str | None = None) -> tuple[Operation, ...]:
        """Operations not closed yet, oldest first."""
        wanted: list[ColumnElement[bool]] = [operations.c.closed.is_(None)]
        if target is not None:
            wanted.append(operations.c.target == target)
        if service is not None:
            wanted.append(operations.c.service == service)
        return self._operations(*wanted)

    def claim_plan(self, plan_id: str, run_id: str) -> None:
        """Mark a saved plan as applied."""
        row = {"plan_id": plan_id, "run_id": run_id, "claimed": self._now()}
        with self._database.write() as connection:
            if connection.execute(self._database.insert_new(plans), row).rowcount == 1:
                return
            by = connection.execute(select(plans).where(plans.c.plan_id == plan_id)).mappings().one()
        raise StalePlan(
            f"this plan was applied already, by run {by['run_id']}",
            f"a plan is applied once; see reconciler history show {by['run_id']}, or make a new plan",
        )

    def removed_since(self, target: str, service: str, since: datetime) -> int:
        """Disks in removals opened since then that took, or may yet take, effect."""
        wanted = select(func.coalesce(func.sum(operations.c.disk_count), 0)).where(
            operations.c.target == target,
            operations.c.service == service,
            operations.c.step == Step.REMOVE.value,
            operations.c.opened >= since,
            operations.c.state.not_in([state.value for state in HARMLESS]),
        )
        with self._database.read() as connection:
            return int(connection.scalar(wanted) or 0)

    def reserve_budget(self, scope: str, day: str, amount: int, ceiling: int) -> bool:
        """Add to what the scope has used on that day, unless that would pass the ceiling."""
        with self._database.write() as connection:
            row = {"scope": scope, "day": day, "used": 0}
            connection.execute(self._database.insert_new(budgets), row)
            reserved = connection.execute(
                update(budgets)
                .where(budgets.c.scope == scope, budgets.c.day == day, budgets.c.used + amount <= ceiling)
                .values(used=budgets.c.used + amount)
            )
            return reserved.rowcount == 1

    def runs(self, limit: int) -> tuple[Run, ...]:
        """The latest runs, newest first."""
        wanted = select(runs).order_by(runs.c.started.desc(), runs.c.id).limit(limit)
        with self._database.read() as connection:
            return tuple(rows.run(row) for row in connection.execute(wanted).mappings())

    def run(self, run_id: str) -> RunRecord | None:
        """One run with its operations and events, or None."""
        with self._database.read() as connection:
            row = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().first()
            if row is None:
                return None
            told = connection.execute(select(events).where(events.c.run_id == run_id).order_by(events.c.seq))
            happened = tuple(rows.event(each) for each in told.mappings())
        mine = self._operations((operations.c.run_id == run_id) | (operations.c.owner == run_id))
        return RunRecord(rows.run(row), mine, happened)

    def add_drift(self, points: Sequence[DriftPoint]) -> None:
        """Keep what a run measured."""
        if points:
            with self._database.write() as connection:
                connection.execute(drift_points.insert(), [rows.drift_row(point) for point in points])

    def drift(self, since: datetime) -> tuple[DriftPoint, ...]:
        """Points measured at or after a time, oldest first."""
        wanted = select(drift_points).where(drift_points.c.at >= since).order_by(drift_points.c.at)
        with self._database.read() as connection:
            return tuple(rows.drift_point(row) for row in connection.execute(wanted).mappings())

    def close(self) -> None:
        """Let go of the file or the connection."""
        self._database.close()

    def _operations(self, *wanted: ColumnElement[bool]) -> tuple[Operation, ...]:
        query = select(operations).where(*wanted).order_by(operations.c.opened, operations.c.id)
        with self._database.read() as connection:
            return tuple(rows.operation(row) for row in connection.execute(query).mappings())

    def _owned(self, operation_id: str, owner: str, told: Mapping[str, Any]) -> None:
        with self._database.write() as connection:
            self._owned_in(connection, operation_id, owner, told)

    def _owned_in(
        self, connection: Connection, operation_id: str, owner: str, told: Mapping[str, Any]
    ) -> None:
        """The fence: only the owner of an open operation writes to it."""
        written = connection.execute(
            update(operations)
            .where(
                operations.c.id == operation_id,
                operations.c.owner == owner,
                operations.c.closed.is_(None),
            )
            .values(**told)
        )
        if written.rowcount != 1:
            raise PoolHeld(
                f"operation {operation_id} is no longer this run's: another run took it over or closed it",
                "nothing more is done here; see reconciler history",
            )

    def _holder(self, connection: Connection, pool: PoolKey) -> Operation | None:
        query = select(operations).where(
            operations.c.target == pool.target,
            operations.c.service == pool.service,
            operations.c.pool_id == pool.pool_id,
            operations.c.closed.is_(None),
        )
        row = connection.execute(query).mappings().first()
        return rows.operation(row) if row else None


def _is(pool: PoolKey) -> ColumnElement[bool]:
    return (
        (pools.c.target == pool.target)
        & (pools.c.service == pool.service)
        & (pools.c.pool_id == pool.pool_id)
    )


def _held(operation: Operation, pool_name: str) -> PoolHeld:
    if operation.closed is not None:
        return PoolHeld(f"operation {operation.id} on pool {pool_name} is closed already")
    return PoolHeld(
        f"run {operation.owner} holds pool {pool_name} since {operation.opened:%Y-%m-%d %H:%M:%S} UTC "
        f"(operation {operation.id})",
        f"wait for it, or run again after {operation.lease_until:%H:%M:%S} UTC, when its hold ends unless renewed",
    )
