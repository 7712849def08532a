"""Owns what became of the disks: read again until the effect is seen twice, or say what is seen.

A job's word is never enough: the disks decide. One reading is not enough either: a service may answer
from an old copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.apply.context import RunContext, TargetContext
from reconciler.apply.polling import delay, is_transient
from reconciler.errors import ServiceError
from reconciler.journal.records import Intent, Step
from reconciler.model import ABSENT_DISKS, Disk, Pool

NEEDED = 2
"""Complete readings in a row that must agree."""
CONTRADICTING = 60.0
"""Seconds beyond the deadline after which readings that keep contradicting each other are given up."""


@dataclass(frozen=True, slots=True)
class Effect:
    """How much of an operation is visible."""

    done: int
    total: int
    lost: tuple[str, ...] = ()
    """Ids that had to survive and are not there: an alarm."""
    pool_gone: bool = False
    contradictory: bool = False
    """True when no two readings in a row agreed: nothing is known."""

    @property
    def complete(self) -> bool:
        """True when all of it is there and nothing else is missing."""
        return self.done == self.total and not self.alarming

    @property
    def alarming(self) -> bool:
        """True when something vanished that nobody planned."""
        return bool(self.lost) or self.pool_gone


def effect(intent: Intent, disks: Sequence[Disk]) -> Effect:
    """Compare what an operation set out to do with the disks of one reading; pure."""
    live = {disk.id: disk for disk in disks}
    lost = tuple(sorted(set(intent.keep) - live.keys()))
    total = len(intent.disks)
    match intent.step:
        case Step.REMOVE:
            done = sum(disk_id not in live for disk_id, _, _ in intent.disks)
        case Step.EXPAND:
            done = sum(disk_id in live and live[disk_id].size >= size for disk_id, _, size in intent.disks)
            lost += tuple(sorted(disk_id for disk_id, _, _ in intent.disks if disk_id not in live))
        case Step.ADD:
            new = Counter((disk.type, disk.size) for disk in disks if disk.id not in intent.keep)
            wanted = Counter((kind, size) for _, kind, size in intent.disks)
            done = (new & wanted).total()
    return Effect(done, total, lost)


async def observe(intent: Intent, site: TargetContext, ctx: RunContext, patience: float) -> Effect:
    """Read until the effect, or an alarm, is seen in two readings in a row, or for ``patience`` seconds.

    Returns what two readings in a row agreed on; keeps the lease alive. Raises ``ServiceError`` when the
    service cannot be read, and ``PoolHeld`` when another run has taken the operation over.
    """
    deadline = ctx.clock.monotonic() + patience
    seen: Effect | None = None
    agreeing = 0
    due = ctx.clock.monotonic()
    polls = 0
    while True:
        now_seen = await _seen(intent, site, due, insist=ctx.clock.monotonic() < deadline)
        ctx.journal.renew_lease(intent.operation_id, ctx.run_id, ctx.options.lease)
        if now_seen is not None:
            agreeing = agreeing + 1 if now_seen == seen else 1
            seen = now_seen
            if agreeing >= NEEDED and (seen.complete or seen.alarming):
                return seen
        moment = ctx.clock.monotonic()
        if moment >= deadline and seen is not None and agreeing >= NEEDED:
            return seen
        if moment >= deadline + CONTRADICTING:
            return Effect(0, len(intent.disks), contradictory=True)
        due = moment + delay(polls)
        polls += 1


async def _seen(intent: Intent, site: TargetContext, due: float, *, insist: bool) -> Effect | None:
    """What one reading shows; None when it is doubtful, or failed while there is time for another."""
    try:
        return await _read(intent, site, due)
    except ServiceError as error:
        if insist and is_transient(error):
            return None
        raise


async def _read(intent: Intent, site: TargetContext, due: float) -> Effect | None:
    """What one complete reading shows; None when it is doubtful."""
    pools = await site.pools.after(due)
    pool = next((each for each in pools if each.id == intent.pool.pool_id), None)
    if pool is None:
        return Effect(0, len(intent.disks), pool_gone=True)
    if ABSENT_DISKS in pool.doubts:
        pool = await _settled(site, pool)
    return None if pool.doubts else effect(intent, pool.disks)


async def _settled(site: TargetContext, pool: Pool) -> Pool:
    """Only the detail call can say whether a list entry without disks means none."""
    return (await site.workspace.pool(pool.id)).pool
