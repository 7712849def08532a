"""A run over many pools: one pool first, a stop at the first anomaly, and the right exit code."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest

from reconciler.apply.context import Options, RunContext
from reconciler.apply.events import Event, Phase, PoolMoved, RunBegan, Share
from reconciler.apply.results import ApplyReport, PoolResult, Status
from reconciler.apply.run import Gate, run_pools
from reconciler.apply.stop import Stop
from reconciler.cli.apply import manifest_of
from reconciler.engine.apply import ApplyRequest, apply
from reconciler.errors import ExitCode, JournalError, StalePlan
from reconciler.journal.records import Journal
from reconciler.journal.states import Outcome, State, Step
from reconciler.model import (
    Action,
    ApplyTo,
    DesiredDisk,
    DesiredPool,
    Desktop,
    Disk,
    Limit,
    Limits,
    Manifest,
    Pool,
)
from reconciler.planner import Connection
from reconciler.planning.finding import Finding
from reconciler.planning.plan import Plan
from reconciler.planning.plan import Service as Named
from reconciler.values import replace
from reconciler.workspace import Call, JobEnd
from tests.apply.harness import GOING, KEPT, Harness, harness, removal
from tests.builders import AT, TARGET
from tests.memory_journal import memory_journal
from tests.simulation.service import Faults, Service, TrueJob, TruePool
from tests.simulation.virtual import VirtualClock, VirtualLoop

NAMES = ("one", "two", "three")


class Overtaken(Service):
    """Somebody else removes the first pool's disk right before our call arrives."""

    def _accept(self, call: Call) -> Outcome:
        if call.pool_id == NAMES[0]:
            for disk in call.disks:
                self.pools_[call.pool_id].disks.pop(disk.id, None)
        return super()._accept(call)


class Vandal(Service):
    """Deletes a disk that must stay together with the requested one."""

    def _take_effect(self, job: TrueJob) -> None:
        super()._take_effect(job)
        self.pools_[job.pool].disks.clear()


def carried_out(
    options: Options,
    faults: Faults | None = None,
    kind: Callable[..., Service] = Service,
    interrupted: float | None = None,
    before: Options | None = None,
    declared: int = 50,
    wrap: Callable[[Journal], Any] = lambda journal: journal,
    observer: Callable[[Event], None] | None = None,
) -> tuple[ApplyReport, Service, list[str]]:
    """Apply three pools with one surplus disk each; returns the report, the service and what was said.

    ``declared``: GB of the disk that stays; more than 50 makes it grow first, with a call of its own.
    ``interrupted``: seconds after which the run is asked to stop. ``before``: how an earlier run was made.
    """
    loop = VirtualLoop()
    clock = VirtualClock(loop)
    pools = {
        name: TruePool(
            name,
            name,
            {disk: Disk(disk, "SAS", size) for disk, size in ((f"{name}-a", 50), (f"{name}-b0", 200))},
            2,
            [("SAS", 50)],
        )
        for name in NAMES
    }
    service = kind(loop, random.Random(1), pools, faults or Faults())
    entries, manage = (DesiredDisk("SAS", declared, AT),), frozenset({Action.REMOVE, Action.EXPAND})
    desired = [DesiredPool(TARGET, AT, entries, name=name, manage=manage) for name in NAMES]
    manifest = Manifest(tuple(desired), Limits(disks=Limit(40)))
    said: list[str] = []
    serial = iter(range(10_000))

    async def approve(_plan: Plan) -> None:
        """Everything is approved."""

    async def scenario() -> ApplyReport:
        request = ApplyRequest(manifest, manifest.limits, approve, options)
        journal = wrap(memory_journal(clock.now))
        stop = Stop()
        connections = {TARGET: Connection(Named(TARGET, "simulated"), service, clock)}
        run = RunContext(
            journal,
            clock,
            lambda: f"id-{next(serial)}",
            connections,
            stop=stop,
            log=said.append,
            observer=observer,
        )
        if before:
            await apply(replace(request, options=before), replace(run, stop=Stop()))
            await asyncio.sleep(200)
        running = asyncio.ensure_future(apply(request, run))

        def interrupt() -> None:
            stop.requested = True
            running.cancel()

        service.on_last_look = interrupt  # type: ignore[attr-defined]
        if interrupted is not None:
            loop.call_later(interrupted, interrupt)
        try:
            return await running
        finally:
            journal.close()

    try:
        return loop.run_until_complete(scenario()), service, said
    finally:
        loop.close()


