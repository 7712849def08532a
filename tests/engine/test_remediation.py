"""Detecting drift records it; remediation carries out what the policy allows, with the same apply, and no more."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import pytest

from reconciler.apply.context import RunContext
from reconciler.apply.results import DriftReport, DriftRound, Status
from reconciler.engine.apply import ApplyRequest, apply
from reconciler.engine.remediation import detect, remediate
from reconciler.errors import ExitCode, JournalError, Refused, ServiceError
from reconciler.journal.records import Intent, Journal, PoolKey, SentDisk
from reconciler.journal.states import Outcome, State, Step
from reconciler.model import (
    Action,
    DesiredDisk,
    Disk,
    DriftPolicy,
    Limit,
    Limits,
    Manifest,
    Pool,
    Shard,
    Window,
)
from reconciler.planner import Connection
from reconciler.planning.drift import BEING_CHANGED
from reconciler.planning.finding import Severity
from reconciler.planning.plan import Plan
from reconciler.planning.plan import Service as Named
from reconciler.render.drift_report import headline, metrics
from reconciler.values import replace
from reconciler.workspace import Call
from tests.builders import AT, TARGET, entry, pool
from tests.memory_journal import MemoryJournal, memory_journal
from tests.simulation.scenario import Killed, Mortal
from tests.simulation.service import Faults, Service, TrueJob, TruePool
from tests.simulation.virtual import START, VirtualClock, VirtualLoop

T = TypeVar("T")
DAY = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OPEN = Window(DAY, "00:00", "23:59", "UTC", AT)
MIDNIGHT = START.replace(hour=0)


@dataclass
class Scene:
    """One project in virtual time, with a journal in a file."""

    loop: VirtualLoop
    service: Service
    journal: MemoryJournal
    said: list[str] = field(default_factory=list)
    serial: int = 0

    def new_id(self) -> str:
        self.serial += 1
        return f"id-{self.serial:04}"

    @property
    def context(self) -> RunContext:
        connections = {TARGET: Connection(Named(TARGET, "fake"), self.service, clock=VirtualClock(self.loop))}
        clock = VirtualClock(self.loop)
        return RunContext(self.journal, clock, self.new_id, connections, log=self.said.append)

    def run(self, scenario: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(scenario)

    def detect(self, manifest: Manifest) -> DriftReport:
        return self.run(detect(manifest, Limits(), self.context))

    def remediate(self, manifest: Manifest, limits: Limits | None = None) -> DriftReport:
        return self.run(remediate(manifest, limits or Limits(), self.context))

    def later(self, **span: float) -> None:
        self.run(asyncio.sleep(timedelta(**span).total_seconds()))

    def disks(self, pool: str = "a") -> int:
        self.service.settle()
        return len(self.service.pools_[pool].disks)


Make = Callable[..., Scene]


@pytest.fixture
def make() -> Iterator[Make]:
    """A scene with pools of one declared disk and the given number of surplus ones."""
    loop = VirtualLoop()
    journal = memory_journal(VirtualClock(loop).now)

    def made(kind: type[Service] = Service, **surplus: int) -> Scene:
        pools = {name: true_pool(name, number) for name, number in surplus.items()}
        return Scene(loop, kind(loop, random.Random(7), pools), journal)

    yield made
    journal.close()
    loop.close()


def true_pool(name: str, surplus: int) -> TruePool:
    disks = [
        Disk(f"{name}-kept", "SSD", 100),
        *(Disk(f"{name}-{each}", "SAS", 50) for each in range(surplus)),
    ]
    return TruePool(name, name, {disk.id: disk for disk in disks}, desktops=2, wanted=[("SSD", 100)])


def manifest(*names: str, **policy: Any) -> Manifest:
    """One SSD of 100 GB per pool; the policy removes up to five a day at any time unless told otherwise."""
    told: dict[str, Any] = {
        "correct": frozenset({Action.REMOVE}),
        "disks_per_day": 5,
        "windows": (OPEN,),
    } | policy
    pools = tuple(pool(entry("SSD", 100), name=name) for name in names)
    return Manifest(pools, drift=(DriftPolicy(TARGET, AT, **told),))


def rules(report: DriftReport) -> list[str]:
    return [each.rule for each in report.refused]


async def approved(_plan: Plan) -> None:
    """A person says yes."""


# --- looking -----------------------------------------------------------------------------------


def test_looking_never_sends_and_keeps_what_it_saw(make: Make) -> None:
    scene = make(a=2, b=0)
    report = scene.detect(manifest("a", "b"))
    assert report.exit_code is ExitCode.CHANGES
    assert scene.service.requests["send"] == 0
    (point,) = scene.journal.drift(START)
    assert (point.pool_name, point.surplus, point.missing, point.surplus_gb) == ("a", 2, 0, 200)
    (run,) = scene.journal.runs(5)
    assert (run.command, run.exit_code, run.summary["pools"], run.summary["surplus"]) == ("drift", 2, 2, 2)


def test_the_trend_gets_one_zero_when_drift_ends_and_then_nothing(make: Make) -> None:
    scene = make(a=1)
    for _ in range(2):
        scene.detect(manifest("a"))
        scene.later(minutes=15)
    del scene.service.pools_["a"].disks["a-0"]
    for _ in range(3):
        assert scene.detect(manifest("a")).exit_code is ExitCode.DONE
        scene.later(minutes=15)
    assert [point.surplus for point in scene.journal.drift(START)] == [1, 1, 0]


def test_a_look_that_failed_is_in_the_journal_with_its_exit_code(make: Make) -> None:
    scene = make(a=1)
    scene.service.faults = Faults(read_error=1.0)
    with pytest.raises(ServiceError):
        scene.detect(manifest("a"))
    assert [run.exit_code for run in scene.journal.runs(5)] == [1]


def test_only_pools_that_cannot_be_decided_are_a_refusal(make: Make) -> None:
    scene = make(a=0, b=1)
    assert scene.detect(manifest("a", "nowhere")).exit_code is ExitCode.REFUSED
    assert scene.detect(manifest("a", "b", "nowhere")).exit_code is ExitCode.CHANGES


# --- correcting --------------------------------------------------------------------------------


def test_drift_within_the_policy_is_corrected_and_proven(make: Make) -> None:
    scene = make(a=2, b=1)
    report = scene.remediate(manifest("a", "b"))
    assert report.exit_code is ExitCode.DONE
    assert (scene.disks("a"), scene.disks("b")) == (1, 1)
    assert [each.surplus for each in report.measures] == [2, 1]
    assert [each.surplus for each in report.measures_now] == [0, 0]
    assert [run.command for run in scene.journal.runs(5)] == ["correct", "drift"]
    assert scene.detect(manifest("a", "b")).exit_code is ExitCode.DONE
    assert [point.surplus for point in scene.journal.drift(START)] == [2, 1, 0, 0]


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        ({"windows": ()}, "drift-window"),
        ({"windows": (replace(OPEN, timezone="Mars/Olympus"),)}, "drift-window"),
        ({"correct": frozenset()}, "drift-policy"),
        ({"correct": frozenset({Action.ADD})}, "drift-policy"),
        ({"disks_per_day": 1}, "drift-budget"),
    ],
)
def test_what_the_policy_does_not_allow_is_only_reported(
    make: Make, policy: dict[str, Any], rule: str
) -> None:
    scene = make(a=2)
    report = scene.remediate(manifest("a", **policy))
    assert (report.exit_code, rules(report)) == (ExitCode.CHANGES, [rule])
    assert scene.service.requests["send"] == 0


def test_without_a_policy_nothing_is_corrected(make: Make) -> None:
    scene = make(a=2)
    report = scene.remediate(replace(manifest("a"), drift=()))
    assert (report.exit_code, rules(report)) == (ExitCode.CHANGES, ["drift-policy"])
    assert scene.service.requests["send"] == 0


def test_one_failed_job_is_one_attempt_for_ever(make: Make) -> None:
    scene = make(a=1)
    scene.service.faults = Faults(job_fails=1.0)
    assert scene.remediate(manifest("a")).exit_code is ExitCode.JOB_FAILED
    scene.service.faults = Faults()
    for _ in range(3):
        scene.later(days=1)
        report = scene.remediate(manifest("a"))
        assert (report.exit_code, rules(report)) == (ExitCode.CHANGES, ["drift-attempted"])
    assert scene.service.requests["send"] == 1


def test_an_unknown_outcome_is_not_tried_again(make: Make) -> None:
    scene = make(a=1)
    scene.service.faults = Faults(lost_request=1.0)
    report = scene.remediate(manifest("a"))
    assert (report.exit_code, report.unresolved) == (ExitCode.UNKNOWN, 1)
    scene.service.faults = Faults()
    scene.later(minutes=5)
    again = scene.remediate(manifest("a"))
    assert again.exit_code is ExitCode.UNKNOWN
    assert rules(again) == ["drift-attempted"]
    assert scene.service.requests["send"] == 1


def opened(scene: Scene, pool: str, lease: float) -> Intent:
    """An apply in another process has written down a removal on the pool."""
    now = scene.context.clock.now()
    key = PoolKey(str(TARGET), "fake", pool)
    disk = SentDisk(f"{pool}-0", "SAS", 50)
    intent = Intent(
        f"op-{pool}", "other-run", key, pool, Step.REMOVE, None, (disk,), (), (), 0, now, None, "digest"
    )
    scene.journal.open_operation(intent, "other-run", lease)
    return intent


@pytest.mark.parametrize("status", ["STEADY", "TEMPORARY"])
def test_a_pool_that_a_run_is_changing_is_not_measured_and_is_no_drift(make: Make, status: str) -> None:
    scene = make(a=1, b=0)
    opened(scene, "a", 60)
    if status != "STEADY":
        scene.service.pools_["a"].busy_until = 30
    report = scene.detect(manifest("a", "b"))
    assert (report.exit_code, report.unresolved) == (ExitCode.HELD, 0)
    assert [each.pool.label for each in report.measures] == ["b"]
    [finding] = report.plan.all_findings
    assert (finding.rule, finding.severity) == (BEING_CHANGED, Severity.WARN)
    assert "being changed by run other-run" in finding.message
    assert scene.journal.drift(MIDNIGHT) == ()


class Ahead(VirtualClock):
    """The clock of a machine that is two minutes ahead of the journal's."""

    def now(self) -> datetime:
        return super().now() + timedelta(minutes=2)


