"""Finishes a removal that was done in part, with the service's own retry of its job: a write like any other.

What it repeats is not documented, so it happens only when a person calls it. The plan is left to
``planning.retry_plan``, the independent check to ``apply.second_check``, sending and proof to ``apply.operation``.
"""

from __future__ import annotations

from datetime import datetime

from reconciler import __version__
from reconciler.apply.context import Options, RunContext, TargetContext
from reconciler.apply.operation import carry_out
from reconciler.apply.pools import demanded, sparing
from reconciler.apply.results import ApplyReport, PoolResult, Result, Status, worst
from reconciler.apply.second_check import check_backups, check_retry
from reconciler.engine.apply import Approve, in_flight, keep_plan, recorded
from reconciler.engine.holds import ALARM, DAMAGED, HELD
from reconciler.engine.resolution import resolve_all, target_contexts
from reconciler.errors import BadInput, PoolHeld, Refused, StalePlan
from reconciler.journal.records import Intent, Operation, SentDisk
from reconciler.journal.states import State, Step
from reconciler.model import Action, DesiredPool, Disk, Grant, Limits, LostCopy, Manifest, Pool
from reconciler.planner import DEFAULT_LIFETIME, judged_under, later_of, pool_with_backups
from reconciler.planning import policy
from reconciler.planning.finding import Severity
from reconciler.planning.leftovers import PartialRemoval
from reconciler.planning.plan import TRANSIENT_RULES, Plan, PoolPlan, pool_decision
from reconciler.planning.readings import Counts
from reconciler.planning.retry_plan import beyond, left_of, retry_plan
from reconciler.values import Struct, field, replace
from reconciler.workspace import Call, JobEnd

CAUTION = (
    "What the service repeats when it retries a job is not documented: perhaps the failed desktops alone, perhaps "
    "all of the job. So what is shown and approved is every copy that is left of the disks of that job."
)


class RetryRequest(Struct, frozen=True):
    """What to finish, and how."""

    operation_id: str
    manifest: Manifest
    limits: Limits
    approve: Approve
    options: Options = field(default_factory=Options)


class _Reading(Struct, frozen=True):
    """The pool as it is now, and what the retry would destroy in it."""

    plan: PoolPlan
    live: Pool
    raw: bytes
    generation: int
    """The pool's generation in the journal, taken before the pool was read."""
    began: float
    """When it began (monotonic seconds)."""


class _Task(Struct, frozen=True):
    """What is retried, for whom, and where."""

    operation: Operation
    request: RetryRequest
    site: TargetContext
    ctx: RunContext

    @property
    def job_id(self) -> str:
        """The job that the service is to finish."""
        return self.operation.outcome.job_id if self.operation.outcome else ""


def operation_to_retry(operation_id: str, ctx: RunContext) -> Operation:
    """The operation that a person names; raises ``BadInput`` when the journal has none of this id."""
    operation = ctx.journal.operation(operation_id)
    if operation is None:
        raise BadInput(
            f"the journal has no operation {operation_id}",
            "reconciler drift and plan name the operations that left something",
        )
    return operation


async def retry(request: RetryRequest, run: RunContext) -> ApplyReport:
    """Have the service finish one removal: read, plan, get approval, read again, send once, follow, prove.

    Raises only before anything is sent.
    """
    ctx = replace(run, run_id=run.new_id(), options=request.options)
    target = operation_to_retry(request.operation_id, ctx).intent.pool.target
    return await recorded("retry", [target], ctx, lambda: _retry(request, ctx))


