"""Resolves the operations that earlier runs left open; those that stay open hold their pools.

How one operation is decided is left to ``apply.resolve``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress

from reconciler.apply.context import RunContext, TargetContext
from reconciler.apply.decision import DECIDED, Decision, decide
from reconciler.apply.events import Phase, PoolMoved
from reconciler.apply.resolve import resolve, still_open
from reconciler.apply.results import Resolution, Result, Status
from reconciler.engine.holds import HELD, UNRESOLVED, alarm_holds, damaged_holds, hold
from reconciler.errors import BadInput, JournalError, PoolHeld, Refused, ServiceError
from reconciler.journal.records import DamagedOperation, Operation
from reconciler.model import Target
from reconciler.planner import Holds, connected
from reconciler.planning.finding import Finding


async def resolve_all(
    ctx: RunContext, sites: Mapping[Target, TargetContext], only: Collection[str] = ()
) -> tuple[tuple[Resolution, ...], Holds]:
    """Resolve every open operation of the connected targets; what stays open holds its pool.

    ``only``: names or ids of pools; when there are any, operations of other pools are left alone.

    Works on several at a time, since each may have to wait for its job.
    """
    gate = asyncio.Semaphore(ctx.options.parallelism)

    async def one(operation: Operation, site: TargetContext) -> Resolution | PoolHeld:
        async with gate:
            try:
                found = await resolve(operation, site, ctx)
                state = "resolved" if found.resolved else "still open"
                said = found.result
                pool = operation.intent.pool.pool_id, operation.intent.pool_name
                words = f"{state}: {said.status}: {said.message}"
                ctx.tell(PoolMoved(*pool, Phase.ENDED, words, good=found.resolved, done=said.done))
                return found
            except PoolHeld as held:
                return held
            except ServiceError as error:
                return still_open(operation, f"it could not be resolved: {error.message}")
            finally:
                let_go(operation, ctx)

    found = [each for each in open_operations(ctx) if concerns(each[1], only)]
    # An unexpected exception is raised only after all others have ended, so that none is left half resolved.
    ended = await asyncio.gather(
        *(one(operation, sites[target]) for target, operation in found), return_exceptions=True
    )
    resolutions: list[Resolution] = []
    holds: dict[tuple[str, str], Finding] = {}
    for (target, operation), result in zip(found, ended, strict=True):
        key = (str(target), operation.intent.pool.pool_id)
        if isinstance(result, PoolHeld):
            holds[key] = hold(HELD, operation, result.message, result.hint)
        elif isinstance(result, BaseException):
            raise result
        else:
            resolutions.append(result)
            if not result.resolved:
                found_out = result.result
                holds[key] = hold(UNRESOLVED, operation, found_out.message, found_out.hint)
    return tuple(resolutions), {**holds, **_standing(ctx)}


def open_operation(operation_id: str, ctx: RunContext) -> Operation:
    """The open operation with this id; raises ``BadInput`` when there is none."""
    operation = ctx.journal.operation(operation_id)
    if operation is None or operation.closed is not None:
        raise BadInput(
            f"there is no open operation {operation_id}", "reconciler resolve lists the open operations"
        )
    return operation


async def accept(operation: Operation, decision: Decision, unread: str, ctx: RunContext) -> Resolution:
    """Close an open operation as a person decided, against a reading of its own target.

    ``unread``: why that target could not be opened; empty when it is among the connections.
    """
    pool = operation.intent.pool
    site: TargetContext | str = unread
    for target, found in target_contexts(ctx).items():
        if str(target) == pool.target:
            # The same ids at another service mean another pool, which says nothing about this one.
            other = f"this is the service {found.service.name}, the operation was sent to {pool.service}"
            site = found if found.service.name == pool.service else other
    try:
        return await decide(operation, decision, site, ctx)
    finally:
        let_go(operation, ctx)


def accept_damaged(broken: DamagedOperation, decision: Decision, ctx: RunContext) -> Resolution:
    """Close a damaged record as a person decided, who has to say it twice: there is nothing to check it against."""
    unknown = (
        "what its record says of disks, request, job and result cannot be trusted, so nothing was checked, and until "
        "when its request can arrive is not known"
    )
    if not decision.despite_evidence:
        raise Refused(
            f"{broken.message}: {unknown}",
            "check the disks and tasks of the pool in the console, and that its last call is 30 minutes ago; "
            "then add --despite-evidence",
        )
    word = decision.state.value.replace("_", "-")
    verdict = f"a person decided: {word} (by {decision.by}; the record was damaged: {unknown})"
    detail = {"decision": decision.state.value, "by": decision.by, "reading": "nothing", "against": [unknown]}
    ctx.journal.record_event(ctx.run_id, DECIDED, detail, broken.id)
    operation = ctx.journal.close_damaged(broken.id, ctx.run_id, decision.state, verdict)
    return Resolution(operation, resolved=True, result=Result(Status.DONE, verdict))


def concerns(operation: Operation, pools: Collection[str]) -> bool:
    """Whether the operation is on one of these pools, given by name or id; on any when none is given."""
    return not pools or bool({operation.intent.pool_name, operation.intent.pool.pool_id} & set(pools))


def target_contexts(ctx: RunContext) -> dict[Target, TargetContext]:
    """One context per connected target."""
    return {target: TargetContext.of(each, ctx.clock) for target, each in connected(ctx.connections).items()}


def open_operations(ctx: RunContext) -> list[tuple[Target, Operation]]:
    """The operations that any run left open on the connected targets."""
    return [
        (target, operation)
        for target, connection in connected(ctx.connections).items()
        for operation in ctx.journal.unresolved(str(target), connection.service.name)
    ]


def _standing(ctx: RunContext) -> Holds:
    """What keeps pools closed until a person decides; each damaged record is said."""
    services = [each.service for each in connected(ctx.connections).values()]
    damaged = damaged_holds(ctx.journal, services)
    for each in damaged.values():
        ctx.log(f"{each.pool}: {each.message}")
    return damaged | alarm_holds(ctx.journal, services)


def let_go(operation: Operation, ctx: RunContext) -> None:
    """End this run's lease, so that the next run can take the operation over without waiting for it to expire."""
    with suppress(PoolHeld, JournalError):  # it is closed, or another run holds it by now
        ctx.journal.renew_lease(operation.id, ctx.run_id, 0.0)