def test_whether_a_run_is_alive_is_decided_by_the_clock_of_the_journal(make: Make) -> None:
    scene = make(a=1)
    opened(scene, "a", 60)
    report = scene.run(detect(manifest("a"), Limits(), replace(scene.context, clock=Ahead(scene.loop))))
    assert (report.exit_code, report.unresolved) == (ExitCode.HELD, 0)


def test_drift_beside_a_pool_that_is_being_changed_is_drift(make: Make) -> None:
    scene = make(a=1, b=2)
    opened(scene, "a", 60)
    report = scene.detect(manifest("a", "b"))
    assert report.exit_code is ExitCode.CHANGES
    assert [each.pool.label for each in report.measures] == ["b"]


def test_an_operation_that_ends_while_the_pools_are_read_leaves_its_pool_out(make: Make) -> None:
    scene = make(a=1)
    opened(scene, "a", 60)
    end = partial(scene.journal.close_operation, "op-a", "other-run", State.DONE, "done")
    scene.loop.call_later(0.001, end)
    assert scene.detect(manifest("a")).exit_code is ExitCode.HELD
    assert scene.detect(manifest("a")).exit_code is ExitCode.CHANGES


def test_an_operation_that_begins_while_the_pools_are_read_leaves_its_pool_out(make: Make) -> None:
    scene = make(a=1)
    scene.loop.call_later(0.001, lambda: opened(scene, "a", 60))
    assert scene.detect(manifest("a")).exit_code is ExitCode.HELD


