"""When the people of a pool are notified of a disk that waits for the end of its grace, and of which disks they are.

Pure. Sending is left to ``engine.announcements``, what may be removed without a message to ``policy``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from reconciler.model import Action, Notice, Policy
from reconciler.planning.change import DESTROYING, Change, Heard, Told, Waits, is_carried_out
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.guards import pool_checks
from reconciler.planning.plan import BACKUP, TRANSIENT_RULES, PoolPlan
from reconciler.planning.policy import REQUIRE, judge_pool
from reconciler.values import replace

BEFORE = timedelta(days=1)
"""How long before a disk is due its people are reminded."""
LEAST = timedelta(days=2)
"""A disk that waits for less is announced once: the two messages would come within a day of each other."""


def notice(told: Sequence[Told], waits: Waits, now: datetime) -> Notice | None:
    """Which message is to be sent now, by the earlier of two clocks; None: none.

    What nobody got may be sent again, and nothing else. The first message is about the mark, so it is sent once
    however the date moves. A reminder is about a date: whoever heard of the third and reads nothing of the tenth
    would lose what is there in between unawares, so each new date (a person let the disk wait, or its grace was
    changed) has a reminder of its own, once, a day before it. It is left out where a message has named that very
    date within the day before it: that would be the same news twice.
    """
    if waits.since is None or waits.due is None or now >= waits.due:
        return None  # what is due can go at any moment, so a date would be no news any more
    got = [each for each in told if each.heard is not Heard.REFUSED]
    if not any(each.notice is Notice.MARKED for each in got):
        return Notice.MARKED
    last_day = waits.due - BEFORE
    if waits.due - waits.since < LEAST or now < last_day:
        return None
    # A reminder is itself such a message: it is sent on the last day, by the earlier clock, and dated by the later.
    if any(each.due == waits.due and each.at >= last_day for each in got):
        return None
    return Notice.REMINDER


def going(pool: PoolPlan, manage: frozenset[Action]) -> tuple[Change, ...]:
    """The changes that destroy a disk of this pool once it is due, where ``manage`` carries them out."""
    return tuple(
        each
        for each in pool.changes
        if each.action in DESTROYING and each.live and each.live.id and is_carried_out(each.action, manage)
    )


def obstacle(pool: PoolPlan, manage: frozenset[Action], obeyed: Policy | None) -> Finding | None:
    """What would keep the pool's disks from going if they were due now, other than what comes and goes.

    Nobody is notified of the end of a disk that is protected, or that another guard will keep.
    """
    marked = going(pool, manage)
    changes = tuple(
        replace(each, carried_out=True, waits=None) if each in marked else each for each in pool.changes
    )
    due = replace(pool, desired=replace(pool.desired, manage=manage), changes=changes, findings=())
    found = (*pool_checks(due), *judge_pool(due, obeyed).findings)
    # Nor does it matter yet whether there are backups: those that count on that day are not made yet.
    passing = TRANSIENT_RULES | {REQUIRE, BACKUP}
    return next(
        (each for each in found if each.severity is Severity.BLOCK and each.rule not in passing), None
    )
