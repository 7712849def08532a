"""Enforces the two rules that keep runs apart: one open operation per pool, and one writer per operation.

Both are conditions inside SQL statements, so they hold between processes and machines. Transactions are left
to ``store``, the unique index behind the first rule to ``schema``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Insert, Row, Select, bindparam, select, update

from reconciler.errors import JournalError, PoolHeld
from reconciler.journal import rows
from reconciler.journal.checksum import STATE, state_sum
from reconciler.journal.records import (
    DAMAGED_HINT,
    DamagedOperation,
    Intent,
    Operation,
    PoolKey,
    StaleGeneration,
)
from reconciler.journal.schema import given, matching, operations, pools

# Built once: composing a statement takes longer than SQLite needs to run it.
_the_pool = matching(pools, "target", "service", "pool_id")
_GENERATION = select(pools.c.generation).where(*_the_pool)
_COUNT_UP = update(pools).where(*_the_pool).values(generation=pools.c.generation + 1)
# Fails for a run whose reading is older than another run's operation, even if that operation is closed by now:
# the unique index alone would let it act on a pool that has changed since it was read.
_COUNT_UP_IF_SAME = _COUNT_UP.where(pools.c.generation == bindparam("expected"))
_ONE = select(operations).where(operations.c.id == bindparam("operation_id"))
# Locked, so that the checksum is computed from the row that the UPDATE after it changes.
_STATE_TO_CHANGE = (
    select(*(operations.c[name] for name in (*STATE, "state_sum")))
    .where(operations.c.id == bindparam("operation_id"))
    .with_for_update()
)
_OF_POOL = select(operations).where(*matching(operations, "target", "service", "pool_id"))
_OPEN = update(operations).where(operations.c.id == bindparam("operation_id"), operations.c.closed.is_(None))
_OWNED = _OPEN.where(operations.c.owner == bindparam("by_owner"))
# A run may take over what it owns already, so that a retried take-over does not wait for its own lease.
_FREE = _OPEN.where(
    (operations.c.lease_until <= bindparam("now")) | (operations.c.owner == bindparam("by_owner"))
)


def generation(connection: Connection, pool: PoolKey) -> int:
    """How often an operation on the pool has been opened or closed."""
    return connection.scalar(_GENERATION, _at(pool)) or 0


def hold(
    connection: Connection, new_pool: Insert, new_operation: Insert, intent: Intent, values: Mapping[str, Any]
) -> None:
    """Open an operation, or raise ``PoolHeld`` or ``StaleGeneration``; the inserts skip taken keys.

    Raises ``JournalError`` when a row of the pool is damaged or lost.
    """
    pool = rows.pool_values(intent.pool)
    connection.execute(new_pool, pool | {"generation": 0})
    # The pool's row is locked first, here and in ``release``: with one order there is no deadlock.
    same = connection.execute(_COUNT_UP_IF_SAME, _at(intent.pool) | {"expected": intent.generation})
    # The caller's transaction is rolled back when this raises, and with it the new count.
    found = judge(connection, _OF_POOL, _at(intent.pool))
    if broken := [each for each in found if isinstance(each, DamagedOperation)]:
        raise JournalError(broken[0].message, DAMAGED_HINT)
    if same.rowcount == 0 or connection.execute(new_operation, rows.summed(values)).rowcount == 0:
        raise _conflict(connection, intent)
    # Opening and closing each count one up, so an odd number means that an operation is open. If the unique index
    # let this one in all the same, the row of the open one is gone, or names another pool by now.
    if intent.generation % 2:
        raise JournalError(
            f"the journal has lost the open operation of pool {intent.pool_name} ({intent.pool.pool_id})",
            DAMAGED_HINT,
        )


def release(connection: Connection, operation_id: str, owner: str, values: Mapping[str, Any]) -> None:
    """Close an operation that this owner holds, and count its pool's generation up."""
    # Counted up on closing too: a run that read the pool while the operation was open saw it half changed.
    connection.execute(_COUNT_UP, _at(find(connection, operation_id).intent.pool))
    write(connection, operation_id, owner, values)


def write(connection: Connection, operation_id: str, owner: str, values: Mapping[str, Any]) -> None:
    """Change an open operation of this owner; else raise ``PoolHeld``."""
    # The owner is checked inside the UPDATE: a run that was suspended past its lease must not overwrite what
    # the run that took over has written, and checking first would leave a gap between check and write.
    fenced = {"operation_id": operation_id, "by_owner": owner}
    if connection.execute(_OWNED, fenced | _resummed(connection, operation_id, values)).rowcount == 0:
        raise _refusal(find(connection, operation_id))


