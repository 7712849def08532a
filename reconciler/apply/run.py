"""Runs an approved plan over many pools: one alone first, then several at a time, until the first anomaly.

What happens inside a pool is left to ``pools``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager

from reconciler.apply.alarms import raise_unsent
from reconciler.apply.calls import effects
from reconciler.apply.context import RunContext, TargetContext
from reconciler.apply.events import Phase, PoolMoved, RunBegan, share_of
from reconciler.apply.pools import Task, apply_pool
from reconciler.apply.results import PoolResult, Status
from reconciler.apply.second_check import SecondCheckFailed
from reconciler.errors import JournalError, PoolHeld, ReconcilerError, Refused, StalePlan
from reconciler.model import Target
from reconciler.planning.plan import Plan, PoolPlan

_STATUSES: tuple[tuple[type[ReconcilerError], Status], ...] = (
    (SecondCheckFailed, Status.ALARM),
    (Refused, Status.REFUSED),
    (StalePlan, Status.STALE),
    (PoolHeld, Status.HELD),
    (JournalError, Status.JOURNAL),
)
_BEFORE_ITS_TURN = "not started: the run stopped before its turn"
_GOOD = frozenset({Status.DONE, Status.ACCEPTED})


class Gate:
    """How many pools are worked on at a time.

    A pool that only waits for its second reading makes room for the next one: its job has ended well, and the first
    reading shows the whole effect and nothing else missing. As many as are worked on may wait so, and no more.
    """

    def __init__(self, parallelism: int) -> None:
        self._working = asyncio.Semaphore(parallelism)
        self._places = parallelism

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Callable[[], None]]:
        """Wait for a turn; yields what ends it early, for a pool that waits for its second reading."""
        await self._working.acquire()
        early = False

        def make_room() -> None:
            nonlocal early
            if not early and self._places:
                self._places -= 1
                early = True
                self._working.release()

        try:
            yield make_room
        finally:
            if early:
                self._places += 1
            else:
                self._working.release()


async def run_pools(
    plan: Plan, sites: Mapping[Target, TargetContext], ctx: RunContext
) -> tuple[PoolResult, ...]:
    """Carry out every unblocked pool of an approved plan; every pool with changes gets a result.

    The first pool goes alone, as a canary. After a failure no further pool is started unless ``keep_going``;
    an alarm always stops the run. Never raises for what happened to a pool.
    """
    going = [pool for pool in plan.pools if pool.pending and not pool.blocked]
    blocked = [pool for pool in plan.pools if pool.pending and pool.blocked]
    digest = plan.digest
    gate = Gate(ctx.options.parallelism)

    async def guarded(pool: PoolPlan) -> PoolResult:
        try:
            async with gate.turn() as make_room:
                return await _pool(Task(pool, plan, digest, sites[pool.target], ctx, make_room))
        except asyncio.CancelledError:
            if not ctx.stop.requested:
                raise
            return _result(pool, Status.NOT_STARTED, _BEFORE_ITS_TURN)  # it was still waiting at the gate

    results: list[PoolResult] = []
    ctx.tell(RunBegan(tuple(map(share_of, going))))
    if going:
        results.append(await guarded(going[0]))
        results.extend(await _all(going[1:], guarded, ctx))
    results.extend(_result(pool, Status.REFUSED, "blocked in the plan") for pool in blocked)
    return tuple(results)


async def _all(
    pools: Sequence[PoolPlan],
    guarded: Callable[[PoolPlan], Coroutine[None, None, PoolResult]],
    ctx: RunContext,
) -> list[PoolResult]:
    tasks = [asyncio.ensure_future(guarded(pool)) for pool in pools]
    try:
        # With return_exceptions, gather ends only when every task has ended: no call in flight is orphaned.
        await asyncio.gather(*tasks, return_exceptions=True)
    except asyncio.CancelledError:
        if not ctx.stop.requested:
            raise
    return [task.result() for task in tasks]  # each turned a cancellation into a result


async def _pool(task: Task) -> PoolResult:
    pool, site, ctx = task.pool, task.site, task.ctx
    if ctx.stop.requested or ctx.halt.failed or ctx.halt.alarm:
        return _result(pool, Status.NOT_STARTED, _BEFORE_ITS_TURN)
    ctx.tell(PoolMoved(pool.live.id if pool.live else "", pool.label, Phase.CHECKING))
    try:
        result = await apply_pool(task)
    except asyncio.CancelledError:
        if not ctx.stop.requested:
            raise
        message = "what is still open is listed below as 'in flight'"
        result = _result(pool, Status.INTERRUPTED, message, done=task.progress.done)
    except ReconcilerError as error:
        status = next((each for kind, each in _STATUSES if isinstance(error, kind)), Status.ERROR)
        result = _result(pool, status, error.message, error.hint, task.progress.done)
        if status is Status.ALARM:
            raise_unsent(site.key(result.pool_id), pool.label, error.message, ctx)
    # Set before the gate opens for the next pool, which reads them before its first call.
    ctx.halt.failed |= result.status not in _GOOD and not ctx.options.keep_going
    words, good = f"{result.status.value}: {result.message}", result.status in _GOOD
    ctx.tell(PoolMoved(result.pool_id, pool.label, Phase.ENDED, words, good=good, done=result.done))
    return result


def _result(pool: PoolPlan, status: Status, message: str, hint: str = "", done: int = 0) -> PoolResult:
    pool_id = pool.live.id if pool.live else ""
    return PoolResult(pool.target, pool.label, status, message, hint, done, effects(pool).total(), pool_id)
