"""What an operation says at its end: the message, the hint, and the answer of the service stand where they belong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from reconciler.apply.context import Options
from reconciler.apply.events import Event, Phase, PoolMoved
from reconciler.apply.operation import carry_out, cut_short, follow, judge, proof_seconds, with_desktops
from reconciler.apply.proof import Observation
from reconciler.apply.results import Result, Status
from reconciler.errors import ServiceError
from reconciler.journal.records import DESKTOPS
from reconciler.journal.states import Outcome, State, Step
from reconciler.model import LostCopy
from reconciler.values import replace
from reconciler.workspace import Call, Job, JobEnd
from tests.apply.harness import GOING, KEPT, FullDisk, Harness, Scripted, harness, removal
from tests.apply.test_judge import ALL, HALF, NONE, intent
from tests.apply.test_partial import job
from tests.apply.test_partial import removal as of_copies
from tests.simulation.service import Faults

RESOLVE = "run 'reconciler resolve', or apply again, which resolves first"
UNREPEATED = f"the call is not repeated; {RESOLVE}"
REFUSED = Outcome(State.REJECTED, "", "req-1", 403, "WKS.403", "not allowed")
ABSENT = Outcome(State.REJECTED, "", "req-1", 404, "WKS.0001", "no such disk")
UNSENT = Outcome(State.NOT_SENT, message="no connection")


def carried_out(world: Harness, options: Options | None = None) -> Result:
    return world.run(carry_out(removal(), world.intent(), world.site(), world.context(options)))


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (
            UNSENT,
            Result(
                Status.ERROR,
                "the call was not sent: no connection",
                "nothing was changed; apply again",
                outcome=UNSENT,
            ),
        ),
        (
            REFUSED,
            Result(
                Status.REJECTED,
                "the service rejected the call: not allowed, HTTP 403, WKS.403, request req-1",
                "nothing was changed",
                outcome=REFUSED,
            ),
        ),
        (
            ABSENT,
            Result(
                Status.REJECTED,
                "the service rejected the call: no such disk, HTTP 404, WKS.0001, request req-1; 0 of 1 disk gone",
                "nothing was changed by this call; plan again",
                outcome=ABSENT,
            ),
        ),
        (
            Outcome(State.UNKNOWN, message="cut"),
            Result(Status.UNKNOWN, "it is unknown whether the call arrived: cut", UNREPEATED),
        ),
    ],
    ids=["not sent", "rejected", "not found", "unknown"],
)
def test_a_call_that_was_not_accepted_says_why_what_to_do_and_what_was_answered(
    answer: Outcome, result: Result
) -> None:
    with harness() as world:
        world.service.answers = [answer]
        assert carried_out(world) == result
        assert world.said == ["pool: destroying b"]


def test_a_disk_that_was_gone_already_keeps_the_answer() -> None:
    with harness() as world:
        del world.service.pools_["pool"].disks[GOING.id]
        world.service.answers = [ABSENT]
        assert carried_out(world).outcome == ABSENT


def test_an_accepted_call_that_is_not_followed_says_its_job_and_who_resolves_it() -> None:
    with harness() as world:
        assert carried_out(world, Options(wait=False)) == Result(
            Status.ACCEPTED, "accepted as job job-1, not followed (--no-wait)", RESOLVE
        )


def test_an_accepted_job_is_named_before_it_is_followed() -> None:
    with harness() as world:
        carried_out(world)
        assert world.said == ["pool: destroying b", "pool: job job-1 accepted"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(60, "had not ended after 60 s"), (0, "has not ended, and was not waited for")],
)
def test_a_job_that_runs_on_says_how_long_it_was_waited_for(seconds: float, words: str) -> None:
    with harness(Faults(job_hangs=1.0)) as world:
        found = carried_out(world, Options(wait_timeout=seconds))
        assert found == Result(Status.RUNNING, f"job job-1 {words}", RESOLVE)


def test_a_job_that_failed_wholly_has_no_effect_to_wait_for_and_no_desktops_to_name() -> None:
    with harness(Faults(job_fails=1.0)) as world:
        found = carried_out(world)
        assert (found.status, found.desktops) == (Status.FAILED, None)
        assert not any("waiting" in line for line in world.said)


def test_a_job_that_did_a_part_names_its_desktops_in_the_result_and_in_the_journal() -> None:
    with harness() as world:
        world.journal.open_run("run", "apply", "1", [])
        copies = tuple(LostCopy(GOING.id, f"pool-d{each}", f"d{each}", f"v{each}", 200) for each in (0, 1))
        wanted = replace(world.intent(), copies=copies)
        world.service = Half(world.loop, world.service.rng, world.service.pools_, Faults(job_partial=1.0))
        found = world.run(carry_out(removal(), wanted, world.site(), world.context()))
        assert found.desktops
        assert (found.status, found.desktops.copies_gone, found.desktops.copies) == (Status.PARTIAL, 1, 2)
        assert "1 of 2 copies gone, on d0; left on d1" in found.message
        record = world.journal.run("run")
        assert record
        assert [each.detail["copies_gone"] for each in record.events if each.kind == DESKTOPS] == [1]


@dataclass
class Half(Scripted):
    """Its jobs fail on the second desktop."""

    def _failing(self, *_: Any) -> tuple[int, ...]:
        return (1,)


# --- the job's record --------------------------------------------------------------------------------


@dataclass
class Told(Scripted):
    """Answers questions about a job as scripted: None for "no such job"."""

    ends: list[JobEnd | None] = field(default_factory=list)

    async def job(self, job_id: str) -> Job | None:
        known = await super().job(job_id)
        if not self.ends:
            return known
        end = self.ends.pop(0)
        return Job(job_id, end) if end else None

    async def running_jobs(self, step: Step) -> frozenset[str]:
        await super().running_jobs(step)
        return frozenset()


def told(world: Harness, *ends: JobEnd | None) -> Told:
    world.service = Told(world.loop, world.service.rng, world.service.pools_, ends=list(ends))
    return world.service


def test_a_job_counts_as_gone_after_three_answers_in_a_row() -> None:
    with harness() as world:
        service = told(world, None, None, None)
        assert "the service no longer knows job job-1" in carried_out(world).message
        assert service.requests["job"] == 3


def test_an_answer_in_between_shows_that_the_job_is_known() -> None:
    with harness() as world:
        ends = (None, JobEnd.RUNNING, None, None, JobEnd.SUCCEEDED)
        service = told(world, *ends)
        assert "no longer knows" not in carried_out(world).message
        assert service.requests["job"] == len(ends)


def test_a_retried_job_that_shows_its_old_end_first_is_followed_on() -> None:
    with harness() as world:
        told(world, JobEnd.FAILED, JobEnd.RUNNING)
        wanted = replace(
            world.intent(), step=Step.RETRY, copies=(LostCopy(GOING.id, "pool-d0", "d0", "v0", 200),)
        )
        world.journal.open_operation(wanted, "run", 60)
        found = world.run(follow(wanted, "old", world.site(), world.context()))
        assert found == Result(Status.RUNNING, "job old runs again; 0 of 1 copy gone", RESOLVE)
        assert any("waiting up to 2 min" in line for line in world.said)


def test_where_later_jobs_may_have_removed_what_had_to_stay_nobody_knows() -> None:
    with harness() as world:
        told(world, JobEnd.SUCCEEDED)
        world.service.pools_["pool"].disks.clear()
        world.journal.open_operation(world.intent(), "run", 60)
        later = frozenset({"later"})
        found = world.run(follow(world.intent(), "job", world.site(), world.context(), later))
        assert (found.status, found.hint, found.done) == (Status.UNKNOWN, RESOLVE, 1)
        assert found.message.startswith(f"what had to stay is gone: {KEPT.id}; the service shows job later ")


def test_without_time_to_wait_a_reading_that_fails_is_not_repeated() -> None:
    with harness() as world:
        world.service = OnceFailing(world.loop, world.service.rng, world.service.pools_)
        found = carried_out(world, Options(wait_timeout=0))
        assert found.message == (
            "sent (accepted: job job-1), but its effect could not be read: the service answered 500"
        )
        assert (found.status, found.hint) == (Status.UNKNOWN, UNREPEATED)


@dataclass
class OnceFailing(Scripted):
    """Fails to list its jobs the first time."""

    asked: int = 0

    async def running_jobs(self, step: Step) -> frozenset[str]:
        self.asked += 1
        if self.asked == 1:
            raise ServiceError("the service answered 500", status=500)
        return await super().running_jobs(step)


# --- what follows from the disks ---------------------------------------------------------------------

STOP = "stop, and check the pool in the console before you do anything else"
CHECK = "check job job in the console, then plan again"


@pytest.mark.parametrize(
    ("end", "seen", "result"),
    [
        (JobEnd.SUCCEEDED, ALL, Result(Status.DONE, "2 of 2 disks gone, seen in two readings", done=2)),
        (
            None,
            ALL,
            Result(
                Status.DONE,
                "2 of 2 disks gone, seen in two readings; the service no longer knows job job",
                done=2,
            ),
        ),
        (
            None,
            HALF,
            Result(Status.UNKNOWN, "the service no longer knows job job, and 1 of 2 disks gone", RESOLVE, 1),
        ),
        (
            JobEnd.SUCCEEDED,
            NONE,
            Result(Status.FAILED, "job job reports success, but 0 of 2 disks gone", CHECK),
        ),
        (
            JobEnd.FAILED,
            HALF,
            Result(Status.PARTIAL, "job job ended failed: busy; 1 of 2 disks gone", CHECK, 1),
        ),
        (
            JobEnd.SUCCEEDED,
            Observation(1, 2, pool_gone=True),
            Result(Status.ALARM, "the pool vanished while job job ran", STOP, 1),
        ),
        (
            JobEnd.SUCCEEDED,
            Observation(2, 2, lost=("a", "c")),
            Result(Status.ALARM, "disks that had to stay are gone after job job: a, c", STOP, 2),
        ),
        (
            JobEnd.FAILED,
            Observation(0, 2, contradictory=True),
            Result(
                Status.UNKNOWN, "job job ended, but no two consecutive readings of the pools agree", RESOLVE
            ),
        ),
    ],
)
def test_a_verdict_says_what_the_disks_show_and_what_to_do(
    end: JobEnd | None, seen: Observation, result: Result
) -> None:
    assert judge(intent(), "job", end, "busy", seen) == result


@pytest.mark.parametrize(
    ("seen", "cut"),
    [
        (HALF, True),
        (ALL, False),
        (Observation(0, 2, contradictory=True), False),
        (Observation(0, 2, lost=("a",)), False),
    ],
)
def test_only_what_is_still_open_is_cut_short(seen: Observation, cut: bool) -> None:
    with harness() as world:
        assert cut_short(119, seen, world.context()) is cut
        assert not cut_short(120, seen, world.context())


def test_when_the_time_is_up_no_more_is_waited_for_the_effect() -> None:
    with harness() as world:
        now = world.loop.moment
        assert [proof_seconds(now + each, world.context()) for each in (-1, 0, 60, 600)] == [0, 0, 60, 120]


@pytest.mark.parametrize(
    ("step", "hint"),
    [
        (Step.REMOVE, "check job job in the console; to let the service finish it: reconciler retry op"),
        (Step.EXPAND, "plan again"),
    ],
)
def test_only_a_removal_can_be_finished_by_the_service(step: Step, hint: str) -> None:
    wanted = replace(of_copies("a", "b"), step=step)
    found = with_desktops(
        Result(Status.PARTIAL, "job ended", "plan again"), wanted, job(("a", True), ("b", False))
    )
    assert found.hint == hint
    assert found.message == "job ended; 1 of 2 copies gone, on a; left on b"
    assert found.desktops
    assert [each.name for each in found.desktops.left] == ["b"]


# --- interruptions and a journal that fails ----------------------------------------------------------


@dataclass
class Silent(Scripted):
    """Never answers a call, and notes that it was given up."""

    given_up: bool = False

    async def send(self, call: Call, signed_at: datetime) -> Outcome:
        try:
            await asyncio.sleep(1e6)
        except asyncio.CancelledError:
            self.given_up = True
            raise
        return await super().send(call, signed_at)


def test_an_interrupted_call_without_an_answer_is_given_up_and_says_so() -> None:
    with harness() as world:
        world.service = service = Silent(world.loop, world.service.rng, world.service.pools_)

        async def scenario() -> None:
            sending = asyncio.ensure_future(
                carry_out(removal(), world.intent(), world.site(), world.context())
            )
            await asyncio.sleep(1)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await asyncio.sleep(1)

        world.run(scenario())
        assert service.given_up
        operation = world.journal.operation("op")
        assert operation
        assert operation.outcome
        assert operation.outcome.message == "interrupted while waiting for the answer"


@pytest.mark.parametrize(
    ("answers", "words"),
    [([UNSENT], "sent (not sent: no connection)"), ([], "sent (accepted: job job-1)")],
)
def test_what_the_journal_could_not_keep_is_said(answers: Sequence[Outcome], words: str) -> None:
    with harness() as world:
        kept: Any = FullDisk(world.journal, "record_outcome")
        world.journal, journal = kept, world.journal
        world.service.answers = list(answers)
        found = carried_out(world)
        world.journal = journal
        assert found == Result(
            Status.JOURNAL,
            f"{words}, but the journal could not record its effect: the disk is full",
            f"the call is not repeated; when the journal works again, {RESOLVE}",
        )


def waits_shown(world: Harness, options: Options | None = None) -> list[tuple[Phase, float | None]]:
    """Each phase that an operation shows, and the seconds until it ends at the latest."""
    shown: list[tuple[Phase, float | None]] = []

    def see(event: Event) -> None:
        assert isinstance(event, PoolMoved)
        left = (event.until - world.clock.now()).total_seconds() if event.until else None
        shown.append((event.phase, left))

    ctx = replace(world.context(options), observer=see)
    world.run(carry_out(removal(), world.intent(), world.site(), ctx))
    return shown


def test_a_job_is_shown_with_the_end_of_the_wait_unless_it_is_not_waited_for() -> None:
    for seconds, until in ((60, 60), (0, None)):
        with harness(Faults(job_hangs=1.0)) as world:
            assert waits_shown(world, Options(wait_timeout=seconds)) == [
                (Phase.SENDING, None),
                (Phase.JOB, until),
            ]


def test_readings_that_lag_behind_a_job_are_shown_with_the_end_of_the_wait() -> None:
    with harness() as world:
        told(world, JobEnd.SUCCEEDED)
        world.service.pools_["pool"].disks[GOING.id] = GOING
        *_, begun, lagging = waits_shown(world, Options(proof_timeout=90))
        assert begun == (Phase.PROVING, None)
        assert lagging[0] is Phase.PROVING
        assert lagging[1]
        assert 80 < lagging[1] <= 90