def seize(
    connection: Connection, operation_id: str, owner: str, now: datetime, lease_until: datetime
) -> None:
    """Make ``owner`` the owner of an open operation if it is already or the lease has expired; else ``PoolHeld``."""
    # One conditional UPDATE: of two runs that see the lease expire at once, only one changes the row.
    free = {"operation_id": operation_id, "by_owner": owner, "now": now}
    values = _resummed(connection, operation_id, {"owner": owner, "lease_until": lease_until})
    if connection.execute(_FREE, free | values).rowcount == 0:
        raise _refusal(find(connection, operation_id))


def replace_damaged(connection: Connection, operation_id: str, values: Mapping[str, Any]) -> Operation:
    """Put these values in the place of a damaged row, all others become NULL, and free the pool that it names."""
    broken = next(iter(judge(connection, _ONE, {"operation_id": operation_id})), None)
    if not isinstance(broken, DamagedOperation):
        raise JournalError(f"the journal has no damaged record of an operation {operation_id}")
    named = rows.pool_values(broken.pool) | {"id": operation_id, "pool_name": broken.pool_name}
    empty = {column.name: None for column in operations.c}
    whole = rows.summed(empty | named | dict(values))
    connection.execute(update(operations).where(operations.c.id == operation_id), whole)
    # An odd number means that an operation is open, and this one was the only one that could be.
    if generation(connection, broken.pool) % 2:
        connection.execute(_COUNT_UP, _at(broken.pool))
    return find(connection, operation_id)


def find(connection: Connection, operation_id: str) -> Operation:
    """One operation that must exist and be sound."""
    found = next(iter(judge(connection, _ONE, {"operation_id": operation_id})), None)
    match found:
        case None:
            raise JournalError(
                f"the journal has no operation {operation_id}", "`reconciler history` lists its runs."
            )
        case DamagedOperation():
            raise JournalError(found.message, DAMAGED_HINT)
        case _:
            return found


def judge(
    connection: Connection, query: Select[Any], values: Mapping[str, Any] | None = None
) -> tuple[Operation | DamagedOperation, ...]:
    """The rows of a query over the operations, sound or damaged, in its order."""
    try:
        return tuple(rows.judged(row) for row in connection.execute(query, values or {}))
    except (ValueError, TypeError):
        # One value that cannot be read spoils the whole result, so each row is read by itself.
        names = (operations.c[name] for name in ("id", "target", "service", "pool_id", "pool_name"))
        found = connection.execute(query.with_only_columns(*names), values or {}).all()
        return tuple(_alone(connection, query, row) for row in found)


def _alone(connection: Connection, query: Select[Any], names: Row[Any]) -> Operation | DamagedOperation:
    one = select(*query.selected_columns).where(operations.c.id == names.id)
    try:
        row = connection.execute(one).first()
    except (ValueError, TypeError):
        return rows.damaged(names)
    return rows.damaged(names) if row is None else rows.judged(row)


def _resummed(connection: Connection, operation_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the checksum of the row that they make; raises ``JournalError`` when there is no such row."""
    row = connection.execute(_STATE_TO_CHANGE, {"operation_id": operation_id}).first()
    if row is None:
        find(connection, operation_id)
    elif (known := row._asdict()) and row.state_sum == state_sum(known):
        return dict(values) | {"state_sum": state_sum(known | dict(values))}
    # What is damaged stays so: an outcome must not be lost, but a new checksum would make the damage look sound.
    return dict(values)


def when(time: datetime) -> str:
    """A time in the form used in messages."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC")


def _at(pool: PoolKey) -> dict[str, str]:
    return given(rows.pool_values(pool))


def _conflict(connection: Connection, intent: Intent) -> PoolHeld | StaleGeneration | JournalError:
    """Why no operation could be opened on the pool."""
    # A holder comes first: waiting for it is what helps, and after it the reading is stale anyway.
    for each in judge(connection, _OF_POOL.where(operations.c.closed.is_(None)), _at(intent.pool)):
        if isinstance(each, Operation):
            return _refusal(each)
    taken = connection.execute(_ONE, {"operation_id": intent.operation_id}).first()
    if taken is not None:
        return JournalError(f"the journal already has an operation {intent.operation_id}")
    return StaleGeneration(
        f"another run changed pool {intent.pool_name} ({intent.pool.pool_id}) after this run read it",
        "Nothing was sent for this pool. Plan again.",
    )


def _refusal(operation: Operation) -> PoolHeld:
    """The error that says which run holds the operation, since when, and until when."""
    pool = f"pool {operation.intent.pool_name} ({operation.intent.pool.pool_id})"
    if operation.closed is not None:
        return PoolHeld(
            f"operation {operation.id} on {pool} was closed as {operation.state} "
            f"by run {operation.owner} at {when(operation.closed)}",
            "`reconciler history` shows what was decided; plan again.",
        )
    return PoolHeld(
        f"{pool} is held by run {operation.owner}: operation {operation.id}, open since "
        f"{when(operation.opened)}, is {operation.state}",
        f"Wait for that run. If it is gone, `reconciler resolve` can take over "
        f"from {when(operation.lease_until)} on.",
    )
