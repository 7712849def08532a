"""Keeps the marks of surplus disks in the journal: makes them, and clears those of disks that are not surplus any more.

What is due is left to ``planning.marks``; showing marks and a person's objections to ``cli.marks``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from datetime import datetime

from reconciler.apply.context import RunContext
from reconciler.apply.marks import marks_of
from reconciler.journal.records import Mark, MarkKey, NewMark, PoolKey
from reconciler.model import Manifest, Target
from reconciler.planner import connected
from reconciler.planning.drift import decided, is_being_changed
from reconciler.planning.marks import surplus, with_marks
from reconciler.planning.permissions import grace_words
from reconciler.planning.plan import Plan, PoolPlan, Service
from reconciler.render.line import count
from reconciler.render.words import disk_words
from reconciler.values import replace


def keep_marks(plan: Plan, manifest: Manifest | None, ctx: RunContext) -> Plan:
    """Mark what is surplus in a plan, and clear marks of what is not; returns the plan with their times.

    ``manifest``: what is declared in full, so that marks of pools that have left it are cleared; None where only a
    part is known, as from a saved plan. A run about some of the pools clears none of the others either.
    """
    if manifest and manifest.selection:  # the pools that this run is not about are declared all the same
        manifest = None
    failed = {str(each.target) for each in plan.failures}
    # Two profiles may lead to one project: what one of them declares has not left the manifests of the other.
    seen: dict[str, Service] = {str(each.target): each for each in plan.services}
    _begin_anew(seen, ctx)
    for target, service in seen.items():
        pools = [pool for pool in plan.pools if str(pool.target) == target]
        known = ctx.journal.marks(target, service.name)
        gone = set(_settled(known, pools))
        if manifest and target not in failed:
            gone |= set(_left(known, pools, service.target, ctx))
        new = list(_new(known, pools, PoolKey(target, service.name, "")))
        if gone or new:
            made = ctx.journal.keep_marks(ctx.run_id, new, sorted(gone), _service_time(target, ctx))
            _tell(made, ctx)
    if manifest and ctx.shard.number == 1:
        _forget_targets(manifest, seen.keys() | failed, ctx)
    return with_marks(plan, marks_of(ctx.journal, plan.services))


def _begin_anew(targets: Iterable[str], ctx: RunContext) -> None:
    """Let every mark begin anew in a journal that was restored, and say so."""
    times = [time for each in targets if (time := _service_time(each, ctx))]
    anew = ctx.journal.begin_marks_anew(ctx.run_id, max(times, default=None))
    if anew:
        ctx.log(
            "Warning: this journal seems to be restored from a backup, or copied from another place, and nobody knows "
            f"whether its {count(len(anew), 'mark')} held all the time. So their grace begins again now, and people "
            "are notified again. Whoever objected since the backup must do so again: reconciler marks extend POOL/DISK "
            "--until DATE"
        )


def _new(known: Iterable[Mark], pools: Iterable[PoolPlan], place: PoolKey) -> Iterator[NewMark]:
    """The surplus disks whose mark is to be made, or to follow a pool's new name, grace or size."""
    there = {each.key: each for each in known}
    for pool in pools:
        if not (pool.grace and _trusted(pool)) or pool.live is None:
            continue
        going = surplus(pool)
        shapes = {disk.id: disk_words(disk) for disk in pool.live.disks if disk.id in going}
        for disk in sorted(going):
            key = MarkKey(replace(place, pool_id=pool.live.id), disk)
            mark, new = there.get(key), NewMark(key, pool.label, pool.grace, shapes.get(disk, ""))
            if mark is None or (mark.pool_name, mark.grace, mark.shape) != new[1:]:
                yield new


def _settled(known: Iterable[Mark], pools: Iterable[PoolPlan]) -> Iterator[MarkKey]:
    """The marks of disks that are wanted again, or gone."""
    going = {pool.live.id: surplus(pool) for pool in pools if pool.live and _trusted(pool)}
    return (
        each.key
        for each in known
        if each.key.disk_id not in going.get(each.key.pool.pool_id, {each.key.disk_id})
    )


def _left(
    known: Iterable[Mark], pools: Sequence[PoolPlan], target: Target, ctx: RunContext
) -> Iterator[MarkKey]:
    """The marks of pools that have left the manifests, in this run's share of the pools.

    A pool that the manifests still call by the name or id it had, and that was not found, has not left them.
    """
    found = {pool.live.id for pool in pools if pool.live}
    lost = {name for pool in pools if not pool.live for name in (pool.desired.name, pool.desired.id) if name}
    for each in known:
        pool_id = each.key.pool.pool_id
        if pool_id not in found and not lost & {pool_id, each.pool_name} and ctx.shard.owns(target, pool_id):
            yield each.key


def _forget_targets(manifest: Manifest, seen: Set[str], ctx: RunContext) -> None:
    """Clear the marks of targets that the manifests name and that declare no pool any more."""
    for target in sorted({str(target) for target, _ in manifest.places} - seen):
        if gone := [each.key for each in ctx.journal.marks(target)]:
            ctx.journal.keep_marks(ctx.run_id, [], gone)


def _trusted(pool: PoolPlan) -> bool:
    """Whether the reading says which disks are surplus: not where it is doubtful, or a run is changing the pool."""
    return decided(pool) and not is_being_changed(pool)


def _service_time(target: str, ctx: RunContext) -> datetime | None:
    asked = {str(each.service.target): each.service_time for each in connected(ctx.connections).values()}
    return asked[target]() if target in asked else None


def _tell(made: Iterable[Mark], ctx: RunContext) -> None:
    by_pool: dict[str, list[Mark]] = defaultdict(list)
    for each in made:
        by_pool[each.pool_name].append(each)
    for pool, marks in by_pool.items():
        ctx.log(
            f"{pool}: marked {count(len(marks), 'disk')}; grace {grace_words(marks[0].grace)} begins now, and ends "
            "only in a journal that is kept until then"
        )
