"""Resolves operations that an earlier run left open: finds the job, reads the disks, and decides or says why not.

It never sends anything. An operation that cannot be decided holds its pool until its request can no longer
arrive, or until a person decides. Following a job and proving are left to ``operation`` and ``proof``.
"""

from __future__ import annotations

from reconciler.apply.alarms import raise_for
from reconciler.apply.context import RunContext, TargetContext
from reconciler.apply.events import Phase, PoolMoved
from reconciler.apply.operation import (
    CUT_SHORT,
    cut_short,
    done_words,
    follow,
    keep_desktops,
    proof_seconds,
    wait_for_job,
    with_desktops,
)
from reconciler.apply.proof import Observation, observe
from reconciler.apply.results import Resolution, Result, Status
from reconciler.apply.strangers import restored_words, strangers
from reconciler.journal.records import ClosedBy, Intent, Operation
from reconciler.journal.states import NOT_APPLIED, State, Step
from reconciler.values import replace
from reconciler.workspace import UNLISTED, Job, JobEnd

RERUN = "(the job that was to be retried)"
"""Stands for a job that may have run once more under the id that it had; no job has such an id."""


async def resolve(operation: Operation, site: TargetContext, ctx: RunContext) -> Resolution:
    """Decide one open operation from the service's jobs and the disks; never sends anything.

    Raises ``PoolHeld`` while the run that opened it still holds its lease.
    """
    # Read again with the take-over: its run may have recorded the answer after the operation was listed.
    operation = ctx.journal.take_over(operation.id, ctx.run_id, ctx.options.lease)
    intent, until = operation.intent, ctx.clock.monotonic() + ctx.options.wait_timeout
    words = f"resolving operation {intent.operation_id} of run {intent.run_id}"
    ctx.tell(PoolMoved(intent.pool.pool_id, intent.pool_name, Phase.CHECKING, words))
    if operation.state in NOT_APPLIED:
        return _closed(
            operation, operation.state, Status.DONE, "nothing was changed: the call was not accepted", ctx
        )
    if operation.outcome and operation.outcome.job_id:
        later = strangers(
            ctx.journal, intent.pool, await site.workspace.pool_jobs(intent.pool.pool_id, intent.step)
        )
        return _resolution(operation, await follow(intent, operation.outcome.job_id, site, ctx, later))
    return await _without_answer(operation, site, ctx, until)


async def _without_answer(
    operation: Operation, site: TargetContext, ctx: RunContext, until: float
) -> Resolution:
    """Decide about an operation of which no answer is known, by the jobs that appeared and by the disks."""
    intent = operation.intent
    # Checked before the jobs are listed: if the request were accepted between list and check, its job would
    # be missing from the list and the request be judged as never accepted.
    expired = can_no_longer_arrive(intent, ctx)
    new_jobs = await _new_jobs(intent, site)
    if intent.step is Step.RETRY:
        return await _retried(operation, new_jobs, site, ctx, expired=expired, until=until)
    if UNLISTED in new_jobs:
        # Which ended jobs are listed is the service's choice: one that is new to us may be old, and one that
        # is not listed may be ours. Only those under way are certain, so the disks decide about the rest.
        new_jobs &= await site.running[intent.step].after(ctx.clock.monotonic())
        if not new_jobs:
            return await _by_disks(operation, frozenset({UNLISTED}), site, ctx, expired=expired, until=until)
    if len(new_jobs) == 1:
        return await _one_new_job(operation, next(iter(new_jobs)), site, ctx, expired=expired, until=until)
    # Any of several new jobs may be ours, so nothing is decided before all of them have ended.
    running = new_jobs & await site.running[intent.step].after(ctx.clock.monotonic())
    if running:
        return still_open(operation, f"jobs {', '.join(sorted(running))} of this pool are still running")
    return await _by_disks(operation, new_jobs, site, ctx, expired=expired, until=until)


async def _retried(
    operation: Operation,
    new_jobs: frozenset[str],
    site: TargetContext,
    ctx: RunContext,
    *,
    expired: bool,
    until: float,
) -> Resolution:
    """Decide about a retry without an answer: the service may have begun a new job, or the old one again.

    So any job of the pool that is under way may be the one; after that the copies decide.
    """
    intent = operation.intent
    known = await site.workspace.pool_jobs(intent.pool.pool_id, intent.step)
    running = known & await site.running[intent.step].after(ctx.clock.monotonic())
    if running:
        message = f"jobs {', '.join(sorted(running))} of this pool are still running"
        return still_open(operation, message, Status.RUNNING)
    maybe = new_jobs or frozenset({RERUN})
    return await _by_disks(operation, maybe, site, ctx, expired=expired, until=until)


async def _one_new_job(
    operation: Operation, job_id: str, site: TargetContext, ctx: RunContext, *, expired: bool, until: float
) -> Resolution:
    """Exactly one job of this kind appeared after the intent: most likely ours, so follow it.

    The disks still decide: somebody may have started that job by hand.
    """
    intent = operation.intent
    job = await site.workspace.job(job_id)
    if job is None or job.end is JobEnd.RUNNING:
        ctx.journal.record_event(ctx.run_id, "job found", {"job_id": job_id}, operation.id)
        job = await wait_for_job(intent, job_id, site, ctx)
        if job and job.end is JobEnd.RUNNING:
            message = f"job {job_id} is still running"
            return _resolution(operation, Result(Status.RUNNING, message, "resolve again later"))
    new_jobs = frozenset({job_id})
    return await _by_disks(operation, new_jobs, site, ctx, expired=expired, until=until, job=job)


