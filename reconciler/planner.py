"""Owns the one way to compute a plan: read, match, count, guard. ``plan``, ``apply`` and ``drift`` share it.

Reading is left to ``live``, deciding to ``plan`` and ``guard``; this module only puts them in order.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from reconciler import __version__
from reconciler.errors import ReadingDoubtful, ServiceError
from reconciler.model import DesiredPool, Desktop, Limits, Manifest, Pool, Shard, Target
from reconciler.planning.draft import draft, needs_desktops
from reconciler.planning.finding import Finding
from reconciler.planning.guards import judge, judge_pool
from reconciler.planning.inconsistent_desktops import InconsistentDesktops, inconsistent_desktop
from reconciler.planning.plan import Plan, PoolPlan, Service, TargetFailure
from reconciler.planning.suggestion import with_nearest_names
from reconciler.workspace import ABSENT_DISKS, Workspace

DESKTOP_READS = 8
"""Pools whose desktops are read at the same time, per target."""


SIGNATURE_LIFETIME = 1800.0
"""A signature is valid for 15 minutes around the service's clock (documented); as much again covers a
machine whose own clock is off by what the service still accepts."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One target, ready to be asked."""

    service: Service
    workspace: Workspace
    request_lifetime: float | None = SIGNATURE_LIFETIME
    """Seconds after its signature until which a request can be accepted; None when nothing bounds it."""


@dataclass(frozen=True, slots=True)
class PlanMetadata:
    """What makes a plan one particular plan; made by the caller, since planning knows no clock."""

    id: str
    created: datetime
    lifetime: timedelta
    shard: Shard = field(default_factory=Shard)
    """The share of the pools that is planned; the others are read with the list and left out."""


Connections = Mapping[Target, Connection | TargetFailure]
Holds = Mapping[tuple[str, str], Finding]
"""What keeps a pool closed, by target (as text) and pool id: operations that are not resolved."""


async def compute(
    manifest: Manifest,
    limits: Limits,
    connections: Connections,
    stamp: PlanMetadata,
    holds: Holds | None = None,
) -> Plan:
    """Plan every declared pool of every target.

    A target that fails becomes a ``TargetFailure`` and does not stop the others; when it is the only
    one its error is raised.
    """
    declared: dict[Target, list[DesiredPool]] = defaultdict(list)
    for pool in manifest.pools:
        declared[pool.target].append(pool)
    targets = sorted(declared)
    planned = await asyncio.gather(
        *(_target(declared[target], connections[target], stamp.shard) for target in targets),
        return_exceptions=True,
    )
    pools: list[PoolPlan] = []
    failures: list[TargetFailure] = []
    for target, result in zip(targets, planned, strict=True):
        if isinstance(result, ServiceError) and len(targets) > 1:
            failures.append(TargetFailure(target, result.message, result.hint, int(result.exit_code)))
        elif isinstance(result, BaseException):
            raise result
        elif isinstance(result, TargetFailure):
            failures.append(result)
        else:
            pools.extend(result)
    judged, findings = judge([_held(pool, holds or {}) for pool in pools], limits)
    return Plan(
        id=stamp.id,
        services=tuple(
            connection.service
            for target in targets
            if isinstance(connection := connections[target], Connection)
        ),
        pools=judged,
        limits=limits,
        created=stamp.created,
        expires=stamp.created + stamp.lifetime,
        tool_version=__version__,
        sources=manifest.sources,
        findings=findings,
        failures=tuple(failures),
    )


async def with_inconsistent_desktops(plan: Plan, connections: Connections) -> Plan:
    """The same plan, with the desktops that differ from their pool; reads only, and decides nothing.

    Raises ``ServiceError`` when a target cannot be read completely.
    """
    gates = {target: asyncio.Semaphore(DESKTOP_READS) for target in connections}
    pools = await asyncio.gather(*(_with_inconsistent(pool, connections, gates) for pool in plan.pools))
    return replace(plan, pools=tuple(pools))


async def plan_pool(desired: DesiredPool, live: Pool, workspace: Workspace) -> PoolPlan:
    """Plan one pool from a reading of it, counting its desktops when it loses a disk."""
    pool = draft(desired, live)
    if needs_desktops(pool):
        pool = draft(desired, live, await workspace.desktops(live.id))
    return judge_pool(pool)


def _held(pool: PoolPlan, holds: Holds) -> PoolPlan:
    if not holds or pool.live is None:
        return pool
    hold = holds.get((str(pool.target), pool.live.id))
    return replace(pool, findings=(*pool.findings, hold)) if hold else pool