def endings(report: ApplyReport) -> Counter[Status]:
    return Counter(result.status for result in report.results)


def test_the_first_pool_goes_alone_and_the_rest_together() -> None:
    report, service, said = carried_out(Options(parallelism=4))
    assert report.exit_code is ExitCode.DONE
    assert report.remaining == 0
    assert endings(report) == {Status.DONE: 3}
    first, second, _ = (index for index, line in enumerate(said) if ": done:" in line)
    assert sum("destroying" in line for line in said[:first]) == 1
    assert sum("destroying" in line for line in said[first:second]) == 2
    assert len(service.record) == 3


def test_a_pool_makes_room_while_it_waits_for_its_second_reading_alone() -> None:
    report, _, said = carried_out(Options(parallelism=1))
    assert endings(report) == {Status.DONE: 3}
    assert order(said) == ["one begins", "one ends", "two begins", "three begins", "two ends", "three ends"]


@pytest.mark.parametrize("faults", [Faults(job_partial=1.0), Faults(job_fails=1.0), Faults(job_lies=1.0)])
def test_a_pool_whose_job_ended_badly_or_whose_effect_does_not_show_makes_no_room(faults: Faults) -> None:
    _, _, said = carried_out(Options(parallelism=1, keep_going=True), faults)
    assert order(said) == [
        f"{pool} {what}" for pool in ("one", "two", "three") for what in ("begins", "ends")
    ]


def order(said: Sequence[str]) -> list[str]:
    """When each pool was begun and ended, of what was said."""
    found = []
    for line in said:
        pool, words = line.split(": ", 1)
        if words.startswith("destroying"):
            found.append(f"{pool} begins")
        elif words.split(":")[0] in {"done", "partial", "failed", "alarm"}:
            found.append(f"{pool} ends")
    return found


