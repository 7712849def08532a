"""The steps of an apply: resolve, plan, get approval, carry out, plan again.

Prompts and printing are left to ``cli``; each step to the package named after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

from reconciler import __version__
from reconciler.apply.context import Halt, Options, RunContext
from reconciler.apply.group import claim
from reconciler.apply.results import ApplyReport, PoolResult, Resolution, Status, live_pool, worst
from reconciler.apply.run import run_pools
from reconciler.clock import Clock
from reconciler.engine.acting import identities, record_identities
from reconciler.engine.announcements import announce
from reconciler.engine.holds import blocked_code
from reconciler.engine.known import known_of
from reconciler.engine.marks import keep_marks
from reconciler.engine.resolution import let_go, open_operations, resolve_all, target_contexts
from reconciler.errors import ExitCode, JournalError, Refused, ServiceError, StalePlan
from reconciler.journal.records import PLAN_APPROVED, Approved, DayBudget, Operation
from reconciler.model import Limits, Manifest, Target
from reconciler.planner import DEFAULT_LIFETIME, Known, compute
from reconciler.planning import policy
from reconciler.planning.marks import waiting_in
from reconciler.planning.plan import Plan
from reconciler.planning.plan_file import document
from reconciler.values import Struct, field, replace

Approve = Callable[[Plan], Awaitable[Approved | None]]
"""Returns how the plan was approved, as far as the journal keeps it; raises ``Refused`` or ``StalePlan`` if not."""


class ApplyRequest(Struct, frozen=True):
    """What to apply, and how."""

    manifest: Manifest
    limits: Limits
    approve: Approve
    options: Options = field(default_factory=Options)
    lifetime: timedelta = DEFAULT_LIFETIME
    command: str = "apply"
    """What the journal calls the run."""
    saved_plan: Plan | None = None
    """Set when a saved plan is applied; the journal lets it be claimed only once."""
    budgets: Mapping[Target, DayBudget] = field(default_factory=dict)
    """How many disks of each target may go in one UTC day; none for what a person approves."""
    mark_only: bool = False
    """True: mark what is surplus, and remove nothing."""


def check_fresh(plan: Plan, clock: Clock) -> None:
    """Raise ``StalePlan`` when a saved plan has expired."""
    if clock.now() >= plan.expires:
        raise StalePlan(
            f"the plan expired at {plan.expires:%Y-%m-%d %H:%M:%S} UTC",
            "make a new plan and have it approved; --plan-ttl sets how long a plan is valid",
        )


async def apply(request: ApplyRequest, run: RunContext) -> ApplyReport:
    """Resolve what earlier runs left open, plan, get approval, carry the plan out, and plan again.

    Raises only before anything is sent; from the first call on, errors are part of the report.
    """
    # A halt of its own: what ended badly in an earlier run of this process stops nothing in this one.
    ctx = replace(run, run_id=run.new_id(), options=request.options, budgets=request.budgets, halt=Halt())
    targets = [str(target) for target in request.manifest.targets]
    return await recorded(request.command, targets, ctx, lambda: _apply(request, ctx))


async def recorded(
    command: str, targets: Sequence[str], ctx: RunContext, work: Callable[[], Awaitable[ApplyReport]]
) -> ApplyReport:
    """Do the work of one run, with its beginning and its end in the journal, however it ends."""
    stop = ctx.stop
    ctx.journal.open_run(ctx.run_id, command, __version__, targets)
    report = ApplyReport(ctx.run_id, None, exit_code=ExitCode.ERROR)
    try:
        record_identities(ctx, ctx.run_id)
        report = await work()
        if report.exit_code is ExitCode.INTERRUPTED and stop.terminated:
            report = replace(report, exit_code=ExitCode.TERMINATED)
    except asyncio.CancelledError:
        if not stop.requested:
            raise
        code = ExitCode.TERMINATED if stop.terminated else ExitCode.INTERRUPTED
        open_ones = tuple(operation for _, operation in open_operations(ctx))
        report = replace(report, exit_code=code, in_flight=open_ones)
        # With an open operation the report must reach the user; without one "nothing was sent" is true.
        if not report.in_flight:
            raise
    except BaseException as error:
        report = replace(report, exit_code=getattr(error, "exit_code", ExitCode.ERROR))
        raise
    finally:
        report = _closed(report, ctx)
    return report


async def _apply(request: ApplyRequest, ctx: RunContext) -> ApplyReport:
    sites = target_contexts(ctx)
    resolutions, holds = await resolve_all(ctx, sites)
    report = ApplyReport(ctx.run_id, None, resolutions=resolutions)
    if ctx.halt.alarm:
        return replace(report, exit_code=Status.ALARM.exit_code)  # after an alarm not even a plan is made
    metadata = ctx.plan_metadata(request.lifetime)
    known = known_of(ctx.journal, [site.service for site in sites.values()], holds)
    if request.saved_plan:
        # What was only marked there was nobody's approval, also where it has become due since.
        waiting = waiting_in(request.saved_plan)
        known = replace(known, marks=replace(known.marks, waiting=waiting))
    plan = await compute(request.manifest, request.limits, ctx.connections, metadata, known)
    plan = keep_marks(plan, None if request.saved_plan else request.manifest, ctx)
    plan = await announce(plan, request.manifest, ctx)
    plan = policy.acting(plan, ctx.clock.now())
    report = replace(report, plan=plan)
    if request.mark_only:
        failed = [ExitCode(each.exit_code) for each in plan.failures]
        return replace(report, exit_code=failed[0] if failed else ExitCode.DONE)
    if not plan.has_changes and not request.saved_plan:
        report = replace(report, remaining=0)
        return replace(report, exit_code=_code(report))
    approved = await request.approve(plan)
    # A target that could not be read when the plan was saved was not reviewed, so the exit code must show it.
    if request.saved_plan:
        report = replace(report, plan=replace(plan, failures=plan.failures or request.saved_plan.failures))
    if plan.run_blocked:
        raise Refused("the plan is blocked; nothing was sent", "see the findings of the plan")
    # A second time: a person may have taken until after the window to answer.
    if policy.acting(plan, ctx.clock.now()).run_blocked:
        raise Refused("the policy's window has closed; nothing was sent", "apply again in a window")
    ctx.journal.approve_run(ctx.run_id, approved, ctx.policy.digest if ctx.policy else "")
    keep_plan(plan, ctx)
    if ctx.group:
        claim(plan.pools, plan.limits, ctx.group, ctx.journal)
    if request.saved_plan:
        # Checked a second time: since the file was read, this run may have waited for jobs or for a person.
        check_fresh(request.saved_plan, ctx.clock)
        ctx.journal.claim_plan(request.saved_plan.id, ctx.run_id)
    results = await run_pools(plan, sites, ctx)
    own = in_flight(ctx)
    remaining = None
    if not ctx.stop.requested and any(each.status is Status.DONE for each in results):
        afterwards = Known(holds, jobs=known.jobs, held_now=known.held_now, marks=known.marks)
        remaining = await _remaining(request, replace(report, results=results), afterwards, ctx)
    report = replace(report, results=results, in_flight=own, remaining=remaining, approved=approved)
    code = _code(report)
    if code is ExitCode.DONE and ctx.stop.requested:
        code = (
            ExitCode.INTERRUPTED
        )  # it may have been stopped before a pool was begun, or before the last plan
    return replace(report, exit_code=code)


def _closed(report: ApplyReport, ctx: RunContext) -> ApplyReport:
    """Record the end of the run; if the journal fails now, the report must still reach the user."""
    digest = report.plan.digest if report.plan else ""
    try:
        ctx.journal.close_run(report.run_id, int(report.exit_code), digest, _summary(report))
    except JournalError as error:
        ctx.log(f"the journal could not record the end of the run: {error.message}")
        return replace(report, exit_code=report.exit_code or ExitCode.JOURNAL)
    return report


def in_flight(ctx: RunContext) -> tuple[Operation, ...]:
    """The operations that this run leaves open; their leases end at once, so that the next run need not wait."""
    try:
        own = tuple(each for each in ctx.journal.unresolved() if each.owner == ctx.run_id)
    except JournalError as error:
        ctx.log(f"the operations in flight could not be read: {error.message}")
        return ()
    for each in own:
        let_go(each, ctx)
    return own


def keep_plan(plan: Plan, ctx: RunContext) -> None:
    """Record what was approved, for ``history show``; pools without drift are left out."""
    pools = tuple(pool for pool in plan.pools if pool.drift or pool.blocked)
    ctx.journal.record_event(ctx.run_id, PLAN_APPROVED, document(replace(plan, pools=pools)))


async def _remaining(request: ApplyRequest, report: ApplyReport, known: Known, ctx: RunContext) -> int | None:
    """Plan again and count the changes left for the pools that were done: zero proves the run."""
    try:
        again = await compute(
            request.manifest,
            request.limits,
            ctx.connections,
            ctx.plan_metadata(request.lifetime),
            known,
        )
    except ServiceError as error:
        ctx.log(f"the plan after the run failed: {error.message}")
        return None
    except asyncio.CancelledError:
        if not ctx.stop.requested:
            raise
        ctx.log("interrupted while making the plan after the run")
        return None
    try:
        keep_marks(again, None, ctx)  # what is gone by now is marked no more
    except JournalError as error:
        ctx.log(f"the marks after the run could not be kept: {error.message}")
    return sum(len(pool.pending) for pool in again.pools if live_pool(pool) in report.pools_done)


def _code(report: ApplyReport) -> ExitCode:
    """The exit code of the worst that happened: to the pools, to earlier operations, or in the plan itself."""
    plan = report.plan
    statuses = {_status(each, report) for each in report.results}
    statuses |= {each.result.status for each in report.resolutions if not _superseded(each, report)}
    code = worst(statuses).exit_code
    if code is ExitCode.DONE and report.remaining:
        return ExitCode.JOB_FAILED
    if code is ExitCode.DONE and plan and plan.failures:
        return ExitCode(plan.failures[0].exit_code)
    if code is ExitCode.DONE and plan and plan.blocked:
        return blocked_code(plan)
    return code


def _status(result: PoolResult, report: ApplyReport) -> Status:
    """How a pool ended; one that only another run's hold kept from being changed was not refused by a guard."""
    plan = report.plan
    if not (result.status is Status.REFUSED and plan and plan.blocked):
        return result.status
    blocked = {(pool.target, pool.label) for pool in plan.pools if pool.blocked}
    held = (result.target, result.pool) in blocked and blocked_code(plan) is ExitCode.HELD
    return Status.HELD if held else result.status


def _superseded(found: Resolution, report: ApplyReport) -> bool:
    """Whether an earlier operation's end no longer matters, because this run has done what its pool needed."""
    pool = found.operation.intent.pool
    done = {(str(target), pool_id) for target, pool_id in report.pools_done}
    return found.resolved and (pool.target, pool.pool_id) in done


def _summary(report: ApplyReport) -> dict[str, object]:
    totals = report.plan.totals if report.plan else None
    return {
        "planned": totals.destroy if totals else None,
        "pools": [
            {
                "target": str(each.target),
                "pool": each.pool,
                "ending": each.status.value,
                "message": each.message,
                "done": each.done,
                "planned": each.planned,
            }
            for each in report.results
        ],
        "remaining": report.remaining,
        **identities(report.plan),
    }
