"""One open operation per pool, one writer per operation: on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from reconciler.errors import ExitCode, PoolHeld
from reconciler.journal.records import Journal, PoolKey, StaleGeneration
from reconciler.journal.states import Outcome, State
from reconciler.values import replace
from tests.journal.samples import LEASE, POOL, HandClock, intent


def test_a_held_pool_gets_no_second_operation_and_says_who_holds_it(journal: Journal) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    with pytest.raises(PoolHeld) as caught:
        journal.open_operation(intent("op-2", generation=1), "run-2", LEASE)
    assert caught.value.exit_code is ExitCode.HELD
    for word in ("run-1", "op-1", "finance", "2026-03-01 23:59:59 UTC"):
        assert word in caught.value.message
    assert "2026-03-02 00:00:59 UTC" in caught.value.hint


def test_a_held_pool_is_named_before_an_old_reading(journal: Journal) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    with pytest.raises(PoolHeld):
        journal.open_operation(intent("op-2", generation=0), "run-2", LEASE)


@pytest.mark.parametrize(
    "other",
    [
        replace(POOL, pool_id="pool-2"),
        replace(POOL, service="sandbox"),
        replace(POOL, target="ap-southeast-3/other"),
    ],
)
def test_other_pools_targets_and_services_are_not_held(journal: Journal, other: PoolKey) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    journal.open_operation(intent("op-2", other), "run-2", LEASE)
    assert len(journal.unresolved()) == 2


def test_a_refused_operation_leaves_no_trace(journal: Journal) -> None:
    journal.open_run("run-2", "apply", "1", [])
    journal.open_operation(intent(), "run-1", LEASE)
    with pytest.raises(PoolHeld):
        journal.open_operation(intent("op-2", generation=1), "run-2", LEASE)
    assert journal.operation("op-2") is None
    assert journal.generation(POOL) == 1
    record = journal.run("run-2")
    assert record is not None
    assert record.events == ()


def test_the_generation_moves_when_an_operation_opens_and_when_it_closes(journal: Journal) -> None:
    assert journal.generation(POOL) == 0
    journal.open_operation(intent(), "run-1", LEASE)
    assert journal.generation(POOL) == 1
    journal.record_outcome("op-1", "run-1", Outcome(State.ACCEPTED, "job"))
    assert journal.generation(POOL) == 1
    journal.close_operation("op-1", "run-1", State.DONE, "")
    assert journal.generation(POOL) == 2
    assert journal.generation(replace(POOL, service="sandbox")) == 0


@pytest.mark.parametrize("read_at", [0, 1, 3])
def test_a_reading_from_before_another_operation_opens_nothing(journal: Journal, read_at: int) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    journal.close_operation("op-1", "run-1", State.DONE, "")
    with pytest.raises(StaleGeneration) as caught:
        journal.open_operation(intent("op-2", generation=read_at), "run-2", LEASE)
    assert caught.value.exit_code is ExitCode.STALE
    assert journal.unresolved() == ()
    journal.open_operation(intent("op-2", generation=2), "run-2", LEASE)


def test_a_lease_that_runs_is_not_taken_over(journal: Journal, clock: HandClock) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    clock.pass_(LEASE - 0.001)
    with pytest.raises(PoolHeld, match="run-1"):
        journal.take_over("op-1", "run-2", LEASE)
    clock.pass_(0.001)
    taken = journal.take_over("op-1", "run-2", LEASE)
    assert (taken.owner, taken.intent.run_id) == ("run-2", "run-1")
    assert journal.operation("op-1") == taken


def test_a_renewed_lease_counts_from_now(journal: Journal, clock: HandClock) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    clock.pass_(LEASE - 1)
    journal.renew_lease("op-1", "run-1", LEASE)
    clock.pass_(LEASE - 1)
    with pytest.raises(PoolHeld):
        journal.take_over("op-1", "run-2", LEASE)


def test_a_lease_given_up_is_free_at_once(journal: Journal) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    journal.renew_lease("op-1", "run-1", 0)
    assert journal.take_over("op-1", "run-2", LEASE).owner == "run-2"


def test_an_owner_may_take_its_own_operation_again(journal: Journal) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    assert journal.take_over("op-1", "run-1", 2 * LEASE).owner == "run-1"


def test_a_run_that_wakes_up_writes_nothing_over_its_successor(journal: Journal, clock: HandClock) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    clock.pass_(LEASE)
    taken = journal.take_over("op-1", "run-2", LEASE)
    with pytest.raises(PoolHeld, match="run-2"):
        journal.record_outcome("op-1", "run-1", Outcome(State.ACCEPTED, "job"))
    with pytest.raises(PoolHeld, match="run-2"):
        journal.renew_lease("op-1", "run-1", LEASE)
    with pytest.raises(PoolHeld, match="run-2"):
        journal.close_operation("op-1", "run-1", State.DONE, "")
    assert journal.operation("op-1") == taken
    assert journal.generation(POOL) == 1


def test_a_closed_operation_is_written_no_more_not_even_by_its_owner(
    journal: Journal, clock: HandClock
) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    journal.close_operation("op-1", "run-1", State.DONE, "gone")
    closed = journal.operation("op-1")
    clock.pass_(LEASE)
    with pytest.raises(PoolHeld, match="closed as done"):
        journal.record_outcome("op-1", "run-1", Outcome(State.UNKNOWN))
    with pytest.raises(PoolHeld, match="closed as done"):
        journal.close_operation("op-1", "run-1", State.FAILED, "no")
    with pytest.raises(PoolHeld, match="closed as done"):
        journal.take_over("op-1", "run-2", LEASE)
    assert journal.operation("op-1") == closed
    assert journal.generation(POOL) == 2