async def _by_disks(
    operation: Operation,
    new_jobs: frozenset[str],
    site: TargetContext,
    ctx: RunContext,
    *,
    expired: bool,
    until: float,
    job: Job | None = None,
) -> Resolution:
    """Decide by the disks and the request's lifetime, since no job is certain to be the one of this operation.

    ``job``: the only one that appeared. Where it did only a part, copies are left although the disks are gone.
    """
    intent = operation.intent
    # The effect of a job may show late; without a job there is nothing to wait for.
    seconds = proof_seconds(until, ctx) if new_jobs else 0.0
    seen = await observe(intent, site, ctx, seconds)
    if seen.alarming:
        return _alarming(operation, seen, new_jobs, ctx)
    in_part = job if job and job.end is JobEnd.PARTIAL else None
    if seen.complete:
        return (
            _partial(operation, seen, in_part, ctx)
            if in_part
            else _closed(operation, State.DONE, Status.DONE, done_words(intent, seen), ctx)
        )
    # "Not done" is final only once the request has expired: until then it may still arrive and be carried out.
    hasty = bool(new_jobs) and cut_short(seconds, seen, ctx)
    if seen.contradictory or hasty or not expired:
        coming, status = (CUT_SHORT, Status.RUNNING) if hasty else ("", Status.UNKNOWN)
        if not expired:
            coming, status = f", and the request may still arrive{until_words(intent)}", Status.UNKNOWN
        return still_open(operation, done_words(intent, seen) + coming, status)
    if seen.done:
        return _partial(operation, seen, in_part, ctx)
    if new_jobs:
        message = f"job {', '.join(sorted(new_jobs))} had no effect on the disks"
        if RERUN in new_jobs:
            message = "no copy is gone; whether the service tried again is not known"
        elif UNLISTED in new_jobs:
            # Not "never arrived": a job that failed looks the same, and what failed is not tried again by itself.
            message = "no effect on the disks; whether a job failed is not known, as not all jobs are listed"
        return _closed(operation, State.FAILED, Status.FAILED, message, ctx)
    return _closed(
        operation,
        State.NOT_ACCEPTED,
        Status.DONE,
        "the request never arrived: no job, no effect, and it can no longer be accepted",
        ctx,
    )


def _alarming(
    operation: Operation, seen: Observation, new_jobs: frozenset[str], ctx: RunContext
) -> Resolution:
    """What had to stay is gone: an alarm, unless jobs that are not this operation's may have removed it."""
    lost = "what had to stay is gone: " + ("the pool itself" if seen.pool_gone else ", ".join(seen.lost))
    # One new job is this operation's own; of several, the others are somebody else's.
    if not seen.pool_gone and len(new_jobs - {UNLISTED, RERUN}) > 1:
        return still_open(operation, f"{lost}; {restored_words(new_jobs)}")
    raise_for(operation.intent, lost, ctx)
    return still_open(operation, lost, Status.ALARM)


def _partial(operation: Operation, seen: Observation, job: Job | None, ctx: RunContext) -> Resolution:
    """Close an operation that did only a part, with the desktops that its job names."""
    intent = operation.intent
    ended = f"job {job.id} ended {job.end}: {job.reason}; " if job else ""
    result = Result(Status.PARTIAL, ended + done_words(intent, seen), done=seen.done)
    if job:
        result = with_desktops(result, intent, job, named=not ctx.unnamed)
        keep_desktops(operation.id, result.desktops, ctx)
    found = _closed(operation, State.PARTIAL, Status.PARTIAL, result.message, ctx)
    return replace(found, result=result)


async def _new_jobs(intent: Intent, site: TargetContext) -> frozenset[str]:
    """Jobs that were not there before the request; ``UNLISTED`` among them where that list has gaps."""
    known = await site.workspace.pool_jobs(intent.pool.pool_id, intent.step)
    gaps = {UNLISTED} & (known | set(intent.baseline_jobs))
    return known - set(intent.baseline_jobs) | gaps


def can_no_longer_arrive(intent: Intent, ctx: RunContext) -> bool:
    """True once the signed request has expired."""
    return intent.not_after is not None and ctx.journal.now() > intent.not_after


def until_words(intent: Intent) -> str:
    """Until when the request can be accepted: `` until 2026-03-01 08:15:00 UTC``."""
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
        f"and {ids}; then run: reconciler resolve --accept-as done {intent.operation_id} "
        "(or with not-accepted in the place of done)"
    )
    return Resolution(operation, resolved=False, result=Result(status, message, hint))


def _resolution(operation: Operation, result: Result) -> Resolution:
    if result.status is Status.UNKNOWN:
        return still_open(operation, result.message)
    closed = result.status in (Status.DONE, Status.FAILED, Status.PARTIAL, Status.ALARM)
    return Resolution(operation, resolved=closed, result=result)
