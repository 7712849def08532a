"""Carries out one operation: durable intent, one POST that is never repeated, its outcome, the job, the proof.

What may be sent is left to ``pools``; operations of earlier runs to ``resolve``, which uses the functions
here to follow a job and to judge its result.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from reconciler.apply.alarms import raise_for
from reconciler.apply.context import RunContext, TargetContext, nothing_shown
from reconciler.apply.events import Phase, PoolMoved
from reconciler.apply.following import Following, Hold
from reconciler.apply.marks import answer_of
from reconciler.apply.partial import ByDesktop, by_desktop, unnamed
from reconciler.apply.partial import words as desktop_words
from reconciler.apply.polling import is_transient
from reconciler.apply.proof import VERBS, Observation, observe
from reconciler.apply.results import Result, Status
from reconciler.apply.strangers import restored_words
from reconciler.errors import JournalError, PoolHeld, ServiceError
from reconciler.journal.records import DESKTOPS, GraceRule, Intent
from reconciler.journal.states import Outcome, State, Step
from reconciler.values import replace
from reconciler.workspace import Call, Job, JobEnd

SEND_GRACE = 3.0
"""Seconds to wait for the answer of a call in flight after a request to stop."""
VANISHED_AFTER = 3
"""Answers "no such job" in a row after which a job's record counts as gone."""

CUT_SHORT = ", and --wait-timeout left no time to see whether the readings only lag behind"
NOT_FOUND = 404
"""HTTP status with which the service answers a call for something that is gone."""

_STATES = {
    Status.DONE: State.DONE,
    Status.FAILED: State.FAILED,
    Status.PARTIAL: State.PARTIAL,
    Status.ALARM: State.PARTIAL,
}
_DOING = {
    Step.REMOVE: "destroying",
    Step.EXPAND: "expanding",
    Step.ADD: "creating",
    Step.RETRY: "destroying what is left of",
}
_NOT_REPEATED = "the call is not repeated"
_RESOLVE = "run 'reconciler resolve', or apply again, which resolves first"


async def carry_out(
    call: Call, intent: Intent, site: TargetContext, ctx: RunContext, grace: GraceRule | None = None
) -> Result:
    """Send ``call`` once under ``intent`` and follow it to a result.

    Raises ``PoolHeld`` when another run holds the pool, ``StalePlan`` when another run acted on the pool
    since it was read, ``Refused`` when the day's budget has no room for it or a disk's ``grace`` has not ended,
    ``JournalError`` when the intent cannot be made durable: then nothing was sent.
    """
    # The intent is durable before the call leaves, so that a run that dies here leaves a trace to resolve.
    budget = ctx.budgets.get(site.service.target)
    ctx.journal.open_operation(intent, ctx.run_id, ctx.options.lease, budget, grace)
    ctx.tell(PoolMoved(intent.pool.pool_id, intent.pool_name, Phase.SENDING, _doing(intent)))
    await _heed_signals(intent, ctx)
    if lost := _lost_hold(intent, ctx):
        return lost
    # Nothing is waited for from here to the wire, so the hold just renewed outlasts the call.
    outcome = await _send(call, intent, site, ctx)
    answer = f"sent ({_word(outcome)}: {f'job {outcome.job_id}' if outcome.job_id else _answer(outcome)})"
    # From here on the service may have acted, so every failure becomes a result that says "sent". An exception
    # would read as "nothing was sent" to the callers.
    try:
        ctx.journal.record_outcome(intent.operation_id, ctx.run_id, outcome)
        return await _conclude(intent, outcome, site, ctx)
    except PoolHeld as taken:
        detail = {"outcome": _word(outcome), "job_id": outcome.job_id}
        with suppress(JournalError):
            ctx.journal.record_event(ctx.run_id, "operation.lost", detail, intent.operation_id)
        message = f"{answer}, but this run did not renew its lease in time and lost the pool: {taken.message}"
        return Result(Status.UNKNOWN, message, f"{_NOT_REPEATED}; plan again when the other run has ended")
    except ServiceError as error:
        message = f"{answer}, but its effect could not be read: {error.message}"
        return Result(Status.UNKNOWN, message, f"{_NOT_REPEATED}; {_RESOLVE}")
    except JournalError as error:
        message = f"{answer}, but the journal could not record its effect: {error.message}"
        return Result(Status.JOURNAL, message, f"{_NOT_REPEATED}; when the journal works again, {_RESOLVE}")


