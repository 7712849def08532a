"""What a person says became of an operation is held against the journal, the disks and the job."""

from __future__ import annotations

import pytest

from reconciler.apply.decision import DECIDED, Decision
from reconciler.engine.resolution import accept
from reconciler.errors import Refused
from reconciler.journal.records import ClosedBy, Operation
from reconciler.journal.states import Outcome, State, Step
from reconciler.planner import Connection
from reconciler.planning.plan import Service
from reconciler.values import replace
from reconciler.workspace import JobEnd
from tests.apply.harness import GOING, KEPT, LIFETIME, Harness, harness, removal
from tests.builders import TARGET
from tests.simulation.service import Faults, TrueJob


def left_open(world: Harness, outcome: Outcome | None = None, *, lifetime: float | None = LIFETIME) -> None:
    """A run wrote its intent down, perhaps its answer, and ended."""
    world.journal.open_run("person", "resolve", "1", [])
    world.journal.open_operation(world.intent(lifetime=lifetime), "gone", 60)
    if outcome:
        world.journal.record_outcome("op", "gone", outcome)
    world.journal.renew_lease("op", "gone", 0)


def said(world: Harness, state: State, *, despite_evidence: bool = False, unread: str = "") -> str:
    """The verdict after a person has decided."""
    [operation] = world.journal.unresolved()
    decision = Decision(state, "ann@desk", despite_evidence)
    resolution = world.run(accept(operation, decision, unread, world.context(run_id="person")))
    assert world.service.sent == []
    assert kept(world).verdict == resolution.result.message
    return resolution.result.message


def kept(world: Harness) -> Operation:
    operation = world.journal.operation("op")
    assert operation
    return operation


def job(world: Harness, end: JobEnd, *, lasts: float = 0.0) -> None:
    now = world.loop.moment
    world.service.jobs["job"] = TrueJob("job", "pool", Step.REMOVE, now, now + lasts, end, False, removal())


def refused(world: Harness, state: State, reason: str, *, despite_evidence: bool = False) -> None:
    """The decision is refused, and the operation stays open and free for the next run."""
    with pytest.raises(Refused, match=reason):
        said(world, state, despite_evidence=despite_evidence)
    assert kept(world).closed is None
    world.journal.take_over("op", "next", 0)


@pytest.mark.parametrize(
    "answer",
    [
        Outcome(State.ACCEPTED, "job", status=200),
        Outcome(State.UNKNOWN, "job"),
        Outcome(State.UNKNOWN, status=200, message="success without a job id"),
        Outcome(State.ACCEPTED),
    ],
    ids=["accepted", "a job id", "200 without a job id", "accepted without more"],
)
def test_what_the_service_accepted_is_never_closed_as_not_accepted(answer: Outcome) -> None:
    with harness() as world:
        left_open(world, answer, lifetime=None)
        reason = "the service accepted the request of operation op"
        refused(world, State.NOT_ACCEPTED, reason)
        refused(world, State.NOT_ACCEPTED, reason, despite_evidence=True)


def test_an_answer_that_is_no_acceptance_does_not_forbid_not_accepted() -> None:
    with harness() as world:
        left_open(world, Outcome(State.UNKNOWN, status=502), lifetime=None)
        assert "a person decided: not-accepted (by ann@desk; read: 0 of 1 disk gone)" in said(
            world, State.NOT_ACCEPTED
        )
        assert (kept(world).state, kept(world).closed_by) == (State.NOT_ACCEPTED, ClosedBy.PERSON)


def test_while_the_request_can_arrive_not_accepted_is_refused_whatever_is_said() -> None:
    with harness() as world:
        left_open(world)
        refused(world, State.NOT_ACCEPTED, "may still be accepted until")
        refused(world, State.NOT_ACCEPTED, "may still be accepted until", despite_evidence=True)


