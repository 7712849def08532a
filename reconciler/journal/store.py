"""Stores the journal in SQLite or PostgreSQL: each call of the ``Journal`` protocol is one transaction.

Connections and errors of libraries are left to ``database``, tables to ``schema``, the rules between runs to
``fence``, the meaning of an entry to the caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, TextClause, and_, func, insert, or_, select, update

from reconciler.errors import JournalError, StalePlan
from reconciler.journal import fence, rows, schema
from reconciler.journal.database import Database, parse, place
from reconciler.journal.records import (
    DAMAGED_HINT,
    FINAL,
    NOT_APPLIED,
    OUTCOMES,
    Claim,
    ClosedBy,
    DamagedOperation,
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


MOST_DISKS = 10
"""Disks that a pool can have (reference, limits of the service), so the most that a damaged removal can mean."""
TELL_APART = timedelta(seconds=30)
"""A difference between this machine's clock and the database's from which it is mentioned."""
MOST_APART = timedelta(minutes=5)
"""A difference beyond which nothing is changed: signatures and expiry times of plans go by the machine's clock."""
_CLOCK = select(func.clock_timestamp(type_=schema.Utc))
Tell = Callable[[str], None]
"""Receives one line for the user."""


def open_journal(url: str, now: Now, tell: Tell | None = None, *, server_now: Now | None = None) -> Journal:
    """Open the journal at a SQLAlchemy URL, creating or migrating it if needed; says when it is new.

    ``server_now`` replaces the clock of a database server. Raises ``JournalError`` when the journal cannot be used,
    or its clock and this machine's are too far apart, and ``BadInput`` when the URL itself is wrong.
    """
    database = Database(parse(url))
    with database.closed_on_error():
        # Said only after the transaction: a reader of the output that stalls must not keep the journal locked.
        if prepare(database) and tell:
            tell(f"A new journal at {database.where}: no earlier operations are known here.")
        journal = SqlJournal(database, JournalClock(database, now, server_now))
        apart = journal.apart()
        if abs(apart) > TELL_APART and tell:
            tell(_clocks_apart(apart))
    return journal


def prepare(database: Database) -> bool:
    """Create the journal in a database, or check and migrate the one that is there; True when it was created."""
    database.create_file()
    with database.write() as connection:
        database.verify(connection)
        return schema.prepare(connection, database.where)


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
    return SqlJournal(database, JournalClock(database, now), version)


def journal_place(url: str) -> str:
    """Where the journal at a URL is, for messages: without secrets."""
    return place(parse(url))


class JournalClock:
    """The clock of leases, expiry and budgets: the database server's, or this machine's for a file."""

    def __init__(self, database: Database, now: Now, server_now: Now | None = None) -> None:
        self._machine = now
        self._server = server_now
        self._shared = not database.sqlite

    def now(self, connection: Connection) -> datetime:
        """The time, in the transaction that uses it."""
        if not self._shared:
            return self._machine()
        # Asked for each time: an offset measured once would be wrong after this machine's clock was set, or
        # after it was suspended. Not now(), which stands still during a transaction that waits for a lock.
        return self._server() if self._server else connection.execute(_CLOCK).scalar_one()

    def apart(self, now: datetime) -> timedelta:
        """How far that time is ahead of this machine's; raises ``JournalError`` beyond ``MOST_APART``."""
        apart = now - self._machine()
        if abs(apart) > MOST_APART:
            raise JournalError(
                f"{_clocks_apart(apart)} Nothing is changed while they are more than 5 minutes apart",
                f"Set the clock of this machine (now {fence.when(self._machine())}) "
                f"or of the database server (now {fence.when(now)}).",
            )
        return apart


def _clocks_apart(apart: timedelta) -> str:
    side = "behind" if apart > timedelta(0) else "ahead of"
    seconds = abs(apart).total_seconds()
    return f"The clock of this machine is {seconds:.0f} s {side} that of the journal's database."


