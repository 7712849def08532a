"""Turns a planned pool into calls: expand, then remove, then add, with at most ten disks each.

Checking and sending them is left to ``pools`` and ``operation``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from reconciler.journal.states import Step
from reconciler.model import MAX_POOL_DISKS, Action, DesiredDisk, Disk
from reconciler.planning.plan import PoolPlan
from reconciler.workspace import Call

DiskEffect = tuple[Step, str, str, int]
"""Step, disk id (empty for a new disk), type, size in GB."""


def calls(pool: PoolPlan) -> Iterator[Call]:
    """The calls that carry out a pool's plan, in order."""
    if pool.live is None:
        return
    # Remove comes before add: a full pool has no room for the new disk of a replacement.
    for step in (Step.EXPAND, Step.REMOVE, Step.ADD):
        disks = _disks(pool, step)
        for start in range(0, len(disks), MAX_POOL_DISKS):
            yield Call(step, pool.live.id, disks[start : start + MAX_POOL_DISKS], pool.desired.apply_to)


def effects(pool: PoolPlan) -> Counter[DiskEffect]:
    """What carrying out the plan does, disk by disk, as a multiset: new disks have no id to tell them apart."""
    return Counter(effect for call in calls(pool) for effect in call_effects(call))


def call_effects(call: Call) -> Iterator[DiskEffect]:
    """What one call does, disk by disk."""
    for disk in call.disks:
        yield (call.step, disk.id, disk.type, disk.size)


def _disks(pool: PoolPlan, step: Step) -> tuple[Disk, ...]:
    found: list[Disk] = []
    for change in pool.pending:
        match step, change.action:
            case (Step.REMOVE, Action.REMOVE | Action.REPLACE) if change.live:
                found.append(change.live)
            case (Step.EXPAND, Action.EXPAND) if change.live and change.desired:
                # The live disk's id and type with the new size: that is how the request names it.
                found.append(Disk(change.live.id, change.live.type, change.desired.size))
            case (Step.ADD, Action.ADD | Action.REPLACE) if change.desired:
                found.append(_new(change.desired))
    return tuple(found)


def _new(wanted: DesiredDisk) -> Disk:
    return Disk("", wanted.type, wanted.size, wanted.iops, wanted.throughput, wanted.kms_id)
