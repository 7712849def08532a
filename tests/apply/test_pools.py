"""One pool: read again before every call, wait as long as the service asks, send only what was approved."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from reconciler.api.client import Renew
from reconciler.apply.context import Options
from reconciler.apply.events import Event, Phase, PoolMoved
from reconciler.apply.pools import BUSY_WAIT, Task, apply_pool
from reconciler.apply.results import PoolResult, Status
from reconciler.apply.second_check import SecondCheckFailed
from reconciler.errors import CredentialsError, PoolHeld, Refused, ServiceError, StalePlan
from reconciler.journal.records import Claim, SentDisk, StaleGeneration
from reconciler.journal.states import Outcome, State, Step
from reconciler.model import Action, ApplyTo, BackupRule, DesiredDisk, Disk, Placed, Policy
from reconciler.planner import plan_pool
from reconciler.values import replace
from reconciler.workspace import Call, JobEnd, PoolReading
from tests.apply.harness import GOING, KEPT, LIFETIME, Harness, Scripted, harness, removal
from tests.builders import AT
from tests.simulation.service import TrueJob
from tests.simulation.virtual import START


def rejected(status: int, code: str = "", retry_after: float | None = None) -> Outcome:
    return Outcome(State.REJECTED, status=status, code=code, message="no", retry_after=retry_after)


BUSY = rejected(409, "WKS.00010032")


def applied(world: Harness, options: Options | None = None) -> PoolResult:
    async def scenario() -> PoolResult:
        return await apply_pool(await world.task(world.context(options)))

    return world.run(scenario())


def acting(world: Harness, renew: Renew) -> PoolResult:
    """The same with credentials that are renewed so."""

    async def scenario() -> PoolResult:
        task = await world.task(world.context())
        return await apply_pool(replace(task, site=replace(task.site, renew=renew)))

    return world.run(scenario())


def test_the_intent_says_all_that_is_needed_to_find_out_later() -> None:
    with harness() as world:
        old = TrueJob("old", "pool", Step.REMOVE, 0, 0, JobEnd.FAILED, False, removal())
        world.service.jobs["old"] = old
        assert applied(world).status is Status.DONE
        [operation] = world.journal.operations(world.clock.now() - timedelta(days=1))
        intent = operation.intent
        assert intent.handle_type == "FOR_EXPAND_AND_ALL"
        assert intent.disks == (SentDisk("b", "SAS", 200),)
        assert (intent.keep, intent.baseline_jobs) == (("a",), ("old",))
        assert intent.not_after == intent.signed_at + timedelta(seconds=900)
        [(_, call)] = world.service.sent
        assert call == Call(Step.REMOVE, "pool", (GOING,), ApplyTo.ALL)


@pytest.mark.parametrize(
    ("keys_end", "bound"),
    [
        (None, LIFETIME),
        (timedelta(hours=1), LIFETIME),
        (timedelta(seconds=-600), 300.0),
        (timedelta(seconds=-30), 870.0),
    ],
    ids=["no end", "a late end", "ended already, by a clock that is ahead", "about to end"],
)
def test_a_signature_outlives_its_keys_by_no_more_than_the_clocks_may_be_apart(
    keys_end: timedelta | None, bound: float
) -> None:
    with harness() as world:

        async def renew() -> datetime | None:
            return None if keys_end is None else world.clock.now().replace(microsecond=0) + keys_end

        assert acting(world, renew).status is Status.DONE
        [operation] = world.journal.operations(world.clock.now() - timedelta(days=1))
        intent = operation.intent
        assert intent.not_after == intent.signed_at + timedelta(seconds=bound)


def test_where_the_keys_cannot_be_renewed_nothing_is_sent_and_no_intent_is_left() -> None:
    with harness() as world:
        asked = 0

        async def renew() -> datetime | None:
            nonlocal asked
            asked += 1
            if asked == 2:  # right before the intent, after the pool was read
                raise CredentialsError("the keys could not be renewed")
            return None

        with pytest.raises(CredentialsError):
            acting(world, renew)
        assert world.service.sent == []
        assert world.journal.unresolved() == ()


@pytest.mark.parametrize(
    ("answer", "least"),
    [
        (BUSY, 30.0),
        (rejected(429, "APIGW.0308", retry_after=7.0), 7.0),
        (rejected(429, "APIGW.0308"), 60.0),
        (rejected(400, "WKS.0407"), 300.0),
    ],
    ids=["busy", "throttled with Retry-After", "throttled", "disks are being added"],
)
def test_a_rejection_that_passes_is_waited_out_and_answered_by_a_new_reading(
    answer: Outcome, least: float
) -> None:
    with harness() as world:
        world.service.answers = [answer]
        before = world.service.requests["pool"]
        assert applied(world).status is Status.DONE
        (first, _), (second, _) = world.service.sent
        assert least <= second - first < least + 10
        assert world.service.requests["pool"] - before == 2
        states = [each.state for each in world.journal.operations(world.clock.now() - timedelta(days=1))]
        assert states == [State.REJECTED, State.DONE]


def test_a_wait_after_a_rejection_is_shown_with_its_end() -> None:
    with harness() as world:
        world.service.answers = [BUSY]
        waits: list[float] = []

        def see(event: Event) -> None:
            if isinstance(event, PoolMoved) and event.phase is Phase.WAITING and event.until:
                waits.append((event.until - world.clock.now()).total_seconds())

        ctx = replace(world.context(), observer=see)
        assert world.run(apply_pool(world.run(world.task(ctx)))).status is Status.DONE
        assert waits == [BUSY_WAIT]


def test_a_rejection_that_stays_is_final_after_the_allowed_tries() -> None:
    with harness() as world:
        world.service.answers = [BUSY] * 10
        assert applied(world, Options(tries=3)).status is Status.REJECTED
        assert len(world.service.sent) == 3
        assert world.journal.unresolved() == ()


@pytest.mark.parametrize("answer", [rejected(403, "WKS.403"), rejected(400, "WKS.0001")])
def test_any_other_rejection_is_final(answer: Outcome) -> None:
    with harness() as world:
        world.service.answers = [answer]
        result = applied(world)
        assert (result.status, result.done) == (Status.REJECTED, 0)
        assert len(world.service.sent) == 1
        assert world.journal.unresolved() == ()


@dataclass
class Meddled(Scripted):
    """Somebody works in the console right after the first call was rejected."""

    async def send(self, call: Call, signed_at: datetime) -> Outcome:
        outcome = await super().send(call, signed_at)
        self.pools_["pool"].disks["c"] = Disk("c", "SSD", 10)
        return outcome


def test_what_changed_while_waiting_is_stale_and_not_sent_again() -> None:
    with harness() as world:
        world.service = Meddled(world.loop, world.service.rng, world.service.pools_, answers=[BUSY])
        with pytest.raises(StalePlan, match="changed since the plan was approved"):
            applied(world)
        assert len(world.service.sent) == 1


@dataclass
class Crowded(Scripted):
    """The budget has no room for five minutes; meanwhile somebody works in the console."""

    world: Harness | None = None

    async def write_place(self, step: Step) -> None:
        assert self.world
        assert self.world.journal.unresolved() == ()
        await asyncio.sleep(301)
        self.pools_["pool"].disks["c"] = Disk("c", "SSD", 10)


def test_the_wait_for_the_budget_holds_nothing_and_is_followed_by_a_new_reading() -> None:
    with harness() as world:
        world.service = Crowded(world.loop, world.service.rng, world.service.pools_, world=world)
        with pytest.raises(StalePlan, match="changed since the plan was approved"):
            applied(world)
        assert world.service.sent == []
        assert world.journal.operations(world.clock.now() - timedelta(days=1)) == ()


def test_a_call_is_sent_the_moment_its_intent_is_written() -> None:
    with harness() as world:
        assert applied(world).status is Status.DONE
        [operation] = world.journal.operations(world.clock.now() - timedelta(days=1))
        [(moment, _)] = world.service.sent
        assert moment == pytest.approx((operation.opened - START).total_seconds(), abs=1e-5)


def test_what_a_pool_would_lose_by_now_is_counted_for_the_whole_group() -> None:
    with harness() as world:

        async def scenario() -> PoolResult:
            task = await world.task(world.context(group="night"))
            others = [Claim("copies", "of another share", 99)]
            assert world.journal.claim_losses("night", others, {}) == {}
            return await apply_pool(task)

        with pytest.raises(Refused, match="limit-copies: 101 over all its runs, the limit is 100"):
            world.run(scenario())
        assert world.service.sent == []


def test_nothing_is_sent_into_a_running_job() -> None:
    with harness() as world:
        task = world.run(world.task(world.context()))
        world.service.jobs["other"] = TrueJob(
            "other", "pool", Step.REMOVE, 0, 600, JobEnd.SUCCEEDED, False, removal()
        )
        with pytest.raises(Refused, match="has a running job"):
            world.run(apply_pool(task))
        assert world.service.sent == []


def test_jobs_since_the_last_operation_that_the_journal_does_not_know_are_said_before_the_next_call() -> None:
    with harness() as world:
        world.journal.open_operation(world.intent(baseline=("older",)), "gone", 60)
        world.journal.close_operation("op", "gone", State.REJECTED, "rejected")
        for name in ("older", "lost"):
            world.service.jobs[name] = TrueJob(
                name, "pool", Step.REMOVE, 0, 0, JobEnd.FAILED, False, removal(), done=True
            )
        assert applied(world).status is Status.DONE
        [said] = [line for line in world.said if "restored from a backup" in line]
        assert "job lost of this pool" in said


def test_nothing_is_sent_into_a_pool_that_another_run_holds() -> None:
    with harness() as world:

        async def scenario() -> Task:
            task = await world.task(world.context())
            world.journal.open_operation(world.intent(), "gone", 60)
            return task

        task = world.run(scenario())
        with pytest.raises(PoolHeld, match="gone"):
            world.run(apply_pool(task))
        assert world.service.sent == []


@dataclass
class Outrun(Scripted):
    """Another run opens and closes an operation while this one reads."""

    world: Harness | None = None

    async def pool(self, pool_id: str) -> PoolReading:
        reading = await super().pool(pool_id)
        assert self.world
        self.world.journal.open_operation(self.world.intent(), "gone", 60)
        self.world.journal.close_operation("op", "gone", State.REJECTED, "busy")
        return reading


def test_a_reading_that_another_run_has_overtaken_sends_nothing() -> None:
    with harness() as world:
        world.service = Outrun(world.loop, world.service.rng, world.service.pools_, world=world)
        with pytest.raises(StaleGeneration):
            applied(world)
        assert world.service.sent == []


@dataclass
class Misread(Scripted):
    """The bytes of the answer do not say what was read from them."""

    async def pool(self, pool_id: str) -> PoolReading:
        reading = await super().pool(pool_id)
        document = json.loads(reading.raw)
        document["data_volumes"] = [row for row in document["data_volumes"] if row["id"] != KEPT.id]
        return PoolReading(reading.pool, json.dumps(document).encode())


@pytest.mark.parametrize(
    "policy",
    [
        Policy("policy.yaml", "1", protect_disks=(Placed(GOING.id, AT),)),
        Policy("policy.yaml", "1", protect_pools=(Placed("po*", AT),)),
        Policy("policy.yaml", "1", backup=BackupRule(timedelta(hours=24), AT)),
    ],
    ids=["disk", "pool", "backup"],
)
def test_the_policy_holds_once_more_right_before_the_call(policy: Policy) -> None:
    async def scenario(world: Harness) -> PoolResult:
        task = await world.task(world.context())
        return await apply_pool(replace(task, plan=replace(task.plan, policy=policy)))

    with harness() as world:
        with pytest.raises(StalePlan):
            world.run(scenario(world))
        assert world.service.sent == []


def test_a_second_check_that_disagrees_stops_before_anything_is_sent() -> None:
    with harness() as world:
        world.service = Misread(world.loop, world.service.rng, world.service.pools_)
        with pytest.raises(SecondCheckFailed, match="disagrees with the plan"):
            applied(world)
        assert world.service.sent == []
        assert world.journal.unresolved() == ()


@dataclass
class Fading(Scripted):
    """Can no longer be read once its first job is done."""

    async def pool(self, pool_id: str) -> PoolReading:
        if any(job.done for job in self.jobs.values()):
            raise ServiceError("the service answered 500", status=500)
        return await super().pool(pool_id)


def test_what_is_proven_done_counts_although_a_later_call_cannot_be_made() -> None:
    with harness() as world:
        service = world.service
        world.service = Fading(service.loop, service.rng, service.pools_)

        async def scenario() -> int:
            task = await world.task(world.context())
            desired = replace(
                task.pool.desired,
                disks=(DesiredDisk(KEPT.type, KEPT.size + 10, AT),),
                manage=frozenset({Action.REMOVE, Action.EXPAND}),
            )
            reading = await world.service.pool("pool")
            listing = world.site().pools.after
            pool = await plan_pool(
                desired, reading.pool, world.service, lambda: listing(world.clock.monotonic()), world.clock
            )
            two_calls = replace(task, pool=pool, plan=replace(task.plan, pools=(pool,)))
            with pytest.raises(ServiceError):
                await apply_pool(two_calls)
            return two_calls.progress.done

        assert world.run(scenario()) == 1
        assert [call.step for _, call in world.service.sent] == [Step.EXPAND]


def test_a_doubt_that_comes_after_the_approval_refuses_its_pool_and_is_no_change_of_the_plan() -> None:
    with harness() as world:
        ctx = world.context()
        task = world.run(world.task(ctx))
        seen = world.run(world.service.pools())
        world.service.shown = [tuple(replace(each, desktop_count=9) for each in seen)] * 20
        with pytest.raises(Refused, match="doubtful: 2 desktops were read, and the pool counts 9"):
            world.run(apply_pool(task))
        assert world.service.sent == []