async def _retry(request: RetryRequest, ctx: RunContext) -> ApplyReport:
    if ctx.policy and (place := ctx.policy.forbids(Grant.RETRY)):
        raise Refused(
            f"the policy forbids retry ({place.at}); nothing was sent",
            f"delete the copies that are left in the console, or take retry out of forbid in {ctx.policy.file}",
        )
    operation = operation_to_retry(request.operation_id, ctx)
    key = operation.intent.pool
    site = _site(operation, ctx)
    resolutions, holds = await resolve_all(ctx, target_contexts(ctx), [key.pool_id])
    report = ApplyReport(ctx.run_id, None, resolutions=resolutions)
    if any(each.result.status is Status.ALARM for each in resolutions):
        return replace(report, exit_code=Status.ALARM.exit_code)
    if hold := holds.get((key.target, key.pool_id)):
        if hold.rule == HELD:
            raise PoolHeld(hold.message, hold.allow)
        status = Status.REFUSED if hold.rule in (DAMAGED, ALARM) else Status.UNKNOWN
        return _ended(report, site, operation, Result(status, hold.message, hold.allow))
    # Read again: it may be the one that was resolved just now.
    operation = _retryable(operation_to_retry(request.operation_id, ctx), ctx)
    task = _Task(operation, request, site, ctx)
    reading = await _read(task)
    plan = _plan_of(reading.plan, task)
    approved = await request.approve(plan)
    [pool] = plan.pools
    if plan.run_blocked:
        raise Refused("the plan is blocked; nothing was sent", "see the findings of the plan")
    report = replace(report, plan=plan)
    if pool.blocked:
        return _ended(report, site, operation, Result(Status.REFUSED, "blocked in the plan"))
    ctx.journal.approve_run(ctx.run_id, approved, ctx.policy.digest if ctx.policy else "")
    keep_plan(plan, ctx)
    result = await _send(task, pool, plan.digest)
    return replace(_ended(report, site, operation, result), in_flight=in_flight(ctx))


def _site(operation: Operation, ctx: RunContext) -> TargetContext:
    """The operation's own target; the same ids at another service mean another pool."""
    key = operation.intent.pool
    for target, site in target_contexts(ctx).items():
        if str(target) == key.target and site.service.name == key.service:
            return site
    raise Refused(
        f"operation {operation.id} was sent to {key.service} for {key.target}, which is not what this run is "
        "connected to",
        "use the same endpoint and manifests",
    )


def _retryable(operation: Operation, ctx: RunContext) -> Operation:
    """The operation; raises ``Refused`` unless it is a removal done in part, and the latest of its disks."""
    intent, outcome = operation.intent, operation.outcome
    mine = {disk.id for disk in intent.disks}
    failed_again = intent.step is Step.RETRY and operation.state is State.FAILED
    if intent.step not in (Step.REMOVE, Step.RETRY) or not (operation.state is State.PARTIAL or failed_again):
        raise Refused(
            f"operation {operation.id} is no removal that was done in part: {intent.step}, {operation.state}",
            "only such a job can be retried; make a new plan and apply it for anything else",
        )
    if not (outcome and outcome.job_id):
        raise Refused(
            f"the journal does not know the job of operation {operation.id}, as its answer was lost",
            "delete the copies that are left in the console",
        )
    for each in ctx.journal.not_done(intent.pool.target, intent.pool.service):
        later = each.outcome and each.outcome.job_id and each.opened > operation.opened
        same = later and each.intent.pool == intent.pool
        if same and mine & {disk.id for disk in each.intent.disks}:
            raise Refused(
                f"operation {operation.id} has been retried since, by operation {each.id}",
                f"reconciler retry {each.id}",
            )
    return operation


