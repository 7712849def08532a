"""Closes an open operation as a person decided, once what the journal and the service show has been looked at.

It never sends anything. What can be found out without a person is left to ``resolve``.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.apply.context import RunContext, TargetContext
from reconciler.apply.operation import seen_words
from reconciler.apply.proof import Observation, observe
from reconciler.apply.resolve import can_no_longer_arrive, until_words
from reconciler.apply.results import Resolution, Result, Status
from reconciler.errors import Refused, ServiceError
from reconciler.journal.records import ClosedBy, Operation
from reconciler.journal.states import State
from reconciler.values import Struct
from reconciler.workspace import Job, JobEnd

DECIDED = "operation.decided"
"""The kind of the event that keeps a person's decision."""


class Decision(Struct, frozen=True):
    """What a person says became of an operation."""

    state: State
    """DONE or NOT_ACCEPTED."""
    by: str
    """Who says so, for the journal."""
    despite_evidence: bool = False
    """True when it was given a second time, against what the service shows."""


class Evidence(Struct, frozen=True):
    """What the service shows of one operation, in words, and what of it contradicts the decision."""

    reading: str
    against: tuple[str, ...] = ()


async def decide(
    operation: Operation, decision: Decision, site: TargetContext | str, ctx: RunContext
) -> Resolution:
    """Close an operation as a person decided, judged by two readings of the disks and by the job.

    ``site`` is the operation's own target, or why it cannot be read. Raises ``PoolHeld`` while its run holds
    the lease, and ``Refused`` while the evidence contradicts the decision.
    """
    _check(operation, decision, ctx)
    # Read again with the take-over: its run may have recorded the answer after the operation was listed.
    operation = ctx.journal.take_over(operation.id, ctx.run_id, ctx.options.lease)
    _check(operation, decision, ctx)
    if isinstance(site, str):
        evidence = Evidence("nothing", (site,))
    else:
        evidence = await _evidence(operation, decision.state, site, ctx)
    if evidence.against and not decision.despite_evidence:
        raise Refused(
            f"operation {operation.id} is not closed as {_word(decision.state)}: {'; '.join(evidence.against)}"
            f" (read: {evidence.reading})",
            "check the pool and its tasks in the console; add --despite-evidence if you know better",
        )
    return _closed(operation, decision, evidence, ctx)


def _check(operation: Operation, decision: Decision, ctx: RunContext) -> None:
    """Raise ``Refused`` for "not accepted" where the request was accepted, or can still be: whatever else is said."""
    if decision.state is not State.NOT_ACCEPTED:
        return
    outcome, intent = operation.outcome, operation.intent
    if outcome and (outcome.job_id or outcome.state is State.ACCEPTED or outcome.status in range(200, 300)):
        answer = f"HTTP {outcome.status}" if outcome.status else outcome.state.value
        job = f", job {outcome.job_id}" if outcome.job_id else ""
        raise Refused(
            f"the service accepted the request of operation {operation.id}: the journal has its answer "
            f"({answer}{job})",
            "run 'reconciler resolve': it follows the job and reads the disks",
        )
    # Closing frees the pool, and the next run may plan the same removal: a late request would then run as well.
    if intent.not_after and not can_no_longer_arrive(intent, ctx):
        raise Refused(
            f"the request of operation {operation.id} may still be accepted{until_words(intent)}",
            "use not-accepted after that time; apply and resolve also find out on their own",
        )


async def _evidence(operation: Operation, state: State, site: TargetContext, ctx: RunContext) -> Evidence:
    """What the disks and the jobs show, and what of it contradicts the decision."""
    intent = operation.intent
    try:
        jobs = await _jobs(operation, site)
        seen = await observe(intent, site, ctx, 0.0)
    except ServiceError as error:
        return Evidence("nothing", (f"the service could not be read: {error.message}",))
    words = [seen_words(operation.intent, seen), *(f"job {each.id} {each.end}" for each in jobs)]
    against = _against_done if state is State.DONE else _against_not_accepted
    return Evidence(", ".join(words), tuple(against(operation, seen, jobs)))


async def _jobs(operation: Operation, site: TargetContext) -> list[Job]:
    """The recorded job, or else those that appeared after the intent: any of them may be its job."""
    intent, outcome = operation.intent, operation.outcome
    if outcome and outcome.job_id:
        ids = [outcome.job_id]
    else:
        known = await site.workspace.pool_jobs(intent.pool.pool_id, intent.step)
        ids = sorted(known - set(intent.baseline_jobs))
    found = [await site.workspace.job(each) for each in ids]
    return [job for job in found if job is not None]


def _against_done(operation: Operation, seen: Observation, jobs: list[Job]) -> Iterator[str]:
    if not seen.complete:
        yield seen_words(operation.intent, seen)
    for job in jobs:
        if job.end is JobEnd.RUNNING:
            yield f"job {job.id} is still running"
        # Of several jobs a failed one may be somebody else's; an only one is taken for the operation's own.
        elif job.end is not JobEnd.SUCCEEDED and len(jobs) == 1:
            yield f"job {job.id} ended {job.end}: {job.reason}"


def _against_not_accepted(operation: Operation, seen: Observation, jobs: list[Job]) -> Iterator[str]:
    if seen.done or seen.alarming or seen.contradictory:
        yield seen_words(operation.intent, seen)
    yield from (f"job {job.id} of this pool appeared after the call ({job.end})" for job in jobs)


def _closed(operation: Operation, decision: Decision, evidence: Evidence, ctx: RunContext) -> Resolution:
    """Keep the decision with what it was judged against, and close the operation."""
    despite = f"; despite the evidence: {'; '.join(evidence.against)}" if evidence.against else ""
    verdict = (
        f"a person decided: {_word(decision.state)} (by {decision.by}; read: {evidence.reading}{despite})"
    )
    detail = {
        "decision": decision.state.value,
        "by": decision.by,
        "reading": evidence.reading,
        "against": list(evidence.against),
    }
    # The event comes first: a decision that was kept but not carried out is harmless, the reverse is a gap.
    ctx.journal.record_event(ctx.run_id, DECIDED, detail, operation.id)
    ctx.journal.close_operation(operation.id, ctx.run_id, decision.state, verdict, closed_by=ClosedBy.PERSON)
    return Resolution(operation, resolved=True, result=Result(Status.DONE, verdict))


def _word(state: State) -> str:
    return state.value.replace("_", "-")