def test_as_many_pools_wait_for_their_second_reading_as_are_worked_on_and_no_more() -> None:
    async def scenario() -> list[int]:
        gate, inside = Gate(2), Counter[str]()
        most: list[int] = []
        hurry = asyncio.Event()

        async def pool() -> None:
            async with gate.turn() as make_room:
                inside["here"] += 1
                most.append(inside["here"])
                make_room()
                make_room()  # a second time changes nothing
                await hurry.wait()
                inside["here"] -= 1

        tasks = [asyncio.ensure_future(pool()) for _ in range(9)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(most) == 4
        hurry.set()
        await asyncio.gather(*tasks)
        return most

    most = asyncio.run(scenario())
    assert (len(most), max(most)) == (9, 4)


def test_who_shows_the_progress_gets_every_change_of_state_and_decides_nothing() -> None:
    seen: list[Event] = []

    def fails(event: Event) -> None:
        seen.append(event)
        raise RuntimeError("nobody can show that")

    shown, service, said = carried_out(Options(parallelism=4), observer=fails)
    plain, same, _ = carried_out(Options(parallelism=4))
    assert (shown.results, shown.exit_code, service.record) == (plain.results, plain.exit_code, same.record)
    assert said == []
    began, *moves = seen
    assert began == RunBegan(tuple(Share(name, name, 1, 2) for name in NAMES))
    of_first = [each for each in moves if isinstance(each, PoolMoved) and each.pool_id == NAMES[0]]
    assert [each.phase for each in of_first] == [
        Phase.CHECKING, Phase.SENDING, Phase.JOB, Phase.PROVING, Phase.ENDED,
    ]  # fmt: skip
    assert of_first[2].until
    assert (of_first[-1].done, of_first[-1].good) == (1, True)


def test_a_failed_canary_starts_nothing_else() -> None:
    report, service, _ = carried_out(Options(), Faults(job_fails=1.0))
    assert endings(report) == {Status.FAILED: 1, Status.NOT_STARTED: 2}
    assert report.exit_code is ExitCode.JOB_FAILED
    assert len(service.record) == 1


def test_a_disk_that_somebody_else_removed_stops_no_other_pool() -> None:
    report, service, _ = carried_out(Options(), kind=Overtaken)
    assert [each.status for each in report.results] == [Status.DONE] * 3
    assert "not removed by this call" in report.results[0].message
    assert (report.exit_code, report.remaining) == (ExitCode.DONE, 0)
    assert sorted(line.pool for line in service.record) == ["three", "two"]


def test_keep_going_tries_every_pool_and_still_tells_the_truth() -> None:
    report, service, _ = carried_out(Options(keep_going=True), Faults(job_fails=1.0))
    assert endings(report) == {Status.FAILED: 3}
    assert report.exit_code is ExitCode.JOB_FAILED
    assert len(service.record) == 3


class SilentOnce(Service):
    """Answers the second call and all later ones only after a minute."""

    async def send(self, call: Call, signed_at: datetime) -> Outcome:
        if self.record:
            await asyncio.sleep(60)
        return await super().send(call, signed_at)


@pytest.mark.parametrize(("parallelism", "cut"), [(4, 2), (1, 1)])
def test_an_interruption_waits_for_what_is_in_flight_and_tells_every_pool(parallelism: int, cut: int) -> None:
    report, service, said = carried_out(
        Options(parallelism=parallelism), kind=SilentOnce, interrupted=until_second(parallelism)
    )
    assert report.exit_code is ExitCode.INTERRUPTED
    told = {Status.DONE: 1, Status.INTERRUPTED: cut}
    assert endings(report) == told | ({Status.NOT_STARTED: 2 - cut} if cut < 2 else {})
    assert len(report.in_flight) == cut
    assert {each.state for each in report.in_flight} == {State.UNKNOWN}
    assert len(service.record) == 1
    assert sum("destroying" in line for line in said) == 1 + cut
    assert sum("interrupted: what is still open" in line for line in said) == cut
    assert max(line.count("interrupted") for line in said) == 1


def until_second(parallelism: int) -> float:
    """Seconds until the pools after the first have sent and wait for their answers."""
    report, service, _ = carried_out(Options(parallelism=parallelism))
    assert report.exit_code is ExitCode.DONE
    return service.record[1].at + 20


class FillsUp:
    """A journal whose disk is full once the hold for the first call has been renewed, right before it."""

    WRITES = frozenset({"record_outcome", "renew_lease", "close_operation", "close_run", "record_event"})

    LAST = "renew_lease"

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._full = False

    def __getattr__(self, name: str) -> Any:
        if name == self.LAST and not self._full:
            self._full = True
        elif self._full and name in self.WRITES:
            return self._refuse
        return getattr(self._journal, name)

    @staticmethod
    def _refuse(*_: object) -> None:
        raise JournalError("the disk is full")


def test_a_journal_that_fails_after_the_call_keeps_nothing_from_the_reader() -> None:
    report, service, said = carried_out(Options(), wrap=FillsUp)
    assert report.exit_code is ExitCode.JOURNAL
    assert endings(report) == {Status.JOURNAL: 1, Status.NOT_STARTED: 2}
    [sent] = service.record
    [told] = [each for each in report.results if each.status is Status.JOURNAL]
    assert told.message.startswith(
        f"sent (accepted: job {sent.job}), but the journal could not record its effect"
    )
    assert [each.state for each in report.in_flight] == [State.INTENDED]
    assert "the journal could not record the end of the run: the disk is full" in said


class FillsUpBeforeTheCall(FillsUp):
    """A journal whose disk is full once the first intent is written."""

    LAST = "open_operation"


def test_a_hold_that_cannot_be_renewed_right_before_the_call_sends_nothing() -> None:
    report, service, _ = carried_out(Options(), wrap=FillsUpBeforeTheCall)
    assert report.exit_code is ExitCode.JOURNAL
    assert service.record == []
    assert [each.state for each in report.in_flight] == [State.INTENDED]


class TakenOver:
    """A journal in which another run takes the operation over and closes it before the call leaves."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def renew_lease(self, operation_id: str, owner: str, seconds: float) -> None:
        self._journal.renew_lease(operation_id, owner, 0.0)
        self._journal.take_over(operation_id, "other", 60.0)
        self._journal.close_operation(operation_id, "other", State.NOT_ACCEPTED, "a person decided")
        self._journal.renew_lease(operation_id, owner, seconds)


def test_a_hold_lost_between_the_intent_and_the_call_is_not_sent() -> None:
    report, service, _ = carried_out(Options(), wrap=TakenOver)
    assert service.record == []
    assert endings(report) == {Status.HELD: 1, Status.NOT_STARTED: 2}
    assert report.exit_code is ExitCode.HELD
    assert "not sent" in report.results[0].message


def test_a_kept_disk_that_vanished_stops_everything_whatever_was_asked() -> None:
    report, service, _ = carried_out(Options(keep_going=True), kind=Vandal)
    assert endings(report) == {Status.ALARM: 1, Status.NOT_STARTED: 2}
    [alarm] = [result for result in report.results if result.status is Status.ALARM]
    assert "disks that had to stay are gone" in alarm.message
    assert "-a" in alarm.message
    assert report.exit_code is ExitCode.JOB_FAILED
    assert len(service.record) == 1


def test_a_success_without_effect_is_a_failure() -> None:
    report, _, _ = carried_out(Options(), Faults(job_lies=1.0))
    assert report.exit_code is ExitCode.JOB_FAILED
    assert any("reports success, but 0 of 1 disk gone" in result.message for result in report.results)


def test_a_job_that_never_ends_is_still_running_at_the_deadline() -> None:
    report, _, _ = carried_out(Options(wait_timeout=60), Faults(job_hangs=1.0))
    assert report.exit_code is ExitCode.RUNNING
    assert len(report.in_flight) == 1


def test_a_vanished_job_record_is_judged_by_the_disks() -> None:
    report, _, _ = carried_out(Options(keep_going=True), Faults(job_vanishes=1.0))
    assert set(endings(report)) <= {Status.DONE, Status.UNKNOWN}
    assert report.exit_code in (ExitCode.DONE, ExitCode.UNKNOWN)


def test_a_lost_answer_is_unknown_and_nothing_is_sent_again() -> None:
    report, service, _ = carried_out(Options(), Faults(lost_response=1.0))
    assert report.exit_code is ExitCode.UNKNOWN
    assert service.requests["send"] == 1
    assert len(report.in_flight) == 1


def test_a_call_never_sent_changes_nothing_and_says_so() -> None:
    report, service, _ = carried_out(Options(), Faults(not_sent=1.0))
    assert report.exit_code is ExitCode.ERROR
    assert service.record == []
    assert report.in_flight == ()


def test_no_wait_leaves_every_operation_open() -> None:
    report, service, _ = carried_out(Options(wait=False))
    assert endings(report) == {Status.ACCEPTED: 3}
    assert report.exit_code is ExitCode.RUNNING
    assert len(report.in_flight) == len(service.record) == 3


def test_a_blocked_pool_is_told_and_never_carried_out() -> None:
    with harness() as world:

        async def scenario() -> tuple[PoolResult, ...]:
            ctx = world.context()
            task = await world.task(ctx)
            finding = Finding("tie", "cannot decide")
            plan = replace(task.plan, pools=(replace(task.pool, findings=(finding,)),))
            return await run_pools(plan, {TARGET: task.site}, ctx)

        [result] = world.run(scenario())
        assert result.status is Status.REFUSED
        assert world.service.sent == []


def test_a_run_that_is_asked_to_stop_starts_no_pool() -> None:
    with harness() as world:

        async def scenario() -> tuple[PoolResult, ...]:
            ctx = world.context()
            task = await world.task(ctx)
            ctx.stop.requested = True
            return await run_pools(task.plan, {TARGET: task.site}, ctx)

        [result] = world.run(scenario())
        assert result.status is Status.NOT_STARTED
        assert world.service.sent == []


def saved_plan_applied(world: Harness, plan: Plan) -> ApplyReport:
    async def approve(_plan: Plan) -> None:
        """Everything is approved."""

    request = ApplyRequest(manifest_of(plan), plan.limits, approve, saved_plan=plan)
    return world.run(apply(request, world.context()))


def test_a_saved_plan_is_applied_once_even_if_the_surplus_comes_back() -> None:
    with harness() as world:
        plan = world.run(world.task(world.context())).plan
        assert saved_plan_applied(world, plan).exit_code is ExitCode.DONE
        world.run(world.clock.sleep(60))
        pool = world.service.pools_["pool"]
        pool.disks[GOING.id] = GOING
        with pytest.raises(StalePlan, match="this plan was applied by run"):
            saved_plan_applied(world, plan)
        assert len(world.service.sent) == 1


def test_what_an_earlier_run_left_open_is_resolved_before_anything_is_sent() -> None:
    with harness() as world:
        plan = world.run(world.task(world.context())).plan
        world.journal.open_operation(world.intent(), "gone", 0)
        report = saved_plan_applied(world, plan)
        assert [each.resolved for each in report.resolutions] == [False]
        assert report.exit_code is ExitCode.UNKNOWN
        assert world.service.sent == []


@pytest.mark.parametrize("lost", [False, True], ids=["a known job", "a lost answer"])
def test_an_alarm_of_an_earlier_run_stops_this_one_before_it_plans(lost: bool) -> None:
    faults = Faults(lost_response=float(lost))
    report, service, said = carried_out(Options(), faults, Vandal, before=Options(wait=False))
    assert report.exit_code is ExitCode.JOB_FAILED
    assert (report.plan, report.results) == (None, ())
    assert [each.result.status for each in report.resolutions].count(Status.ALARM) >= 1
    assert any("alarm: " in line and "-a" in line for line in said)
    assert service.requests["send"] == (1 if lost else 3)


class Waiting(Vandal):
    """Its budget makes the third call wait for long."""

    async def write_place(self, step: Step) -> None:
        if self.requests["places"] == 2:
            await asyncio.sleep(280)
        self.requests["places"] += 1


class OnceVandal(Waiting):
    """Only the second pool's job destroys more than it was told to."""

    def _take_effect(self, job: TrueJob) -> None:
        if job.pool == self.record[0].pool:
            Service._take_effect(self, job)
        else:
            super()._take_effect(job)


def test_a_pool_that_waits_sends_nothing_after_the_alarm_of_another() -> None:
    report, service, _ = carried_out(Options(keep_going=True, parallelism=4), kind=OnceVandal)
    assert endings(report) == {Status.DONE: 1, Status.ALARM: 1, Status.NOT_STARTED: 1}
    assert [each.message for each in report.results if each.status is Status.NOT_STARTED] == [
        "stopped before the next call: another pool did not end well"
    ]
    assert len(service.record) == 2
    assert report.exit_code is ExitCode.JOB_FAILED


class LastLook(Service):
    """Tells when the pools are read after everything is gone."""

    on_last_look: Callable[[], None]
    looks = 0

    async def pools(self) -> tuple[Pool, ...]:
        if len(self.record) == 3 and all(job.done for job in self.jobs.values()):
            self.looks += 1
        if self.looks == 3:  # two readings prove the last pool, the third is for the closing plan
            self.on_last_look()
        return await super().pools()


def test_an_interruption_of_the_closing_plan_keeps_the_report() -> None:
    report, _, said = carried_out(Options(parallelism=1), kind=LastLook)
    assert endings(report) == {Status.DONE: 3}
    assert report.remaining is None
    assert report.exit_code is ExitCode.INTERRUPTED
    assert "interrupted while making the plan after the run" in said


def test_an_interruption_while_an_earlier_job_is_followed_says_what_is_in_flight() -> None:
    report, service, _ = carried_out(
        Options(), Faults(job_hangs=1.0), before=Options(wait=False), interrupted=30
    )
    assert report.exit_code is ExitCode.INTERRUPTED
    assert len(report.in_flight) == 3
    assert service.requests["send"] == 3


def test_a_plan_that_expires_while_it_waits_is_not_applied() -> None:
    with harness() as world:
        plan = world.run(world.task(world.context())).plan

        async def think_it_over(_plan: Plan) -> None:
            await asyncio.sleep(7200)

        request = ApplyRequest(manifest_of(plan), plan.limits, think_it_over, saved_plan=plan)
        with pytest.raises(StalePlan, match="the plan expired"):
            world.run(apply(request, world.context()))
        assert world.service.sent == []


def test_a_job_that_failed_under_an_earlier_run_is_told_by_the_exit_code_unless_this_run_made_it_good() -> (
    None
):
    with harness(Faults(job_fails=1.0)) as world:
        plan = world.run(world.task(world.context())).plan
        world.journal.open_operation(world.intent(), "gone", 0)
        world.journal.record_outcome("op", "gone", Outcome(State.ACCEPTED, "old"))
        world.service.jobs["old"] = TrueJob("old", "pool", Step.REMOVE, 0, 1, JobEnd.FAILED, False, removal())
        del world.service.pools_["pool"].disks[GOING.id]  # somebody removed it by hand meanwhile
        nothing_to_do = replace(plan, pools=())
        assert saved_plan_applied(world, nothing_to_do).exit_code is ExitCode.JOB_FAILED


class Refusing(Service):
    """Somebody logs in to the second pool while the third one is under way."""

    async def desktops(self, pool_id: str) -> tuple[Desktop, ...]:
        found = await super().desktops(pool_id)
        if pool_id == "two" and self.record:
            while all(line.pool != "three" for line in self.record):  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(1)
            return tuple(replace(each, live_session=True) for each in found)
        return found


def test_a_pool_under_way_is_not_left_half_done_because_another_one_failed() -> None:
    """One call after the other: the disk that stays grows before the other one goes."""
    report, _, _ = carried_out(Options(parallelism=4), kind=Refusing, declared=60)
    told = {each.pool: (each.status, each.done) for each in report.results}
    assert told["two"][0] is Status.REFUSED
    assert told["three"] == (Status.DONE, 2)
    assert report.exit_code is ExitCode.REFUSED


def test_pools_of_one_name_are_told_apart_by_their_ids() -> None:
    """The partial end of one is not made good by what was done to its namesake."""
    with harness() as world:
        for pool_id in ("one", "two"):
            disks = {
                f"{pool_id}-{each.id}": replace(each, id=f"{pool_id}-{each.id}") for each in (KEPT, GOING)
            }
            world.service.pools_[pool_id] = TruePool(pool_id, "namesake", disks, 2, [("SAS", 50)])
        wanted = (DesiredDisk("SAS", 50, AT),)
        one, two = (DesiredPool(TARGET, AT, wanted, id=each, apply_to=ApplyTo.ALL) for each in ("one", "two"))
        manifest = Manifest((one, two), Limits())

        async def approve(_plan: Plan) -> None:
            """Everything is approved."""

        async def story() -> ApplyReport:
            ctx = world.context()
            first = ApplyRequest(replace(manifest, pools=(one,)), Limits(), approve, Options(wait=False))
            world.service.faults.job_partial = 1.0
            await apply(first, ctx)
            world.service.faults.job_partial = 0.0
            await asyncio.sleep(200)
            return await apply(ApplyRequest(replace(manifest, pools=(two,)), Limits(), approve), ctx)

        report = world.run(story())
        assert [(each.pool_id, each.status) for each in report.results] == [("two", Status.DONE)]
        assert [each.result.status for each in report.resolutions] == [Status.PARTIAL]
        assert report.exit_code is ExitCode.JOB_FAILED
