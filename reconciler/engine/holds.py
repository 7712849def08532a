"""Makes findings of operations that are open in the journal, and the exit code of a plan that they block.

Finding out how such an operation ended is left to ``resolution``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from reconciler.errors import ExitCode
from reconciler.journal.records import Journal, Operation
from reconciler.planner import Holds
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.plan import Plan, Service

HELD = "pool-held"
"""The rule of an operation that its run still works on."""
UNRESOLVED = "unresolved-operation"
"""The rule of an operation that no run works on, and whose end nobody knows."""


def hold(rule: str, operation: Operation, message: str, hint: str) -> Finding:
    """The finding that keeps a pool closed while an operation on it is open."""
    return Finding(
        rule=rule,
        message=f"operation {operation.id} of run {operation.intent.run_id} is not resolved: {message}",
        pool=operation.intent.pool_name,
        source=f"the journal, opened {operation.opened:%Y-%m-%d %H:%M:%S} UTC",
        allow=hint,
    )


def recorded_holds(journal: Journal, services: Iterable[Service], now: datetime) -> Holds:
    """What keeps pools closed by the journal alone; nothing is asked, taken over or written."""
    return {
        (operation.intent.pool.target, operation.intent.pool.pool_id): _recorded(operation, now)
        for service in services
        for operation in journal.unresolved(str(service.target), service.name)
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