def test_an_open_operation_of_a_dead_run_is_never_exit_0(make: Make) -> None:
    scene = make(a=0)
    opened(scene, "a", 0)
    report = scene.detect(manifest("a"))
    assert (report.exit_code, report.unresolved) == (ExitCode.UNKNOWN, 1)


def test_a_correction_leaves_a_pool_alone_that_another_run_is_changing(make: Make) -> None:
    scene = make(a=1, b=1)
    opened(scene, "a", 6000)
    report = scene.remediate(manifest("a", "b"))
    assert (report.exit_code, report.unresolved, rules(report)) == (ExitCode.HELD, 0, [])
    assert (scene.disks("a"), scene.disks("b")) == (2, 1)


def test_an_operation_left_open_is_resolved_by_the_next_correction(make: Make) -> None:
    scene = make(a=1)
    scene.service.faults = Faults(lost_response=1.0)
    assert scene.remediate(manifest("a")).unresolved == 1
    scene.service.faults = Faults()
    scene.later(hours=1)
    report = scene.remediate(manifest("a"))
    assert (report.exit_code, report.unresolved) == (ExitCode.DONE, 0)
    assert scene.disks() == 1
    assert scene.service.requests["send"] == 1


class Busy(Service):
    """Whose desktops are in the middle of something else."""

    busy = True

    async def send(self, call: Call, signed_at: datetime) -> Outcome:
        if not self.busy:
            return await super().send(call, signed_at)
        self.requests["send"] += 1
        return Outcome(state=State.REJECTED, status=409, code="WKS.00010032", message="busy")


