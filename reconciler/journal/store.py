"""Stores the journal in SQLite or PostgreSQL: each call of the ``Journal`` protocol is one transaction.

Connections and errors of libraries are left to ``database``, tables to ``schema``, the rules between runs to
``fence``, the meaning of an entry to the caller.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from reconciler.errors import JournalError, StalePlan
from reconciler.journal import announcements, fence, marks, rows, schema, upkeep
from reconciler.journal import budget as day
from reconciler.journal.database import Database, parse, place
from reconciler.journal.records import (
    DAMAGED_HINT,
    Alarm,
    Announcement,
    Approved,
    Claim,
    ClosedBy,
    DamagedOperation,
    DayBudget,
    DayUse,
    DriftPoint,
    GraceRule,
    Intent,
    Journal,
    Mark,
    MarkKey,
    NewAnnouncement,
    NewMark,
    Now,
    Operation,
    Origin,
    PoolKey,
    Pruned,
    Run,
    RunDay,
    RunRecord,
)
from reconciler.journal.states import FINAL, OUTCOMES, Outcome, State, Step
from reconciler.journal.witness import Witness, witness_of
from reconciler.logs import log_fine

_operations = schema.operations


TELL_APART = timedelta(seconds=30)
"""A difference between this machine's clock and the database's from which it is mentioned."""
MOST_APART = timedelta(minutes=5)
"""A difference beyond which nothing is changed: signatures and expiry times of plans go by the machine's clock."""
_MOST_VALUES = 500
"""Values of one IN: SQLite takes no more than some thousands in a statement."""


_LATEST_DRIFTS = """
    SELECT pool.value FROM POOLS AS pool WHERE (
        SELECT point.surplus + point.missing FROM reconciler_drift AS point
        WHERE point.pool_id = pool.value AND point.target = :target AND point.service = :service
        AND point.at >= :since ORDER BY point.at DESC LIMIT 1
    ) > 0
"""
"""Pools whose latest point has drift: one look into an index for each, however many points it has."""


_DRIFTS_SINCE = """
    SELECT pool.value, (
        SELECT min(point.at) FROM reconciler_drift AS point
        WHERE point.pool_id = pool.value AND point.target = :target AND point.service = :service
        AND point.at > COALESCE((
            SELECT max(clean.at) FROM reconciler_drift AS clean
            WHERE clean.pool_id = pool.value AND clean.target = :target AND clean.service = :service
            AND clean.surplus = 0 AND clean.missing = 0
        ), :since)
    ) AS began FROM POOLS AS pool
"""
"""When the drift of each pool began that is going on: its first point after the last clean one."""


def _over_pools(query: str, pools: str) -> sa.TextClause:
    since = sa.bindparam("since", type_=schema.Utc)
    return sa.text(query.replace("POOLS", pools)).bindparams(since)


_ARRAYS = {"sqlite": "json_each(:ids)", "postgresql": "json_array_elements_text(CAST(:ids AS json))"}
_DRIFTING = {each: _over_pools(_LATEST_DRIFTS, pools) for each, pools in _ARRAYS.items()}
_BEGAN = {
    each: _over_pools(_DRIFTS_SINCE, pools).columns(value=schema.Words, began=schema.Utc)
    for each, pools in _ARRAYS.items()
}
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCK = sa.select(sa.func.clock_timestamp(type_=schema.Utc))
# Built once, like those of ``fence``, since every run asks for them.
_POOLS = sa.select(schema.pools.c.pool_id).where(
    *schema.matching(schema.pools, "target", "service"), schema.pools.c.generation > 0
)
_RUN = sa.update(schema.runs).where(*schema.matching(schema.runs, "id"))
_NEW_RUN, _NEW_EVENT = sa.insert(schema.runs), sa.insert(schema.events)


class _Queries:
    """What runs ask of the operations in a journal of one version."""

    def __init__(self, version: int) -> None:
        operations = schema.readable_operations(version)
        here = schema.matching(_operations, "target", "service")
        self.all = operations.order_by(_operations.c.opened, _operations.c.id)
        self.one = operations.where(*schema.matching(_operations, "id"))
        self.of_pool = self.all.where(*here, *schema.matching(_operations, "pool_id"))
        self.not_done = self.all.where(*here, schema.NOT_DONE)
        self.uses = self.all.where(
            *here, _operations.c.opened >= sa.bindparam("since"), _operations.c.id != sa.bindparam("besides")
        )