async def _target(
    declared: Sequence[DesiredPool], connection: Connection | TargetFailure, shard: Shard
) -> list[PoolPlan] | TargetFailure:
    if isinstance(connection, TargetFailure):
        return connection
    workspace = connection.workspace
    pools = await workspace.pools()
    by_id = {pool.id: pool for pool in pools}
    by_name: dict[str, list[Pool]] = defaultdict(list)
    for pool in pools:
        by_name[pool.name].append(pool)
    gate = asyncio.Semaphore(DESKTOP_READS)
    planned: list[PoolPlan] = []
    waiting: list[tuple[int, PoolPlan]] = []
    taken: dict[str, DesiredPool] = {}
    for desired in declared:
        found = _locate(desired, by_id, by_name)
        # By the live id: two entries that mean the same pool must meet in one shard to be found out.
        if not shard.owns(desired.target, desired.label if isinstance(found, Finding) else found.id):
            continue
        if isinstance(found, Finding):
            planned.append(PoolPlan(desired=desired, findings=(found,)))
            continue
        if (first := taken.setdefault(found.id, desired)) is not desired:
            planned.append(PoolPlan(desired=desired, live=None, findings=(_twice(desired, first, found),)))
            continue
        if ABSENT_DISKS in found.doubts:
            found = await _agree_on_absent(found, workspace)
        pool_plan = draft(desired, found)
        if needs_desktops(pool_plan):
            waiting.append((len(planned), pool_plan))
        planned.append(pool_plan)
    read = await asyncio.gather(*(_desktops(each.live, workspace, gate) for _, each in waiting if each.live))
    for (index, pool_plan), desktops in zip(waiting, read, strict=True):
        if pool_plan.live:
            planned[index] = draft(pool_plan.desired, pool_plan.live, desktops)
    planned = with_nearest_names(planned, by_name)
    return [_name_pin_holders(each, pools) for each in planned]


async def _desktops(pool: Pool, workspace: Workspace, gate: asyncio.Semaphore) -> tuple[Desktop, ...]:
    async with gate:
        return await workspace.desktops(pool.id)


async def _with_inconsistent(
    pool: PoolPlan, connections: Connections, gates: Mapping[Target, asyncio.Semaphore]
) -> PoolPlan:
    connection, live = connections[pool.target], pool.live
    if live is None or not isinstance(connection, Connection):
        return pool
    async with gates[pool.target]:
        found = await connection.workspace.differing(live.id)
    desktops = tuple(inconsistent_desktop(live.disks, desktop) for desktop in found.desktops)
    return replace(pool, inconsistent=InconsistentDesktops(found.by_number, found.by_size, desktops))


async def _agree_on_absent(pool: Pool, workspace: Workspace) -> Pool:
    """A list entry without ``data_volumes`` is an empty pool only if the detail call agrees."""
    detail = await workspace.pool(pool.id)
    if detail.pool.disks:
        raise ReadingDoubtful(
            f"the list says pool {pool.name} has no disks, its detail says {len(detail.pool.disks)}",
            "the service contradicts itself; plan again in a minute",
        )
    return detail.pool


def _locate(
    desired: DesiredPool, by_id: Mapping[str, Pool], by_name: Mapping[str, list[Pool]]
) -> Pool | Finding:
    named = by_name.get(desired.name, []) if desired.name else []
    if desired.id:
        found = by_id.get(desired.id)
        if found is None:
            return _missing(desired, f"no pool has the id {desired.id}")
        if desired.name and found.name != desired.name:
            return _missing(
                desired,
                f"id {desired.id} is the pool {found.name!r}, but the manifest calls it {desired.name!r}",
                "correct the name or the id; both must name the same pool",
            )
        return found
    if not named:
        return _missing(desired, f"no pool has the name {desired.name!r}")
    if len(named) > 1:
        ids = ", ".join(sorted(pool.id for pool in named))
        return _missing(
            desired,
            f"{len(named)} pools have the name {desired.name!r}: {ids}",
            "write the id of the one that is meant beside the name",
            rule="pool-ambiguous",
        )
    return named[0]


def _missing(desired: DesiredPool, message: str, allow: str = "", rule: str = "pool-not-found") -> Finding:
    return Finding(
        rule=rule,
        message=message,
        pool=desired.label,
        source=str(desired.at),
        allow=allow or "correct the name, or drop the entry to stop managing that pool",
    )


def _twice(desired: DesiredPool, first: DesiredPool, live: Pool) -> Finding:
    return Finding(
        rule="pool-declared-twice",
        message=f"pool {live.name} ({live.id}) is already declared at {first.at}",
        pool=desired.label,
        source=str(desired.at),
        allow="declare each pool once",
    )


def _name_pin_holders(pool: PoolPlan, pools: Iterable[Pool]) -> PoolPlan:
    """Say which pool has the pinned disk when this one does not."""
    if not any(each.rule == "pin-not-live" for each in pool.findings):
        return pool
    pinned = {disk.id for disk in pool.desired.disks if disk.id}
    holders = {
        disk.id: other.name
        for other in pools
        for disk in other.disks
        if disk.id in pinned and (pool.live is None or other.id != pool.live.id)
    }
    return replace(
        pool,
        findings=tuple(
            replace(each, message=f"{each.message}; pool {holder!r} has it")
            if (holder := next((name for pin, name in holders.items() if pin in each.message), None))
            and each.rule == "pin-not-live"
            else each
            for each in pool.findings
        ),
    )
