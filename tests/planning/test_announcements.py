"""When people are told of a marked disk: once of the mark, once of each date, and of nothing that stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model import Action, BackupRule, Disk, Notice, Pool
from reconciler.planning.announcements import going, notice, obstacle
from reconciler.planning.change import Heard, Told, Waits
from reconciler.planning.draft import draft
from reconciler.planning.marks import DiskMark, Marks, with_grace
from reconciler.planning.plan import PoolPlan
from reconciler.values import replace
from tests.builders import AT, TARGET, entry, pool

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
WEEK = 7 * DAY
REMOVES = frozenset({Action.REMOVE})


def waits(grace: timedelta = WEEK, until: datetime | None = None) -> Waits:
    return Waits(grace, START, until or START + grace)


def told(
    what: Notice = Notice.MARKED,
    heard: Heard = Heard.ACCEPTED,
    at: datetime = START,
    due: datetime = START + WEEK,
) -> Told:
    return Told(what, heard, at, due)


MARKED, REMINDER = Notice.MARKED, Notice.REMINDER


@pytest.mark.parametrize(
    ("before", "when", "expected"),
    [
        ([], START, MARKED),
        ([], START + WEEK - SECOND, MARKED),
        ([], START + WEEK, None),
        ([told()], START + 6 * DAY - SECOND, None),
        ([told()], START + 6 * DAY, REMINDER),
        ([told()], START + WEEK - SECOND, REMINDER),
        ([told()], START + WEEK, None),
        ([told(heard=Heard.UNKNOWN)], START, None),
        ([told(heard=Heard.UNKNOWN)], START + 6 * DAY, REMINDER),
        ([told(heard=Heard.REFUSED)], START, MARKED),
        ([told(), told(REMINDER, at=START + 6 * DAY)], START + 6.5 * DAY, None),
        ([told(), told(REMINDER, Heard.UNKNOWN, START + 6 * DAY)], START + 6.5 * DAY, None),
        ([told(), told(REMINDER, Heard.REFUSED, START + 6 * DAY)], START + 6.5 * DAY, REMINDER),
        ([told(at=START + 6 * DAY)], START + 6.5 * DAY, None),
    ],
)
def test_each_message_has_its_time_and_is_sent_once(
    before: list[Told], when: datetime, expected: Notice | None
) -> None:
    assert notice(before, waits(), when) is expected


def test_a_grace_of_less_than_two_days_has_no_reminder() -> None:
    short, due = timedelta(days=2) - SECOND, START + 2 * DAY
    assert notice([told(due=START + short)], waits(short), START + short - SECOND) is None
    assert notice([told(due=due)], waits(2 * DAY), due - DAY) is REMINDER


def test_a_reminder_follows_a_date_that_moved_once_and_the_first_message_does_not() -> None:
    later = waits(until=START + 10 * DAY)
    before = [told(), told(REMINDER, at=START + 6 * DAY)]
    assert notice(before, later, START + 7 * DAY) is None
    assert notice(before, later, START + 9 * DAY) is REMINDER
    again = [*before, told(REMINDER, at=START + 9 * DAY, due=START + 10 * DAY)]
    assert notice(again, later, START + 9.5 * DAY) is None
    extended = waits(timedelta(hours=1), START + 5 * DAY)
    assert notice([told(due=START + timedelta(hours=1))], extended, START + 4 * DAY) is REMINDER


def test_what_is_not_marked_is_told_to_nobody() -> None:
    assert notice([], Waits(WEEK), START) is None


# --- of which disks ---------------------------------------------------------------------------------

KEPT, GOING = Disk("kept", "SSD", 100), Disk("going", "SAS", 50)


def planned(**given: Any) -> PoolPlan:
    desired = pool(entry("SSD", 100), grace=WEEK, announce="x", **given)
    live = Pool("pool-1", "pool", (KEPT, GOING), desktop_count=2)
    mark = DiskMark(START)
    marks = Marks({(str(TARGET), "pool-1", "going"): mark}, START)
    return draft(desired, live, None, lambda each: with_grace(each, None, marks))


def test_the_disks_are_those_that_go_once_they_are_due() -> None:
    plan = planned()
    assert [each.live for each in going(plan, REMOVES)] == [GOING]
    assert going(plan, frozenset({Action.ADD})) == ()
    assert obstacle(plan, REMOVES, None) is None


@pytest.mark.parametrize(
    ("plan", "rule"),
    [
        (planned(protect=("going",)), "protected"),
        (replace(planned(), live=Pool("pool-1", "pool", (KEPT, GOING), charging_mode="0")), "prepaid"),
        (replace(planned(), live=Pool("pool-1", "pool", (KEPT, GOING), status="TEMPORARY")), ""),
        (replace(planned(), backup=BackupRule(DAY, AT)), ""),
    ],
    ids=["protected", "prepaid", "busy right now", "no backup yet"],
)
def test_what_a_guard_will_keep_is_an_obstacle_and_what_passes_by_itself_is_none(
    plan: PoolPlan, rule: str
) -> None:
    found = obstacle(plan, REMOVES, None)
    assert (found.rule if found else "") == rule
