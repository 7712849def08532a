"""Makes findings of operations that are open in the journal, and the exit code of a plan that they block.

Finding out how such an operation ended is left to ``resolution``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from reconciler.errors import ExitCode
from reconciler.journal.records import DAMAGED_HINT, Alarm, Journal, Operation
from reconciler.planner import Holds
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.plan import Plan, Service

HELD = "pool-held"
"""The rule of an operation that its run still works on."""
UNRESOLVED = "unresolved-operation"
"""The rule of an operation that no run works on, and whose end nobody knows."""
DAMAGED = "journal-damaged"
"""The rule of a pool of which the journal has a record that is not as it was written."""
ALARM = "pool-alarm"
"""The rule of a pool in which something was lost that had to stay."""


def hold(rule: str, operation: Operation, message: str, hint: str) -> Finding:
    """The finding that keeps a pool closed while an operation on it is open."""
    return Finding(
        rule=rule,
        message=f"operation {operation.id} of run {operation.intent.run_id} is not resolved: {message}",
        pool=operation.intent.pool_name,
        source=f"the journal, opened {operation.opened:%Y-%m-%d %H:%M:%S} UTC",
        allow=hint,
    )


def recorded_holds(journal: Journal, services: Sequence[Service], now: datetime) -> Holds:
    """What keeps pools closed by the journal alone; nothing is asked, taken over or written."""
    open_ones = {
        (operation.intent.pool.target, operation.intent.pool.pool_id): _recorded(operation, now)
        for service in services
        for operation in journal.unresolved(str(service.target), service.name)
    }
    return open_ones | standing_holds(journal, services)


def standing_holds(journal: Journal, services: Iterable[Service]) -> dict[tuple[str, str], Finding]:
    """What no run can end: damaged records and alarms keep their pools closed until a person decides."""
    services = list(services)
    return damaged_holds(journal, services) | alarm_holds(journal, services)


def damaged_holds(journal: Journal, services: Iterable[Service]) -> dict[tuple[str, str], Finding]:
    """The pools of which the journal has a record that cannot be trusted; all others go on."""
    return {
        (str(service.target), each.pool.pool_id): Finding(
            rule=DAMAGED,
            message=each.message,
            pool=each.pool_name,
            source="the journal",
            allow=DAMAGED_HINT,
        )
        for service in services
        for each in journal.damaged(str(service.target), service.name)
    }


def open_alarms(journal: Journal, services: Iterable[Service]) -> tuple[Alarm, ...]:
    """The alarms of these targets that no person has closed yet."""
    return tuple(each for service in services for each in journal.alarms(str(service.target), service.name))


def alarm_holds(journal: Journal, services: Iterable[Service]) -> dict[tuple[str, str], Finding]:
    """What keeps a pool closed in which something was lost, until a person has looked at it."""
    return {
        (each.pool.target, each.pool.pool_id): Finding(
            rule=ALARM,
            message=f"run {each.run_id} raised an alarm: {each.message}",
            pool=each.pool_name,
            source=f"the journal, {each.at:%Y-%m-%d %H:%M:%S} UTC",
            allow=f"look at the pool in the console, then: reconciler resolve --acknowledge {each.pool.pool_id}",
        )
        for each in open_alarms(journal, services)
    }


def blocked_code(plan: Plan) -> ExitCode:
    """The exit code of a blocked plan: a pool held by another run differs from one that a guard refused."""
    rules = [
        {each.rule for each in pool.findings if each.severity is Severity.BLOCK}
        for pool in plan.pools
        if pool.blocked
    ]
    if any(UNRESOLVED in each for each in rules):
        return ExitCode.UNKNOWN
    held = not plan.run_blocked and all(HELD in each for each in rules)
    return ExitCode.HELD if held else ExitCode.REFUSED


def _recorded(operation: Operation, now: datetime) -> Finding:
    until = f"{operation.lease_until:%Y-%m-%d %H:%M:%S} UTC"
    if operation.lease_until > now:
        return hold(
            HELD,
            operation,
            f"it is {operation.state}, and run {operation.owner} holds the pool until {until}",
            "wait for that run, or for that time: from then on reconciler resolve can find out how it ended",
        )
    return hold(
        UNRESOLVED,
        operation,
        f"it is {operation.state}, and since {until} no run works on it",
        "reconciler resolve finds out how it ended, and so does the next apply",
    )