async def _read(task: _Task) -> _Reading:
    """Read the pool, its desktops and the job, and plan what is left; raises ``Refused`` for what cannot be retried."""
    operation, site, ctx = task.operation, task.site, task.ctx
    intent = operation.intent
    generation = ctx.journal.generation(intent.pool)
    began = ctx.clock.monotonic()
    pool_id = intent.pool.pool_id
    before = await site.pools.after(ctx.clock.monotonic())
    desired = _declared(task.request.manifest, before, intent)
    reading = await site.workspace.pool(pool_id)
    desktops = await site.workspace.desktops(pool_id)
    after = await site.pools.after(ctx.clock.monotonic())
    counted = tuple(each.desktop_count for pools in (before, after) for each in pools if each.id == pool_id)
    # Stricter than a plan, also with allow_count_mismatch: the desktops alone prove what a retry did.
    if not Counts(len(desktops), counted).agree:
        raise Refused(
            f"{len(desktops)} desktops were read, and pool {intent.pool_name} counts "
            f"{', then '.join(str(each) for each in counted)}",
            "try again; what a retry did can be proven only by all desktops",
        )
    await _check_job(task)
    removal = PartialRemoval(
        operation.id, operation.opened, tuple(disk.id for disk in intent.disks), intent.copies
    )
    disks = [Disk(disk.id, disk.type, disk.size) for disk in intent.disks]
    plan = retry_plan(desired, reading.pool, desktops, removal, disks)
    if not left_of(plan):
        raise Refused(
            f"no copy is left of operation {operation.id}, so there is nothing to retry", "plan again"
        )
    plan = await pool_with_backups(
        plan,
        ctx.policy,
        lambda: site.backups.after(began),
        lambda: later_of(ctx.clock.now(), site.service_time()),
    )
    return _Reading(plan, reading.pool, reading.raw, generation, began)


def _declared(manifest: Manifest, live: tuple[Pool, ...], intent: Intent) -> DesiredPool:
    """The one entry of the manifests that means the operation's pool: its limits and permissions are needed."""
    names = {pool.id: pool.name for pool in live}
    name = names.get(intent.pool.pool_id)
    alike = sum(other == name for other in names.values())
    found = [
        each
        for each in manifest.pools
        if str(each.target) == intent.pool.target
        and each.id in ("", intent.pool.pool_id)
        and (each.name == name if each.name else bool(each.id))
        and (each.id or alike == 1)
    ]
    if name is None or len(found) != 1:
        raise Refused(
            f"the manifests do not have one entry for pool {intent.pool_name} ({intent.pool.pool_id}), whose limits "
            "and permissions a retry needs",
            "declare it, or delete the copies that are left in the console",
        )
    if Action.REMOVE not in found[0].manage:
        raise Refused(
            f"the entry of pool {intent.pool_name} at {found[0].at} does not let disks be removed: its manage does "
            "not have remove",
            "add remove to manage, or delete the copies that are left in the console",
        )
    return found[0]


async def _check_job(task: _Task) -> None:
    """Raise ``Refused`` unless the job failed, in part or wholly, and no job of the pool is under way."""
    intent, job_id, site = task.operation.intent, task.job_id, task.site
    job = await site.workspace.job(job_id)
    if job is None or job.end not in (JobEnd.PARTIAL, JobEnd.FAILED):
        how = f"is {job.end}" if job else "is not known any more"
        raise Refused(f"job {job_id} {how} by the service's own word, so it cannot be retried", "plan again")
    known = await site.workspace.pool_jobs(intent.pool.pool_id, Step.RETRY)
    if known & await site.running[Step.RETRY].after(task.ctx.clock.monotonic()):
        raise Refused(f"pool {intent.pool_name} has a running job", "retry when it has ended")


def _plan_of(pool: PoolPlan, task: _Task) -> Plan:
    """The plan with every guard, limit and rule of the policy judged over what is left."""
    request, site, ctx = task.request, task.site, task.ctx
    now = ctx.clock.now()
    limits = policy.within(request.limits, ctx.policy)
    judged, findings = judged_under(ctx.policy, [_as_told(pool, task)], limits, now)
    made = Plan(
        id=ctx.new_id(),
        services=(site.service,),
        pools=judged,
        limits=limits,
        created=now,
        expires=now + DEFAULT_LIFETIME,
        tool_version=__version__,
        sources=request.manifest.sources,
        findings=findings,
        policy=ctx.policy,
    )
    return policy.acting(made, now)


def _as_told(pool: PoolPlan, task: _Task) -> PoolPlan:
    """The pool with what its people knew before the removal began; the marks are gone with the disks."""
    journal, operation = task.ctx.journal, task.operation
    if not (task.ctx.policy and task.ctx.policy.announce is not None):
        return pool
    first: dict[str, datetime] = {}
    for each in journal.messages(operation.intent.pool):
        if each.state is State.ACCEPTED and each.begun < operation.opened:
            first.setdefault(each.key.disk_id, each.begun)
    now = journal.now()
    known = {disk: now - begun for disk, begun in first.items()}
    changes = (replace(each, heard_for=known.get(each.live.id if each.live else "")) for each in pool.changes)
    return replace(pool, changes=tuple(changes))