_queries = cache(_Queries)


@cache
def _open(version: int, *columns: str) -> sa.Select[Any]:
    # Not sorted: for ORDER BY opened SQLite would read all rows in that order instead of the few open ones.
    query = schema.readable_operations(version).where(_operations.c.closed.is_(None))
    return query.where(*schema.matching(_operations, *columns))


@cache
def _alarms(*columns: str) -> sa.Select[Any]:
    table = schema.alarms
    query = sa.select(table).where(table.c.acknowledged.is_(None)).order_by(table.c.at, table.c.id)
    return query.where(*schema.matching(table, *columns))


NOBODY = Origin()
Tell = Callable[[str], None]
"""Receives one line for the user."""
Note = Callable[[str, Mapping[str, Any]], None]
"""Records an event by its kind and detail."""


def open_journal(
    url: str, now: Now, tell: Tell | None = None, *, server_now: Now | None = None, origin: Origin = NOBODY
) -> Journal:
    """Open the journal at a SQLAlchemy URL, creating or migrating it if needed; says when it is new.

    ``origin`` is who starts the runs that it will record. ``server_now`` replaces the clock of a database server.
    Raises ``JournalError`` when the journal cannot be used,
    or its clock and this machine's are too far apart, and ``BadInput`` when the URL itself is wrong.
    """
    database = Database(parse(url))
    with database.closed_on_error():
        # Said only after the transaction: a reader of the output that stalls must not keep the journal locked.
        new = prepare(database)
        if database.warning and tell:
            tell(database.warning)
        if new and tell:
            tell(f"A new journal at {database.where}: no earlier operations are known here.")
        journal = SqlJournal(database, JournalClock(database, now, server_now), origin=origin)
        journal.check_if_due()
        journal.settle()
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


def find_journal(url: str, now: Now, tell: Tell | None = None) -> Journal | None:
    """Open the journal only for reading, or return None when there is none yet.

    Creates, migrates and writes nothing, so a read-only file, or a role that may only SELECT, is enough.
    Raises ``JournalError`` when it cannot be used and ``BadInput`` when the URL itself is wrong.
    """
    database = Database(parse(url), read_only=True)
    with database.closed_on_error():
        if database.warning and tell:
            tell(database.warning)
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
        journal = SqlJournal(database, JournalClock(database, now), version)
        if tell and (doubted := journal.doubted_marks()):
            tell(_doubted(doubted, database.where))
    return journal


def _doubted(number: int, where: str) -> str:
    marked = f"{number} mark{'s'[: number != 1]}"
    return (
        f"Warning: the journal {where} seems to be restored from a backup, or copied from another place, and nobody "
        f"knows whether its {marked} held all the time. So nothing marked is due; the next apply lets the grace begin "
        "again."
    )


def journal_place(url: str) -> str:
    """Where the journal at a URL is, for messages: without secrets."""
    return place(parse(url))