class SqlJournal(Journal):
    """The journal in an SQL database."""

    def __init__(self, database: Database, clock: JournalClock, version: int = schema.LATEST) -> None:
        self._database = database
        self._clock = clock
        self._all = schema.readable_operations(version).order_by(_operations.c.opened, _operations.c.id)
        """The query for every operation, oldest first."""

    def close(self) -> None:
        """Close the file or the connection."""
        self._database.close()

    def now(self) -> datetime:
        """The time by the journal's clock."""
        with self._database.read() as connection:
            return self._clock.now(connection)

    def apart(self) -> timedelta:
        """How far the journal's clock is ahead of this machine's; raises ``JournalError`` when it is too far."""
        with self._database.read() as connection:
            return self._clock.apart(self._clock.now(connection))

    # --- runs and events ------------------------------------------------------------------------

    def open_run(self, run_id: str, command: str, tool_version: str, targets: Sequence[str]) -> None:
        """Record that a run starts now."""
        run = {
            "id": run_id,
            "command": command,
            "tool_version": tool_version,
            "targets": list(targets),
            "digest": "",
            "summary": {},
        }
        with self._database.write() as connection:
            connection.execute(insert(schema.runs), run | {"started": self._clock.now(connection)})

    def close_run(self, run_id: str, exit_code: int, digest: str, summary: Mapping[str, Any]) -> None:
        """Record that a run ends now."""
        end = {"exit_code": exit_code, "digest": digest, "summary": dict(summary)}
        with self._database.write() as connection:
            ended = {"ended": self._clock.now(connection)}
            connection.execute(update(schema.runs).where(schema.runs.c.id == run_id), end | ended)

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
            known = fence.judge(connection, self._all.where(_operations.c.id.in_(touched)))
            # Another run, or a person, may have decided what became of its operations: that belongs to it too.
            later = {each.owner for each in _sound(known)} - {run_id}
            ids = [each.id for each in _sound(known)]
            theirs = and_(events.c.run_id.in_(later), events.c.operation_id.in_(ids))
            whose = or_(events.c.run_id == run_id, theirs) if later else events.c.run_id == run_id
            own = connection.execute(select(events).where(whose).order_by(events.c.seq))
            return RunRecord(
                run=rows.to_run(found),
                events=tuple(rows.to_event(row) for row in own),
                operations=_sound(known),
                damaged=_damaged(known),
            )

    # --- operations -----------------------------------------------------------------------------

    def generation(self, pool: PoolKey) -> int:
        """How often an operation on the pool has been opened or closed."""
        with self._database.read() as connection:
            return fence.generation(connection, pool)

    def open_operation(self, intent: Intent, owner: str, lease_seconds: float) -> Operation:
        """Record the intent and hold the pool, or raise ``PoolHeld`` or ``StaleGeneration``."""
        new_pool, new_operation = (self._database.insert_new(each) for each in (schema.pools, _operations))
        with self._database.write() as connection:
            now = self._clock.now(connection)
            # Again, after the check on opening: a suspended machine may wake up with another time.
            self._clock.apart(now)
            until = now + timedelta(seconds=lease_seconds)
            operation = Operation(intent, State.INTENDED, None, owner, until, now)
            values = rows.intent_values(intent) | {
                "state": operation.state.value,
                "owner": owner,
                "lease_until": until,
                "opened": now,
                "verdict": "",
            }
            fence.hold(connection, new_pool, new_operation, intent, values)
            self._note(
                connection, owner, intent.operation_id, "operation.opened", {"step": intent.step.value}
            )
        return operation

    def renew_lease(self, operation_id: str, owner: str, lease_seconds: float) -> None:
        """Keep other runs from taking over for that many seconds from now; 0 ends the lease."""
        with self._database.write() as connection:
            lease = {"lease_until": self._clock.now(connection) + timedelta(seconds=lease_seconds)}
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
            fence.release(connection, operation_id, owner, end | {"closed": self._clock.now(connection)})
            self._note(connection, owner, operation_id, "operation.closed", end)

    def take_over(self, operation_id: str, owner: str, lease_seconds: float) -> Operation:
        """Become, or stay, the owner of an operation whose lease has expired; else raise ``PoolHeld``."""
        with self._database.write() as connection:
            before = fence.find(connection, operation_id)
            now = self._clock.now(connection)
            fence.seize(connection, operation_id, owner, now, now + timedelta(seconds=lease_seconds))
            self._note(connection, owner, operation_id, "operation.taken_over", {"from": before.owner})
            return fence.find(connection, operation_id)

    def operation(self, operation_id: str) -> Operation | None:
        """One operation, or None; raises ``JournalError`` when its row is damaged."""
        with self._database.read() as connection:
            found = fence.judge(connection, self._all.where(_operations.c.id == operation_id))
        for broken in _damaged(found):
            raise JournalError(broken.message, DAMAGED_HINT)
        return next(iter(_sound(found)), None)

    def of_pool(self, pool: PoolKey) -> tuple[Operation, ...]:
        """Every sound operation on one pool, oldest first."""
        mine = rows.pool_values(pool)
        return self._fetch(*(_operations.c[name] == value for name, value in mine.items()))

    def pools(self, target: str, service: str) -> frozenset[str]:
        """Ids of the pools of one project on which there ever was an operation."""
        table = schema.pools
        mine = (table.c.target == target, table.c.service == service, table.c.generation > 0)
        with self._database.read() as connection:
            return frozenset(connection.scalars(select(table.c.pool_id).where(*mine)))

    def operations(self, since: datetime) -> tuple[Operation, ...]:
        """All sound operations opened at or after a time, oldest first."""
        return self._fetch(_operations.c.opened >= since)

    def not_done(self, target: str, service: str) -> tuple[Operation, ...]:
        """Sound operations of one project in a state of ``NOT_DONE``, oldest first."""
        return self._fetch(_operations.c.target == target, _operations.c.service == service, schema.NOT_DONE)

    def unresolved(self, target: str | None = None, service: str | None = None) -> tuple[Operation, ...]:
        """Sound operations not closed yet, oldest first."""
        wanted: list[ColumnElement[bool]] = [_operations.c.closed.is_(None)]
        if target is not None:
            wanted.append(_operations.c.target == target)
        if service is not None:
            wanted.append(_operations.c.service == service)
        # Sorted here: for ORDER BY opened SQLite would read all rows in that order instead of the few open ones.
        query = self._all.where(*wanted).order_by(None)
        with self._database.read() as connection:
            found = _sound(fence.judge(connection, query))
        return tuple(sorted(found, key=lambda each: (each.opened, each.id)))

    def damaged(self, target: str, service: str) -> tuple[DamagedOperation, ...]:
        """Rows of one project that are open or not done and cannot be trusted."""
        here = (_operations.c.target == target, _operations.c.service == service)
        with self._database.read() as connection:
            # Two queries, each with an index of its own: one with OR would read the whole table.
            not_done = fence.judge(connection, self._all.where(*here, schema.NOT_DONE))
            not_closed = fence.judge(connection, self._all.where(*here, _operations.c.closed.is_(None)))
        return tuple(dict.fromkeys(_damaged(not_done) + _damaged(not_closed)))

    def damaged_operation(self, operation_id: str) -> DamagedOperation | None:
        """The row of this id if it cannot be trusted; None when it is sound, or there is none."""
        with self._database.read() as connection:
            found = fence.judge(connection, self._all.where(_operations.c.id == operation_id))
        return next(iter(_damaged(found)), None)

    def every_damaged(self) -> tuple[DamagedOperation, ...]:
        """As ``damaged``, of every project."""
        with self._database.read() as connection:
            not_done = fence.judge(connection, self._all.where(schema.NOT_DONE))
            not_closed = fence.judge(connection, self._all.where(_operations.c.closed.is_(None)))
        return tuple(dict.fromkeys(_damaged(not_done) + _damaged(not_closed)))

    def close_damaged(self, operation_id: str, owner: str, state: State, verdict: str) -> Operation:
        """Replace a damaged row by one that says only what a person decided, and free its pool."""
        if state not in FINAL:
            raise ValueError(f"an operation cannot be closed as {state}")
        with self._database.write() as connection:
            now = self._clock.now(connection)
            # Nothing of the row is kept but whose it is. For the budgets of this day it is as much as can be.
            unknown = [["(not known)", "", 0]] * MOST_DISKS
            values = {
                "run_id": owner,
                "step": Step.REMOVE.value,
                "disks": unknown,
                "disk_count": MOST_DISKS,
                "keep": [],
                "baseline_jobs": [],
                "generation": 0,
                "signed_at": now,
                "plan_digest": "",
                "copies": [],
                "opened": now,
                "state": state.value,
                "owner": owner,
                "lease_until": now,
                "closed": now,
                "closed_by": ClosedBy.PERSON.value,
                "verdict": verdict,
            }
            operation = fence.replace_damaged(connection, operation_id, values)
            self._note(connection, owner, operation_id, "operation.closed", {"state": state.value})
        return operation

    def _fetch(self, *wanted: ColumnElement[bool] | TextClause) -> tuple[Operation, ...]:
        with self._database.read() as connection:
            return _sound(fence.judge(connection, self._all.where(*wanted)))

    # --- once-only plans and budgets --------------------------------------------------------------

    def check_unclaimed(self, plan_id: str) -> None:
        """Raise ``StalePlan`` when a saved plan has been applied."""
        with self._database.read() as connection:
            first = connection.execute(select(schema.plans).where(schema.plans.c.plan_id == plan_id)).first()
        if first:
            raise _applied(first.run_id, first.claimed)

    def claim_plan(self, plan_id: str, run_id: str) -> None:
        """Mark a saved plan as applied; raises ``StalePlan`` for every claim but the first."""
        with self._database.write() as connection:
            claim = {"plan_id": plan_id, "run_id": run_id, "claimed": self._clock.now(connection)}
            # The unique key decides, so that of two runs that apply the same file at once only one continues.
            if connection.execute(self._database.insert_new(schema.plans), claim).rowcount:
                return
            first = connection.execute(select(schema.plans).where(schema.plans.c.plan_id == plan_id)).one()
        raise _applied(first.run_id, first.claimed)

    def removed_since(self, target: str, service: str, since: datetime) -> int:
        """Disks in removals opened since then that took effect, or still may."""
        # Open and unknown ones count too: the budget may only err towards fewer removals.
        wanted = self._all.where(
            _operations.c.target == target,
            _operations.c.service == service,
            _operations.c.opened >= since,
        )
        with self._database.read() as connection:
            found = fence.judge(connection, wanted)
        removals = [each for each in _sound(found) if each.intent.step is Step.REMOVE]
        counted = sum(len(each.intent.disks) for each in removals if each.state not in NOT_APPLIED)
        return counted + MOST_DISKS * len(_damaged(found))

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
            "at": self._clock.now(connection),
            "kind": kind,
            "detail": dict(detail),
        }
        connection.execute(insert(schema.events), event)


def _sound(found: Iterable[Operation | DamagedOperation]) -> tuple[Operation, ...]:
    return tuple(each for each in found if isinstance(each, Operation))


def _damaged(found: Iterable[Operation | DamagedOperation]) -> tuple[DamagedOperation, ...]:
    return tuple(each for each in found if isinstance(each, DamagedOperation))


def _applied(run_id: str, claimed: datetime) -> StalePlan:
    return StalePlan(
        f"this plan was applied by run {run_id} at {fence.when(claimed)}",
        "A plan can be applied only once. Plan again and review the new plan.",
    )
