"""Messages to the people of pools: each at most once for one mark, whoever asks; on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from reconciler.errors import Refused
from reconciler.journal.records import (
    Announcement,
    GraceRule,
    Journal,
    Mark,
    MarkKey,
    NewAnnouncement,
    NewMark,
)
from reconciler.journal.states import Outcome, State
from reconciler.model import Notice
from reconciler.values import replace
from tests.journal.samples import LEASE, POOL, START, HandClock, intent, open_at

DAY = 86400.0
WEEK = timedelta(days=7)
ONE = MarkKey(POOL, "disk-0")
ACCEPTED = Outcome(State.ACCEPTED, "job-1", "request-1", 200, "", "accepted")
UNKNOWN = Outcome(State.UNKNOWN, message="timeout")
REJECTED = Outcome(State.REJECTED, "", "request-2", 403, "WKS.403", "no permission")


def marked(journal: Journal) -> Mark:
    journal.keep_marks("run-1", [NewMark(ONE, "finance", WEEK)], [])
    [mark] = journal.marks()
    return mark


def message(mark: Mark, number: int = 1, notice: Notice = Notice.MARKED, days: float = 7) -> NewAnnouncement:
    due = START + timedelta(days=days)
    return NewAnnouncement(f"message-{number}", mark, notice, due, "Disk disk-0 goes.")


def only(journal: Journal) -> Announcement:
    [found] = journal.announcements(POOL.target, POOL.service)
    return found


def test_a_message_is_begun_before_it_leaves_and_keeps_what_became_of_it(
    journal: Journal, clock: HandClock
) -> None:
    journal.open_run("run-1", "apply", "1", [POOL.target])
    new = message(marked(journal))
    assert journal.open_announcement(new, "run-1")
    begun = only(journal)
    assert (begun.state, begun.outcome, begun.begun, begun.text) == (State.INTENDED, None, START, new.text)
    clock.pass_(3)
    journal.record_announcement(new.id, "run-1", ACCEPTED)
    found = only(journal)
    assert (found.outcome, found.due, found.first_seen) == (ACCEPTED, START + WEEK, START)
    record = journal.run("run-1")
    assert record is not None
    assert record.announcements == (found,)
    kinds = {each.kind: dict(each.detail) for each in record.events}
    assert kinds["announcement.begun"]["text"] == new.text
    assert kinds["announcement.ended"]["job_id"] == "job-1"
    assert journal.announcements("elsewhere") == journal.announcements(POOL.target, "elsewhere") == ()


@pytest.mark.parametrize("ended", [None, ACCEPTED, UNKNOWN], ids=["died", "accepted", "unknown"])
def test_what_may_have_reached_somebody_is_never_sent_again(
    journal: Journal, clock: HandClock, ended: Outcome | None
) -> None:
    mark = marked(journal)
    assert journal.open_announcement(message(mark), "run-1")
    if ended:
        journal.record_announcement("message-1", "run-1", ended)
    for number in range(2, 4):
        clock.pass_(-3 * DAY if number == 2 else 9 * DAY)
        assert not journal.open_announcement(message(mark, number, days=number), "run-2")
    assert only(journal).run_id == "run-1"


@pytest.mark.parametrize("state", [State.REJECTED, State.NOT_SENT])
def test_what_reached_nobody_may_be_sent_once_more(journal: Journal, state: State) -> None:
    mark = marked(journal)
    journal.open_announcement(message(mark), "run-1")
    journal.record_announcement("message-1", "run-1", replace(REJECTED, state=state))
    assert journal.open_announcement(message(mark, 2), "run-2")
    assert not journal.open_announcement(message(mark, 3), "run-3")
    journal.record_announcement("message-1", "run-1", ACCEPTED)  # a straggler: that message is over
    assert (only(journal).id, only(journal).run_id, only(journal).outcome) == ("message-2", "run-2", None)
    journal.record_announcement("message-2", "run-2", ACCEPTED)
    journal.record_announcement("message-2", "run-2", REJECTED)  # said once
    assert only(journal).outcome == ACCEPTED


def test_a_reminder_is_sent_once_for_each_date(journal: Journal) -> None:
    mark = marked(journal)
    assert journal.open_announcement(message(mark), "run-1")
    for number, days in ((2, 7.0), (3, 10.0)):
        assert journal.open_announcement(message(mark, number, Notice.REMINDER, days), "run-1")
        assert not journal.open_announcement(message(mark, number + 9, Notice.REMINDER, days), "run-2")


def test_nobody_is_told_of_a_mark_that_has_changed_since_the_text_was_made(
    journal: Journal, clock: HandClock
) -> None:
    mark = marked(journal)
    journal.extend_mark(ONE, "run-2", "amara", START + 2 * WEEK)
    assert not journal.open_announcement(message(mark), "run-1")
    [extended] = journal.marks()
    journal.clear_mark(ONE, "run-3", "amara")
    assert not journal.open_announcement(message(extended), "run-1")
    clock.pass_(60)
    again = marked(journal)
    assert not journal.open_announcement(message(extended), "run-1")
    assert journal.open_announcement(message(again), "run-1")


def test_a_mark_that_was_cleared_and_made_anew_is_another_one(journal: Journal, clock: HandClock) -> None:
    assert journal.open_announcement(message(marked(journal)), "run-1")
    journal.clear_mark(ONE, "run-2", "amara")
    assert journal.announcements() == ()  # of no mark that is there
    clock.pass_(60)
    assert journal.open_announcement(message(marked(journal), 2), "run-3")
    assert only(journal).id == "message-2"


def test_a_message_has_the_later_of_two_clocks(journal: Journal) -> None:
    mark = marked(journal)
    ahead, behind = START + timedelta(hours=1), START - timedelta(hours=1)
    assert journal.open_announcement(message(mark), "run-1", ahead)
    assert journal.open_announcement(message(mark, 2, Notice.REMINDER), "run-1", behind)
    assert sorted(each.begun for each in journal.announcements()) == [START, ahead]


def test_of_runners_that_ask_at_once_one_sends(url: str, journal: Journal) -> None:
    mark = marked(journal)
    journals = [open_at(url, HandClock()) for _ in range(4)]

    def ask(number: int) -> bool:
        return journals[number].open_announcement(message(mark, number), f"run-{number}")

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(ask, range(4))) == [False, False, False, True]
    for each in journals:
        each.close()


def test_a_removal_waits_for_the_message_in_the_transaction_that_opens_it(
    journal: Journal, clock: HandClock
) -> None:
    def opened(least: timedelta | None) -> str:
        rule = GraceRule(timedelta(0), None, least)
        try:
            journal.open_operation(intent(disks=1), "run-1", LEASE, grace=rule)
        except Refused as refusal:
            return refusal.message
        return ""

    assert "of disk disk-0 they know not at all" in opened(timedelta(0))
    mark = marked(journal)
    journal.open_announcement(message(mark), "run-1")
    assert "they know not at all" in opened(timedelta(0))
    journal.record_announcement("message-1", "run-1", UNKNOWN)
    assert "they know not at all" in opened(timedelta(0))
    journal.open_announcement(message(mark, 2, Notice.REMINDER), "run-1")
    journal.record_announcement("message-2", "run-1", ACCEPTED)
    clock.pass_(3600)
    assert "they know only since 2026-03-01 23:59:59 UTC" in opened(timedelta(hours=1, seconds=1))
    assert journal.unresolved() == ()
    assert opened(timedelta(hours=1)) == ""


def test_a_message_takes_nothing_from_a_day_s_removals(journal: Journal) -> None:
    journal.open_announcement(message(marked(journal)), "run-1")
    assert journal.removed_since(POOL.target, POOL.service, START - timedelta(days=1)) == 0


def test_pruning_keeps_a_message_for_as_long_as_its_mark(journal: Journal, clock: HandClock) -> None:
    journal.open_run("run-1", "apply", "1", [POOL.target])
    mark = marked(journal)
    journal.open_announcement(message(mark), "run-1")
    journal.record_announcement("message-1", "run-1", ACCEPTED)
    journal.close_run("run-1", 0, "", {})
    clock.pass_(400 * DAY)
    journal.prune(timedelta(days=100))
    assert not journal.open_announcement(message(mark, 2), "run-2")
    journal.clear_mark(ONE, "run-2", "amara")
    journal.open_run("run-3", "apply", "1", [POOL.target])
    journal.prune(timedelta(days=100))
    journal.keep_marks("run-3", [NewMark(ONE, "finance", WEEK)], [])
    assert journal.announcements() == ()
