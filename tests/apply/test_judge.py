"""The result of every combination of a job's end and the state of the disks; and what counts as stale."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from reconciler.apply.calls import effects
from reconciler.apply.operation import judge
from reconciler.apply.pools import _compare
from reconciler.apply.proof import Observation, observed
from reconciler.apply.results import Status
from reconciler.errors import Refused, StalePlan
from reconciler.journal.records import Intent, PoolKey, SentDisk
from reconciler.journal.states import Step
from reconciler.model import ApplyTo, Disk, Pool
from reconciler.planning.draft import draft
from reconciler.planning.guards import judge_pool
from reconciler.planning.plan import PoolPlan
from reconciler.values import replace
from reconciler.workspace import JobEnd
from tests.builders import entry, pool

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def intent(step: Step = Step.REMOVE, disks: tuple[SentDisk, ...] = (SentDisk("b", "SAS", 50),)) -> Intent:
    key = PoolKey("r/p", "service", "pool")
    return Intent("op", "run", key, "pool", step, None, disks, ("a",), (), 0, NOW, None, "digest")


ALL, NONE, HALF = Observation(2, 2), Observation(0, 2), Observation(1, 2)


@pytest.mark.parametrize(
    ("end", "seen", "ending"),
    [
        (JobEnd.SUCCEEDED, ALL, Status.DONE),
        (JobEnd.SUCCEEDED, NONE, Status.FAILED),
        (JobEnd.SUCCEEDED, HALF, Status.PARTIAL),
        (JobEnd.FAILED, NONE, Status.FAILED),
        (JobEnd.FAILED, HALF, Status.PARTIAL),
        (JobEnd.FAILED, ALL, Status.PARTIAL),
        (JobEnd.PARTIAL, NONE, Status.PARTIAL),
        (JobEnd.PARTIAL, ALL, Status.PARTIAL),
        (JobEnd.SUCCEEDED, Observation(0, 2, contradictory=True), Status.UNKNOWN),
        (JobEnd.FAILED, Observation(0, 2, contradictory=True), Status.UNKNOWN),
        (None, ALL, Status.DONE),
        (None, NONE, Status.UNKNOWN),
        (None, HALF, Status.UNKNOWN),
        (JobEnd.SUCCEEDED, Observation(2, 2, lost=("a",)), Status.ALARM),
        (JobEnd.FAILED, Observation(0, 2, lost=("a",)), Status.ALARM),
        (JobEnd.SUCCEEDED, Observation(0, 2, pool_gone=True), Status.ALARM),
    ],
)
def test_the_disks_decide_and_the_job_alone_never_makes_it_done(
    end: JobEnd | None, seen: Observation, ending: Status
) -> None:
    verdict = judge(intent(), "job", end, "the disk is busy", seen)
    assert verdict.status is ending
    assert verdict.message


def test_a_removal_is_seen_by_what_is_gone_and_what_had_to_stay() -> None:
    kept, other = Disk("a", "SAS", 50), Disk("b", "SAS", 50)
    assert observed(intent(), [kept]) == Observation(1, 1)
    assert observed(intent(), [kept, other]) == Observation(0, 1)
    assert observed(intent(), [other]) == Observation(0, 1, lost=("a",))


def test_an_expansion_is_seen_by_the_size_and_an_addition_by_a_new_id() -> None:
    grown = intent(Step.EXPAND, (SentDisk("b", "SAS", 80),))
    assert observed(grown, [Disk("a", "SAS", 50), Disk("b", "SAS", 80)]) == Observation(1, 1)
    assert observed(grown, [Disk("a", "SAS", 50), Disk("b", "SAS", 50)]) == Observation(0, 1)
    assert observed(grown, [Disk("a", "SAS", 50)]).lost == ("b",)
    added = intent(Step.ADD, (SentDisk("", "SAS", 50), SentDisk("", "SAS", 50)))
    assert observed(added, [Disk("a", "SAS", 50), Disk("n", "SAS", 50)]) == Observation(1, 2)


def planned(*disks: Disk) -> PoolPlan:
    desired = pool(entry("SAS", 50), apply_to=ApplyTo.ALL)
    return judge_pool(draft(desired, Pool("pool", "pool", disks), ()))


KEPT, GOING = Disk("a", "SAS", 50), Disk("b", "SAS", 200)


@pytest.mark.parametrize(
    "now",
    [
        (KEPT,),
        (KEPT, replace(GOING, size=300)),
        (KEPT, replace(GOING, id="c")),
        (KEPT, GOING, Disk("d", "SSD", 10)),
    ],
    ids=["already gone", "another size", "another id", "one more"],
)
def test_whatever_changed_since_the_approval_is_stale(now: tuple[Disk, ...]) -> None:
    approved = planned(KEPT, GOING)
    for index in (0, 1):
        with pytest.raises(StalePlan):
            _compare(approved, planned(*now), effects(approved), index)


def test_nothing_changed_is_not_stale_but_a_new_finding_refuses() -> None:
    approved = planned(KEPT, GOING)
    _compare(approved, planned(KEPT, GOING), Counter(effects(approved)), 0)
    busy = judge_pool(replace(approved, live=Pool("pool", "pool", (KEPT, GOING), "TEMPORARY")))
    with pytest.raises(Refused, match="TEMPORARY"):
        _compare(approved, busy, effects(approved), 0)