async def _conclude(intent: Intent, outcome: Outcome, site: TargetContext, ctx: RunContext) -> Result:
    """The result of a call whose outcome is recorded."""
    match outcome.state:
        case State.NOT_SENT:
            message = f"the call was not sent: {outcome.message}"
            ctx.journal.close_operation(intent.operation_id, ctx.run_id, State.NOT_SENT, message)
            return Result(Status.ERROR, message, "nothing was changed; apply again", outcome=outcome)
        case State.REJECTED if intent.step is Step.REMOVE and outcome.status == NOT_FOUND:
            return await _gone_already(intent, outcome, site, ctx)
        case State.REJECTED:
            message = f"the service rejected the call: {_answer(outcome)}"
            ctx.journal.close_operation(intent.operation_id, ctx.run_id, State.REJECTED, message)
            return Result(Status.REJECTED, message, "nothing was changed", outcome=outcome)
        case State.ACCEPTED:
            if not ctx.options.wait:
                return Result(
                    Status.ACCEPTED, f"accepted as job {outcome.job_id}, not followed (--no-wait)", _RESOLVE
                )
            return await follow(intent, outcome.job_id, site, ctx)
        case _:  # UNKNOWN, and anything that is not one of the outcomes above
            # The operation stays open: that keeps every run off the pool until somebody resolves it.
            return Result(
                Status.UNKNOWN,
                f"it is unknown whether the call arrived: {_answer(outcome)}",
                f"{_NOT_REPEATED}; {_RESOLVE}",
            )


async def _gone_already(intent: Intent, outcome: Outcome, site: TargetContext, ctx: RunContext) -> Result:
    """The result of a removal answered with "not found": somebody else may have removed its disks meanwhile."""
    seen: Observation | None = None
    try:
        seen = await observe(intent, site, ctx, 0.0)
        words = seen_words(intent, seen)
    except ServiceError as error:
        words = f"the pool could not be read: {error.message}"
    if seen and seen.complete:
        message = f"{words}, seen in two readings, but not removed by this call: {_answer(outcome)}"
        result = Result(Status.DONE, message, done=seen.done, outcome=outcome)
    else:
        message = f"the service rejected the call: {_answer(outcome)}; {words}"
        result = Result(
            Status.REJECTED, message, "nothing was changed by this call; plan again", outcome=outcome
        )
    # Rejected for the journal in both cases: this call destroyed nothing.
    ctx.journal.close_operation(intent.operation_id, ctx.run_id, State.REJECTED, message)
    return result


async def follow(
    intent: Intent, job_id: str, site: TargetContext, ctx: RunContext, later: frozenset[str] = frozenset()
) -> Result:
    """Wait for an accepted job, prove its effect, and close the operation; renews the lease meanwhile.

    ``later``: jobs of the pool that the journal does not know. Where there are any, a disk that had to stay and
    is gone is no alarm: they may have removed it, for somebody who knew of it.
    """
    _tell_of_job(intent, job_id, ctx)
    until = ctx.clock.monotonic() + ctx.options.wait_timeout
    job = await wait_for_job(intent, job_id, site, ctx)
    end, reason = (job.end, job.reason) if job else (None, "")
    if end is JobEnd.RUNNING:
        waited = f"had not ended after {ctx.options.wait_timeout:.0f} s"
        words = waited if ctx.options.wait_timeout else "has not ended, and was not waited for"
        return Result(Status.RUNNING, f"job {job_id} {words}", _RESOLVE)
    # Readings lag behind jobs, also behind one that failed after doing a part: closing at once would let the
    # next run send a disk again that is already gone. A job that failed wholly has no effect to wait for.
    # What a job that is retried shows at first may be how it ended before.
    ctx.tell(PoolMoved(intent.pool.pool_id, intent.pool_name, Phase.PROVING))
    final = end is JobEnd.FAILED and intent.step is not Step.RETRY
    seconds = 0.0 if final else proof_seconds(until, ctx)
    # Room for the next pool only where nothing but the second reading is missing for a good end.
    shown = ctx.shown if end is JobEnd.SUCCEEDED else nothing_shown
    seen = await observe(intent, site, ctx, seconds, shown)
    if intent.step is Step.RETRY and not seen.complete and await _runs_again(job_id, site):
        return Result(Status.RUNNING, f"job {job_id} runs again; {done_words(intent, seen)}", _RESOLVE)
    if not final and cut_short(seconds, seen, ctx):
        ended = f"ended {end}" if end else "is not known any more"
        return Result(
            Status.RUNNING, f"job {job_id} {ended}; {done_words(intent, seen)}{CUT_SHORT}", _RESOLVE
        )
    if seen.lost and later:
        message = f"what had to stay is gone: {', '.join(seen.lost)}; {restored_words(later)}"
        return Result(Status.UNKNOWN, message, _RESOLVE, seen.done)
    result = judge(intent, job_id, end, reason, seen)
    if job and result.status is Status.PARTIAL:
        result = with_desktops(result, intent, job, named=not ctx.unnamed)
    if result.status is Status.ALARM:
        # Before the operation is closed: whatever ends this run in between, the pool stays held.
        raise_for(intent, result.message, ctx)
    if result.status in _STATES:
        close(intent, result, ctx)
    return result


