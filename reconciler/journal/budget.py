"""Counts what removals use of a day's budget: the operations opened on that UTC day are the count, there is no other.

So nothing is booked before an operation is opened, and nothing has to be given back: an operation that certainly
changed nothing is not counted any more once it is closed. Reading the operations, and the lock under which
they are counted, are left to ``store``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from reconciler.errors import Refused
from reconciler.journal.records import DamagedOperation, DayBudget, DayUse, Intent, Operation
from reconciler.journal.states import NOT_APPLIED, Step

MOST_DISKS = 10
"""Disks that a pool can have (reference, limits of the service), so the most that a damaged removal can mean."""
SHOWN = 5
"""How many runs a refusal names."""


def midnight(now: datetime) -> datetime:
    """When the UTC day of this time began."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def uses(found: Iterable[Operation | DamagedOperation]) -> tuple[DayUse, ...]:
    """What removals among the operations took effect, or still may, by run."""
    by_run: dict[str, DayUse] = {}
    for each in found:
        if isinstance(each, DamagedOperation):
            who = f"operation {each.id}, whose record is damaged"
            by_run[who] = DayUse(who, MOST_DISKS, None)
        # Open and unknown ones count too: the budget may only err towards fewer removals.
        elif each.intent.step is Step.REMOVE and each.state not in NOT_APPLIED:
            who = f"run {each.intent.run_id}"
            before = by_run.get(who, DayUse(who, 0, each.opened))
            by_run[who] = before._replace(disks=before.disks + len(each.intent.disks))
    return tuple(by_run.values())


def words(used: Sequence[DayUse]) -> str:
    """Who used how much, and since when."""
    more = f" and {len(used) - SHOWN} more" if len(used) > SHOWN else ""
    return "; ".join(map(str, used[:SHOWN])) + more


def check(intent: Intent, budget: DayBudget, others: Sequence[DayUse], now: datetime) -> None:
    """Raise ``Refused`` when the day has no room for this removal beside the others."""
    used, wanted = sum(each.disks for each in others), len(intent.disks)
    if used + wanted <= budget.disks:
        return
    by = f" (by {words(others)})" if others else ""
    raise Refused(
        f"the {wanted} disks of pool {intent.pool_name} would exceed the {budget.disks} disks that the policy of "
        f"{intent.pool.target} allows on {now.astimezone(UTC):%Y-%m-%d} UTC ({budget.source}): "
        f"{used} are used{by}; nothing was sent for this pool",
        "wait for 00:00 UTC, raise disks_per_day, or apply by hand",
    )
