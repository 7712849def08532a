"""Stores the journal in SQLite or PostgreSQL: each call of the ``Journal`` protocol is one transaction.

Connections and errors of libraries are left to ``database``, tables to ``schema``, the rules between runs to
``fence``, the meaning of an entry to the caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from reconciler.errors import StalePlan
from reconciler.journal import fence, rows, schema
from reconciler.journal.database import Database, parse, place
from reconciler.journal.records import (
    FINAL,
    NOT_APPLIED,
    OUTCOMES,
    Claim,
    ClosedBy,
    DriftPoint,
    Intent,
    Journal,
    Now,
    Operation,
    Outcome,
    PoolKey,
    Run,
    RunRecord,
    State,
    Step,
)

_operations = schema.operations


def open_journal(url: str, now: Now) -> Journal:
    """Open the journal at a SQLAlchemy URL, creating or migrating it if needed.

    Raises ``JournalError`` when it cannot be used and ``BadInput`` when the URL itself is wrong.
    """
    database = Database(parse(url))
    with database.closed_on_error():
        database.create_file()
        with database.write() as connection:
            database.verify(connection)
            schema.prepare(connection, database.where)
    return SqlJournal(database, now)


def find_journal(url: str, now: Now) -> Journal | None:
    """Open the journal only for reading, or return None when there is none yet.

    Creates, migrates and writes nothing, so a read-only file, or a role that may only SELECT, is enough.
    Raises ``JournalError`` when it cannot be used and ``BadInput`` when the URL itself is wrong.
    """
    database = Database(parse(url), read_only=True)
    with database.closed_on_error():
        if database.file_is_missing():
            return None
        with database.read() as connection:
            version = schema.version_of(connection, database.where)
            if version is None:
                schema.check_unused(connection, database.where)
            else:
                schema.check_readable(version, database.where)
                database.verify(connection)
    if version is None:
        database.close()
        return None
    return SqlJournal(database, now)


def journal_place(url: str) -> str:
    """Where the journal at a URL is, for messages: without secrets."""
    return place(parse(url))


class SqlJournal(Journal):
    """The journal in an SQL database."""

    def __init__(self, database: Database, now: Now) -> None:
        self._database = database
        self._now = now

    def close(self) -> None:
        """Close the file or the connection."""
        self._database.close()

    # --- runs and events ------------------------------------------------------------------------

    def open_run(self, run_id: str, command: str, tool_version: str, targets: Sequence[str]) -> None:
        """Record that a run starts now."""
        run = {
            "id": run_id,
            "command": command,
            "tool_version": tool_version,
            "targets": list(targets),
            "started": self._now(),
            "digest": "",
            "summary": {},
        }
        with self._database.write() as connection:
            connection.execute(insert(schema.runs), run)

    def close_run(self, run_id: str, exit_code: int, digest: str, summary: Mapping[str, Any]) -> None:
        """Record that a run ends now."""
        end = {"ended": self._now(), "exit_code": exit_code, "digest": digest, "summary": dict(summary)}
        with self._database.write() as connection:
            connection.execute(update(schema.runs).where(schema.runs.c.id == run_id), end)

    def record_event(
        self, run_id: str, kind: str, detail: Mapping[str, Any], operation_id: str | None = None
    ) -> None:
        """Record an event."""
        with self._database.write() as connection:
            self._note(connection, run_id, operation_id, kind, detail)

    def runs(self, limit: int) -> tuple[Run, ...]:
        """The latest runs, newest first."""
        table = schema.runs
        query = select(table).order_by(table.c.started.desc(), table.c.id).limit(limit)
        with self._database.read() as connection:
            return tuple(rows.to_run(row) for row in connection.execute(query))

    def run(self, run_id: str) -> RunRecord | None:
        """One run with its operations and events, or None."""
        events = schema.events
        # Opening and taking over each leave an event, so this also finds operations that another run owns by now.
        touched = select(events.c.operation_id).where(events.c.run_id == run_id)
        with self._database.read() as connection:
            found = connection.execute(select(schema.runs).where(schema.runs.c.id == run_id)).first()
            if found is None:
                return None
            own = connection.execute(select(events).where(events.c.run_id == run_id).order_by(events.c.seq))
            return RunRecord(
                run=rows.to_run(found),
                events=tuple(rows.to_event(row) for row in own),
                operations=fence.fetch(connection, _operations.c.id.in_(touched)),
            )

    # --- operations -----------------------------------------------------------------------------

    def generation(self, pool: PoolKey) -> int:
        """How often an operation on the pool has been opened or closed."""
        with self._database.read() as connection:
            return fence.generation(connection, pool)

    def open_operation(self, intent: Intent, owner: str, lease_seconds: float) -> Operation:
        """Record the intent and hold the pool, or raise ``PoolHeld`` or ``StaleGeneration``."""
        now = self._now()
        operation = Operation(
            intent=intent,
            state=State.INTENDED,
            outcome=None,
            owner=owner,
            lease_until=now + timedelta(seconds=lease_seconds),
            opened=now,
        )
        values = rows.intent_values(intent) | {
            "state": operation.state.value,
            "owner": owner,
            "lease_until": operation.lease_until,
            "opened": now,
            "verdict": "",
        }
        new_pool, new_operation = (self._database.insert_new(each) for each in (schema.pools, _operations))
        with self._database.write() as connection:
            fence.hold(connection, new_pool, new_operation, intent, values)
            self._note(
                connection, owner, intent.operation_id, "operation.opened", {"step": intent.step.value}
            )
        return operation

    def renew_lease(self, operation_id: str, owner: str, lease_seconds: float) -> None:
        """Keep other runs from taking over for that many seconds from now; 0 ends the lease."""
        lease = {"lease_until": self._now() + timedelta(seconds=lease_seconds)}
        with self._database.write() as connection:
            fence.write(connection, operation_id, owner, lease)

    def record_outcome(self, operation_id: str, owner: str, outcome: Outcome) -> None:
        """Record the outcome; raises ``PoolHeld`` when another run owns the operation or it is closed."""
        if outcome.state not in OUTCOMES:
            raise ValueError(f"{outcome.state} is not an outcome of a call")
        values = rows.outcome_values(outcome)
        with self._database.write() as connection:
            fence.write(connection, operation_id, owner, values)
            self._note(connection, owner, operation_id, "operation.outcome", values)

    def close_operation(
        self,
        operation_id: str,
        owner: str,
        state: State,
        verdict: str,
        *,
        closed_by: ClosedBy = ClosedBy.RUN,
    ) -> None:
        """End the operation in one of ``FINAL`` and free the pool; raises ``PoolHeld`` as above."""
        if state not in FINAL:
            raise ValueError(f"an operation cannot be closed as {state}")
        end = {"state": state.value, "verdict": verdict, "closed_by": closed_by.value}
        with self._database.write() as connection:
            fence.release(connection, operation_id, owner, end | {"closed": self._now()})
            self._note(connection, owner, operation_id, "operation.closed", end)

    def take_over(self, operation_id: str, owner: str, lease_seconds: float) -> Operation:
        """Become, or stay, the owner of an operation whose lease has expired; else raise ``PoolHeld``."""
        now = self._now()
        with self._database.write() as connection:
            before = fence.find(connection, operation_id)
            fence.seize(connection, operation_id, owner, now, now + timedelta(seconds=lease_seconds))
            self._note(connection, owner, operation_id, "operation.taken_over", {"from": before.owner})
            return fence.find(connection, operation_id)

    def operation(self, operation_id: str) -> Operation | None:
        """One operation, or None."""
        with self._database.read() as connection:
            return next(iter(fence.fetch(connection, _operations.c.id == operation_id)), None)

    def operations(self, since: datetime) -> tuple[Operation, ...]:
        """All operations opened at or after a time, oldest first."""
        with self._database.read() as connection:
            return fence.fetch(connection, _operations.c.opened >= since)

    def not_done(self, target: str, service: str) -> tuple[Operation, ...]:
        """Operations of one project in a state of ``NOT_DONE``, oldest first."""
        with self._database.read() as connection:
            return fence.fetch(
                connection,
                _operations.c.target == target,
                _operations.c.service == service,
                schema.NOT_DONE,
            )

    def unresolved(self, target: str | None = None, service: str | None = None) -> tuple[Operation, ...]:
        """Operations not closed yet, oldest first."""
        wanted: list[ColumnElement[bool]] = [_operations.c.closed.is_(None)]
        if target is not None:
            wanted.append(_operations.c.target == target)
        if service is not None:
            wanted.append(_operations.c.service == service)
        with self._database.read() as connection:
            return fence.fetch(connection, *wanted)

    # --- once-only plans and budgets --------------------------------------------------------------

    def check_unclaimed(self, plan_id: str) -> None:
        """Raise ``StalePlan`` when a saved plan has been applied."""
        with self._database.read() as connection:
            first = connection.execute(select(schema.plans).where(schema.plans.c.plan_id == plan_id)).first()
        if first:
            raise _applied(first.run_id, first.claimed)

    def claim_plan(self, plan_id: str, run_id: str) -> None:
        """Mark a saved plan as applied; raises ``StalePlan`` for every claim but the first."""
        claim = {"plan_id": plan_id, "run_id": run_id, "claimed": self._now()}
        with self._database.write() as connection:
            # The unique key decides, so that of two runs that apply the same file at once only one continues.
            if connection.execute(self._database.insert_new(schema.plans), claim).rowcount:
                return
            first = connection.execute(select(schema.plans).where(schema.plans.c.plan_id == plan_id)).one()
        raise _applied(first.run_id, first.claimed)

    def removed_since(self, target: str, service: str, since: datetime) -> int:
        """Disks in removals opened since then that took effect, or still may."""
        # Open and unknown ones count too: the budget may only err towards fewer removals.
        query = select(func.coalesce(func.sum(_operations.c.disk_count), 0)).where(
            _operations.c.target == target,
            _operations.c.service == service,
            _operations.c.opened >= since,
            _operations.c.step == Step.REMOVE.value,
            _operations.c.state.not_in([state.value for state in sorted(NOT_APPLIED)]),
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def reserve_budget(self, scope: str, day: str, amount: int, ceiling: int) -> bool:
        """Add ``amount`` to what the scope has used on that day; False when that would exceed the ceiling."""
        table = schema.budgets
        grown = table.c.used + amount
        # The ceiling is a condition of the UPDATE: two runs that read first and write later could both fit.
        fits = update(table).where(table.c.scope == scope, table.c.day == day, grown <= ceiling)
        with self._database.write() as connection:
            fresh = {"scope": scope, "day": day, "used": 0}
            connection.execute(self._database.insert_new(table), fresh)
            return connection.execute(fits.values(used=grown)).rowcount == 1

    def claim_losses(
        self, group: str, claims: Sequence[Claim], ceilings: Mapping[str, int]
    ) -> Mapping[str, int]:
        """Add claims to those of a group of runs, unless a sum would exceed its ceiling."""
        table = schema.group_losses
        lock = {"run_group": group, "kind": "", "item": "", "amount": 0}
        with self._database.write() as connection:
            new = self._database.insert_new(table)
            connection.execute(new, lock)
            # A row of its own that every claim updates: its lock lets one run of the group count at a time,
            # also on PostgreSQL, where transactions would otherwise not see each other's new rows.
            connection.execute(
                update(table).where(table.c.run_group == group, table.c.kind == "").values(amount=0)
            )
            rows_known = connection.execute(
                select(table).where(table.c.run_group == group, table.c.kind != "")
            )
            known = {(row.kind, row.item): row.amount for row in rows_known}
            wanted = {(kind, item): amount for kind, item, amount in claims}
            # An item counts with the largest amount ever claimed, so a run that restarts adds nothing twice.
            grown = {key: amount for key, amount in wanted.items() if amount > known.get(key, -1)}
            sums: Counter[str] = Counter()
            for (kind, _), amount in (known | grown).items():
                sums[kind] += amount
            over = {kind: sums[kind] for kind, most in ceilings.items() if sums[kind] > most}
            for (kind, item), amount in () if over else grown.items():
                row = {"run_group": group, "kind": kind, "item": item, "amount": amount}
                if connection.execute(new, row).rowcount == 0:
                    same = (table.c.run_group == group, table.c.kind == kind, table.c.item == item)
                    connection.execute(update(table).where(*same).values(amount=amount))
        return over

    # --- drift ----------------------------------------------------------------------------------

    def add_drift(self, points: Sequence[DriftPoint]) -> None:
        """Record what a run measured, at most one point per pool."""
        if not points:
            return
        with self._database.write() as connection:
            connection.execute(insert(schema.drift_points), [rows.drift_values(point) for point in points])

    def drift(self, since: datetime) -> tuple[DriftPoint, ...]:
        """Points measured at or after a time, oldest first."""
        table = schema.drift_points
        order = (table.c.at, table.c.run_id, table.c.target, table.c.service, table.c.pool_id)
        with self._database.read() as connection:
            found = connection.execute(select(table).where(table.c.at >= since).order_by(*order))
            return tuple(rows.to_drift(row) for row in found)

    def _note(
        self,
        connection: Connection,
        run_id: str,
        operation_id: str | None,
        kind: str,
        detail: Mapping[str, Any],
    ) -> None:
        event = {
            "run_id": run_id,
            "operation_id": operation_id,
            "at": self._now(),
            "kind": kind,
            "detail": dict(detail),
        }
        connection.execute(insert(schema.events), event)


def _applied(run_id: str, claimed: datetime) -> StalePlan:
    return StalePlan(
        f"this plan was applied by run {run_id} at {fence.when(claimed)}",
        "A plan can be applied only once. Plan again and review the new plan.",
    )
