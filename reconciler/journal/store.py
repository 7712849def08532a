"""Owns the journal itself: each call of the ``Journal`` protocol as one transaction.

Connections and foreign errors are left to ``database``, tables to ``schema``, deciding what an
operation's fate means to the caller. The same code serves SQLite and PostgreSQL.
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
    Clock,
    ClosedBy,
    DriftPoint,
    Intent,
    Journal,
    Operation,
    Outcome,
    PoolKey,
    Run,
    RunRecord,
    State,
    Step,
)

_operations = schema.operations


def open_journal(url: str, clock: Clock) -> Journal:
    """Open the journal at a SQLAlchemy URL, creating or migrating it where needed.

    Raises ``JournalError`` when it cannot be used and ``BadInput`` when the URL itself is wrong.
    """
    database = Database(parse(url))
    with database.closed_on_error():
        database.create_file()
        with database.write() as connection:
            database.verify(connection)
            schema.prepare(connection, database.where)
    return SqlJournal(database, clock)


def find_journal(url: str, clock: Clock) -> Journal | None:
    """Open the journal for reading alone, or return None where there is none yet.

    Creates, migrates and writes nothing, so a role that may only SELECT, or a file that is read-only, will do.
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
    return SqlJournal(database, clock)


def journal_place(url: str) -> str:
    """Where the journal at a URL is, as messages say it: without secrets."""
    return place(parse(url))


class SqlJournal(Journal):
    """The journal in an SQL database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def close(self) -> None:
        """Let go of the file or the connection."""
        self._database.close()

    # --- runs and events ------------------------------------------------------------------------

    def open_run(self, run_id: str, command: str, tool_version: str, targets: Sequence[str]) -> None:
        """Note that a run has started now."""
        run = {
            "id": run_id,
            "command": command,
            "tool_version": tool_version,
            "targets": list(targets),
            "started": self._clock(),
            "digest": "",
            "summary": {},
        }
        with self._database.write() as connection:
            connection.execute(insert(schema.runs), run)

    def close_run(self, run_id: str, exit_code: int, digest: str, summary: Mapping[str, Any]) -> None:
        """Note that a run ends now."""
        end = {"ended": self._clock(), "exit_code": exit_code, "digest": digest, "summary": dict(summary)}
        with self._database.write() as connection:
            connection.execute(update(schema.runs).where(schema.runs.c.id == run_id), end)

    def record_event(
        self, run_id: str, kind: str, detail: Mapping[str, Any], operation_id: str | None = None
    ) -> None:
        """Note something that happened."""
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
        # Opening and taking over leave an event, so this finds operations that changed hands since.
        touched = select(events.c.operation_id).where(events.c.run_id == run_id)
        with self._database.read() as connection:
            found = connection.execute(select(schema.runs).where(schema.runs.c.id == run_id)).first()
            if found is None:
                return None
            told = connection.execute(select(events).where(events.c.run_id == run_id).order_by(events.c.seq))
            return RunRecord(
                run=rows.to_run(found),
                events=tuple(rows.to_event(row) for row in told),
                operations=fence.fetch(connection, _operations.c.id.in_(touched)),
            )

    # --- operations -----------------------------------------------------------------------------

    def generation(self, pool: PoolKey) -> int:
        """Count of openings and closings of operations on the pool."""
        with self._database.read() as connection:
            return fence.generation(connection, pool)

    def open_operation(self, intent: Intent, owner: str, lease_seconds: float) -> Operation:
        """Write the intent down and hold the pool, or raise ``PoolHeld`` or ``StaleGeneration``."""
        now = self._clock()
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
        """Keep others from taking over until so many seconds from now; 0 lets the operation go."""
        lease = {"lease_until": self._clock() + timedelta(seconds=lease_seconds)}
        with self._database.write() as connection:
            fence.write(connection, operation_id, owner, lease)

    def record_outcome(self, operation_id: str, owner: str, outcome: Outcome) -> None:
        """Note what came back; raises ``PoolHeld`` when another run owns the operation or it is closed."""
        if outcome.state not in OUTCOMES:
            raise ValueError(f"{outcome.state} is no outcome of a call")
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
            fence.release(connection, operation_id, owner, end | {"closed": self._clock()})
            self._note(connection, owner, operation_id, "operation.closed", end)

    def take_over(self, operation_id: str, owner: str, lease_seconds: float) -> Operation:
        """Become the owner of an operation whose lease has run out, else raise ``PoolHeld``."""
        now = self._clock()
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
        """Operations of one project that did not end well, or have not ended, oldest first."""
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

    def claim_plan(self, plan_id: str, run_id: str) -> None:
        """Mark a saved plan as applied; raises ``StalePlan`` for every claim but the first."""
        claim = {"plan_id": plan_id, "run_id": run_id, "claimed": self._clock()}
        with self._database.write() as connection:
            if connection.execute(self._database.insert_new(schema.plans), claim).rowcount:
                return
            first = connection.execute(select(schema.plans).where(schema.plans.c.plan_id == plan_id)).one()
        raise StalePlan(
            f"the plan has been applied already, by run {first.run_id} at {fence.when(first.claimed)}",
            "A plan is applied once. Plan again and review the new plan.",
        )

    def removed_since(self, target: str, service: str, since: datetime) -> int:
        """Disks in removals opened since then that took, or may yet take, effect."""
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
        """Add ``amount`` to what the scope has used on that day, unless that would pass the ceiling."""
        table = schema.budgets
        grown = table.c.used + amount
        fits = update(table).where(table.c.scope == scope, table.c.day == day, grown <= ceiling)
        with self._database.write() as connection:
            fresh = {"scope": scope, "day": day, "used": 0}
            connection.execute(self._database.insert_new(table), fresh)
            return connection.execute(fits.values(used=grown)).rowcount == 1

    def claim_losses(
        self, group: str, claims: Sequence[Claim], ceilings: Mapping[str, int]
    ) -> Mapping[str, int]:
        """Add claims to those of a group of runs, unless a sum would pass its ceiling."""
        table = schema.group_losses
        lock = {"run_group": group, "kind": "", "item": "", "amount": 0}
        with self._database.write() as connection:
            new = self._database.insert_new(table)
            connection.execute(new, lock)
            # Its row lock lets one run of the group count at a time.
            connection.execute(
                update(table).where(table.c.run_group == group, table.c.kind == "").values(amount=0)
            )
            rows_known = connection.execute(
                select(table).where(table.c.run_group == group, table.c.kind != "")
            )
            known = {(row.kind, row.item): row.amount for row in rows_known}
            wanted = {(kind, item): amount for kind, item, amount in claims}
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
        """Keep what a run measured, at most one point per pool."""
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
            "at": self._clock(),
            "kind": kind,
            "detail": dict(detail),
        }
        connection.execute(insert(schema.events), event)
