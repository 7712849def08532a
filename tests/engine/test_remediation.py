"""Detecting drift records it; remediation carries out what the policy allows, with the same apply, and no more."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from reconciler.apply.context import RunContext
from reconciler.apply.results import DriftReport, Status
from reconciler.engine.apply import ApplyRequest, apply
from reconciler.engine.remediation import _removed_by_hand, detect, remediate
from reconciler.errors import ExitCode, Refused, ServiceError
from reconciler.journal.records import Intent, Journal, Outcome, PoolKey, SentDisk, State, Step
from reconciler.journal.store import open_journal
from reconciler.model import (
    Action,
    DesiredDisk,
    Disk,
    DriftPolicy,
    Limit,
    Limits,
    Manifest,
    Pool,
    Window,
)
from reconciler.planner import Connection
from reconciler.planning.drift import BEING_CHANGED
from reconciler.planning.finding import Severity
from reconciler.planning.plan import Plan
from reconciler.planning.plan import Service as Named
from reconciler.workspace import Call
from tests.builders import AT, TARGET, entry, pool
from tests.simulation.service import Faults, Service, TruePool
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
    journal: Journal
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
def make(tmp_path: Path) -> Iterator[Make]:
    """A scene with pools of one declared disk and the given number of surplus ones."""
    loop = VirtualLoop()
    journal = open_journal(f"sqlite:///{tmp_path}/journal.db", VirtualClock(loop).now)

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


def test_what_a_damaged_record_removed_today_counts_as_much_as_it_can_be(make: Make, tmp_path: Path) -> None:
    scene = make(a=2, b=1)
    assert scene.run(apply(ApplyRequest(manifest("a"), Limits(), approved), scene.context)).exit_code == 0
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.execute("UPDATE reconciler_operations SET disk_count = 7")
    connection.close()
    report = scene.remediate(manifest("a", "b", disks_per_day=10))
    assert (report.exit_code, rules(report)) == (ExitCode.CHANGES, ["drift-budget"])
    assert _removed_by_hand(Named(TARGET, "fake"), scene.journal, MIDNIGHT) == 10


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


def test_the_limits_of_a_run_hold_and_are_told(make: Make) -> None:
    scene = make(a=2)
    report = scene.remediate(manifest("a"), Limits(disks=Limit(1, "pools.yaml:3:10")))
    assert report.exit_code is ExitCode.REFUSED
    assert isinstance(report.error, Refused)
    assert scene.service.requests["send"] == 0
    # A refusal takes nothing from the day.
    assert scene.remediate(manifest("a", disks_per_day=2)).exit_code is ExitCode.DONE


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