def test_a_rejected_call_is_made_once_and_gives_its_budget_back(make: Make) -> None:
    scene = make(Busy, a=2)
    began = scene.loop.moment
    assert scene.remediate(manifest("a", disks_per_day=2)).exit_code is ExitCode.ERROR
    assert scene.service.requests["send"] == 1
    assert scene.loop.moment - began < 30  # nothing was waited for
    assert isinstance(scene.service, Busy)
    scene.service.busy = False
    assert scene.remediate(manifest("a", disks_per_day=2)).exit_code is ExitCode.DONE
    assert scene.disks() == 1


class Slow(Service):
    """Which takes ever longer to list its pools."""

    async def pools(self) -> tuple[Pool, ...]:
        await asyncio.sleep(120.0 * self.requests["pools"])
        return await super().pools()


def test_a_window_that_closes_while_the_pools_are_read_again_refuses(make: Make) -> None:
    scene = make(Slow, a=1)
    # The first look lists the pools twice, before and after the desktops, and ends at 08:02.
    report = scene.remediate(manifest("a", windows=(replace(OPEN, end="08:03"),)))
    assert report.exit_code is ExitCode.REFUSED
    assert report.error
    assert "no window of" in report.error.message
    assert scene.service.requests["send"] == 0


def test_the_budget_holds_over_runs_and_is_new_after_midnight_utc(make: Make) -> None:
    scene = make(a=2, b=2)
    first = scene.remediate(manifest("a", "b", disks_per_day=3))
    assert (first.exit_code, rules(first)) == (ExitCode.CHANGES, ["drift-budget"])
    second = scene.remediate(manifest("a", "b", disks_per_day=3))
    assert (second.exit_code, rules(second)) == (ExitCode.CHANGES, ["drift-budget"])
    assert scene.disks("a") + scene.disks("b") == 1 + 3
    scene.later(hours=16)
    assert scene.remediate(manifest("a", "b", disks_per_day=3)).exit_code is ExitCode.DONE


def test_what_a_person_removed_today_counts(make: Make) -> None:
    scene = make(a=2, b=2)
    request = ApplyRequest(manifest("a"), Limits(), approved)
    by_hand = scene.run(apply(request, scene.context))
    assert by_hand.exit_code is ExitCode.DONE
    report = scene.remediate(manifest("a", "b", disks_per_day=3))
    assert (report.exit_code, rules(report)) == (ExitCode.CHANGES, ["drift-budget"])
    assert scene.disks("b") == 3


