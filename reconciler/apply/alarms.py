"""Records alarms, each once: what had to stay is gone, so the pool waits for a person.

What is an alarm is left to ``operation`` and ``second_check``, holding pools to ``engine.holds``.
"""

from __future__ import annotations

from reconciler.apply.context import RunContext
from reconciler.errors import JournalError
from reconciler.journal.records import Alarm, Intent, PoolKey


def raise_for(intent: Intent, message: str, ctx: RunContext) -> None:
    """Record the alarm of an operation, and stop the pools of this run where it was not known before.

    One that an earlier run has seen holds its own pool back and nothing else.
    """
    _raise(intent.operation_id, intent.pool, intent.pool_name, message, ctx)


def raise_unsent(pool: PoolKey, pool_name: str, message: str, ctx: RunContext) -> None:
    """Record an alarm for which nothing was sent, and stop the pools of this run."""
    _raise(f"{ctx.run_id}/{pool.pool_id}", pool, pool_name, message, ctx)


def _raise(alarm_id: str, pool: PoolKey, pool_name: str, message: str, ctx: RunContext) -> None:
    try:
        alarm = Alarm(alarm_id, ctx.run_id, pool, pool_name, ctx.journal.now(), message)
        ctx.halt.alarm |= ctx.journal.raise_alarm(alarm)
    except JournalError as error:
        ctx.halt.alarm = True
        ctx.log(f"{pool_name}: the journal could not record the alarm: {error.message}")