async def _send(task: _Task, approved: PoolPlan, digest: str) -> Result:
    """Read once more, compare with what was approved, check independently, and send once."""
    site, ctx, intent = task.site, task.ctx, task.operation.intent
    await site.workspace.write_place(Step.RETRY)
    await site.renew()
    fresh = await _read(task)
    known = await site.workspace.pool_jobs(intent.pool.pool_id, Step.RETRY)
    again = _plan_of(fresh.plan, task)
    [pool] = again.pools
    if beyond(pool, approved) or pool_decision(pool, ignoring=TRANSIENT_RULES) != pool_decision(approved):
        raise StalePlan(
            f"pool {pool.label} changed since the retry was approved; nothing was sent", "retry again"
        )
    if blocking := [each for each in again.all_findings if each.severity is Severity.BLOCK]:
        reasons = "; ".join(f"{each.rule}: {each.message}" for each in blocking)
        raise Refused(reasons, "retry when that is over")
    left = tuple(sorted(left_of(pool)))
    check_retry(fresh.raw, intent.pool.pool_id, left, list(intent.disks), sparing(pool.desired, ctx.policy))
    if withins := demanded(pool.desired, ctx.policy):
        now = later_of(ctx.clock.now(), site.service_time())
        check_backups((await site.backups.after(fresh.began)).pages, left, min(withins), now)
    ctx.check_sources()
    if ctx.stop.requested:
        return Result(Status.INTERRUPTED, "stopped before the call", "retry again to continue")
    keys_end = await site.renew()
    new = replace(
        _intent(task, fresh, left, keys_end), baseline_jobs=tuple(sorted(known)), plan_digest=digest
    )
    disks = tuple(Disk(disk.id, disk.type, disk.size) for disk in new.disks)
    call = Call(Step.RETRY, intent.pool.pool_id, disks, None, task.job_id)
    retries = {"operation": task.operation.id, "job_id": task.job_id}
    ctx.journal.record_event(ctx.run_id, "operation.retries", retries, new.operation_id)
    return await carry_out(call, new, site, ctx)


def _intent(task: _Task, fresh: _Reading, left: tuple[LostCopy, ...], keys_end: datetime | None) -> Intent:
    """What is about to be sent, but for the jobs that are known and for the approval."""
    old, ctx = task.operation.intent, task.ctx
    going, mine = {copy.disk_id for copy in left}, {disk.id for disk in old.disks}
    signed_at = ctx.clock.now().replace(microsecond=0)
    return Intent(
        operation_id=ctx.new_id(),
        run_id=ctx.run_id,
        pool=old.pool,
        pool_name=fresh.live.name or old.pool_name,
        step=Step.RETRY,
        handle_type=None,
        disks=tuple(SentDisk(*disk) for disk in old.disks if disk.id in going),
        keep=tuple(sorted(disk.id for disk in fresh.live.disks if disk.id not in mine)),
        baseline_jobs=(),
        generation=fresh.generation,
        signed_at=signed_at,
        not_after=task.site.not_after(signed_at, keys_end),
        plan_digest="",
        copies=left,
    )


def _ended(report: ApplyReport, site: TargetContext, operation: Operation, result: Result) -> ApplyReport:
    """The report of a retry that ended so; copies stand where an apply counts disks."""
    planned = sum(pool.loss.copies for pool in report.plan.pools) if report.plan else 0
    name, pool_id = operation.intent.pool_name, operation.intent.pool.pool_id
    ended = (result.status, result.message, result.hint, result.done)
    found = PoolResult(site.service.target, name, *ended, planned, pool_id, result.desktops)
    # What was resolved on the way is superseded once nothing is left.
    earlier = [] if result.status is Status.DONE else [each.result.status for each in report.resolutions]
    return replace(report, results=(found,), exit_code=worst([result.status, *earlier]).exit_code)