def test_what_a_damaged_record_removed_today_counts_as_much_as_it_can_be(make: Make) -> None:
    scene = make(a=2, b=1)
    assert scene.run(apply(ApplyRequest(manifest("a"), Limits(), approved), scene.context)).exit_code == 0
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
        copy.deserialize(scene.journal.backup())
        copy.execute("UPDATE reconciler_operations SET disk_count = 7")
        scene.journal.restore(copy.serialize())
    report = scene.remediate(manifest("a", "b", disks_per_day=10))
    assert (report.exit_code, rules(report)) == (ExitCode.CHANGES, ["drift-budget"])
    assert sum(each.disks for each in scene.journal.uses_since(str(TARGET), "fake", MIDNIGHT)) == 10


def test_a_pool_that_a_run_is_changing_takes_nothing_from_the_limits_of_the_others(make: Make) -> None:
    scene = make(a=2, b=1)
    held = Intent(
        "op",
        "other",
        PoolKey(str(TARGET), "fake", "a"),
        "a",
        Step.REMOVE,
        None,
        (SentDisk("a-0", "SAS", 50),),
        (),
        (),
        0,
        START,
        None,
        "",
    )
    scene.journal.open_operation(held, "other", 3600)
    limits = Limits(disks=Limit(1, "limits"))
    report = scene.run(detect(manifest("a", "b"), limits, scene.context))
    assert [each.pool.label for each in report.measures] == ["b"]
    assert not report.plan.run_blocked
    assert report.exit_code is ExitCode.CHANGES


def test_runs_at_the_same_time_share_the_budget(make: Make) -> None:
    scene = make(a=2, b=2)
    one, other = manifest("a", disks_per_day=3), manifest("b", disks_per_day=3)

    async def both() -> tuple[DriftReport, DriftReport]:
        return await asyncio.gather(
            remediate(one, Limits(), scene.context), remediate(other, Limits(), scene.context)
        )

    reports = scene.run(both())
    assert scene.disks("a") + scene.disks("b") == 1 + 3
    assert sorted(int(report.exit_code) for report in reports) in ([0, 2], [0, 3])
    assert scene.journal.removed_since(str(TARGET), "fake", MIDNIGHT) == 2


def test_what_a_person_removed_today_leaves_less_for_runs_at_the_same_time(make: Make) -> None:
    scene = make(a=2, b=2, c=1)
    request = ApplyRequest(manifest("c"), Limits(), approved)
    scene.run(apply(request, scene.context))
    one, other = manifest("a", disks_per_day=4), manifest("b", disks_per_day=4)

    async def both() -> None:
        await asyncio.gather(
            remediate(one, Limits(), scene.context), remediate(other, Limits(), scene.context)
        )

    scene.run(both())
    assert scene.journal.removed_since(str(TARGET), "fake", MIDNIGHT) == 3


def test_two_runs_around_midnight_open_no_more_than_the_new_day_has(make: Make) -> None:
    scene = make(**dict.fromkeys("abcdefghijkl", 1))
    policy = {"disks_per_day": 6, "windows": (replace(OPEN, end="24:00"),)}
    wide = Limits(disks=Limit(100), copies=Limit(1000), pools=Limit(100))
    scene.later(hours=15, minutes=59, seconds=50)

    async def run(pools: str, after: float) -> None:
        await asyncio.sleep(after)
        await remediate(manifest(*pools, **policy), wide, scene.context)

    async def both() -> None:  # the first is approved before midnight, and opens most of its share after it
        await asyncio.gather(run("abcdef", 0), run("ghijkl", 15))

    scene.run(both())
    midnight = MIDNIGHT + timedelta(days=1)
    opened = [each.opened for each in scene.journal.operations(MIDNIGHT)]
    assert sum(each < midnight for each in opened) >= 1
    assert sum(each >= midnight for each in opened) == 6