def test_not_accepted_is_refused_while_the_disks_or_a_new_job_show_otherwise() -> None:
    with harness() as world:
        left_open(world, lifetime=None)
        job(world, JobEnd.FAILED)
        refused(world, State.NOT_ACCEPTED, "job job of this pool appeared after the call")
        world.service.jobs.clear()
        del world.service.pools_["pool"].disks[GOING.id]
        refused(world, State.NOT_ACCEPTED, "1 of 1 disk gone")
        assert "despite the evidence: 1 of 1 disk gone" in said(
            world, State.NOT_ACCEPTED, despite_evidence=True
        )


def test_done_is_refused_while_the_disks_are_there() -> None:
    with harness() as world:
        left_open(world, Outcome(State.ACCEPTED, "job", status=200))
        job(world, JobEnd.SUCCEEDED)
        refused(world, State.DONE, "op is not closed as done: 0 of 1 disk gone")
        verdict = said(world, State.DONE, despite_evidence=True)
        assert verdict == (
            "a person decided: done (by ann@desk; read: 0 of 1 disk gone, job job succeeded; "
            "despite the evidence: 0 of 1 disk gone)"
        )


@pytest.mark.parametrize("known", [True, False], ids=["its own job", "the only new job"])
@pytest.mark.parametrize(
    ("end", "lasts", "reason"),
    [
        (JobEnd.SUCCEEDED, 1e6, "still running"),
        (JobEnd.FAILED, 0.0, "ended failed"),
        (JobEnd.PARTIAL, 0.0, "ended partial"),
    ],
)
def test_done_is_refused_while_the_job_contradicts_it(
    end: JobEnd, lasts: float, reason: str, *, known: bool
) -> None:
    with harness() as world:
        left_open(world, Outcome(State.ACCEPTED, "job", status=200) if known else None)
        job(world, end, lasts=lasts)
        del world.service.pools_["pool"].disks[GOING.id]
        refused(world, State.DONE, f"job job (is )?{reason}")


def test_done_is_refused_when_more_is_gone_than_was_to_go() -> None:
    with harness() as world:
        left_open(world)
        world.service.pools_["pool"].disks.clear()
        refused(world, State.DONE, f"what had to stay is gone: {KEPT.id}")


def test_done_that_one_reading_shows_and_the_next_one_does_not_is_refused() -> None:
    with harness() as world:
        left_open(world)
        before = world.service._view()
        del world.service.pools_["pool"].disks[GOING.id]
        world.service.shown = [world.service._view(), before] * 50
        refused(world, State.DONE, "no two consecutive readings of the pools agree")


def test_done_needs_a_service_that_can_be_read() -> None:
    with harness(Faults(read_error=1.0)) as world:
        left_open(world)
        refused(world, State.DONE, "could not be read: the service answered 500")
        assert "read: nothing; despite the evidence" in said(world, State.DONE, despite_evidence=True)


def test_a_decision_needs_the_operations_own_target_and_service() -> None:
    with harness() as world:
        left_open(world)
        [operation] = world.journal.unresolved()
        context = world.context(run_id="person")
        elsewhere = {TARGET: Connection(Service(TARGET, "staging"), world.service, world.clock)}
        for connections, reason in (({}, "no credentials"), (elsewhere, "this is the service staging")):
            asked = replace(context, connections=connections)
            with pytest.raises(Refused, match=reason):
                world.run(accept(operation, Decision(State.DONE, "ann"), "no credentials", asked))


def test_what_was_decided_by_whom_and_against_which_reading_is_kept() -> None:
    with harness() as world:
        left_open(world, Outcome(State.ACCEPTED, "job", status=200))
        job(world, JobEnd.SUCCEEDED)
        del world.service.pools_["pool"].disks[GOING.id]
        verdict = said(world, State.DONE)
        assert verdict == "a person decided: done (by ann@desk; read: 1 of 1 disk gone, job job succeeded)"
        assert (kept(world).state, kept(world).closed_by) == (State.DONE, ClosedBy.PERSON)
        record = world.journal.run("person")
        assert record
        [event] = [each for each in record.events if each.kind == DECIDED]
        assert (event.operation_id, event.detail) == (
            "op",
            {
                "decision": "done",
                "by": "ann@desk",
                "reading": "1 of 1 disk gone, job job succeeded",
                "against": [],
            },
        )
