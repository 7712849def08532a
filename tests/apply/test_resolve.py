"""An operation that an earlier run left open is resolved or stays open, and is never sent again."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from datetime import timedelta

import pytest

from reconciler.apply.context import Options
from reconciler.apply.decision import Decision
from reconciler.apply.resolve import can_no_longer_arrive, resolve
from reconciler.apply.results import Resolution, Status
from reconciler.engine.resolution import accept, resolve_all
from reconciler.errors import PoolHeld
from reconciler.journal.records import DESKTOPS, ClosedBy, Intent, SentDisk
from reconciler.journal.states import Outcome, State, Step
from reconciler.model import LostCopy, Pool
from reconciler.planner import Holds
from reconciler.values import replace
from reconciler.workspace import UNLISTED, Job, JobEnd
from tests.apply.harness import GOING, KEPT, LIFETIME, Harness, Scripted, harness, removal
from tests.builders import TARGET
from tests.simulation.service import Faults, TrueJob

LEASE = 60.0


def opened(world: Harness, intent: Intent, job_id: str = "") -> None:
    """A run wrote its intent down, sent, and was never heard of again."""
    world.journal.open_operation(intent, "gone", LEASE)
    state = State.ACCEPTED if job_id else State.UNKNOWN
    world.journal.record_outcome("op", "gone", Outcome(state, job_id))


def job(
    world: Harness, name: str, *, lasts: float, end: JobEnd = JobEnd.SUCCEEDED, effect: bool = True
) -> None:
    """The service runs a removal of the surplus disk from now on."""
    now = world.loop.moment
    world.service.jobs[name] = TrueJob(name, "pool", Step.REMOVE, now, now + lasts, end, effect, removal())


def resolved(world: Harness, after: float) -> Resolution:
    """What a run decides that comes so many seconds later."""

    async def scenario() -> Resolution:
        await asyncio.sleep(after)
        [operation] = world.journal.unresolved()
        return await resolve(operation, world.site(), world.context(run_id="next"))

    resolution = world.run(scenario())
    assert world.service.sent == []
    return resolution


def decided(world: Harness, said: State, *, despite_evidence: bool = False) -> Resolution:
    """What becomes of the open operation when a person says how it ended."""
    [operation] = world.journal.unresolved()
    decision = Decision(said, "ann", despite_evidence)
    return world.run(accept(operation, decision, "", world.context(run_id="next")))


def state(world: Harness) -> tuple[State, bool]:
    operation = world.journal.operation("op")
    assert operation
    return operation.state, operation.closed is not None


def test_the_job_of_a_lost_answer_is_found_and_followed_to_its_end() -> None:
    with harness() as world:
        opened(world, world.intent())
        job(world, "lost", lasts=200)
        resolution = resolved(world, after=LEASE + 1)
        assert (resolution.resolved, resolution.result.status) == (True, Status.DONE)
        assert state(world) == (State.DONE, True)


def test_what_was_found_and_who_decided_is_kept() -> None:
    with harness() as world:
        opened(world, world.intent())
        job(world, "lost", lasts=200)
        world.journal.open_run("next", "resolve", "1", [])
        resolved(world, after=LEASE + 1)
        record = world.journal.run("next")
        assert record
        [found] = [each for each in record.events if each.kind == "job found"]
        assert (found.detail, found.operation_id) == ({"job_id": "lost"}, "op")
        [operation] = record.operations
        assert operation.closed_by is ClosedBy.RESOLVE
        assert any("resolving operation op of run gone" in line for line in world.said)


def test_a_refusal_that_was_noted_but_not_closed_changed_nothing() -> None:
    with harness() as world:
        world.journal.open_operation(world.intent(), "gone", LEASE)
        world.journal.record_outcome("op", "gone", Outcome(State.REJECTED))
        resolution = resolved(world, after=LEASE + 1)
        assert (resolution.resolved, resolution.result.status) == (True, Status.DONE)
        assert resolution.result.message == "nothing was changed: the call was not accepted"
        assert state(world) == (State.REJECTED, True)


def test_a_job_that_was_there_before_is_not_taken_for_ours() -> None:
    with harness() as world:
        job(world, "old", lasts=1, end=JobEnd.FAILED, effect=False)
        opened(world, world.intent(baseline=("old",)))
        resolution = resolved(world, after=LIFETIME + 1)
        assert "never arrived" in resolution.result.message
        assert state(world) == (State.NOT_ACCEPTED, True)


def test_while_the_request_can_arrive_nothing_is_decided() -> None:
    with harness() as world:
        opened(world, world.intent())
        resolution = resolved(world, after=LIFETIME - 10)
        assert (resolution.resolved, resolution.result.status) == (False, Status.UNKNOWN)
        assert "may still arrive until 2026-03-01 08:15:00 UTC" in resolution.result.message
        assert "reconciler resolve --accept-as done op (or with not-accepted" in resolution.result.hint
        assert GOING.id in resolution.result.hint
        assert state(world) == (State.UNKNOWN, False)
        assert resolved(world, after=11).resolved
        assert state(world) == (State.NOT_ACCEPTED, True)


@pytest.mark.parametrize(("late", "expired"), [(-1, False), (0, False), (1, True)])
def test_a_request_can_arrive_up_to_the_moment_at_which_it_expires(late: int, expired: bool) -> None:
    with harness() as world:
        intent = replace(world.intent(), not_after=world.clock.now() - timedelta(seconds=late))
        assert can_no_longer_arrive(intent, world.context()) is expired


def test_without_a_job_there_is_nothing_to_wait_for() -> None:
    with harness() as world:
        opened(world, world.intent())
        assert resolved(world, after=LIFETIME + 1).resolved
        assert not any("waiting" in line for line in world.said)


def test_a_request_that_nothing_bounds_is_left_to_a_person() -> None:
    with harness() as world:
        opened(world, world.intent(lifetime=None))
        assert "there is no time limit" in resolved(world, after=1_000_000).result.message
        decided(world, State.NOT_ACCEPTED)
        operation = world.journal.operation("op")
        assert operation
        assert (operation.state, operation.closed_by) == (State.NOT_ACCEPTED, ClosedBy.PERSON)


def test_neither_a_run_nor_a_person_takes_over_while_the_owner_lives() -> None:
    with harness() as world:
        opened(world, world.intent())
        with pytest.raises(PoolHeld, match="gone"):
            resolved(world, after=LEASE - 1)
        with pytest.raises(PoolHeld):
            decided(world, State.DONE, despite_evidence=True)
        assert state(world) == (State.UNKNOWN, False)


def test_a_known_job_is_followed_and_judged_by_the_disks() -> None:
    with harness() as world:
        opened(world, world.intent(), job_id="known")
        job(world, "known", lasts=1, effect=False)
        resolution = resolved(world, after=LEASE + 1)
        assert resolution.result.status is Status.FAILED
        assert state(world) == (State.FAILED, True)


def test_a_found_job_without_effect_is_a_failure_only_when_nothing_else_can_come() -> None:
    with harness() as world:
        opened(world, world.intent())
        job(world, "lost", lasts=1, end=JobEnd.FAILED, effect=False)
        assert not resolved(world, after=LEASE + 1).resolved
        assert resolved(world, after=LIFETIME).result.status is Status.FAILED
        assert state(world) == (State.FAILED, True)


def test_a_found_job_of_which_the_service_first_knows_nothing_is_followed_all_the_same() -> None:
    with harness() as world:
        opened(world, world.intent())
        world.service = Slow(world.loop, world.service.rng, world.service.pools_)
        job(world, "lost", lasts=LEASE + 100)
        assert resolved(world, after=LEASE + 1).result.status is Status.DONE
        assert state(world) == (State.DONE, True)


@dataclass
class Slow(Scripted):
    """The first question about a job finds nothing."""

    asked: int = 0

    async def job(self, job_id: str) -> Job | None:
        self.asked += 1
        return None if self.asked == 1 else await super().job(job_id)


def test_a_retry_without_an_answer_is_open_while_any_job_of_the_pool_is_under_way() -> None:
    with harness() as world:
        opened(world, replace(world.intent(baseline=("old",)), step=Step.RETRY))
        job(world, "old", lasts=LEASE + 100)
        resolution = resolved(world, after=LEASE + 1)
        assert (resolution.resolved, resolution.result.status) == (False, Status.RUNNING)
        assert resolution.result.message == "jobs old of this pool are still running"
        assert "check the tasks of pool pool" in resolution.result.hint


def test_a_found_job_that_runs_longer_than_may_be_waited_stays_open() -> None:
    with harness() as world:
        opened(world, world.intent())
        job(world, "lost", lasts=100_000)
        resolution = resolved(world, after=LEASE + 1)
        assert (resolution.resolved, resolution.result.status) == (False, Status.RUNNING)
        assert resolution.result.message == "job lost is still running"
        assert resolution.result.hint == "resolve again later"
        assert state(world) == (State.UNKNOWN, False)


@pytest.mark.parametrize("found", [False, True], ids=["no job", "a job"])
def test_what_is_done_in_part_is_partial_only_when_nothing_else_can_come(found: bool) -> None:
    with harness() as world:
        intent = world.intent()
        opened(world, replace(intent, disks=(*intent.disks, SentDisk("gone", "SAS", 10))))
        if found:
            job(world, "lost", lasts=1, end=JobEnd.FAILED, effect=False)
        early = resolved(world, after=LEASE + 1)
        assert (early.resolved, early.result.status) == (False, Status.UNKNOWN)
        assert early.result.message.startswith("1 of 2 disks gone, and the request may still arrive until ")
        resolution = resolved(world, after=LIFETIME)
        assert (resolution.resolved, resolution.result.status) == (True, Status.PARTIAL)
        assert (resolution.result.message, resolution.result.done) == ("1 of 2 disks gone", 1)
        assert state(world) == (State.PARTIAL, True)


def test_two_new_jobs_of_which_one_runs_decide_nothing() -> None:
    with harness() as world:
        opened(world, world.intent())
        job(world, "one", lasts=1, effect=False)
        job(world, "two", lasts=7200, effect=False)
        resolution = resolved(world, after=LIFETIME + 1)
        assert "jobs two of this pool are still running" in resolution.result.message
        assert state(world) == (State.UNKNOWN, False)


def test_a_kept_disk_that_vanished_leaves_the_operation_open_as_an_alarm() -> None:
    with harness() as world:
        opened(world, world.intent())
        world.service.pools_["pool"].disks.clear()
        resolution = resolved(world, after=LIFETIME + 1)
        assert (resolution.resolved, resolution.result.status) == (False, Status.ALARM)
        assert "what had to stay is gone: a" in resolution.result.message
        assert state(world) == (State.UNKNOWN, False)
        assert [each.message for each in world.journal.alarms()] == ["what had to stay is gone: a"]


def test_beside_the_one_job_that_was_found_a_kept_disk_that_vanished_is_an_alarm() -> None:
    with harness() as world:
        opened(world, world.intent())
        job(world, "lost", lasts=1)
        world.service.pools_["pool"].disks.pop(KEPT.id)
        assert resolved(world, after=LIFETIME + 1).result.status is Status.ALARM
        assert len(world.journal.alarms()) == 1


def arrives(world: Harness, name: str, *, at: float, until: float, seen: float | None = None) -> None:
    """Our request is accepted at a moment; its effect is there when the job ends, and perhaps ``seen`` later."""
    job = TrueJob(name, "pool", Step.REMOVE, at, until, JobEnd.SUCCEEDED, True, removal())
    world.loop.call_at(at, lambda: world.service.jobs.__setitem__(name, job))
    if seen:
        old = world.service._view()
        world.service = Late(world.loop, world.service.rng, world.service.pools_, old=old, since=seen)
        world.loop.call_at(at, lambda: world.service.jobs.__setitem__(name, job))


@dataclass
class Late(Scripted):
    """Its list of pools shows what was before until ``since``."""

    old: tuple[Pool, ...] = ()
    since: float = 0.0

    async def pools(self) -> tuple[Pool, ...]:
        now = await super().pools()
        return self.old if self.loop.moment < self.since else now


def test_a_request_accepted_while_another_job_was_followed_is_not_given_up() -> None:
    with harness() as world:
        opened(world, world.intent())
        by_hand = TrueJob("hand", "pool", Step.REMOVE, 10, LIFETIME + 2, JobEnd.SUCCEEDED, False, removal())
        world.service.jobs["hand"] = by_hand
        arrives(world, "ours", at=LIFETIME - 1, until=LIFETIME + 300)
        resolution = resolved(world, after=LIFETIME - 10)
        assert not resolution.resolved
        assert "may still arrive" in resolution.result.message
        assert resolved(world, after=300).result.status is Status.DONE


def test_a_request_accepted_right_after_the_jobs_were_listed_is_not_given_up() -> None:
    with harness() as world:
        opened(world, world.intent())
        world.service = Overtaken(world.loop, world.service.rng, world.service.pools_)
        resolution = resolved(world, after=LIFETIME - 0.5)
        assert "the request may still arrive" in resolution.result.message
        assert resolved(world, after=1).result.status is Status.DONE


@dataclass
class Overtaken(Scripted):
    """Accepts our request while its list of jobs, read just before, is on its way; the request then expires."""

    async def pool_jobs(self, pool_id: str, step: Step) -> frozenset[str]:
        found = await super().pool_jobs(pool_id, step)
        now = self.loop.moment
        job = TrueJob("ours", pool_id, step, now, now + 50, JobEnd.SUCCEEDED, True, removal())
        self.jobs.setdefault("ours", job)
        await asyncio.sleep(1)
        return found


def test_the_effect_of_a_found_job_is_waited_for_before_the_disks_decide() -> None:
    with harness() as world:
        opened(world, world.intent())
        arrives(world, "ours", at=800, until=LIFETIME + 50, seen=LIFETIME + 100)
        assert resolved(world, after=LIFETIME).result.status is Status.DONE
        assert state(world) == (State.DONE, True)


def test_a_found_job_whose_effect_had_no_time_to_show_decides_nothing() -> None:
    with harness() as world:
        opened(world, world.intent())
        job(world, "lost", lasts=1, effect=False)
        world.run(asyncio.sleep(LIFETIME + 1))
        [operation] = world.journal.unresolved()
        hasty = world.context(Options(wait_timeout=10), run_id="next")
        resolution = world.run(resolve(operation, world.site(), hasty))
        assert (resolution.resolved, resolution.result.status) == (False, Status.RUNNING)
        assert "--wait-timeout left no time" in resolution.result.message
        assert resolved(world, after=0).result.status is Status.FAILED


def test_an_answer_noted_after_the_operation_was_listed_counts() -> None:
    with harness() as world:
        job(world, "other", lasts=1, end=JobEnd.FAILED, effect=False)
        world.journal.open_operation(world.intent(), "gone", LEASE)
        [listed] = world.journal.unresolved()
        world.journal.record_outcome("op", "gone", Outcome(State.ACCEPTED, "known"))
        job(world, "known", lasts=1)
        world.journal.renew_lease("op", "gone", 0)
        resolution = world.run(resolve(listed, world.site(), world.context(run_id="next")))
        assert resolution.result.status is Status.DONE
        assert any("job known accepted" in line for line in world.said)


@pytest.mark.parametrize("outcome", [State.REJECTED, State.NOT_SENT])
def test_a_refusal_that_was_noted_but_not_closed_is_closed_at_once(outcome: State) -> None:
    with harness() as world:
        world.journal.open_operation(world.intent(lifetime=None), "gone", LEASE)
        world.journal.record_outcome("op", "gone", Outcome(outcome))
        resolution = resolved(world, after=LEASE + 1)
        assert resolution.resolved
        assert state(world) == (outcome, True)
        assert not world.service.requests


def test_readings_that_contradict_each_other_decide_nothing() -> None:
    with harness() as world:
        opened(world, world.intent())
        before = world.service._view()
        after = (replace(before[0], disks=(KEPT,)),)
        world.service.shown = [before, after] * 50
        resolution = resolved(world, after=LIFETIME + 1)
        assert "no two consecutive readings of the pools agree" in resolution.result.message
        assert state(world) == (State.UNKNOWN, False)


def test_disks_that_are_gone_are_done_whoever_did_it() -> None:
    with harness() as world:
        opened(world, world.intent())
        del world.service.pools_["pool"].disks[GOING.id]
        assert resolved(world, after=LEASE + 1).result.status is Status.DONE
        assert state(world) == (State.DONE, True)


def all_resolved(world: Harness, run_id: str) -> tuple[tuple[Resolution, ...], Holds]:
    """What a run makes of everything that is open right now."""
    site = world.site()
    return world.run(resolve_all(world.context(run_id=run_id), {TARGET: site}))


def test_what_stays_open_is_let_go_for_whoever_comes_next() -> None:
    with harness() as world:
        opened(world, world.intent())
        world.run(asyncio.sleep(LEASE + 1))
        for run_id in ("next", "the one after"):
            [resolution], holds = all_resolved(world, run_id)
            assert not resolution.resolved
            assert [each.rule for each in holds.values()] == ["unresolved-operation"]
        decided(world, State.DONE, despite_evidence=True)
        assert state(world) == (State.DONE, True)


def test_an_operation_that_cannot_be_looked_into_stays_open_and_says_why() -> None:
    with harness() as world:
        opened(world, world.intent())
        world.run(asyncio.sleep(LEASE + 1))
        world.service.faults = Faults(read_error=1.0)
        [resolution], holds = all_resolved(world, "next")
        assert "could not be resolved: the service answered 500" in resolution.result.message
        assert [each.rule for each in holds.values()] == ["unresolved-operation"]
        assert state(world) == (State.UNKNOWN, False)


def test_several_operations_are_waited_for_at_the_same_time() -> None:
    with harness() as world:
        for name in ("one", "two", "three"):
            intent = replace(world.intent(), operation_id=name, pool=world.site().key(name))
            world.journal.open_operation(intent, "gone", 0)
            world.service.pools_[name] = dataclasses.replace(
                world.service.pools_["pool"], id=name, disks={"a": KEPT}
            )
            world.journal.record_outcome(name, "gone", Outcome(State.ACCEPTED, name))
            world.service.jobs[name] = TrueJob(
                name, name, Step.REMOVE, 0, 600, JobEnd.SUCCEEDED, False, removal()
            )
        found, holds = all_resolved(world, "next")
        assert [each.resolved for each in found] == [True] * 3
        assert holds == {}
        assert 600 < world.loop.moment < 700


def test_the_job_of_a_lost_answer_that_did_only_a_part_is_partial_although_the_disk_is_gone() -> None:
    with harness() as world:
        copies = tuple(LostCopy(GOING.id, f"pool-d{each}", f"d{each}", f"v{each}", 200) for each in (0, 1))
        opened(world, replace(world.intent(), copies=copies))
        job(world, "lost", lasts=100, end=JobEnd.PARTIAL)
        world.service.jobs["lost"].failing = (1,)
        world.journal.open_run("next", "resolve", "1", [])
        resolution = resolved(world, after=LEASE + 1)
        assert (resolution.result.status, state(world)) == (Status.PARTIAL, (State.PARTIAL, True))
        assert "1 of 2 copies gone, on d0; left on d1" in resolution.result.message
        assert resolution.result.desktops
        assert resolution.result.desktops.copies_gone == 1
        operation = world.journal.operation("op")
        assert operation
        assert operation.verdict == resolution.result.message
        record = world.journal.run("next")
        assert record
        assert DESKTOPS in [each.kind for each in record.events]


def _restored(world: Harness, *, later: bool) -> Resolution:
    """The journal has the operation as it was in the backup; the disk that it kept has been removed since."""
    opened(world, world.intent(), "ours")
    job(world, "ours", lasts=1)
    world.loop.call_later(30, world.service.pools_["pool"].disks.pop, KEPT.id)
    if later:
        world.loop.call_later(20, lambda: job(world, "later", lasts=5))
    return resolved(world, after=3600)


def test_a_journal_restored_from_a_backup_is_said_in_the_place_of_an_alarm() -> None:
    with harness() as world:
        resolution = _restored(world, later=True)
        assert (resolution.resolved, resolution.result.status) == (False, Status.UNKNOWN)
        assert "job later of this pool, of which this journal has no operation" in resolution.result.message
        assert "restored from a backup" in resolution.result.message


def test_without_such_a_job_it_stays_an_alarm() -> None:
    with harness() as world:
        assert _restored(world, later=False).result.status is Status.ALARM


def test_a_lost_answer_in_a_restored_journal_is_no_alarm_either() -> None:
    with harness() as world:
        opened(world, world.intent())
        for name in ("ours", "later"):
            job(world, name, lasts=1)
        world.loop.call_later(30, world.service.pools_["pool"].disks.pop, KEPT.id)
        resolution = resolved(world, after=3600)
        assert (resolution.resolved, resolution.result.status) == (False, Status.UNKNOWN)
        assert "restored from a backup" in resolution.result.message


class Forgetful(Scripted):
    """Remembers more jobs of the pool than it lists: only the unfinished ones can be had."""

    async def pool_jobs(self, pool_id: str, step: Step) -> frozenset[str]:
        found = await super().pool_jobs(pool_id, step)
        return found & await self.running_jobs(step) | {UNLISTED}


def forgetful(world: Harness) -> None:
    world.service = Forgetful(world.loop, world.service.rng, world.service.pools_, world.service.faults)


@pytest.mark.parametrize("baseline", [(), (UNLISTED,), ("old", UNLISTED)])
def test_where_not_all_jobs_are_listed_one_under_way_is_followed(baseline: tuple[str, ...]) -> None:
    with harness() as world:
        forgetful(world)
        opened(world, world.intent(baseline=baseline))
        job(world, "lost", lasts=200)
        resolution = resolved(world, after=LEASE + 1)
        assert (resolution.resolved, resolution.result.status) == (True, Status.DONE)
        assert state(world) == (State.DONE, True)


def test_where_not_all_jobs_are_listed_the_disks_decide_and_nothing_is_called_never_arrived() -> None:
    with harness() as world:
        forgetful(world)
        job(world, "ours, and listed nowhere", lasts=1, end=JobEnd.FAILED, effect=False)
        opened(world, world.intent(baseline=(UNLISTED,)))
        resolution = resolved(world, after=LIFETIME + 1)
        assert "not all jobs are listed" in resolution.result.message
        assert state(world) == (State.FAILED, True)


def test_where_not_all_jobs_are_listed_nothing_is_decided_while_the_request_can_arrive() -> None:
    with harness() as world:
        forgetful(world)
        opened(world, world.intent(baseline=(UNLISTED,)))
        resolution = resolved(world, after=LIFETIME - 300)
        assert (resolution.resolved, resolution.result.status) == (False, Status.UNKNOWN)


def test_an_old_job_that_is_listed_for_the_first_time_is_not_taken_for_ours() -> None:
    """The list had gaps before the request and has none any more."""
    with harness() as world:
        job(world, "ancient", lasts=1, end=JobEnd.FAILED, effect=False)
        opened(world, world.intent(baseline=(UNLISTED,)))
        resolution = resolved(world, after=LIFETIME + 1)
        assert "ancient" not in resolution.result.message
        assert state(world) == (State.FAILED, True)