def test_the_refusal_of_a_spent_day_names_the_runs_that_spent_it(make: Make) -> None:
    scene = make(a=2, b=2)
    scene.remediate(manifest("a", disks_per_day=3))
    [operation] = scene.journal.operations(MIDNIGHT)
    report = scene.remediate(manifest("b", disks_per_day=3))
    assert [each.message for each in report.refused] == [
        "4 disks would have been removed this UTC day; the policy allows 3, and 2 are used "
        f"(by run {operation.intent.run_id}: 2 disks from {operation.opened:%H:%M:%S} UTC)"
    ]


@pytest.mark.parametrize("dies_at", [4, 16, 28])
def test_a_killed_correction_holds_nothing_and_the_same_group_finishes_its_share(
    make: Make, dies_at: int
) -> None:
    scene = make(**dict.fromkeys("abcdefghijkl", 1))
    declared = manifest(*"abcdefghijkl", disks_per_day=12)
    exactly = Limits(disks=Limit(12), copies=Limit(24), pools=Limit(12))
    share = replace(scene.context, shard=Shard(1, 1), group="night-1")
    mortal: Any = Mortal(scene.journal, dies_at, before=False)
    with pytest.raises(Killed):
        scene.run(remediate(declared, exactly, replace(share, journal=mortal)))
    scene.later(hours=1)
    # The first run after it finds out what became of the call that was under way.
    reports = [scene.run(remediate(declared, exactly, share)) for _ in range(2)]
    assert reports[-1].exit_code is ExitCode.DONE
    assert {rule for report in reports for rule in rules(report)} <= {"drift-attempted"}
    assert [scene.disks(name) for name in "abcdefghijkl"] == [1] * 12
    assert scene.service.requests["send"] == 12


class Failing(Mortal):
    """A journal that fails from its n-th write on, as one whose disk is full does."""

    def die(self) -> None:
        self.dead = True
        raise JournalError("the journal is full")

    def _mortal(self, method: Callable[..., Any]) -> Callable[..., Any]:
        call = super()._mortal(method)

        def failing(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, **kwargs)
            except Killed:
                raise JournalError("the journal is full") from None

        return failing


@pytest.mark.parametrize("fails_at", range(3, 16))
def test_whatever_write_fails_between_two_targets_each_has_used_what_may_be_gone(
    make: Make, fails_at: int
) -> None:
    scene = make(a=2, b=2)
    other = replace(TARGET, project_id="f" * 32)
    elsewhere = Service(scene.loop, random.Random(8), {"c": true_pool("c", 2)})
    clock = VirtualClock(scene.loop)
    both = {**scene.context.connections, other: Connection(Named(other, "fake"), elsewhere, clock=clock)}
    here = manifest("a", "b", disks_per_day=4)
    there = replace(manifest("c").pools[0], target=other)
    policies = (*here.drift, replace(here.drift[0], target=other, disks_per_day=2))
    declared = Manifest((*here.pools, there), drift=policies)
    journal: Any = Failing(scene.journal, fails_at, before=fails_at % 2 == 0)
    with suppress(JournalError):
        scene.run(remediate(declared, Limits(), replace(scene.context, connections=both, journal=journal)))
    for target, service, budget in ((TARGET, scene.service, 4), (other, elsewhere, 2)):
        used = scene.journal.removed_since(str(target), "fake", MIDNIGHT)
        assert sum(len(line.ids) for line in service.record) <= used <= budget
    scene.later(hours=1)
    for _ in range(2):  # the first finds out what became of the call that was under way
        scene.run(remediate(declared, Limits(), replace(scene.context, connections=both)))
    # What was not removed was free again, so all of it is done on the same day.
    elsewhere.settle()
    assert [scene.disks("a"), scene.disks("b"), len(elsewhere.pools_["c"].disks)] == [1, 1, 1]


def test_the_limits_of_a_run_hold_and_are_told(make: Make) -> None:
    scene = make(a=2)
    report = scene.remediate(manifest("a"), Limits(disks=Limit(1, "pools.yaml:3:10")))
    assert report.exit_code is ExitCode.REFUSED
    assert isinstance(report.error, Refused)
    assert scene.service.requests["send"] == 0
    # A refusal takes nothing from the day.
    assert scene.remediate(manifest("a", disks_per_day=2)).exit_code is ExitCode.DONE


