"""Marks of surplus disks: one per disk, kept until it is wanted, gone or objected to; on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from reconciler.errors import ExitCode, PoolHeld, Refused
from reconciler.journal.records import GraceRule, Journal, MarkKey, NewMark
from reconciler.journal.states import State
from reconciler.values import replace
from tests.journal.samples import LEASE, POOL, START, HandClock, intent, open_at

DAY = 86400.0
WEEK = timedelta(days=7)
ONE, TWO = MarkKey(POOL, "disk-0"), MarkKey(POOL, "disk-1")


def new(key: MarkKey, name: str = "finance", grace: timedelta = WEEK) -> NewMark:
    return NewMark(key, name, grace)


def opened(journal: Journal, grace: timedelta = WEEK, service_time: datetime | None = None) -> None:
    journal.open_operation(intent(disks=1), "run-1", LEASE, grace=GraceRule(grace, service_time))


def early(journal: Journal, grace: timedelta = WEEK, service_time: datetime | None = None) -> str:
    """Why a removal is refused; nothing of it stays in the journal."""
    with pytest.raises(Refused) as caught:
        opened(journal, grace, service_time)
    assert caught.value.exit_code is ExitCode.REFUSED
    assert (journal.unresolved(), journal.generation(POOL)) == ((), 0)
    return caught.value.message


def test_a_mark_keeps_its_time_whoever_marks_again_and_follows_name_and_grace(
    journal: Journal, clock: HandClock
) -> None:
    [made] = journal.keep_marks("run-1", [new(ONE)], [])
    assert (made.first_seen, made.shape) == (START, "")
    clock.pass_(DAY)
    changed = NewMark(ONE, "renamed", timedelta(days=3), "SAS 50 GB")
    assert journal.keep_marks("run-2", [changed], []) == ()
    [kept] = journal.marks(POOL.target, POOL.service)
    assert (kept.first_seen, kept.pool_name, kept.grace) == (START, "renamed", timedelta(days=3))
    assert kept.shape == "SAS 50 GB"
    assert kept.due == START + timedelta(days=3)
    assert journal.marks("elsewhere") == journal.marks(POOL.target, "elsewhere") == ()


def test_a_clock_that_was_set_back_moves_no_mark(journal: Journal, clock: HandClock) -> None:
    journal.keep_marks("run-1", [new(ONE)], [])
    clock.pass_(-3 * DAY)
    journal.keep_marks("run-2", [new(ONE)], [])
    assert [each.first_seen for each in journal.marks()] == [START]


def test_a_new_mark_has_the_later_of_two_clocks(journal: Journal) -> None:
    ahead, behind = START + timedelta(hours=1), START - timedelta(hours=1)
    journal.keep_marks("run-1", [new(ONE)], [], ahead)
    journal.keep_marks("run-1", [new(TWO)], [], behind)
    assert {each.key: each.first_seen for each in journal.marks()} == {ONE: ahead, TWO: START}


def test_a_mark_is_cleared_with_the_extension_that_it_had(journal: Journal, clock: HandClock) -> None:
    journal.keep_marks("run-1", [new(ONE), new(TWO)], [])
    assert journal.extend_mark(ONE, "run-1", "amara", START + timedelta(days=30))
    journal.keep_marks("run-2", [], [ONE, MarkKey(POOL, "unknown")])
    assert [each.key for each in journal.marks()] == [TWO]
    clock.pass_(60)
    journal.keep_marks("run-3", [new(ONE)], [])
    marks = {each.key: each for each in journal.marks()}
    assert (marks[ONE].first_seen, marks[ONE].extended_until) == (START + timedelta(seconds=60), None)


def test_an_extension_only_ever_lengthens_and_says_whose_it_is(journal: Journal) -> None:
    journal.keep_marks("run-1", [new(ONE)], [])
    late, later = START + timedelta(days=9), START + timedelta(days=20)
    assert journal.extend_mark(ONE, "run-2", "amara", later)
    assert journal.extend_mark(ONE, "run-3", "bjorn", late)
    [mark] = journal.marks()
    assert (mark.extended_until, mark.extended_by, mark.due) == (later, "amara", later)
    assert journal.extend_mark(TWO, "run-3", "bjorn", late) is False
    assert journal.clear_mark(TWO, "run-3", "bjorn") is False
    assert journal.clear_mark(ONE, "run-3", "bjorn") is True
    assert journal.marks() == ()


def test_who_marked_cleared_and_extended_is_kept(journal: Journal) -> None:
    journal.open_run("run-1", "apply", "1", [POOL.target])
    journal.keep_marks("run-1", [new(ONE)], [])
    journal.keep_marks("run-1", [new(ONE)], [])  # changes nothing, so nothing is to be said of it
    journal.extend_mark(ONE, "run-1", "amara", START + WEEK)
    journal.clear_mark(ONE, "run-1", "bjorn")
    record = journal.run("run-1")
    assert record is not None
    name = f"{POOL.target}/pool-1/disk-0"
    assert [(each.kind, dict(each.detail)) for each in record.events] == [
        ("marks.kept", {"marked": [name], "cleared": []}),
        ("mark.extended", {"disk": name, "by": "amara", "until": (START + WEEK).isoformat()}),
        ("mark.cleared", {"disk": name, "by": "bjorn"}),
    ]


def test_a_removal_is_opened_when_its_disks_are_due_and_not_a_second_before(
    journal: Journal, clock: HandClock
) -> None:
    assert "disk disk-0 is not marked, so its grace has not begun" in early(journal)
    journal.keep_marks("run-1", [new(ONE)], [])
    clock.pass_(7 * DAY - 1)
    assert "disk disk-0 is surplus since 2026-03-01 23:59:59 UTC only" in early(journal)
    clock.pass_(1)
    opened(journal)
    assert len(journal.unresolved()) == 1


def test_the_earlier_of_two_clocks_decides(journal: Journal, clock: HandClock) -> None:
    journal.keep_marks("run-1", [new(ONE)], [])
    early(journal, service_time=START + 2 * WEEK)
    clock.pass_(14 * DAY)
    early(journal, service_time=START + WEEK - timedelta(seconds=1))
    opened(journal, service_time=START + WEEK)


def test_an_extension_holds_also_where_the_pool_has_no_grace_any_more(
    journal: Journal, clock: HandClock
) -> None:
    journal.keep_marks("run-1", [new(ONE)], [])
    journal.extend_mark(ONE, "run-2", "amara", START + 2 * WEEK)
    clock.pass_(8 * DAY)
    assert "amara lets disk disk-0 wait until 2026-03-15 23:59:59 UTC" in early(journal)
    assert "amara lets disk disk-0 wait" in early(journal, timedelta(0))
    clock.pass_(6 * DAY)
    opened(journal, timedelta(0))


def test_every_disk_of_a_removal_must_be_due(journal: Journal, clock: HandClock) -> None:
    journal.keep_marks("run-1", [new(ONE)], [])
    clock.pass_(7 * DAY)
    with pytest.raises(Refused, match="disk disk-1 is not marked"):
        journal.open_operation(intent(disks=2), "run-1", LEASE, grace=GraceRule(WEEK, None))
    other = MarkKey(replace(POOL, pool_id="pool-2"), "disk-1")
    journal.keep_marks("run-1", [new(other)], [])  # the same disk of another pool says nothing
    with pytest.raises(Refused, match="disk disk-1 is not marked"):
        journal.open_operation(intent(disks=2), "run-1", LEASE, grace=GraceRule(timedelta(seconds=1), None))


def test_without_grace_nothing_needs_a_mark(journal: Journal) -> None:
    opened(journal, timedelta(0))


def test_it_is_too_late_to_object_while_the_pool_has_an_open_operation(
    journal: Journal, clock: HandClock
) -> None:
    journal.keep_marks("run-1", [new(ONE)], [])
    clock.pass_(7 * DAY)
    opened(journal)
    with pytest.raises(PoolHeld, match="operation op-1 on the pool is open"):
        journal.clear_mark(ONE, "run-2", "amara")
    with pytest.raises(PoolHeld, match="operation op-1 on the pool is open"):
        journal.extend_mark(ONE, "run-2", "amara", START + 2 * WEEK)
    journal.close_operation("op-1", "run-1", State.REJECTED, "no")
    assert journal.extend_mark(ONE, "run-2", "amara", START + 2 * WEEK)


def test_two_runners_that_mark_at_once_make_one_mark_with_the_earlier_time(
    url: str, clock: HandClock
) -> None:
    clocks = [HandClock() for _ in range(4)]
    for number, each in enumerate(clocks):
        each.pass_(number)
    journals = [open_at(url, each) for each in clocks]

    def mark(journal: Journal) -> int:
        return len(journal.keep_marks("run", [new(ONE), new(TWO)], []))

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(mark, journals))
    assert sorted(made) == [0, 0, 0, 2]
    marks = journals[0].marks()
    assert [each.key for each in marks] == [ONE, TWO]
    assert len({each.first_seen for each in marks}) == 1
    for journal in journals:
        journal.close()


def test_pruning_prunes_no_mark(journal: Journal, clock: HandClock) -> None:
    journal.open_run("run-1", "apply", "1", [POOL.target])
    journal.keep_marks("run-1", [new(ONE)], [])
    journal.close_run("run-1", 0, "", {})
    clock.pass_(400 * DAY)
    assert journal.prune(timedelta(days=100)).runs == 1
    journal.tidy(timedelta(days=100))
    assert [each.first_seen for each in journal.marks()] == [START]


def test_the_last_round_of_these_targets_is_found(journal: Journal, clock: HandClock) -> None:
    for number, (command, targets) in enumerate(
        [("drift", ["a", "b"]), ("drift", ["b"]), ("apply", ["a"]), ("drift", ["a"])]
    ):
        journal.open_run(f"run-{number}", command, "1", targets)
        clock.pass_(60)
    assert journal.last_started(["drift"], ["a"], "run-3") == START
    assert journal.last_started(["drift"], ["b"], "run-3") == START + timedelta(seconds=60)
    assert journal.last_started(["drift"], ["c"], "run-3") is None
