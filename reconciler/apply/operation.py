"""Owns one operation: durable intent, one POST, its outcome, the job, the proof, the verdict.

The POST is never repeated. What may be sent is left to ``pools``; what an earlier run left behind to
``resolve``, which follows and proves with the functions of this module.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from reconciler.api.outcome import Outcome, OutcomeKind
from reconciler.apply.context import Context, Ending, Site
from reconciler.apply.proof import Effect, observe
from reconciler.apply.shared import delay, passing
from reconciler.errors import JournalError, PoolHeld, ServiceError
from reconciler.journal import records
from reconciler.journal.records import Intent, State, Step
from reconciler.live import Call, JobEnd

SEND_GRACE = 3.0
"""Seconds a call in flight is still waited for after a request to stop."""
VANISHED_AFTER = 3
"""Answers "no such job" in a row after which a job's record counts as gone."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one operation ended."""

    ending: Ending
    message: str
    hint: str = ""
    done: int = 0
    outcome: Outcome | None = None
    """The answer of a rejected call, which tells how long to wait."""


_STATES = {
    Ending.DONE: State.DONE,
    Ending.FAILED: State.FAILED,
    Ending.PARTIAL: State.PARTIAL,
    Ending.ALARM: State.PARTIAL,
}
_OUTCOMES = {
    OutcomeKind.NOT_SENT: State.NOT_SENT,
    OutcomeKind.REJECTED: State.REJECTED,
    OutcomeKind.ACCEPTED: State.ACCEPTED,
    OutcomeKind.UNKNOWN: State.UNKNOWN,
}
_NOT_REPEATED = "the call is not repeated"
_RESOLVE = "run 'reconciler resolve', or apply again: it starts by resolving"


async def carry_out(call: Call, intent: Intent, site: Site, ctx: Context) -> Verdict:
    """Send ``call`` once under ``intent`` and follow it to a verdict.

    Raises ``PoolHeld`` when another run holds the pool, ``StalePlan`` when the pool was acted on since
    it was read, ``JournalError`` when the intent cannot be made durable: nothing was sent then.
    """
    ctx.journal.open_operation(intent, ctx.run_id, ctx.options.lease)
    ctx.say(f"{intent.pool_name}: {_doing(intent)}")
    await _heed_signals(intent, ctx)
    # Nothing is waited for from here to the wire: the hold just taken outlasts the call.
    outcome = await _send(call, intent, site, ctx)
    answer = f"sent ({outcome.kind}: {f'job {outcome.job_id}' if outcome.job_id else _answer(outcome)})"
    try:
        ctx.journal.record_outcome(intent.operation_id, ctx.run_id, recorded(outcome))
        return await _conclude(intent, outcome, site, ctx)
    except PoolHeld as taken:
        detail = {"outcome": outcome.kind.value, "job_id": outcome.job_id}
        with suppress(JournalError):
            ctx.journal.record_event(ctx.run_id, "operation.lost", detail, intent.operation_id)
        message = f"{answer}, but this run was silent for too long and lost its hold: {taken.message}"
        return Verdict(Ending.UNKNOWN, message, f"{_NOT_REPEATED}; plan again when the other run has ended")
    except ServiceError as error:
        message = f"{answer}, but what came of it could not be read: {error.message}"
        return Verdict(Ending.UNKNOWN, message, f"{_NOT_REPEATED}; {_RESOLVE}")
    except JournalError as error:
        message = f"{answer}, but what came of it could not be kept: {error.message}"
        return Verdict(Ending.JOURNAL, message, f"{_NOT_REPEATED}; once the journal works, {_RESOLVE}")


async def _conclude(intent: Intent, outcome: Outcome, site: Site, ctx: Context) -> Verdict:
    """The verdict over a call whose outcome is recorded."""
    match outcome.kind:
        case OutcomeKind.NOT_SENT:
            message = f"the call was not sent: {outcome.message}"
            ctx.journal.close_operation(intent.operation_id, ctx.run_id, State.NOT_SENT, message)
            return Verdict(Ending.ERROR, message, "nothing was changed; apply again", outcome=outcome)
        case OutcomeKind.REJECTED:
            message = f"the service rejected the call: {_answer(outcome)}"
            ctx.journal.close_operation(intent.operation_id, ctx.run_id, State.REJECTED, message)
            return Verdict(Ending.REJECTED, message, "nothing was changed", outcome=outcome)
        case OutcomeKind.UNKNOWN:
            return Verdict(
                Ending.UNKNOWN,
                f"nobody knows whether the call arrived: {_answer(outcome)}",
                f"{_NOT_REPEATED}; {_RESOLVE}",
            )
        case OutcomeKind.ACCEPTED:
            if not ctx.options.wait:
                return Verdict(
                    Ending.ACCEPTED, f"accepted as job {outcome.job_id}, not followed (--no-wait)", _RESOLVE
                )
            return await follow(intent, outcome.job_id, site, ctx)


async def follow(intent: Intent, job_id: str, site: Site, ctx: Context) -> Verdict:
    """Wait for an accepted job, prove its effect, and close the operation; keeps the lease alive."""
    ctx.say(f"{intent.pool_name}: job {job_id} accepted")
    end, reason = await wait_for_job(intent, job_id, site, ctx)
    if end is JobEnd.RUNNING:
        waited = f"{ctx.options.wait_timeout:.0f} s"
        return Verdict(Ending.RUNNING, f"job {job_id} had not ended after {waited}", _RESOLVE)
    # Readings lag behind jobs, also behind one that failed after doing a part: closing at once would let
    # the next run name a disk again that is gone already. Of one that failed wholly nothing will appear.
    patience = 0.0 if end is JobEnd.FAILED else ctx.options.proof_timeout
    seen = await observe(intent, site, ctx, patience)
    verdict = judge(intent, job_id, end, reason, seen)
    if verdict.ending in _STATES:
        close(intent, verdict, ctx)
    return verdict


