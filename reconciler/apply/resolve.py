"""Resolves operations that an earlier run left open: finds the job, reads the disks, and decides or says why not.

It never sends anything. An operation that cannot be decided holds its pool until its request can no longer
arrive, or until a person decides. Following a job and proving are left to ``operation`` and ``proof``.
"""

from __future__ import annotations

from reconciler.apply.context import RunContext, TargetContext
from reconciler.apply.operation import done_words, follow, wait_for_job
from reconciler.apply.proof import observe
from reconciler.apply.results import Resolution, Result, Status
from reconciler.errors import Refused
from reconciler.journal.records import NOT_APPLIED, ClosedBy, Intent, Operation, State
from reconciler.workspace import JobEnd


async def resolve(operation: Operation, site: TargetContext, ctx: RunContext) -> Resolution:
    """Decide one open operation from the service's jobs and the disks; never sends anything.

    Raises ``PoolHeld`` while the run that opened it still holds its lease.
    """
    # Read again with the take-over: its run may have recorded the answer after the operation was listed.
    operation = ctx.journal.take_over(operation.id, ctx.run_id, ctx.options.lease)
    intent = operation.intent
    ctx.log(f"{intent.pool_name}: resolving operation {intent.operation_id} of run {intent.run_id}")
    if operation.state in NOT_APPLIED:
        return _closed(
            operation, operation.state, Status.DONE, "nothing was changed: the call was not accepted", ctx
        )
    if operation.outcome and operation.outcome.job_id:
        return _resolution(operation, await follow(intent, operation.outcome.job_id, site, ctx))
    # Checked before the jobs are listed: if the request were accepted between list and check, its job would
    # be missing from the list and the request be judged as never accepted.
    expired = _can_no_longer_arrive(intent, ctx)
    new_jobs = await _new_jobs(intent, site)
    if len(new_jobs) == 1:
        return await _one_new_job(operation, next(iter(new_jobs)), site, ctx, expired=expired)
    # Any of several new jobs may be ours, so nothing is decided before all of them have ended.
    running = new_jobs & await site.running[intent.step].after(ctx.clock.monotonic())
    if running:
        return still_open(operation, f"jobs {', '.join(sorted(running))} of this pool are still running")
    return await _by_disks(operation, new_jobs, site, ctx, expired=expired)


def decide(operation: Operation, accept_as: State, ctx: RunContext) -> None:
    """Close an operation as a person decided.

    Raises ``PoolHeld`` while its run holds the lease, and ``Refused`` for "not accepted" while the request
    can still arrive: nobody can know that yet.
    """
    intent = operation.intent
    # Closing frees the pool, and the next run may plan the same removal: a late request would then run as well.
    if accept_as is State.NOT_ACCEPTED and intent.not_after and not _can_no_longer_arrive(intent, ctx):
        raise Refused(
            f"the request of operation {operation.id} may still be accepted{_until(intent)}",
            "use not-accepted after that time; apply and resolve also find out on their own",
        )
    ctx.journal.take_over(intent.operation_id, ctx.run_id, ctx.options.lease)
    decision = f"a person decided: {accept_as.value}"
    ctx.journal.close_operation(
        intent.operation_id, ctx.run_id, accept_as, decision, closed_by=ClosedBy.PERSON
    )


async def _one_new_job(
    operation: Operation, job_id: str, site: TargetContext, ctx: RunContext, *, expired: bool
) -> Resolution:
    """Exactly one job of this kind appeared after the intent: most likely ours, so follow it.

    The disks still decide: somebody may have started that job by hand.
    """
    intent = operation.intent
    job = await site.workspace.job(job_id)
    if job is None or job.end is JobEnd.RUNNING:
        ctx.journal.record_event(ctx.run_id, "job found", {"job_id": job_id}, operation.id)
        end, _ = await wait_for_job(intent, job_id, site, ctx)
        if end is JobEnd.RUNNING:
            message = f"job {job_id} is still running"
            return _resolution(operation, Result(Status.RUNNING, message, "resolve again later"))
    return await _by_disks(operation, frozenset({job_id}), site, ctx, expired=expired)


async def _by_disks(
    operation: Operation, new_jobs: frozenset[str], site: TargetContext, ctx: RunContext, *, expired: bool
) -> Resolution:
    """Decide by the disks and the request's lifetime, since no job is certain to be the one of this operation."""
    intent = operation.intent
    # The effect of a job may show late; without a job there is nothing to wait for.
    seen = await observe(intent, site, ctx, ctx.options.proof_timeout if new_jobs else 0.0)
    if seen.alarming:
        lost = "the pool itself" if seen.pool_gone else ", ".join(seen.lost)
        return still_open(operation, f"what had to stay is gone: {lost}", Status.ALARM)
    if seen.complete:
        return _closed(operation, State.DONE, Status.DONE, done_words(intent, seen), ctx)
    # "Not done" is final only once the request has expired: until then it may still arrive and be carried out.
    if seen.contradictory or not expired:
        coming = "" if expired else f", and the request may still arrive{_until(intent)}"
        return still_open(operation, done_words(intent, seen) + coming)
    if seen.done:
        return _closed(operation, State.PARTIAL, Status.PARTIAL, done_words(intent, seen), ctx)
    if new_jobs:
        jobs = ", ".join(sorted(new_jobs))
        return _closed(operation, State.FAILED, Status.FAILED, f"job {jobs} had no effect on the disks", ctx)
    return _closed(
        operation,
        State.NOT_ACCEPTED,
        Status.DONE,
        "the request never arrived: no job, no effect, and it can no longer be accepted",
        ctx,
    )


async def _new_jobs(intent: Intent, site: TargetContext) -> frozenset[str]:
    known = await site.workspace.pool_jobs(intent.pool.pool_id, intent.step)
    return known - set(intent.baseline_jobs)


def _can_no_longer_arrive(intent: Intent, ctx: RunContext) -> bool:
    return intent.not_after is not None and ctx.journal.now() > intent.not_after


def _until(intent: Intent) -> str:
    if intent.not_after is None:
        return " (it was sent with a token, so there is no time limit)"
    return f" until {intent.not_after:%Y-%m-%d %H:%M:%S} UTC"


def _closed(operation: Operation, state: State, status: Status, message: str, ctx: RunContext) -> Resolution:
    ctx.journal.close_operation(operation.id, ctx.run_id, state, message, closed_by=ClosedBy.RESOLVE)
    return Resolution(operation, resolved=True, result=Result(status, message))


def still_open(operation: Operation, message: str, status: Status = Status.UNKNOWN) -> Resolution:
    """An operation that cannot be decided now, with what a person can do."""
    intent = operation.intent
    ids = ", ".join(disk_id or f"{kind} {size} GB" for disk_id, kind, size in intent.disks)
    hint = (
        f"in the console, check the tasks of pool {intent.pool_name} since {intent.signed_at:%H:%M:%S} UTC "
        f"and {ids}; then run: reconciler resolve --accept-as done|not-accepted {intent.operation_id}"
    )
    return Resolution(operation, resolved=False, result=Result(status, message, hint))


def _resolution(operation: Operation, result: Result) -> Resolution:
    if result.status is Status.UNKNOWN:
        return still_open(operation, result.message)
    closed = result.status in (Status.DONE, Status.FAILED, Status.PARTIAL, Status.ALARM)
    return Resolution(operation, resolved=closed, result=result)
