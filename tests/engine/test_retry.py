"""A retry is one write like any other: planned, approved, checked, durable, sent once, followed, proven."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from reconciler.apply.context import Options, RunContext
from reconciler.apply.results import ApplyReport, Resolution, Status
from reconciler.apply.stop import Stop
from reconciler.engine.resolution import resolve_all
from reconciler.engine.retry import RetryRequest, retry
from reconciler.errors import ExitCode, Refused, StalePlan
from reconciler.journal.states import Outcome, State, Step
from reconciler.model import Limit, Limits, LostCopy, Manifest, Placed, Policy, Position
from reconciler.planner import Connection
from reconciler.planning.plan import Plan
from reconciler.values import replace
from reconciler.workspace import JobEnd
from tests.apply.harness import GOING, KEPT, Harness, harness, removal
from tests.builders import TARGET, entry, pool
from tests.simulation.scenario import Killed, Mortal
from tests.simulation.service import Faults, TrueJob

WRITES = 16
"""Durable writes of a retry, from the beginning of its run to the end of it."""
LEASE = 61.0


def left_in_part(world: Harness) -> None:
    """The removal of the surplus disk was done on one desktop of two."""
    copies = tuple(
        LostCopy(GOING.id, f"pool-d{each}", f"d{each}", f"{GOING.id}-{each}", 200) for each in (0, 1)
    )
    world.journal.open_operation(replace(world.intent(), copies=copies), "gone", LEASE)
    world.journal.record_outcome("op", "gone", Outcome(State.ACCEPTED, "old", status=200))
    world.journal.close_operation("op", "gone", State.PARTIAL, "partial")
    truth = world.service.pools_["pool"]
    del truth.disks[GOING.id]
    truth.left[1] = {GOING.id: GOING}
    world.service.jobs["old"] = TrueJob(
        "old", "pool", Step.REMOVE, 0, 0, JobEnd.PARTIAL, True, removal(), done=True, failing=(1,)
    )


@pytest.fixture
def world() -> Iterator[Harness]:
    with harness() as found:
        left_in_part(found)
        yield found


async def agree(plan: Plan) -> None:
    """A person says yes."""
    assert [(loss.disk_id, loss.copies) for loss in plan.pools[0].disk_losses] == [(GOING.id, 1)]


def request(approve: Callable[[Plan], object] = agree, options: Options | None = None) -> RetryRequest:
    manifest = Manifest((pool(entry("SAS", 50)),))
    return RetryRequest("op", manifest, Limits(), approve, options or Options())  # type: ignore[arg-type]


def retried(world: Harness, asked: RetryRequest | None = None, journal: object = None) -> ApplyReport:
    ctx = world.context()
    if journal:
        ctx = replace(ctx, journal=journal)  # type: ignore[arg-type]
    return world.run(retry(asked or request(), ctx))


def left(world: Harness) -> int:
    world.service.settle()
    return sum(map(len, world.service.pools_["pool"].left.values()))


def operations(world: Harness) -> list[tuple[Step, State]]:
    return [
        (each.intent.step, each.state) for each in world.journal.operations(world.clock.now().replace(hour=0))
    ]


def test_it_is_sent_once_followed_and_proven_by_the_copies(world: Harness) -> None:
    report = retried(world)
    assert (report.exit_code, left(world), len(world.service.sent)) == (ExitCode.DONE, 0, 1)
    [(_, call)] = world.service.sent
    assert (call.step, call.job_id) == (Step.RETRY, "old")
    assert operations(world) == [(Step.REMOVE, State.PARTIAL), (Step.RETRY, State.DONE)]


@pytest.mark.parametrize(
    ("faults", "code", "state"),
    [
        (Faults(not_sent=1.0), ExitCode.ERROR, State.NOT_SENT),
        (Faults(rejected=1.0), ExitCode.ERROR, State.REJECTED),
        (Faults(lost_response=1.0), ExitCode.UNKNOWN, State.UNKNOWN),
        (Faults(lost_request=1.0), ExitCode.UNKNOWN, State.UNKNOWN),
        (Faults(job_fails=1.0), ExitCode.JOB_FAILED, State.FAILED),
        (Faults(job_hangs=1.0), ExitCode.RUNNING, State.ACCEPTED),
    ],
    ids=["not sent", "rejected", "no answer", "no request", "fails", "hangs"],
)
def test_every_ending_is_said_and_kept(faults: Faults, code: ExitCode, state: State) -> None:
    with harness(faults) as world:
        left_in_part(world)
        assert retried(world).exit_code is code
        assert operations(world)[-1] == (Step.RETRY, state)
        assert len(world.service.sent) == 1


def test_a_policy_can_forbid_it_before_anybody_is_asked(world: Harness) -> None:
    async def never(_plan: Plan) -> None:
        raise AssertionError("asked")

    at = Position("policy.yaml", 3, 10)
    ctx = replace(world.context(), policy=Policy("policy.yaml", "0" * 64, forbid=(Placed("retry", at),)))
    with pytest.raises(Refused, match=r"the policy forbids retry \(policy\.yaml:3:10\)"):
        world.run(retry(request(never), ctx))
    assert world.service.sent == []


def test_a_policy_binds_a_retry_as_it_binds_a_removal(world: Harness) -> None:
    at = Position("policy.yaml", 3, 10)
    policy = Policy("policy.yaml", "0" * 64, protect_disks=(Placed(GOING.id, at),))
    report = world.run(retry(request(), replace(world.context(), policy=policy)))
    assert (report.exit_code, left(world), world.service.sent) == (ExitCode.REFUSED, 1, [])
    ceilings = Limits(*(Limit(None) for _ in Limits.__struct_fields__))
    policy = Policy("policy.yaml", "0" * 64, ceilings=replace(ceilings, copies=Limit(0, str(at))))
    with pytest.raises(Refused, match="the plan is blocked"):
        world.run(retry(request(), replace(world.context(), policy=policy)))
    assert world.service.sent == []


def test_copies_that_appear_between_approval_and_call_are_not_approved(world: Harness) -> None:
    async def meanwhile(_plan: Plan) -> None:
        world.service.pools_["pool"].left[0] = {GOING.id: GOING}

    with pytest.raises(StalePlan, match="changed since the retry was approved"):
        retried(world, request(meanwhile))
    assert (world.service.sent, left(world)) == ([], 2)


def test_copies_that_vanish_meanwhile_leave_nothing_to_send(world: Harness) -> None:
    async def meanwhile(_plan: Plan) -> None:
        world.service.pools_["pool"].left.clear()

    with pytest.raises(Refused, match="no copy is left"):
        retried(world, request(meanwhile))
    assert world.service.sent == []


def test_a_disk_that_the_pool_has_again_and_the_manifest_declares_is_never_risked(world: Harness) -> None:
    world.service.pools_["pool"].disks[GOING.id] = GOING
    manifest = Manifest((pool(entry("SAS", 50), entry("SAS", 200)),))
    report = retried(world, replace(request(_agree_to_anything), manifest=manifest))
    assert (report.exit_code, world.service.sent) == (ExitCode.REFUSED, [])
    assert report.plan
    assert "retry-needed-disk" in {each.rule for each in report.plan.all_findings}


async def _agree_to_anything(_plan: Plan) -> None:
    """A person says yes."""


def test_desktops_that_are_not_all_listed_prove_nothing_and_so_nothing_is_sent(world: Harness) -> None:
    world.service.faults = Faults(hidden_desktops=1.0)
    with pytest.raises(Refused, match="desktops were read, and pool pool counts 2"):
        retried(world)
    assert world.service.sent == []


def test_desktops_that_hide_while_a_retry_is_proven_prove_nothing(world: Harness) -> None:
    def hide() -> None:
        world.service.faults = Faults(hidden_desktops=1.0)

    async def meanwhile(_plan: Plan) -> None:
        world.loop.call_later(0.5, _when_sent, world, hide)

    report = retried(world, request(meanwhile))
    assert report.exit_code is ExitCode.UNKNOWN, report.results[0].message
    assert operations(world)[-1] == (Step.RETRY, State.ACCEPTED)


def _when_sent(world: Harness, then: Callable[[], None]) -> None:
    if world.service.sent:
        then()
    else:
        world.loop.call_later(0.1, _when_sent, world, then)


def test_a_job_that_is_under_way_is_not_retried(world: Harness) -> None:
    world.service.jobs["other"] = TrueJob(
        "other", "pool", Step.REMOVE, 0, 600, JobEnd.SUCCEEDED, False, removal()
    )
    with pytest.raises(Refused, match="has a running job"):
        retried(world)
    assert world.service.sent == []


def test_the_number_of_writes_is_what_the_kills_go_through(world: Harness) -> None:
    journal = Mortal(world.journal, 1000, before=True)
    retried(world, journal=journal)
    assert journal._left == 1000 - WRITES


def test_another_run_that_acts_on_the_pool_meanwhile_makes_it_stale(world: Harness) -> None:
    renewals: list[int] = []

    async def act() -> datetime | None:
        renewals.append(1)
        if len(renewals) == 2:  # between the last reading and the intent
            world.journal.open_operation(
                replace(world.intent(), operation_id="rival", generation=2), "rival", LEASE
            )
            world.journal.close_operation("rival", "rival", State.REJECTED, "rejected")
        return None

    ctx = world.context()
    connection = ctx.connections[TARGET]
    assert isinstance(connection, Connection)
    connection = replace(connection, renew=act)
    with pytest.raises(StalePlan):
        world.run(retry(request(), replace(ctx, connections={TARGET: connection})))
    assert world.service.sent == []


def resolved(world: Harness, after: float) -> Resolution | None:
    async def scenario() -> Resolution | None:
        await asyncio.sleep(after)
        ctx = world.context(run_id="next")
        found, _ = await resolve_all(ctx, {TARGET: world.site()})
        return found[0] if found else None

    return world.run(scenario())


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("dies_at", range(WRITES))
def test_killed_anywhere_the_next_run_finds_out_and_nothing_is_sent_twice(
    world: Harness, dies_at: int, before: bool
) -> None:
    with pytest.raises(Killed):
        retried(world, journal=Mortal(world.journal, dies_at, before=before))
    sent = len(world.service.sent)
    assert sent <= 1
    found = resolved(world, 3600)
    if sent and found:
        assert (found.resolved, found.result.status) == (True, Status.DONE)
    assert len(world.service.sent) == sent
    assert world.journal.unresolved() == ()
    if not sent:
        assert left(world) == 1
        assert retried(world).exit_code is ExitCode.DONE
    assert left(world) == 0
    assert len(world.service.sent) == 1


class Chooses(random.Random):
    """Of two things always the first, or always the second."""

    def __init__(self, second: bool) -> None:
        super().__init__(1)
        self._second = second

    def choice(self, found: Any) -> Any:
        return found[self._second]


@pytest.mark.parametrize("again", ["old", "new"])
def test_a_retry_without_an_answer_is_found_whatever_id_its_job_has(world: Harness, again: str) -> None:
    world.service.faults = Faults(lost_response=1.0)
    world.service.rng = Chooses(again == "new")
    assert retried(world).exit_code is ExitCode.UNKNOWN
    found = resolved(world, LEASE)
    assert found
    assert found.result.status in (Status.DONE, Status.RUNNING)
    resolved(world, 3600)
    assert world.journal.unresolved() == ()
    assert (left(world), len(world.service.sent)) == (0, 1)


def test_a_retry_that_never_arrived_is_closed_only_after_its_request_expired(world: Harness) -> None:
    world.service.faults = Faults(lost_request=1.0)
    assert retried(world).exit_code is ExitCode.UNKNOWN
    early = resolved(world, LEASE)
    assert early
    assert (early.resolved, early.result.status) == (False, Status.UNKNOWN)
    late = resolved(world, 1800)
    assert late
    assert (late.resolved, late.result.status) == (True, Status.FAILED)
    assert "whether the service tried again is not known" in late.result.message


def test_a_job_that_runs_again_under_its_old_id_is_not_judged_by_how_it_ended_before(world: Harness) -> None:
    old = world.service.jobs["old"]

    world.service.answers = [Outcome(State.ACCEPTED, "old", status=200)]
    world.loop.call_later(30, lambda: _rerun(world, old))
    report = retried(world)
    assert (report.exit_code, operations(world)[-1]) == (ExitCode.RUNNING, (Step.RETRY, State.ACCEPTED))
    found = resolved(world, 3600)
    assert found
    assert found.result.status is Status.DONE


def _rerun(world: Harness, old: TrueJob) -> None:
    now = world.loop.moment
    call = replace(old.call, step=Step.RETRY)
    world.service.jobs["old"] = TrueJob(
        "old", "pool", Step.RETRY, now, now + 600, JobEnd.SUCCEEDED, True, call
    )


def test_interrupted_before_the_call_nothing_is_sent(world: Harness) -> None:
    stop = Stop()

    async def meanwhile(_plan: Plan) -> None:
        stop.requested = True

    ctx: RunContext = replace(world.context(), stop=stop)
    report = world.run(retry(request(meanwhile), ctx))
    assert (report.exit_code, world.service.sent) == (ExitCode.INTERRUPTED, [])


def test_another_disk_of_that_pool_stays_or_it_is_an_alarm(world: Harness) -> None:
    async def meanwhile(_plan: Plan) -> None:
        world.loop.call_later(20, world.service.pools_["pool"].disks.clear)

    report = retried(world, request(meanwhile))
    assert report.exit_code is ExitCode.JOB_FAILED
    assert KEPT.id in report.results[0].message
