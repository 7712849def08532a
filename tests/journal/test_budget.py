"""What a day's budget has used are the operations opened on that day: no more, no less, whatever fails in between."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from reconciler.errors import ExitCode, JournalError, Refused
from reconciler.journal.records import DayBudget, DayUse, Journal, PoolKey
from reconciler.journal.states import NOT_APPLIED, State, Step
from reconciler.values import replace
from tests.journal.samples import LEASE, POOL, START, HandClock, intent, open_at
from tests.postgres import PostgresServer

SIX = DayBudget(6, "pools.yaml:3:1")
MIDNIGHT = START.replace(hour=0, minute=0, second=0, microsecond=0)
NEXT = MIDNIGHT + timedelta(days=1)


def at(pool: str, target: str = POOL.target, service: str = POOL.service) -> PoolKey:
    return PoolKey(target, service, pool)


def used(journal: Journal, since: datetime = MIDNIGHT) -> int:
    return journal.removed_since(POOL.target, POOL.service, since)


def test_a_budget_is_used_up_to_its_end_and_not_beyond(journal: Journal) -> None:
    journal.open_operation(intent("a", at("a"), disks=4), "run-1", LEASE, SIX)
    with pytest.raises(Refused):
        journal.open_operation(intent("b", at("b"), disks=3), "run-1", LEASE, SIX)
    # What was refused holds neither its pool nor a part of the day.
    assert (used(journal), journal.generation(at("b")), len(journal.unresolved())) == (4, 0, 1)
    journal.open_operation(intent("b", at("b"), disks=2), "run-1", LEASE, SIX)
    with pytest.raises(Refused):
        journal.open_operation(intent("c", at("c"), disks=1), "run-1", LEASE, SIX)
    assert used(journal) == 6


def test_the_refusal_says_who_used_what_and_when_and_where_the_budget_was_set(
    journal: Journal, clock: HandClock
) -> None:
    clock.time = MIDNIGHT + timedelta(hours=8)
    for number, (run, disks) in enumerate([("run-1", 2), ("run-2", 1), ("run-1", 2)]):
        given = replace(intent(f"op-{number}", at(f"pool-{number}"), disks=disks), run_id=run)
        journal.open_operation(given, run, LEASE, SIX)
        clock.pass_(60)
    with pytest.raises(Refused) as caught:
        journal.open_operation(intent("late", at("late"), disks=2), "run-3", LEASE, SIX)
    assert caught.value.exit_code is ExitCode.REFUSED
    assert caught.value.message == (
        f"the 2 disks of pool finance would exceed the 6 disks that the policy of {POOL.target} allows on "
        "2026-03-01 UTC (pools.yaml:3:1): 5 are used (by run run-1: 4 disks from 08:00:00 UTC; "
        "run run-2: 1 disk from 08:01:00 UTC); nothing was sent for this pool"
    )
    assert "raise disks_per_day" in caught.value.hint


def test_removals_by_hand_count_but_are_not_bound(journal: Journal) -> None:
    journal.open_operation(intent("hand", at("a"), disks=9), "run-1", LEASE)
    assert used(journal) == 9
    with pytest.raises(Refused):
        journal.open_operation(intent("b", at("b"), disks=1), "run-1", LEASE, SIX)


def test_only_removals_of_the_same_target_at_the_same_service_on_the_same_day_count(
    journal: Journal, clock: HandClock
) -> None:
    journal.open_operation(intent("a", at("a", target="r/other"), disks=6), "run-1", LEASE, SIX)
    journal.open_operation(intent("b", at("b", service="elsewhere"), disks=6), "run-1", LEASE, SIX)
    journal.open_operation(replace(intent("c", at("c"), disks=6), step=Step.ADD), "run-1", LEASE, SIX)
    assert used(journal) == 0
    clock.time = NEXT - timedelta(microseconds=1)
    journal.open_operation(intent("d", at("d"), disks=6), "run-1", LEASE, SIX)
    clock.time = NEXT
    journal.open_operation(intent("e", at("e"), disks=6), "run-1", LEASE, SIX)
    assert (used(journal), used(journal, NEXT)) == (12, 6)


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.PARTIAL, *sorted(NOT_APPLIED)])
def test_what_certainly_was_not_removed_is_free_again_and_nothing_else(
    journal: Journal, state: State
) -> None:
    journal.open_operation(intent("a", at("a"), disks=6), "run-1", LEASE, SIX)
    journal.close_operation("a", "run-1", state, "over")
    assert used(journal) == (0 if state in NOT_APPLIED else 6)


def test_a_clock_that_is_set_back_over_midnight_gives_neither_day_more(
    journal: Journal, clock: HandClock
) -> None:
    clock.time = NEXT + timedelta(seconds=1)
    journal.open_operation(intent("a", at("a"), disks=4), "run-1", LEASE, SIX)
    clock.time = NEXT - timedelta(seconds=1)
    with pytest.raises(Refused):
        journal.open_operation(intent("b", at("b"), disks=3), "run-1", LEASE, SIX)
    journal.open_operation(intent("b", at("b"), disks=2), "run-1", LEASE, SIX)
    clock.time = NEXT + timedelta(seconds=1)
    journal.open_operation(intent("c", at("c"), disks=2), "run-1", LEASE, SIX)
    assert used(journal, NEXT) == 6


@contextmanager
def failing(moment: int) -> Iterator[Callable[[], bool]]:
    """From the given statement or commit on, nothing reaches a database; says whether it came to that."""
    seen = [0]

    def step(*_: Any) -> None:
        seen[0] += 1
        if seen[0] > moment:
            raise OSError("the disk is gone")

    event.listen(Engine, "before_cursor_execute", step)
    event.listen(Engine, "commit", step)
    try:
        yield lambda: seen[0] > moment
    finally:
        event.remove(Engine, "before_cursor_execute", step)
        event.remove(Engine, "commit", step)


def test_a_journal_that_fails_while_opening_has_booked_and_opened_or_neither(journal: Journal) -> None:
    failures = 0
    while True:
        pool = at(f"pool-{failures}")
        with failing(failures) as failed, suppress(JournalError):
            journal.open_operation(intent(f"op-{failures}", pool), "run-1", LEASE, SIX)
        if not failed():
            break
        assert (used(journal), journal.unresolved(), journal.generation(pool)) == (0, (), 0)
        failures += 1
    assert failures >= 6  # before every statement, and before the commit
    assert (used(journal), len(journal.unresolved())) == (2, 1)


def test_a_journal_that_fails_while_closing_has_closed_and_given_back_or_neither(journal: Journal) -> None:
    journal.open_operation(intent(disks=6), "run-1", LEASE, SIX)
    failures = 0
    while True:
        with failing(failures) as failed, suppress(JournalError):
            journal.close_operation("op-1", "run-1", State.NOT_SENT, "not sent")
        if not failed():
            break
        assert (used(journal), len(journal.unresolved())) == (6, 1)
        failures += 1
    assert failures >= 5
    assert (used(journal), journal.unresolved()) == (0, ())


def test_what_a_killed_run_did_not_open_holds_nothing(journal: Journal) -> None:
    for number in range(4):  # of twelve it was allowed to open
        given = replace(intent(f"op-{number}", at(f"pool-{number}"), disks=1), run_id="killed")
        journal.open_operation(given, "killed", LEASE, DayBudget(12, "x"))
        journal.close_operation(f"op-{number}", "killed", State.DONE, "gone")
    for number in range(4, 12):
        given = replace(intent(f"op-{number}", at(f"pool-{number}"), disks=1), run_id="again")
        journal.open_operation(given, "again", LEASE, DayBudget(12, "x"))
    assert used(journal) == 12
    first = DayUse("run killed", 4, START)
    assert journal.uses_since(POOL.target, POOL.service, MIDNIGHT)[0] == first


def test_writers_at_the_same_time_never_open_more_than_the_day_has(url: str, clock: HandClock) -> None:
    open_at(url, clock).close()

    def writer(name: str) -> int:
        journal, opened = open_at(url, clock), 0
        for number in range(4):
            with suppress(Refused):
                key = at(f"{name}-{number}")
                journal.open_operation(intent(f"{name}-{number}", key, disks=1), name, LEASE, SIX)
                opened += 1
        journal.close()
        return opened

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(writer, "abcd")) == 6


def test_a_server_whose_transactions_see_only_their_beginning_makes_no_difference(
    postgres: PostgresServer, clock: HandClock
) -> None:
    snapshots = f"{postgres.fresh()}%20-cdefault_transaction_isolation%3Drepeatable%5C%20read"
    test_writers_at_the_same_time_never_open_more_than_the_day_has(snapshots, clock)


# --- every order ---------------------------------------------------------------------------------------


@dataclass
class Opened:
    """What the test itself knows of an operation."""

    target: str
    at: datetime
    disks: int
    state: State = State.INTENDED


class Orders:
    """Writers that open, close, fail and die in a seeded order, under a clock that goes back and forth."""

    def __init__(self, journal: Journal, clock: HandClock, seed: int) -> None:
        self.journal, self.clock, self.chance = journal, clock, random.Random(seed)
        self.clock.time = NEXT - timedelta(minutes=5)
        self.known: dict[str, Opened] = {}
        self.seed = seed
        self.refusals = 0

    def run(self) -> None:
        for number in range(40):
            self.clock.pass_(self.chance.choice([1, 30, 120, 120, -90, 3600, -7200, 43_200]))
            act = self.chance.choice([self.open, self.open, self.open, self.close])
            act(f"{self.seed}-{number}")
            self.judge()

    def open(self, name: str) -> None:
        target = self.chance.choice([f"r/{self.seed}-a", f"r/{self.seed}-b"])
        disks, step = self.chance.randint(1, 4), len(self.known)
        given = replace(intent(name, at(name, target), disks=disks), run_id=f"run-{step % 3}")
        room = 6 - self.counted(target, self.clock.time)
        with failing(self.chance.choice([99, 99, 99, 2, 5])) as failed:
            try:
                opened = self.journal.open_operation(given, given.run_id, LEASE, SIX)
            except Refused:
                self.refusals += 1
                assert disks > room, "refused although there was room"
            except JournalError:
                assert failed()
            else:
                self.known[name] = Opened(target, opened.opened, disks)

    def close(self, _name: str) -> None:
        still = [name for name, each in self.known.items() if each.state is State.INTENDED]
        if not still:
            return
        name = self.chance.choice(still)
        state = self.chance.choice([State.DONE, State.FAILED, State.NOT_SENT, State.REJECTED])
        owner = next(each.owner for each in self.journal.unresolved() if each.id == name)
        with failing(self.chance.choice([99, 99, 1, 3])), suppress(JournalError):
            self.journal.close_operation(name, owner, state, "over")
            self.known[name].state = state

    def counted(self, target: str, now: datetime, *, only: bool = False) -> int:
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return sum(
            each.disks
            for each in self.known.values()
            if each.target == target
            and each.state not in NOT_APPLIED
            and each.at >= day
            and not (only and each.at >= day + timedelta(days=1))
        )

    def judge(self) -> None:
        for each in self.known.values():
            assert self.counted(each.target, each.at, only=True) <= 6, f"seed {self.seed}: over the budget"
        for target, since in {
            (each.target, each.at.replace(hour=0, minute=0)) for each in self.known.values()
        }:
            assert self.journal.removed_since(target, POOL.service, since) >= 0


def test_no_day_is_above_its_budget_and_no_room_is_lost_in_whatever_order(
    journal: Journal, clock: HandClock
) -> None:
    stories = [Orders(journal, clock, seed) for seed in range(6)]
    for each in stories:
        each.run()
    assert sum(each.refusals for each in stories) > 10
    assert sum(len(each.known) for each in stories) > 40