def test_a_limit_that_stops_a_correction_the_day_has_room_for_says_so_with_both_numbers(make: Make) -> None:
    scene = make(a=2)
    report = scene.remediate(manifest("a"), Limits(disks=Limit(1, "pools.yaml:3:10")))
    assert report.error
    assert report.error.message == (
        "a limit of one run stops it: 2 disks would be destroyed; the limit is 1 (pools.yaml:3:10), although "
        "disks_per_day: 5 (pools.yaml:5:3) has room for 5 more today; nothing was sent"
    )


def test_a_failure_of_one_pool_leaves_the_others_for_the_next_run(make: Make) -> None:
    scene = make(a=1, b=1)
    scene.service.faults = Faults(job_fails=1.0)
    report = scene.remediate(manifest("a", "b"))
    assert report.applied
    assert [each.status for each in report.applied.results] == [Status.FAILED, Status.NOT_STARTED]
    scene.service.faults = Faults()
    again = scene.remediate(manifest("a", "b"))
    assert (again.exit_code, rules(again)) == (ExitCode.CHANGES, ["drift-attempted"])
    assert (scene.disks("a"), scene.disks("b")) == (2, 1)


def test_a_round_that_ended_badly_keeps_no_later_round_of_the_process_from_correcting(make: Make) -> None:
    scene = make(a=1, b=1, c=1)
    process = scene.context  # one for all rounds, as a watch has it
    scene.service.faults = Faults(job_fails=1.0)
    scene.run(remediate(manifest("a", "b", "c"), Limits(), process))
    scene.service.faults = Faults()
    scene.run(remediate(manifest("a", "b", "c"), Limits(), process))
    assert [scene.disks(name) for name in "abc"] == [2, 1, 1]


class Vandal(Service):
    """In pool ``a`` a job destroys what had to stay, too."""

    def _take_effect(self, job: TrueJob) -> None:
        super()._take_effect(job)
        if job.pool == "a":
            self.pools_["a"].disks.pop("a-kept", None)


def test_an_alarm_stops_the_others_in_its_own_run_and_then_holds_its_pool_back_alone(make: Make) -> None:
    scene = make(Vandal, a=2, b=1, c=1)
    first = scene.remediate(manifest("a", "b", "c"))
    assert first.exit_code is ExitCode.JOB_FAILED
    assert first.applied
    assert [each.status for each in first.applied.results] == [
        Status.ALARM,
        Status.NOT_STARTED,
        Status.NOT_STARTED,
    ]
    # Somebody has put the lost disk back, so nothing but the alarm keeps the rest from being removed.
    scene.service.pools_["a"].disks |= {"new": Disk("new", "SSD", 100), "a-9": Disk("a-9", "SAS", 50)}
    for _ in range(2):
        report = scene.remediate(manifest("a", "b", "c"))
        assert report.exit_code is ExitCode.REFUSED
        [alarm] = report.alarms
        assert (alarm.pool_name, "disks that had to stay are gone" in alarm.message) == ("a", True)
        assert "ALARM since 2026-03-01 08:0" in headline(round_of(report))
        assert "resolve --acknowledge a" in headline(round_of(report))
        assert "reconciler_open_alarms 1.0" in metrics(round_of(report))
        assert [scene.disks(name) for name in "abc"] == [2, 1, 1]
    assert scene.journal.acknowledge(alarm.id, "somebody")
    assert not scene.journal.acknowledge(alarm.id, "somebody")
    after = scene.remediate(manifest("a", "b", "c"))
    assert after.alarms == ()
    assert "pool-alarm" not in [each.rule for each in after.plan.all_findings]