def _tell_of_job(intent: Intent, job_id: str, ctx: RunContext) -> None:
    wait = ctx.options.wait_timeout
    until = ctx.clock.now() + timedelta(seconds=wait) if wait else None
    pool = intent.pool.pool_id, intent.pool_name
    ctx.tell(PoolMoved(*pool, Phase.JOB, f"job {job_id} accepted", until, job_id))


async def _runs_again(job_id: str, site: TargetContext) -> bool:
    """Whether a job that had ended is under way: the service may retry one under the id that it had."""
    job = await site.workspace.job(job_id)
    return job is not None and job.end is JobEnd.RUNNING


def proof_seconds(until: float, ctx: RunContext) -> float:
    """Seconds for which the readings may take to show an effect, when the whole wait ends at ``until``."""
    return min(ctx.options.proof_timeout, max(until - ctx.clock.monotonic(), 0.0))


def cut_short(seconds: float, seen: Observation, ctx: RunContext) -> bool:
    """Whether readings that had only so many seconds may still come to show more, so that nothing is decided."""
    decided = seen.complete or seen.alarming or seen.contradictory
    return seconds < ctx.options.proof_timeout and not decided


def judge(intent: Intent, job_id: str, end: JobEnd | None, reason: str, seen: Observation) -> Result:
    """The result from a job's end (None: its record vanished) and from what the disks show; pure.

    The disks decide, never the job alone: a job may report success while the disks do not show it.
    """
    words = done_words(intent, seen)
    # What is lost comes first: it outranks any success.
    if seen.pool_gone:
        return Result(Status.ALARM, f"the pool vanished while job {job_id} ran", _STOP, seen.done)
    if seen.lost:
        lost = ", ".join(seen.lost)
        return Result(
            Status.ALARM, f"disks that had to stay are gone after job {job_id}: {lost}", _STOP, seen.done
        )
    if seen.contradictory:
        return Result(Status.UNKNOWN, f"job {job_id} ended, but {words}", _RESOLVE)
    # Without a job to ask and with the effect incomplete, the job may still be running: the pool stays held.
    if end is None and not seen.complete:
        message = f"the service no longer knows job {job_id}, and {words}"
        return Result(Status.UNKNOWN, message, _RESOLVE, seen.done)
    if end in (JobEnd.SUCCEEDED, None):
        if seen.complete:
            forgotten = "" if end else f"; the service no longer knows job {job_id}"
            return Result(Status.DONE, f"{words}, seen in two readings{forgotten}", done=seen.done)
        message = f"job {job_id} reports success, but {words}"
    else:
        message = f"job {job_id} ended {end}: {reason}; {words}"
    status = Status.PARTIAL if end is JobEnd.PARTIAL or seen.done else Status.FAILED
    return Result(status, message, f"check job {job_id} in the console, then plan again", seen.done)


def with_desktops(result: Result, intent: Intent, job: Job, *, named: bool = True) -> Result:
    """The result of a job that did only a part, with the desktops on which it did it and those that are left."""
    found = by_desktop(intent, job)
    # Where all it says is that every part ended well, it contradicts the disks and names nothing that is left.
    if not found.left:
        return result
    hint = result.hint
    if intent.step in (Step.REMOVE, Step.RETRY):
        again = f"reconciler retry {intent.operation_id}"
        hint = f"check job {job.id} in the console; to let the service finish it: {again}"
    said = desktop_words(found if named else unnamed(found))
    return replace(result, message=f"{result.message}; {said}", hint=hint, desktops=found)


def keep_desktops(operation_id: str, found: ByDesktop | None, ctx: RunContext) -> None:
    """Keep in the journal on which desktops a job did its part; before the operation is closed."""
    if found:
        ctx.journal.record_event(ctx.run_id, DESKTOPS, found.detail(), operation_id)


def close(intent: Intent, result: Result, ctx: RunContext) -> None:
    """Close the operation in the journal with this result."""
    keep_desktops(intent.operation_id, result.desktops, ctx)
    ctx.journal.close_operation(intent.operation_id, ctx.run_id, _STATES[result.status], result.message)


_STOP = "stop, and check the pool in the console before you do anything else"


