"""What is due and what only waits: by how long a disk has been surplus, by two clocks, and by what people say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model import Action, Disk, Pool
from reconciler.planning.draft import draft
from reconciler.planning.finding import Severity
from reconciler.planning.guards import judge_pool
from reconciler.planning.marks import (
    DiskKey,
    DiskMark,
    Marks,
    grace_of,
    never_ends,
    surplus,
    waiting,
    waiting_in,
    with_grace,
    with_marks,
)
from reconciler.planning.permissions import grace_words
from reconciler.planning.plan import PoolPlan, pool_decision
from reconciler.planning.policy import judge_pool as judge_by_policy
from reconciler.planning.stale_plan import explain
from reconciler.values import replace
from tests import sample_plans
from tests.builders import TARGET, entry, pool
from tests.planning.test_policy import placed, under

NOW = datetime(2026, 3, 14, 9, 26, tzinfo=UTC)
WEEK, SECOND = timedelta(days=7), timedelta(seconds=1)
KEPT, OLD, NEW = Disk("kept", "SSD", 100), Disk("old", "SAS", 50), Disk("new", "SAS", 200)
LIVE = Pool("pool-1", "pool", (KEPT, OLD, NEW), desktop_count=1)
DESIRED = pool(entry("SSD", 100), grace=WEEK)


def key(disk: Disk, pool_id: str = "pool-1") -> DiskKey:
    return str(TARGET), pool_id, disk.id


def marks(old: DiskMark | None = None, now: datetime | None = NOW, **more: DiskMark) -> Marks:
    return Marks({key(OLD): old or DiskMark(NOW - WEEK), **{key(NEW): each for each in more.values()}}, now)


def going(found: PoolPlan) -> list[str]:
    return [disk.id for disk in found.removed]


def settled(known: Marks, declared: object = None) -> PoolPlan:
    desired = DESIRED if declared is None else declared
    return with_grace(draft(desired, LIVE), None, known)  # type: ignore[arg-type]


def test_a_disk_is_due_when_its_grace_has_passed_and_not_a_second_before() -> None:
    assert going(settled(marks(DiskMark(NOW - WEEK)))) == ["old"]
    assert going(settled(marks(DiskMark(NOW - WEEK + SECOND)))) == []
    found = settled(marks())
    assert [each.live and each.live.id for each in found.waiting] == ["new"]


def test_what_is_not_marked_or_has_no_journal_is_never_due() -> None:
    assert going(settled(Marks({}, NOW))) == []
    assert going(settled(marks(now=None))) == []
    assert going(settled(Marks({key(OLD, "pool-2"): DiskMark(NOW - 9 * WEEK)}, NOW))) == []


def test_the_earlier_of_two_clocks_decides() -> None:
    for service_time, expected in (
        (NOW - SECOND, []),
        (NOW, ["old"]),
        (NOW + WEEK, ["old"]),
        (None, ["old"]),
    ):
        assert going(settled(marks().by(service_time))) == expected
    assert marks(now=None).by(NOW).now is None


def test_an_extension_lets_a_disk_wait_and_never_shortens_its_grace() -> None:
    assert going(settled(marks(DiskMark(NOW - WEEK, NOW + SECOND, "amara")))) == []
    assert going(settled(marks(DiskMark(NOW - WEEK, NOW, "amara")))) == ["old"]
    assert going(settled(marks(DiskMark(NOW - SECOND, NOW - SECOND, "amara")))) == []


def test_an_extension_holds_where_the_pool_has_no_grace_any_more() -> None:
    none = replace(DESIRED, grace=timedelta(0))
    assert going(settled(marks(DiskMark(NOW - WEEK, NOW + SECOND, "amara")), none)) == ["new"]
    assert going(settled(marks(DiskMark(NOW)), none)) == ["new", "old"]


def test_without_grace_everything_goes_as_ever() -> None:
    none = replace(DESIRED, grace=timedelta(0))
    assert settled(Marks(), none) == draft(none, LIVE)


def test_a_disk_that_waited_in_the_approved_plan_waits_although_it_is_due() -> None:
    assert going(settled(replace(marks(), waiting=frozenset({key(OLD)})))) == []


def test_the_longer_grace_holds_of_the_entry_and_the_policy() -> None:
    for of_policy, expected in ((3, 7), (7, 7), (10, 10)):
        assert grace_of(DESIRED, under(grace=timedelta(days=of_policy))) == timedelta(days=expected)
    assert grace_of(DESIRED, None) == WEEK
    found = with_grace(draft(DESIRED, LIVE), under(grace=2 * WEEK), marks())
    assert (going(found), found.grace) == ([], 2 * WEEK)


def test_a_policy_that_demands_grace_blocks_nothing_that_is_due() -> None:
    rule = under(require=placed("grace: 7d"), grace=WEEK)
    found = judge_by_policy(with_grace(draft(DESIRED, LIVE), rule, marks()), rule)
    assert (going(found), found.blocked) == (["old"], False)


def test_what_waits_is_surplus_and_counts_nowhere() -> None:
    found = settled(Marks({}, NOW))
    assert surplus(found) == {"old", "new"}
    assert (found.pending, found.loss.disks) == ((), 0)
    assert {each.action for each in found.drift} == {Action.REMOVE}
    last = with_grace(draft(pool(allow_empty=False, grace=WEEK), LIVE), None, marks())
    rules = {each.rule for each in judge_pool(last).findings if each.severity is Severity.BLOCK}
    assert "empties-pool" not in rules


def test_a_removal_that_is_not_managed_is_surplus_and_does_not_wait() -> None:
    found = settled(Marks({}, NOW), replace(DESIRED, manage=frozenset({Action.EXPAND})))
    assert surplus(found) == {"old", "new"}
    assert found.waiting == ()


def test_a_replacement_waits_as_a_whole() -> None:
    every = frozenset({Action.REMOVE, Action.ADD})
    declared = pool(entry("SSD", 100), entry("SAS", 20, replacing=True), grace=WEEK, manage=every)
    live = Pool("pool-1", "pool", (KEPT, OLD), desktop_count=1)
    assert with_grace(draft(declared, live), None, Marks({}, NOW)).pending == ()
    [change] = with_grace(draft(declared, live), None, marks()).pending
    assert change.action is Action.REPLACE


def test_a_decision_has_the_grace_and_nothing_that_waits() -> None:
    one, both = settled(marks()), settled(marks(more=DiskMark(NOW - WEEK)))
    assert pool_decision(one)["disks"].keys() == {"kept", "old"}
    assert pool_decision(one)["grace"] == WEEK.total_seconds()
    assert pool_decision(both)["disks"].keys() == {"kept", "old", "new"}
    assert "grace" not in pool_decision(draft(replace(DESIRED, grace=timedelta(0)), LIVE))


def test_what_became_due_is_explained_when_an_approval_does_not_cover_it() -> None:
    then, now = (
        sample_plans.whole(settled(marks())),
        sample_plans.whole(settled(marks(more=DiskMark(NOW - WEEK)))),
    )
    assert then.digest != now.digest
    assert "pool: disk new (SAS, 200 GB): was not in the approved plan, is to be removed now" in explain(
        then, now
    )
    later = sample_plans.whole(settled(replace(marks(more=DiskMark(NOW - WEEK)), waiting=waiting_in(then))))
    assert later.digest == then.digest


def test_a_disk_that_a_person_lets_wait_is_not_called_gone() -> None:
    then = sample_plans.whole(settled(marks()))
    extended = sample_plans.whole(settled(marks(DiskMark(NOW - WEEK, NOW + WEEK, "amara"))))
    said = "pool: disk old (SAS, 50 GB): was to be removed, is only marked now and waits until 2026-03-21 09:26 UTC"
    assert explain(then, extended) == (said,)
    cleared = sample_plans.whole(settled(Marks({}, NOW)))
    assert explain(then, cleared) == ("pool: disk old (SAS, 50 GB): was to be removed, is to be marked now",)


def test_a_plan_is_dated_by_marks_that_were_made_since_and_nothing_becomes_due() -> None:
    plan = sample_plans.whole(settled(Marks({}, NOW)))
    dated = with_marks(plan, marks())
    assert waiting_in(dated) == waiting_in(plan) == {key(OLD), key(NEW)}
    assert [each.waits and each.waits.due for each in dated.pools[0].waiting] == [None, NOW]


def test_without_a_journal_a_plan_says_that_grace_never_ends() -> None:
    [found] = never_ends([settled(Marks())], Marks())
    assert found.severity is Severity.WARN
    assert "2 disks are surplus" in found.message
    assert never_ends([settled(Marks({}, NOW))], Marks({}, NOW)) == ()
    assert never_ends([draft(replace(DESIRED, grace=timedelta(0)), LIVE)], Marks()) == ()


def test_a_disk_without_a_mark_and_without_grace_waits_for_nothing() -> None:
    assert waiting(None, timedelta(0)) is None
    assert waiting(DiskMark(NOW), timedelta(0)) is None


@pytest.mark.parametrize(
    ("grace", "words"), [("7d", "7d"), ("36h", "36h"), ("90m", "90m"), ("61s", "61s"), ("48h", "2d")]
)
def test_a_grace_is_written_in_the_largest_unit_that_is_exact(grace: str, words: str) -> None:
    seconds = int(grace[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[grace[-1]]
    assert grace_words(timedelta(seconds=seconds)) == words