def test_an_alarm_of_an_operation_that_is_still_open_stops_one_run_and_no_more(make: Make) -> None:
    scene = make(a=1, b=1)
    opened(scene, "a", 0)
    intent = scene.journal.unresolved()[0].intent
    assert intent.keep == ()
    del scene.service.pools_["a"]
    gone = manifest("b")
    first = scene.remediate(gone)
    assert first.exit_code is ExitCode.JOB_FAILED
    assert scene.disks("b") == 2
    for _ in range(2):
        scene.remediate(gone)
        assert scene.disks("b") == 1
    assert len(scene.journal.alarms()) == 1


def test_an_alarm_that_the_journal_cannot_record_stops_the_run_all_the_same(make: Make) -> None:
    scene = make(Vandal, a=1, b=1)
    report = scene.run(
        remediate(manifest("a", "b"), Limits(), replace(scene.context, journal=Forgetful(scene.journal)))
    )
    assert report.applied
    assert [each.status for each in report.applied.results] == [Status.ALARM, Status.NOT_STARTED]
    assert any("could not record the alarm" in line for line in scene.said)


def test_a_correction_that_ended_well_after_an_earlier_failure_ends_with_zero(make: Make) -> None:
    scene = make(a=1, b=1)
    scene.service.faults = Faults(lost_response=1.0)
    first = scene.remediate(manifest("a"))
    assert first.unresolved == 1
    scene.service.faults = Faults()
    # The job of the lost call still runs, so the first plan of the next round finds the pool busy, and its
    # change among those that were tried before; both are over once the job is resolved.
    assert scene.service.pools_["a"].busy_until > scene.loop.moment
    report = scene.remediate(manifest("a", "b"))
    assert (scene.disks("a"), scene.disks("b")) == (1, 1)
    assert (report.exit_code, rules(report)) == (ExitCode.DONE, [])


def round_of(report: DriftReport) -> DriftRound:
    return DriftRound(START, 1.0, report.exit_code, report)


class Forgetful:
    """A journal that fails at what it is named for."""

    def __init__(self, journal: Journal, *fails: str) -> None:
        self._journal, self._fails = journal, fails or ("raise_alarm",)

    def __getattr__(self, name: str) -> Any:
        if name in self._fails:
            return self._fail
        return getattr(self._journal, name)

    def _fail(self, *_: Any, **__: Any) -> Any:
        raise JournalError("the disk is full")


@pytest.mark.parametrize(
    "fails", ["open_operation", "record_outcome", "close_operation", "close_run", "add_drift", "record_event"]
)
def test_a_journal_that_fails_anywhere_costs_no_day_more_than_its_budget(make: Make, fails: str) -> None:
    scene = make(a=2, b=2)
    ask = manifest("a", "b", disks_per_day=2)
    failing: Any = Forgetful(scene.journal, fails)
    with suppress(JournalError):
        scene.run(remediate(ask, Limits(), replace(scene.context, journal=failing)))
    assert scene.disks("a") + scene.disks("b") >= 4
    for _ in range(3):
        scene.later(minutes=40)  # whatever was left open can no longer arrive
        scene.remediate(ask)
    assert scene.disks("a") + scene.disks("b") == 4  # the day's two are gone, and no more
    scene.later(days=1)
    scene.remediate(ask)
    assert scene.disks("a") + scene.disks("b") == 2
    assert all(not line.twice for line in scene.service.record)


def test_expansions_take_nothing_from_the_budget_of_removals(make: Make) -> None:
    scene = make(a=0)
    grown = manifest("a", correct=frozenset({Action.EXPAND}), disks_per_day=0)
    pool = replace(grown.pools[0], disks=(DesiredDisk("SSD", 200, AT),), manage=frozenset({Action.EXPAND}))
    report = scene.remediate(replace(grown, pools=(pool,)))
    assert report.exit_code is ExitCode.DONE
    assert scene.service.pools_["a"].disks["a-kept"].size == 200


def test_every_operation_of_a_correction_is_in_the_journal(make: Make) -> None:
    scene = make(a=1)
    report = scene.remediate(manifest("a"))
    assert report.applied
    record = scene.journal.run(report.applied.run_id)
    assert record
    assert [each.state for each in record.operations] == [State.DONE]
    assert record.run.command == "correct"