async def _heed_signals(intent: Intent, ctx: RunContext) -> None:
    """Let a signal take effect that arrived while the intent was being written.

    That takes up to three turns of the event loop: one calls what the handler queued, which cancels the run's
    task, and one each passes that on to the pools' tasks and to this one.
    """
    try:
        for _ in range(3):
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        with suppress(PoolHeld, JournalError):
            message = "stopped before the call was sent"
            ctx.journal.close_operation(intent.operation_id, ctx.run_id, State.NOT_SENT, message)
        raise


def _lost_hold(intent: Intent, ctx: RunContext) -> Result | None:
    """Renew the hold right before the wire; None while it is ours.

    The process may have stood still since the intent was written (a suspended laptop, a frozen container), and
    somebody may have taken the operation over and closed it. Then the call must not leave any more.
    """
    try:
        ctx.journal.renew_lease(intent.operation_id, ctx.run_id, ctx.options.lease)
    except PoolHeld as taken:
        message = f"not sent: this run was silent for too long and lost its hold: {taken.message}"
        return Result(Status.HELD, message, "nothing was changed; plan again when the other run has ended")
    return None


async def _send(call: Call, intent: Intent, site: TargetContext, ctx: RunContext) -> Outcome:
    """Send; when the run is being stopped, wait a little longer for the answer of a call in flight."""
    # Shielded: cancelling a request in flight loses its answer, and the outcome is then unknown for good.
    sending = asyncio.ensure_future(site.workspace.send(call, intent.signed_at))
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        done, _ = await asyncio.wait({sending}, timeout=SEND_GRACE)
        if done:
            outcome = sending.result()
        else:
            sending.cancel()
            outcome = Outcome(state=State.UNKNOWN, message="interrupted while waiting for the answer")
        # If this fails the operation stays INTENDED, which the next run treats as unknown.
        with suppress(PoolHeld, JournalError):
            ctx.journal.record_outcome(intent.operation_id, ctx.run_id, outcome)
        raise


def done_words(intent: Intent, seen: Observation) -> str:
    """How much of an operation the disks show: ``1 of 2 disks gone``."""
    if seen.contradictory:
        return "no two consecutive readings of the pools agree"
    one, many = ("copy", "copies") if intent.step is Step.RETRY else ("disk", "disks")
    what = one if seen.total == 1 else many
    return f"{seen.done} of {seen.total} {what} {VERBS[intent.step]}"


def seen_words(intent: Intent, seen: Observation) -> str:
    """The same, with what is gone that had to stay."""
    if seen.pool_gone:
        return "the pool itself is gone"
    lost = f", and what had to stay is gone: {', '.join(seen.lost)}" if seen.lost else ""
    return done_words(intent, seen) + lost


async def wait_for_job(intent: Intent, job_id: str, site: TargetContext, ctx: RunContext) -> Job | None:
    """Poll until the job has ended; RUNNING when the deadline comes first, None when its record vanished."""
    start = ctx.clock.monotonic()
    deadline = start + ctx.options.wait_timeout
    following, hold = Following(start, site.pace), Hold(intent, ctx)
    unknown = 0
    while True:
        gap = following.gap(ctx.clock.monotonic())
        due = min(ctx.clock.monotonic() + gap, deadline)
        late = ctx.clock.monotonic() >= deadline
        asked, job = False, None
        try:
            running = await site.running[intent.step].after(due, gap)
            if job_id in running:
                following.listed(due)
                unknown = 0
            # The shared poll lists unfinished jobs only; how one ended, only its own detail call says.
            elif asked := (moment := ctx.clock.monotonic()) >= deadline or following.is_asked_for(moment):
                job = await site.workspace.job(job_id)
                following.answered(moment, job)
        except ServiceError as error:
            if late or not is_transient(error):
                raise
            continue  # one failed reading is no reason to stop following an accepted call
        finally:
            # Also after a failed reading: while this run waits, no other may take the operation over.
            hold.keep()
        # A single "no such job" may come from a stale replica, so it does not count yet.
        if asked:
            unknown = unknown + 1 if job is None else 0
        if unknown >= VANISHED_AFTER:
            return None
        if job is not None and job.end is not JobEnd.RUNNING:
            return job
        if ctx.clock.monotonic() >= deadline:
            return Job(job_id, JobEnd.RUNNING)


def _word(outcome: Outcome) -> str:
    return outcome.state.value.replace("_", " ")


def _answer(outcome: Outcome) -> str:
    request = f", request {outcome.request_id}" if outcome.request_id else ""
    return f"{answer_of(outcome)}{request}"


def _doing(intent: Intent) -> str:
    ids = ", ".join(disk_id or f"{kind} {size} GB" for disk_id, kind, size in intent.disks)
    return f"{_DOING[intent.step]} {ids}"