class JournalClock:
    """The clock of leases, expiry and budgets: the database server's, or this machine's for a file."""

    def __init__(self, database: Database, now: Now, server_now: Now | None = None) -> None:
        self._machine = now
        self._server = server_now
        self._shared = not database.sqlite

    def now(self, connection: sa.Connection) -> datetime:
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

    def __init__(
        self,
        database: Database,
        clock: JournalClock,
        version: int = schema.LATEST,
        *,
        origin: Origin = NOBODY,
        witness: Witness | None = None,
    ) -> None:
        self._witness = witness or witness_of(database)
        self._database = database
        self._clock = clock
        self._version = version
        self._origin = origin
        self._queries = _queries(version)
        self._all = self._queries.all
        """The query for every operation, oldest first."""
        self._runs = schema.readable_runs(version)

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
        run: dict[str, Any] = {"id": run_id, "command": command, "tool_version": tool_version}
        run |= {"targets": list(targets), "digest": "", "summary": {}, "policy": ""}
        run |= rows.approved_values(None) | rows.origin_values(self._origin)
        with self._database.write() as connection:
            connection.execute(_NEW_RUN, run | {"started": self._clock.now(connection)})

    def approve_run(self, run_id: str, approved: Approved | None, policy: str) -> None:
        """Record how a run was approved and the policy's digest."""
        with self._database.write() as connection:
            values = rows.approved_values(approved) | {"policy": policy, "at_id": run_id}
            connection.execute(_RUN, values)

    def close_run(self, run_id: str, exit_code: int, digest: str, summary: Mapping[str, Any]) -> None:
        """Record that a run ends now."""
        end = {"exit_code": exit_code, "digest": digest, "summary": dict(summary), "at_id": run_id}
        with self._database.write() as connection:
            ended = {"ended": self._clock.now(connection)}
            connection.execute(_RUN, end | ended)

    def record_event(
        self, run_id: str, kind: str, detail: Mapping[str, Any], operation_id: str | None = None
    ) -> None:
        """Record an event."""
        with self._database.write() as connection:
            self._note(connection, run_id, operation_id, kind, detail)

    def runs(self, limit: int, since: datetime | None = None) -> tuple[Run, ...]:
        """The latest runs, newest first; only those that started at or after a time, if one is given."""
        table = schema.runs
        query = self._runs.order_by(table.c.started.desc(), table.c.id).limit(limit)
        if since is not None:
            query = query.where(table.c.started >= since)
        with self._database.read() as connection:
            return tuple(rows.to_run(row) for row in connection.execute(query))

    def last_started(
        self, commands: Collection[str], targets: Collection[str], besides: str
    ) -> datetime | None:
        """When the latest run of these commands started that had all these targets, leaving out one run."""
        table = schema.runs
        query = (
            sa.select(table.c.started, table.c.targets).order_by(table.c.started.desc()).limit(_MOST_VALUES)
        )
        query = query.where(table.c.command.in_(sorted(commands)), table.c.id != besides)
        with self._database.read() as connection:
            found = connection.execute(query)
            return next((row.started for row in found if set(targets) <= set(row.targets)), None)

    def run_ids(self, since: datetime | None = None) -> tuple[str, ...]:
        """The ids of all those runs, oldest first."""
        table = schema.runs
        query = sa.select(table.c.id).order_by(table.c.started, table.c.id)
        if since is not None:
            query = query.where(table.c.started >= since)
        with self._database.read() as connection:
            return tuple(connection.scalars(query))

    def runs_by_day(self, commands: Collection[str], since: datetime) -> tuple[RunDay, ...]:
        """When runs of these commands started at or after a time: a day with any becomes one row, oldest first."""
        table = schema.runs
        started = table.c.started
        query = (
            sa.select(sa.func.min(started), sa.func.max(started), sa.func.count())
            .where(started >= since, table.c.command.in_(sorted(commands)))
            .group_by(sa.func.date(started))
            .order_by(sa.func.min(started))
        )
        with self._database.read() as connection:
            return tuple(RunDay(*row) for row in connection.execute(query))

    def services(self, run_ids: Collection[str]) -> tuple[str, ...]:
        """The services at which these runs opened operations, in alphabetical order."""
        found: set[str] = set()
        with self._database.read() as connection:
            ids = sorted(run_ids)
            for start in range(0, len(ids), _MOST_VALUES):
                some = ids[start : start + _MOST_VALUES]
                query = sa.select(_operations.c.service).where(_operations.c.run_id.in_(some)).distinct()
                found.update(connection.scalars(query))
        return tuple(sorted(found))

    def run(self, run_id: str) -> RunRecord | None:
        """One run with its operations and events, or None."""
        events = schema.events
        # Opening and taking over each leave an event, so this also finds operations that another run owns by now.
        touched = sa.select(events.c.operation_id).where(events.c.run_id == run_id)
        with self._database.read() as connection:
            found = connection.execute(self._runs.where(schema.runs.c.id == run_id)).first()
            if found is None:
                return None
            known = fence.judge(connection, self._all.where(_operations.c.id.in_(touched)))
            # Another run, or a person, may have decided what became of its operations: that belongs to it too.
            later = {each.owner for each in _sound(known)} - {run_id}
            ids = [each.id for each in _sound(known)]
            theirs = sa.and_(events.c.run_id.in_(later), events.c.operation_id.in_(ids))
            whose = sa.or_(events.c.run_id == run_id, theirs) if later else events.c.run_id == run_id
            own = connection.execute(sa.select(events).where(whose).order_by(events.c.seq))
            return RunRecord(
                run=rows.to_run(found),
                events=tuple(rows.to_event(row) for row in own),
                operations=_sound(known),
                damaged=_damaged(known),
                announcements=announcements.of_run(connection, run_id) if self._has_announcements else (),
            )

    # --- operations -----------------------------------------------------------------------------

    def generation(self, pool: PoolKey) -> int:
        """How often an operation on the pool has been opened or closed."""
        with self._database.read() as connection:
            return fence.generation(connection, pool)

    def open_operation(
        self,
        intent: Intent,
        owner: str,
        lease_seconds: float,
        budget: DayBudget | None = None,
        grace: GraceRule | None = None,
    ) -> Operation:
        """Record the intent and hold the pool, or raise ``PoolHeld``, ``StaleGeneration`` or ``Refused``."""
        new_pool, new_operation = (self._database.insert_new(each) for each in (schema.pools, _operations))
        with self._database.write() as connection:
            if intent.step is Step.REMOVE:
                # Every removal, also one without a budget: else it could be opened between the count and the
                # commit of one that has a budget. Before the time is taken: after a wait it may be another day.
                self._database.take_turn(connection, f"{intent.pool.target} {intent.pool.service}")
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
            if grace and intent.step is Step.REMOVE:
                doubted = self._doubts(connection)
                found = marks.of_pool(connection, intent.pool)
                if doubted:
                    found = {disk: marks.as_of(each, now) for disk, each in found.items()}
                marks.check_due(intent, grace, found, now)
                announcements.check_told(connection, intent, grace, found, now)
            if budget and intent.step is Step.REMOVE:
                # Refusing rolls the new operation back.
                others = self._uses(connection, intent.pool, day.midnight(now), besides=intent.operation_id)
                day.check(intent, budget, others, now)
            self._note(
                connection, owner, intent.operation_id, "operation.opened", {"step": intent.step.value}
            )
        return operation

    def renew_lease(self, operation_id: str, owner: str, lease_seconds: float) -> None:
        """Keep other runs from taking over for that many seconds from now; 0 ends the lease."""
        with self._database.write() as connection:
            lease = {"lease_until": self._clock.now(connection) + timedelta(seconds=lease_seconds)}
            fence.write(connection, operation_id, owner, lease)
        log_fine("journal", "lease renewed", operation=operation_id, owner=owner, lease=lease_seconds)

    def record_outcome(self, operation_id: str, owner: str, outcome: Outcome) -> None:
        """Record the outcome; raises ``PoolHeld`` when another run owns the operation or it is closed."""
        if outcome.state not in OUTCOMES:
            raise ValueError(f"{outcome.state} is not an outcome of a call")
        values = rows.outcome_values(outcome)
        with self._database.write() as connection:
            fence.write(connection, operation_id, owner, values)
            self._note(connection, owner, operation_id, "operation.outcome", values)

    def close_operation(
        self, operation_id: str, owner: str, state: State, verdict: str, *, closed_by: ClosedBy = ClosedBy.RUN
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
            found = fence.judge(connection, self._queries.one, {"at_id": operation_id})
        for broken in _damaged(found):
            raise JournalError(broken.message, DAMAGED_HINT)
        return next(iter(_sound(found)), None)

    def of_pool(self, pool: PoolKey) -> tuple[Operation, ...]:
        """Every sound operation on one pool, oldest first."""
        mine = schema.given(rows.pool_values(pool))
        with self._database.read() as connection:
            return _sound(fence.judge(connection, self._queries.of_pool, mine))

    def pools(self, target: str, service: str) -> frozenset[str]:
        """Ids of the pools of one project on which there ever was an operation."""
        with self._database.read() as connection:
            return frozenset(connection.scalars(_POOLS, schema.given(rows.place_values(target, service))))

    def operations(self, since: datetime) -> tuple[Operation, ...]:
        """All sound operations opened at or after a time, oldest first."""
        return self._fetch(_operations.c.opened >= since)

    def removals(self, since: datetime, most: int) -> tuple[tuple[Operation, ...], int]:
        """The latest sound removals opened at or after a time, newest first; and how many there are beyond them."""
        wanted = (_operations.c.opened >= since, _operations.c.step == Step.REMOVE.value)
        latest = (_operations.c.opened.desc(), _operations.c.id.desc())
        query = self._all.where(*wanted).order_by(None).order_by(*latest).limit(most)
        with self._database.read() as connection:
            found = fence.judge(connection, query)
            number = connection.execute(sa.select(sa.func.count()).where(*wanted)).scalar_one()
        return _sound(found), max(number - len(found), 0)

    def not_done(self, target: str, service: str) -> tuple[Operation, ...]:
        """Sound operations of one project in a state of ``NOT_DONE``, oldest first."""
        with self._database.read() as connection:
            return _sound(
                fence.judge(
                    connection, self._queries.not_done, schema.given(rows.place_values(target, service))
                )
            )

    def unresolved(self, target: str | None = None, service: str | None = None) -> tuple[Operation, ...]:
        """Sound operations not closed yet, oldest first."""
        place = rows.place_values(target, service)
        with self._database.read() as connection:
            found = _sound(fence.judge(connection, _open(self._version, *place), schema.given(place)))
        return tuple(sorted(found, key=lambda each: (each.opened, each.id)))

    def damaged(self, target: str, service: str) -> tuple[DamagedOperation, ...]:
        """Rows of one project that are open or not done and cannot be trusted."""
        here = rows.place_values(target, service)
        with self._database.read() as connection:
            # Two queries, each with an index of its own: one with OR would read the whole table.
            not_done = fence.judge(connection, self._queries.not_done, schema.given(here))
            not_closed = fence.judge(connection, _open(self._version, *here), schema.given(here))
        return tuple(dict.fromkeys(_damaged(not_done) + _damaged(not_closed)))

    def damaged_operation(self, operation_id: str) -> DamagedOperation | None:
        """The row of this id if it cannot be trusted; None when it is sound, or there is none."""
        with self._database.read() as connection:
            found = fence.judge(connection, self._queries.one, {"at_id": operation_id})
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
            unknown = [["(not known)", "", 0]] * day.MOST_DISKS
            values = {
                "run_id": owner,
                "step": Step.REMOVE.value,
                "disks": unknown,
                "disk_count": day.MOST_DISKS,
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

    def _fetch(self, *wanted: sa.ColumnElement[bool] | sa.TextClause) -> tuple[Operation, ...]:
        with self._database.read() as connection:
            return _sound(fence.judge(connection, self._all.where(*wanted)))

    # --- alarms ---------------------------------------------------------------------------------

    def raise_alarm(self, alarm: Alarm) -> bool:
        """Record an alarm; False when one with this id is known, acknowledged or not."""
        with self._database.write() as connection:
            new = connection.execute(self._database.insert_new(schema.alarms), rows.alarm_values(alarm))
            if new.rowcount:
                self._note(connection, alarm.run_id, None, "alarm.raised", {"alarm": alarm.id})
            return new.rowcount == 1

    def alarms(self, target: str | None = None, service: str | None = None) -> tuple[Alarm, ...]:
        """Alarms that nobody has acknowledged, oldest first."""
        if self._version < schema.ALARMS_SINCE:
            return ()
        place = rows.place_values(target, service)
        with self._database.read() as connection:
            found = connection.execute(_alarms(*place), schema.given(place))
            return tuple(rows.to_alarm(row) for row in found)

    def acknowledge(self, alarm_id: str, by: str) -> bool:
        """Record who has looked at an alarm; False when that is recorded already, or there is no such alarm."""
        table = schema.alarms
        with self._database.write() as connection:
            seen = {"acknowledged": self._clock.now(connection), "acknowledged_by": by}
            fresh = sa.update(table).where(table.c.id == alarm_id, table.c.acknowledged.is_(None))
            return connection.execute(fresh, seen).rowcount == 1

    # --- marks ----------------------------------------------------------------------------------

    def marks(
        self, target: str | None = None, service: str | None = None, pool_id: str | None = None
    ) -> tuple[Mark, ...]:
        """Since when disks are surplus, the longest first."""
        if self._version < schema.MARKS_SINCE:
            return ()
        with self._database.read() as connection:
            if not marks.find(connection, target, service, self._version, pool_id):
                return ()
            # In this order: marks that begin anew in between are seen as they are then.
            doubted = self._doubts(connection)
            found = marks.find(connection, target, service, self._version, pool_id)
            now = self._clock.now(connection) if doubted else None
        return tuple(marks.as_of(each, now) for each in found) if now else found

    def doubted_marks(self) -> int:
        """How many marks may have come back with a backup of the journal."""
        if self._version < schema.MARKS_SINCE:
            return 0
        with self._database.read() as connection:
            return marks.number(connection) if self._doubts(connection) else 0

    def _doubts(self, connection: sa.Connection) -> bool:
        """Whether there are marks that nothing outside of the journal's backups vouches for."""
        if marks.number(connection) == 0:
            return False
        return self._version < schema.WITNESS_SINCE or not self._witness.holds(connection)

    def begin_marks_anew(self, run_id: str, service_time: datetime | None = None) -> tuple[Mark, ...]:
        """Let the grace of every mark begin now, where they are doubted."""
        if not self.doubted_marks():
            return ()
        with self._database.write() as connection:
            for place in marks.places(connection):
                self._database.take_turn(connection, " ".join(place))
            if not self._doubts(connection):  # another run was first
                return ()
            now = self._clock.now(connection)
            anew = marks.begin_anew(connection, run_id, max(now, service_time or now))
            self._note(
                connection, run_id, None, marks.RESTORED, {"marks": [marks.words(each.key) for each in anew]}
            )
            self._witness.change(connection)
        self.settle()
        return anew

    def settle(self) -> None:
        """Let nothing but the latest marks be vouched for, also where a run died before it could."""
        if not self._witness.is_settled():
            # In the turn of a writer, since another may be about to commit what is vouched for besides.
            with self._database.write() as connection:
                self._witness.settle(connection)

    def keep_marks(
        self,
        run_id: str,
        surplus: Sequence[NewMark],
        gone: Collection[MarkKey],
        service_time: datetime | None = None,
    ) -> tuple[Mark, ...]:
        """Mark disks that are surplus, and clear marks of those that are not any more."""
        with self._marking(run_id, *gone, *(each.key for each in surplus)) as (connection, note):
            # Taken after the turn: of two runs that mark at once, the first has the earlier time.
            now = self._clock.now(connection)
            since = max(now, service_time or now)
            new = marks.add(connection, self._database.insert_new(schema.marks), run_id, surplus, since)
            cleared = [key for key in gone if marks.delete(connection, key)]
            if new or cleared:
                marked = [marks.words(each.key) for each in new]
                note(marks.KEPT, {"marked": marked, "cleared": list(map(marks.words, cleared))})
        return new

    def clear_mark(self, key: MarkKey, run_id: str, by: str) -> bool:
        """Take a mark away as a person wants."""
        with self._marking(run_id, key) as (connection, note):
            marks.check_not_going(connection, key)
            if found := marks.delete(connection, key):
                note(marks.CLEARED, {"disk": marks.words(key), "by": by})
        return found

    def extend_mark(self, key: MarkKey, run_id: str, by: str, until: datetime) -> bool:
        """Let a disk wait until a time as a person wants, if that is later."""
        with self._marking(run_id, key) as (connection, note):
            marks.check_not_going(connection, key)
            if found := marks.extend(connection, key, by, until):
                note(marks.EXTENDED, {"disk": marks.words(key), "by": by, "until": until.isoformat()})
        return found

    @contextmanager
    def _marking(self, run_id: str, *keys: MarkKey) -> Iterator[tuple[sa.Connection, Note]]:
        """A transaction in the turn of who marks at these places; what it notes is vouched for once it is written."""
        with self._database.write() as connection:
            for place in sorted({f"{key.pool.target} {key.pool.service}" for key in keys}):
                self._database.take_turn(connection, place)
            # What is doubted stays so until it begins anew: it must not be vouched for by what comes after.
            doubted = self._doubts(connection)

            def note(kind: str, detail: Mapping[str, Any]) -> None:
                self._note(connection, run_id, None, kind, detail)
                if not doubted:
                    self._witness.change(connection)

            yield connection, note
        self.settle()

    # --- announcements --------------------------------------------------------------------------

    @property
    def _has_announcements(self) -> bool:
        return self._version >= schema.ANNOUNCEMENTS_SINCE

    def announcements(
        self, target: str | None = None, service: str | None = None
    ) -> tuple[Announcement, ...]:
        """The messages about the marks that there are, oldest first."""
        if not self._has_announcements:
            return ()
        with self._database.read() as connection:
            return announcements.find(connection, target, service)

    def messages(self, pool: PoolKey) -> tuple[Announcement, ...]:
        """Every message about disks of one pool, also about marks that are gone, oldest first."""
        if not self._has_announcements:
            return ()
        with self._database.read() as connection:
            return announcements.of_pool(connection, pool)

    def open_announcement(
        self, new: NewAnnouncement, run_id: str, service_time: datetime | None = None
    ) -> bool:
        """Record that a message is about to be sent; False when it must not be."""
        key = new.mark.key
        # One at a time with whoever marks, clears or extends here, so that the mark stays as it is looked at.
        with self._marking(run_id, key) as (connection, note):
            insert_new = self._database.insert_new(schema.announcements)
            now = self._clock.now(connection)
            begun = max(now, service_time or now)
            if not announcements.begin(connection, insert_new, new, run_id, begun):
                return False
            detail = {
                "id": new.id,
                "disk": marks.words(key),
                "notice": new.notice.value,
                "due": new.due.isoformat(),
                "text": new.text,
            }
            # A backup that does not know the message must not have it sent again about the same mark.
            note(announcements.BEGUN, detail)
        return True

    def record_announcement(self, announcement_id: str, run_id: str, outcome: Outcome) -> None:
        """Record what became of a message."""
        if outcome.state not in OUTCOMES:
            raise ValueError(f"{outcome.state} is not an outcome of a call")
        with self._database.write() as connection:
            if announcements.end(connection, announcement_id, run_id, outcome):
                detail = {"id": announcement_id} | rows.outcome_values(outcome)
                del detail["state"]
                self._note(connection, run_id, None, announcements.ENDED, detail)

    # --- once-only plans and budgets --------------------------------------------------------------

    def check_unclaimed(self, plan_id: str) -> None:
        """Raise ``StalePlan`` when a saved plan has been applied."""
        with self._database.read() as connection:
            first = connection.execute(
                sa.select(schema.plans).where(schema.plans.c.plan_id == plan_id)
            ).first()
        if first:
            raise _applied(first.run_id, first.claimed)

    def claim_plan(self, plan_id: str, run_id: str) -> None:
        """Mark a saved plan as applied; raises ``StalePlan`` for every claim but the first."""
        with self._database.write() as connection:
            claim = {"plan_id": plan_id, "run_id": run_id, "claimed": self._clock.now(connection)}
            # The unique key decides, so that of two runs that apply the same file at once only one continues.
            if connection.execute(self._database.insert_new(schema.plans), claim).rowcount:
                return
            first = connection.execute(sa.select(schema.plans).where(schema.plans.c.plan_id == plan_id)).one()
        raise _applied(first.run_id, first.claimed)

    def removed_since(self, target: str, service: str, since: datetime) -> int:
        """Disks in removals opened since then that took effect, or still may."""
        return sum(each.disks for each in self.uses_since(target, service, since))

    def uses_since(self, target: str, service: str, since: datetime) -> tuple[DayUse, ...]:
        """The same by run, in the order of their first removals."""
        with self._database.read() as connection:
            return self._uses(connection, PoolKey(target, service, ""), since)

    def _uses(
        self, connection: sa.Connection, of: PoolKey, since: datetime, besides: str = ""
    ) -> tuple[DayUse, ...]:
        """What runs have removed of a pool's whole target since then, without one operation."""
        # No upper bound: after a clock was set back, what was opened "tomorrow" counts today as well.
        place = schema.given(rows.place_values(of.target, of.service))
        wanted = place | {"since": since, "besides": besides}
        return day.uses(fence.judge(connection, self._queries.uses, wanted))

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
            # also on PostgreSQL, where transactions would otherwise not see each other's new rows. Its amount
            # is the time of the last claim, from which the group is forgotten some day.
            last = {"amount": int(self._clock.now(connection).timestamp())}
            connection.execute(
                sa.update(table).where(table.c.run_group == group, table.c.kind == "").values(last)
            )
            rows_known = connection.execute(
                sa.select(table).where(table.c.run_group == group, table.c.kind != "")
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
                    connection.execute(sa.update(table).where(*same).values(amount=amount))
        return over

    # --- drift ----------------------------------------------------------------------------------

    def add_drift(self, points: Sequence[DriftPoint]) -> None:
        """Record what a run measured, at most one point per pool."""
        if not points:
            return
        with self._database.write() as connection:
            connection.execute(sa.insert(schema.drift_points), [rows.drift_values(point) for point in points])

    def drift(self, since: datetime) -> tuple[DriftPoint, ...]:
        """Points measured at or after a time, oldest first."""
        table = schema.drift_points
        order = (table.c.at, table.c.run_id, table.c.target, table.c.service, table.c.pool_id)
        with self._database.read() as connection:
            found = connection.execute(sa.select(table).where(table.c.at >= since).order_by(*order))
            return tuple(rows.to_drift(row) for row in found)

    def drift_changes(self, since: datetime, memory: timedelta) -> tuple[DriftPoint, ...]:
        """Those of the points without which a chart would differ."""
        table = schema.drift_points
        wanted = (table.c.at >= since, table.c.at)
        with self._database.read() as connection:
            if not self._database.sqlite:
                query = sa.select(table).where(wanted[0]).order_by(wanted[1])
                return rows.changes(connection.execution_options(yield_per=1000).execute(query), memory)
            # Bytes instead of texts and times, and the driver's own rows: with a million of them all else is slow.
            columns = (
                each if isinstance(each.type, sa.Integer) else sa.cast(each, sa.LargeBinary)
                for each in table.c
            )
            raw: Any = connection.execute(sa.select(*columns).where(wanted[0]).order_by(wanted[1])).cursor
            return rows.changes(raw, memory)

    def drifting(self, pools: Collection[PoolKey], since: datetime) -> frozenset[PoolKey]:
        """The pools whose latest point was measured at or after a time, and had surplus or missing disks."""
        return frozenset(key for key, _ in self._of_pools(_DRIFTING, pools, since))

    def drifting_since(self, pools: Collection[PoolKey]) -> Mapping[PoolKey, datetime]:
        """The first point of each pool after its last one without surplus and missing disks, where there is one."""
        return {key: began for key, (began,) in self._of_pools(_BEGAN, pools, _EVER) if began is not None}

    def _of_pools(
        self, queries: Mapping[str, Any], pools: Iterable[PoolKey], since: datetime
    ) -> Iterator[tuple[PoolKey, Sequence[Any]]]:
        """What a query says of pools; one query for each service, whatever the number of its pools."""
        by_service: dict[tuple[str, str], list[str]] = defaultdict(list)
        for each in pools:
            by_service[each.target, each.service].append(each.pool_id)
        query = queries["sqlite" if self._database.sqlite else "postgresql"]
        with self._database.read() as connection:
            for (target, service), ids in by_service.items():
                values = {"ids": json.dumps(ids), "target": target, "service": service, "since": since}
                for pool_id, *found in connection.execute(query, values):
                    yield PoolKey(target, service, pool_id), found

    # --- upkeep ---------------------------------------------------------------------------------

    def check(self) -> None:
        """Read the whole journal once; raises ``JournalError`` when it is damaged."""
        with self._database.read() as connection:  # an older version may lack some
            known = sa.inspect(connection)
            tables = [each for each in schema.metadata.sorted_tables if known.has_table(each.name)]
        for table in tables:
            # A transaction for each: between two of them whoever waits to write gets his turn.
            with self._database.read() as connection:
                self._database.check_table(connection, table)

    def check_if_due(self) -> None:
        """The same once a day, for a file that is too large to be checked whenever it is opened."""
        if not self._database.is_large():
            return
        now = self.now()
        with self._database.read() as connection:
            if not upkeep.is_due(connection, now):
                return
        self.check()
        with self._database.write() as connection:
            upkeep.note(connection, upkeep.CHECKED, now)

    def tidy(self, keep: timedelta | None) -> None:
        """Thin old drift points and prune what is older than ``keep``, a bounded step of each."""
        with self._database.write() as connection:
            now = self._clock.now(connection)
            upkeep.thin(connection, now)
            if keep is not None:
                upkeep.prune(connection, now - keep, now)

    def prune(self, older_than: timedelta) -> Pruned:
        """Delete all runs, operations and drift points that are older and needed no more."""
        total = Pruned()
        while True:  # a step at a time, so that no other run waits for long
            with self._database.write() as connection:
                now = self._clock.now(connection)
                thinned = Pruned(points=upkeep.thin(connection, now))
                step = upkeep.prune(connection, now - older_than, now) + thinned
            total += step
            if not step:
                return total

    def _note(
        self,
        connection: sa.Connection,
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
        log_fine("journal", kind, operation=operation_id)
        connection.execute(_NEW_EVENT, event)


def _sound(found: Iterable[Operation | DamagedOperation]) -> tuple[Operation, ...]:
    return tuple(each for each in found if isinstance(each, Operation))


def _damaged(found: Iterable[Operation | DamagedOperation]) -> tuple[DamagedOperation, ...]:
    return tuple(each for each in found if isinstance(each, DamagedOperation))


def _applied(run_id: str, claimed: datetime) -> StalePlan:
    return StalePlan(
        f"this plan was applied by run {run_id} at {fence.when(claimed)}",
        "A plan can be applied only once. Plan again and review the new plan.",
    )
