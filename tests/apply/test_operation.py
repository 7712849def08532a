"""One operation: the intent is durable before the call, and an interruption leaves a true record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from reconciler.apply.context import Options
from reconciler.apply.operation import carry_out
from reconciler.apply.results import Result, Status
from reconciler.errors import JournalError, PoolHeld, ServiceError
from reconciler.journal.records import Journal
from reconciler.journal.states import Outcome, State, Step
from reconciler.model import Pool
from reconciler.values import replace
from reconciler.workspace import Call, JobEnd
from tests.apply.harness import GOING, KEPT, FullDisk, Harness, Scripted, harness, removal
from tests.builders import TARGET
from tests.simulation.service import Faults


def carried_out(world: Harness, options: Options | None = None) -> Result:
    return world.run(carry_out(removal(), world.intent(), world.site(), world.context(options)))


def state(world: Harness) -> tuple[State, bool]:
    operation = world.journal.operation("op")
    assert operation
    return operation.state, operation.closed is not None


@pytest.mark.parametrize(
    ("faults", "ending", "kept"),
    [
        (Faults(), Status.DONE, (State.DONE, True)),
        (Faults(not_sent=1.0), Status.ERROR, (State.NOT_SENT, True)),
        (Faults(rejected=1.0), Status.REJECTED, (State.REJECTED, True)),
        (Faults(lost_response=1.0), Status.UNKNOWN, (State.UNKNOWN, False)),
        (Faults(lost_request=1.0), Status.UNKNOWN, (State.UNKNOWN, False)),
        (Faults(job_fails=1.0), Status.FAILED, (State.FAILED, True)),
        (Faults(job_partial=1.0), Status.PARTIAL, (State.PARTIAL, True)),
        (Faults(job_lies=1.0), Status.FAILED, (State.FAILED, True)),
        (Faults(job_hangs=1.0), Status.RUNNING, (State.ACCEPTED, False)),
    ],
    ids=["good", "not sent", "rejected", "no answer", "no request", "fails", "partial", "lies", "hangs"],
)
def test_every_ending_is_told_and_kept_alike(
    faults: Faults, ending: Status, kept: tuple[State, bool]
) -> None:
    with harness(faults) as world:
        assert carried_out(world).status is ending
        assert state(world) == kept
        assert len(world.service.sent) == 1


def test_not_waiting_leaves_an_accepted_operation_open() -> None:
    with harness() as world:
        verdict = carried_out(world, Options(wait=False))
        assert verdict.status is Status.ACCEPTED
        assert state(world) == (State.ACCEPTED, False)


def test_a_run_that_follows_a_long_job_keeps_its_hold() -> None:
    with harness(Faults(job_hangs=1.0)) as world:

        async def scenario() -> None:
            ctx = world.context(Options(lease=60))
            following = asyncio.ensure_future(carry_out(removal(), world.intent(), world.site(), ctx))
            await asyncio.sleep(600)
            with pytest.raises(PoolHeld):
                world.journal.take_over("op", "another", 60)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

        world.run(scenario())


@dataclass
class Hanging(Scripted):
    """Says nothing for a while, then accepts."""

    silence: float = 0.0

    async def send(self, call: Call, signed_at: datetime) -> Outcome:
        self.sent.append((self.loop.moment, call))
        await asyncio.sleep(self.silence)
        return Outcome(State.ACCEPTED, job_id="job", status=200)


@pytest.mark.parametrize(("silence", "kept"), [(2.0, State.ACCEPTED), (60.0, State.UNKNOWN)])
def test_an_interruption_waits_briefly_for_the_answer_and_records_what_it_knows(
    silence: float, kept: State
) -> None:
    with harness() as world:
        world.service = Hanging(world.loop, world.service.rng, world.service.pools_, silence=silence)

        async def scenario() -> float:
            sending = asyncio.ensure_future(
                carry_out(removal(), world.intent(), world.site(), world.context())
            )
            await asyncio.sleep(1)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            return world.loop.moment

        assert world.run(scenario()) <= 4.5  # a second after the start, and three of grace
        assert state(world) == (kept, False)


def test_a_run_that_lost_its_hold_while_it_sent_says_that_nobody_knows() -> None:
    with harness() as world:
        world.service = Hanging(world.loop, world.service.rng, world.service.pools_, silence=20.0)
        context = world.context(Options(lease=10))
        world.journal.open_run("run", "apply", "0", [])

        async def scenario() -> Result:
            sending = asyncio.ensure_future(carry_out(removal(), world.intent(), world.site(), context))
            await asyncio.sleep(15)
            world.journal.take_over("op", "another", 60)
            return await sending

        verdict = world.run(scenario())
        assert verdict.status is Status.UNKNOWN
        assert "sent (accepted: job job)" in verdict.message
        assert "held by run another" in verdict.message
        operation = world.journal.operation("op")
        assert operation
        assert (operation.owner, operation.outcome) == ("another", None)
        record = world.journal.run("run")
        assert record
        assert record.events[-1].detail == {"outcome": "accepted", "job_id": "job"}


def test_an_interruption_of_a_run_that_lost_its_hold_stays_an_interruption() -> None:
    with harness() as world:
        world.service = Hanging(world.loop, world.service.rng, world.service.pools_, silence=20.0)

        async def scenario() -> None:
            ctx = world.context(Options(lease=10))
            sending = asyncio.ensure_future(carry_out(removal(), world.intent(), world.site(), ctx))
            await asyncio.sleep(15)
            world.journal.take_over("op", "another", 60)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending

        world.run(scenario())
        assert state(world) == (State.INTENDED, False)


def test_a_run_that_waits_for_the_effect_keeps_its_hold() -> None:
    with harness(Faults(job_lies=1.0)) as world:

        async def scenario() -> None:
            ctx = world.context(Options(lease=60, proof_timeout=600))
            following = asyncio.ensure_future(carry_out(removal(), world.intent(), world.site(), ctx))
            await asyncio.sleep(400)
            with pytest.raises(PoolHeld):
                world.journal.take_over("op", "another", 60)
            await following

        world.run(scenario())


@dataclass
class Lagging(Scripted):
    """Shows for a while what was before."""

    async def pools(self) -> tuple[Pool, ...]:
        before = await super().pools()
        ended = [job.ends for job in self.jobs.values() if job.done]
        return self.first if ended and self.loop.moment < ended[0] + 30 else before

    first: tuple[Pool, ...] = ()


def test_what_a_job_did_that_failed_in_part_is_waited_for() -> None:
    with harness() as world:
        first = world.service._view()
        world.service = Lagging(
            world.loop, world.service.rng, world.service.pools_, Faults(job_partial=1.0), first=first
        )
        verdict = carried_out(world)
        assert (verdict.status, verdict.done) == (Status.PARTIAL, 1)


def test_an_intent_that_cannot_be_kept_sends_nothing() -> None:
    with harness() as world:
        kept: Any = FullDisk(world.journal, "open_operation")
        world.journal, journal = kept, world.journal
        with pytest.raises(JournalError):
            carried_out(world)
        assert world.service.sent == []
        assert journal.operations(world.clock.now() - timedelta(days=1)) == ()
        world.journal = journal


class CutDuringIntent:
    """A journal during whose intent a signal comes: the event loop hears of it two turns later."""

    def __init__(self, journal: Journal, cut: list[Callable[[], object]]) -> None:
        self._journal = journal
        self._cut = cut

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def open_operation(self, *arguments: Any) -> None:
        self._journal.open_operation(*arguments)
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: loop.call_soon(self._cut[0]))


def test_a_signal_that_comes_while_the_intent_is_written_is_heard_before_the_call_leaves() -> None:
    with harness() as world:
        cut: list[Callable[[], object]] = []
        kept: Any = CutDuringIntent(world.journal, cut)
        world.journal, journal = kept, world.journal

        async def scenario() -> None:
            sending = asyncio.ensure_future(
                carry_out(removal(), world.intent(), world.site(), world.context())
            )
            cut.append(sending.cancel)
            with pytest.raises(asyncio.CancelledError):
                await sending

        world.run(scenario())
        world.journal = journal
        assert world.service.sent == []
        assert state(world) == (State.NOT_SENT, True)


@dataclass
class Troubled(Scripted):
    """Cannot list its jobs for a while after the call was accepted."""

    trouble: float = 0.0
    status: int = 500

    async def running_jobs(self, step: Step) -> frozenset[str]:
        if self.loop.moment < self.trouble:
            raise ServiceError(f"the service answered {self.status}", status=self.status)
        return await super().running_jobs(step)


@pytest.mark.parametrize(
    ("trouble", "status", "ending", "within"),
    [(300.0, 500, Status.DONE, 600), (1e9, 500, Status.UNKNOWN, 1300), (1e9, 403, Status.UNKNOWN, 30)],
    ids=["passes", "stays", "is no use to wait for"],
)
def test_a_reading_that_fails_does_not_leave_an_accepted_call_alone(
    trouble: float, status: int, ending: Status, within: float
) -> None:
    with harness() as world:
        service = world.service
        world.service = Troubled(service.loop, service.rng, service.pools_, trouble=trouble, status=status)
        verdict = carried_out(world)
        assert verdict.status is ending
        assert world.loop.moment < within
        if ending is Status.UNKNOWN:
            assert verdict.message.startswith("sent (accepted: job job-1), but its effect could not be read")
            assert state(world) == (State.ACCEPTED, False)


NOT_FOUND = Outcome(State.REJECTED, status=404, code="WKS.0001", message="no such disk")


def gone_by_hand(world: Harness) -> None:
    """Somebody else removes the disk before our call arrives."""
    del world.service.pools_["pool"].disks[GOING.id]


def test_a_disk_that_was_gone_already_is_done_but_not_by_this_call() -> None:
    with harness() as world:
        gone_by_hand(world)
        result = carried_out(world)
        assert (result.status, result.done) == (Status.DONE, 1)
        assert "1 of 1 disk gone, seen in two readings, but not removed by this call" in result.message
        assert "HTTP 404" in result.message
        assert state(world) == (State.REJECTED, True)
        assert world.journal.removed_since(str(TARGET), "simulated", world.clock.now().replace(day=1)) == 0


def test_not_found_for_a_disk_that_is_there_is_a_rejection() -> None:
    with harness() as world:
        world.service.answers = [NOT_FOUND]
        result = carried_out(world)
        assert (result.status, result.done) == (Status.REJECTED, 0)
        assert "the service rejected the call: no such disk, HTTP 404, WKS.0001; 0 of 1 disk gone" in (
            result.message
        )
        assert state(world) == (State.REJECTED, True)


def test_not_found_needs_two_readings_that_agree() -> None:
    with harness() as world:
        before = world.service._view()
        after = (replace(before[0], disks=(KEPT,)),)
        world.service.answers, world.service.shown = [NOT_FOUND], [after, before] * 50
        result = carried_out(world)
        assert result.status is Status.REJECTED
        assert "no two consecutive readings of the pools agree" in result.message


@pytest.mark.parametrize("vanished", ["pool", "kept disk"])
def test_not_found_with_more_gone_than_the_disk_is_not_done(vanished: str) -> None:
    with harness() as world:
        world.service.answers = [NOT_FOUND]
        view = world.service._view()
        world.service.shown = [() if vanished == "pool" else (replace(view[0], disks=()),)] * 5
        result = carried_out(world)
        assert result.status is Status.REJECTED
        assert "gone" in result.message


def test_not_found_that_cannot_be_looked_into_is_a_rejection() -> None:
    with harness() as world:
        gone_by_hand(world)
        world.service.faults = Faults(read_error=1.0)
        result = carried_out(world)
        assert result.status is Status.REJECTED
        assert "could not be read: the service answered 500" in result.message
        assert state(world) == (State.REJECTED, True)


def test_not_found_for_anything_but_a_removal_is_a_rejection() -> None:
    with harness() as world:
        gone_by_hand(world)
        call = replace(removal(), step=Step.EXPAND, apply_to=None)
        intent = replace(world.intent(), step=Step.EXPAND)
        result = world.run(carry_out(call, intent, world.site(), world.context()))
        assert result.status is Status.REJECTED
        assert "disks" not in result.message


@pytest.mark.parametrize("timeout", [95.0, 130.0])
def test_a_partial_job_obeys_the_time_limit_and_stays_open(timeout: float) -> None:
    with harness(Faults(job_partial=1.0)) as world:
        world.service = Staying(world.loop, world.service.rng, world.service.pools_, world.service.faults)
        result = carried_out(world, Options(wait_timeout=timeout))
        assert world.loop.moment < timeout + 30
        assert result.status is Status.RUNNING
        assert "ended partial; 0 of 1 disk gone, and --wait-timeout left no time" in result.message
        assert state(world) == (State.ACCEPTED, False)


def test_a_partial_job_is_closed_when_there_was_time_to_see_it() -> None:
    with harness(Faults(job_partial=1.0)) as world:
        world.service = Staying(world.loop, world.service.rng, world.service.pools_, world.service.faults)
        result = carried_out(world, Options(wait_timeout=300))
        assert result.status is Status.PARTIAL
        assert state(world) == (State.PARTIAL, True)
        assert [line for line in world.said if "waiting" in line] == [
            "pool: waiting up to 2 min until the readings show b gone"
        ]


def test_an_effect_that_shows_at_once_is_not_said_to_be_waited_for() -> None:
    with harness() as world:
        assert carried_out(world).status is Status.DONE
        assert not any("waiting" in line for line in world.said)


@dataclass
class Staying(Scripted):
    """Its jobs have no effect, however they end."""

    def _fate(self, size: int) -> tuple[JobEnd, bool]:
        return super()._fate(size)[0], False