def judge(intent: Intent, job_id: str, end: JobEnd | None, reason: str, seen: Effect) -> Verdict:
    """The verdict over a job's end (None: its record vanished) and what the disks show; pure."""
    words = done_words(intent, seen)
    if seen.pool_gone:
        return Verdict(Ending.ALARM, f"the pool vanished while job {job_id} ran", _LOOK, seen.done)
    if seen.lost:
        lost = ", ".join(seen.lost)
        return Verdict(
            Ending.ALARM, f"disks that had to stay are gone after job {job_id}: {lost}", _LOOK, seen.done
        )
    if seen.contradictory:
        return Verdict(Ending.UNKNOWN, f"job {job_id} ended, but {words}", _RESOLVE)
    if end is None and not seen.complete:
        message = f"the service no longer knows job {job_id}, and {words}"
        return Verdict(Ending.UNKNOWN, message, _RESOLVE, seen.done)
    if end in (JobEnd.SUCCEEDED, None):
        if seen.complete:
            forgotten = "" if end else f"; the service no longer knows job {job_id}"
            return Verdict(Ending.DONE, f"{words}, seen in two readings{forgotten}", done=seen.done)
        message = f"job {job_id} reports success, but {words}"
    else:
        message = f"job {job_id} ended {end}: {reason}; {words}"
    ending = Ending.PARTIAL if end is JobEnd.PARTIAL or seen.done else Ending.FAILED
    return Verdict(ending, message, f"look at job {job_id} in the console, then plan again", seen.done)


def close(intent: Intent, verdict: Verdict, ctx: Context) -> None:
    """Close the operation in the journal with what the verdict says."""
    ctx.journal.close_operation(intent.operation_id, ctx.run_id, _STATES[verdict.ending], verdict.message)


def recorded(outcome: Outcome) -> records.Outcome:
    """An answer as the journal keeps it; what is only of use at once (``retry_after``) is left out."""
    return records.Outcome(
        state=_OUTCOMES[outcome.kind],
        job_id=outcome.job_id,
        request_id=outcome.request_id,
        status=outcome.status,
        code=outcome.code,
        message=outcome.message,
    )


_LOOK = "stop and look at the pool in the console before anything else"


async def _heed_signals(intent: Intent, ctx: Context) -> None:
    """Hear a signal that came while the intent was written.

    It takes the event loop three turns: one reads it, one calls the handler, one cancels this task.
    """
    try:
        for _ in range(3):
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        with suppress(PoolHeld, JournalError):
            message = "stopped before the call left"
            ctx.journal.close_operation(intent.operation_id, ctx.run_id, State.NOT_SENT, message)
        raise


async def _send(call: Call, intent: Intent, site: Site, ctx: Context) -> Outcome:
    """Send, and give a call in flight a last chance when the run is being stopped."""
    sending = asyncio.ensure_future(site.workspace.send(call, intent.signed_at))
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        done, _ = await asyncio.wait({sending}, timeout=SEND_GRACE)
        if done:
            outcome = sending.result()
        else:
            sending.cancel()
            outcome = Outcome(kind=OutcomeKind.UNKNOWN, message="interrupted while waiting for the answer")
        with suppress(PoolHeld, JournalError):
            ctx.journal.record_outcome(intent.operation_id, ctx.run_id, recorded(outcome))
        raise


def done_words(intent: Intent, seen: Effect) -> str:
    """How much of an operation is seen: ``1 of 2 disks gone``."""
    if seen.contradictory:
        return "no two readings of the pools in a row agree"
    verb = {Step.REMOVE: "gone", Step.EXPAND: "expanded", Step.ADD: "created"}[intent.step]
    return f"{seen.done} of {seen.total} disks {verb}"


async def wait_for_job(intent: Intent, job_id: str, site: Site, ctx: Context) -> tuple[JobEnd | None, str]:
    """Poll until the job ended; RUNNING when the deadline came first, None when its record vanished."""
    step = intent.step
    start = ctx.clock.monotonic()
    deadline = start + ctx.options.wait_timeout
    unknown = 0
    polls = 0
    due = start
    while True:
        due = min(max(due, ctx.clock.monotonic()) + delay(polls), deadline)
        polls += 1
        late = ctx.clock.monotonic() >= deadline
        try:
            running = await site.running[step].after(due)
            # The shared poll lists unfinished sub-jobs only, so the job's own word is asked for here.
            job = None if job_id in running else await site.workspace.job(job_id)
        except ServiceError as error:
            if late or not passing(error):
                raise
            continue  # an accepted call is not left alone because one reading failed
        finally:
            ctx.journal.renew_lease(intent.operation_id, ctx.run_id, ctx.options.lease)
        unknown = unknown + 1 if job is None and job_id not in running else 0
        if unknown >= VANISHED_AFTER:
            return None, ""
        if job is not None and job.end is not JobEnd.RUNNING:
            return job.end, job.reason
        if ctx.clock.monotonic() >= deadline:
            return JobEnd.RUNNING, ""


def _answer(outcome: Outcome) -> str:
    parts = [outcome.message or "no answer"]
    if outcome.status:
        parts.append(f"HTTP {outcome.status}")
    if outcome.code:
        parts.append(outcome.code)
    if outcome.request_id:
        parts.append(f"request {outcome.request_id}")
    return ", ".join(parts)


def _doing(intent: Intent) -> str:
    ids = ", ".join(disk_id or f"{kind} {size} GB" for disk_id, kind, size in intent.disks)
    return {Step.REMOVE: "destroying", Step.EXPAND: "expanding", Step.ADD: "creating"}[
        intent.step
    ] + f" {ids}"
