"""The contract of the journal, the same on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from reconciler.errors import JournalError, PoolHeld, StalePlan
from reconciler.journal.records import Alarm, Approved, ClosedBy, DriftPoint, Journal, Origin, PoolKey, Way
from reconciler.journal.states import FINAL, NOT_DONE, OUTCOMES, Outcome, State, Step
from reconciler.journal.store import find_journal, journal_place, open_journal
from reconciler.values import replace
from tests.journal.samples import LEASE, POOL, START, HandClock, intent, open_at

ELSEWHERE = PoolKey(POOL.target, "other.example", POOL.pool_id)
ACCEPTED = Outcome(State.ACCEPTED, job_id="job-7", request_id="req-7", status=200)


# --- runs and events ----------------------------------------------------------------------------------


def test_an_alarm_is_recorded_once_and_open_until_somebody_acknowledges_it(
    journal: Journal, url: str, clock: HandClock
) -> None:
    alarm = Alarm("op-1", "run-1", POOL, "finance", START, "what had to stay is gone")
    later = replace(alarm, id="op-2", at=START + timedelta(hours=1))
    assert [journal.raise_alarm(each) for each in (later, alarm, alarm)] == [True, True, False]
    reader = find_journal(url, clock)
    assert reader
    assert reader.alarms() == (alarm, later)
    reader.close()
    assert journal.alarms(POOL.target, "elsewhere") == journal.alarms("elsewhere") == ()
    assert [journal.acknowledge("op-1", "amara") for _ in range(2)] == [True, False]
    assert not journal.acknowledge("op-3", "amara")
    assert journal.alarms(POOL.target, POOL.service) == (later,)
    assert not journal.raise_alarm(alarm)


def test_a_run_comes_back_as_it_was_told(journal: Journal, clock: HandClock) -> None:
    journal.open_run("run-1", "apply", "1.2.3", ["r/p", "r/q"])
    clock.pass_(5)
    journal.close_run("run-1", 6, "sha256:abc", {"removed": 2, "names": ["é", "\x1b"]})
    record = journal.run("run-1")
    assert record is not None
    assert record.run.targets == ("r/p", "r/q")
    assert (record.run.started, record.run.ended) == (START, START + timedelta(seconds=5))
    assert (record.run.exit_code, record.run.digest) == (6, "sha256:abc")
    assert record.run.summary == {"removed": 2, "names": ["é", "\x1b"]}


@pytest.mark.parametrize(
    "approved", [Approved(Way.SIGNED, ("alice@example.org", "bob")), Approved(Way.PLAN_FILE), None], ids=str
)
def test_a_run_keeps_how_it_was_approved_and_the_policy(journal: Journal, approved: Approved | None) -> None:
    journal.open_run("run-1", "apply", "1.2.3", [])
    (run,) = journal.runs(10)
    assert (run.approved, run.policy) == (None, "")
    journal.approve_run("run-1", approved, "0" * 64)
    journal.close_run("run-1", 0, "digest", {})
    record = journal.run("run-1")
    assert record is not None
    assert (record.run.approved, record.run.policy) == (approved, "0" * 64)
    assert journal.runs(10) == (record.run,)


def test_a_run_keeps_who_started_it_and_from_what(url: str, clock: HandClock) -> None:
    origin = Origin("ann\x00\ud800", "c0ffee", "5", "https://ci.example/7")
    made = open_journal(url, clock, server_now=clock, origin=origin)
    made.open_run("run-1", "apply", "1.2.3", [])
    (run,) = made.runs(10)
    assert run.origin == replace(origin, actor="ann\\x00\\ud800")
    made.close()


def test_a_run_that_died_has_no_end(journal: Journal) -> None:
    journal.open_run("run-1", "apply", "1.2.3", [])
    (run,) = journal.runs(10)
    assert (run.ended, run.exit_code) == (None, None)


def test_an_unknown_run_is_none(journal: Journal) -> None:
    assert journal.run("nobody") is None


def test_the_latest_runs_come_first_and_no_more_than_asked(journal: Journal, clock: HandClock) -> None:
    for number in range(4):
        journal.open_run(f"run-{number}", "plan", "1", [])
        clock.pass_(1)
    assert [run.id for run in journal.runs(3)] == ["run-3", "run-2", "run-1"]


def test_a_run_id_is_used_once(journal: Journal) -> None:
    journal.open_run("run-1", "apply", "1", [])
    with pytest.raises(JournalError):
        journal.open_run("run-1", "apply", "1", [])


def test_the_history_of_a_run_tells_every_step_in_order(journal: Journal) -> None:
    journal.open_run("run-1", "apply", "1", [])
    journal.record_event("run-1", "read", {"pools": 3})
    journal.open_operation(intent(), "run-1", LEASE)
    journal.record_outcome("op-1", "run-1", ACCEPTED)
    journal.close_operation("op-1", "run-1", State.DONE, "2 disks are gone")
    record = journal.run("run-1")
    assert record is not None
    assert [event.kind for event in record.events] == [
        "read",
        "operation.opened",
        "operation.outcome",
        "operation.closed",
    ]
    assert record.events[0].detail == {"pools": 3}
    assert record.events[2].detail["job_id"] == "job-7"
    assert [operation.id for operation in record.operations] == ["op-1"]


def test_an_operation_is_in_the_history_of_each_run_that_held_it(journal: Journal, clock: HandClock) -> None:
    for run in ("run-1", "run-2", "run-3"):
        journal.open_run(run, "apply", "1", [])
    journal.open_operation(intent(), "run-1", LEASE)
    for run in ("run-2", "run-3"):
        clock.pass_(LEASE)
        journal.take_over("op-1", run, LEASE)
    for run in ("run-1", "run-2", "run-3"):
        record = journal.run(run)
        assert record is not None
        assert [operation.id for operation in record.operations] == ["op-1"]


# --- operations ---------------------------------------------------------------------------------------


def test_an_intent_comes_back_exactly(journal: Journal) -> None:
    told = replace(intent(), handle_type=None, not_after=None, keep=(), baseline_jobs=("ü", "b"))
    opened = journal.open_operation(told, "run-1", LEASE)
    assert journal.operation("op-1") == opened
    assert opened.intent == told
    assert (opened.state, opened.outcome, opened.closed) == (State.INTENDED, None, None)
    assert opened.lease_until == START + timedelta(seconds=LEASE)


def test_times_of_any_zone_come_back_as_the_same_moment_in_utc(journal: Journal) -> None:
    zone = timezone(timedelta(hours=8))
    journal.open_operation(replace(intent(), signed_at=START.astimezone(zone)), "run-1", LEASE)
    found = journal.operation("op-1")
    assert found is not None
    assert found.intent.signed_at == START
    assert found.intent.signed_at.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(journal: Journal) -> None:
    with pytest.raises(JournalError, match="aware"):
        journal.open_operation(replace(intent(), signed_at=datetime(2026, 3, 1)), "run-1", LEASE)


@pytest.mark.parametrize("state", [State.ACCEPTED, State.UNKNOWN, State.NOT_SENT, State.REJECTED])
def test_an_outcome_leaves_the_operation_open(journal: Journal, state: State) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    outcome = Outcome(state, "job", "req", 409, "WKS.00010032", "not now")
    journal.record_outcome("op-1", "run-1", outcome)
    (found,) = journal.unresolved()
    assert (found.state, found.outcome) == (state, outcome)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("nul \0 inside", "nul \\x00 inside"),
        ("lone \ud800 surrogate", "lone \\ud800 surrogate"),
        ("\U0010ffff \u202e \x1b[31m", "\U0010ffff \u202e \x1b[31m"),
    ],
)
def test_an_outcome_is_kept_whatever_the_service_wrote(journal: Journal, written: str, kept: str) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    journal.record_outcome("op-1", "run-1", Outcome(State.UNKNOWN, message=written))
    (found,) = journal.unresolved()
    assert found.outcome == Outcome(State.UNKNOWN, message=kept)


def test_closing_keeps_the_verdict_who_gave_it_and_the_outcome(journal: Journal, clock: HandClock) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    journal.record_outcome("op-1", "run-1", ACCEPTED)
    clock.pass_(9)
    journal.close_operation("op-1", "run-1", State.PARTIAL, "1 of 2", closed_by=ClosedBy.PERSON)
    found = journal.operation("op-1")
    assert found is not None
    assert (found.state, found.verdict, found.closed_by) == (State.PARTIAL, "1 of 2", ClosedBy.PERSON)
    assert found.closed == START + timedelta(seconds=9)
    assert found.outcome == ACCEPTED
    assert journal.unresolved() == ()


@pytest.mark.parametrize("state", [State.INTENDED, State.ACCEPTED, State.UNKNOWN])
def test_an_undecided_state_closes_nothing(journal: Journal, state: State) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    with pytest.raises(ValueError, match="cannot be closed"):
        journal.close_operation("op-1", "run-1", state, "")
    assert len(journal.unresolved()) == 1


@pytest.mark.parametrize(
    "state", [State.INTENDED, State.DONE, State.FAILED, State.PARTIAL, State.NOT_ACCEPTED]
)
def test_a_verdict_is_no_outcome_of_a_call(journal: Journal, state: State) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    with pytest.raises(ValueError, match="not an outcome"):
        journal.record_outcome("op-1", "run-1", Outcome(state))


def test_unresolved_operations_are_found_by_target_and_service(journal: Journal) -> None:
    other = PoolKey("eu-west-101/p", POOL.service, POOL.pool_id)
    for number, pool in enumerate((POOL, ELSEWHERE, other)):
        journal.open_operation(intent(f"op-{number}", pool), "run-1", LEASE)
    assert [each.id for each in journal.unresolved()] == ["op-0", "op-1", "op-2"]
    assert [each.id for each in journal.unresolved(target=POOL.target)] == ["op-0", "op-1"]
    assert [each.id for each in journal.unresolved(service=POOL.service)] == ["op-0", "op-2"]
    assert [each.id for each in journal.unresolved(POOL.target, POOL.service)] == ["op-0"]


def test_operations_since_a_time_come_oldest_first(journal: Journal, clock: HandClock) -> None:
    for number in range(3):
        journal.open_operation(intent(f"op-{number}", replace(POOL, pool_id=str(number))), "run-1", LEASE)
        clock.pass_(10)
    since = START + timedelta(seconds=10)
    assert [each.id for each in journal.operations(since)] == ["op-1", "op-2"]


def test_an_unknown_operation_is_none_and_cannot_be_written(journal: Journal) -> None:
    assert journal.operation("op-9") is None
    with pytest.raises(JournalError, match="op-9"):
        journal.record_outcome("op-9", "run-1", ACCEPTED)
    with pytest.raises(JournalError, match="op-9"):
        journal.close_operation("op-9", "run-1", State.DONE, "")
    with pytest.raises(JournalError, match="op-9"):
        journal.take_over("op-9", "run-1", LEASE)


def test_an_operation_id_is_used_once(journal: Journal) -> None:
    journal.open_operation(intent(), "run-1", LEASE)
    with pytest.raises(JournalError, match="op-1"):
        journal.open_operation(intent("op-1", ELSEWHERE), "run-1", LEASE)
    assert journal.generation(ELSEWHERE) == 0


# --- plans and budgets --------------------------------------------------------------------------------


def test_a_saved_plan_is_applied_once(journal: Journal) -> None:
    journal.claim_plan("plan-1", "run-1")
    journal.claim_plan("plan-2", "run-1")
    with pytest.raises(StalePlan, match="run-1"):
        journal.claim_plan("plan-1", "run-2")


def test_a_saved_plan_that_was_applied_is_known_before_it_is_claimed_again(journal: Journal) -> None:
    journal.check_unclaimed("plan-1")
    journal.claim_plan("plan-1", "run-1")
    journal.check_unclaimed("plan-2")
    with pytest.raises(StalePlan, match=r"this plan was applied by run run-1 at \d{4}-"):
        journal.check_unclaimed("plan-1")


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        (State.DONE, True),
        (State.FAILED, True),
        (State.PARTIAL, True),
        (State.NOT_SENT, False),
        (State.REJECTED, False),
        (State.NOT_ACCEPTED, False),
    ],
)
def test_only_removals_that_may_have_happened_count_for_the_day(
    journal: Journal, state: State, counts: bool
) -> None:
    journal.open_operation(intent(disks=3), "run-1", LEASE)
    assert journal.removed_since(POOL.target, POOL.service, START) == 3
    journal.close_operation("op-1", "run-1", state, "")
    assert journal.removed_since(POOL.target, POOL.service, START) == (3 if counts else 0)


def test_expansions_other_services_and_earlier_days_do_not_count(journal: Journal) -> None:
    expand = replace(intent("op-2", replace(POOL, pool_id="pool-2")), step=Step.EXPAND)
    journal.open_operation(expand, "run-1", LEASE)
    journal.open_operation(intent("op-3", ELSEWHERE), "run-1", LEASE)
    assert journal.removed_since(POOL.target, POOL.service, START) == 0
    journal.open_operation(intent("op-4"), "run-1", LEASE)
    assert journal.removed_since(POOL.target, POOL.service, START + timedelta(microseconds=1)) == 0
    assert journal.removed_since(POOL.target, POOL.service, START) == 2


# --- drift and reopening ------------------------------------------------------------------------------


def test_drift_points_come_back_oldest_first(journal: Journal) -> None:
    late = DriftPoint("run-2", START + timedelta(hours=1), POOL, "finance", 2, 1, 200)
    early = DriftPoint("run-1", START, POOL, "finance", 0, 0, 0)
    journal.add_drift([])
    journal.add_drift([late, early])
    assert journal.drift(START) == (early, late)
    assert journal.drift(START + timedelta(minutes=1)) == (late,)


def test_what_did_not_end_well_is_found_for_one_project_and_whatever_else_is_not(journal: Journal) -> None:
    for state in State:
        pool = replace(POOL, pool_id=state.value)
        journal.open_operation(intent(state.value, pool), "run-1", LEASE)
        if state in OUTCOMES:
            journal.record_outcome(state.value, "run-1", Outcome(state))
        if state in FINAL:
            journal.close_operation(state.value, "run-1", state, "")
    elsewhere = replace(POOL, service="sandbox")
    journal.open_operation(intent("elsewhere", elsewhere), "run-1", LEASE)
    found = journal.not_done(POOL.target, POOL.service)
    assert {each.id for each in found} == {state.value for state in NOT_DONE}
    assert {State.INTENDED, State.ACCEPTED, State.UNKNOWN, State.FAILED, State.PARTIAL} == NOT_DONE
    assert [each.id for each in journal.not_done(POOL.target, "sandbox")] == ["elsewhere"]


def test_everything_is_there_after_opening_again(url: str, clock: HandClock) -> None:
    first = open_at(url, clock)
    opened = first.open_operation(intent(), "run-1", LEASE)
    first.close()
    second = open_at(url, clock)
    assert second.unresolved() == (opened,)
    with pytest.raises(PoolHeld):
        second.open_operation(intent("op-2", generation=1), "run-2", LEASE)
    second.close()


def test_a_new_journal_is_announced_before_anything_is_in_it(url: str, clock: HandClock) -> None:
    told: list[str] = []

    def tell(line: str) -> None:
        beside = find_journal(url, clock)
        assert beside is not None
        assert beside.runs(1) == ()
        beside.close()
        told.append(line)

    for _ in range(2):
        open_journal(url, clock, tell, server_now=clock).close()
    assert told == [f"A new journal at {journal_place(url)}: no earlier operations are known here."]
    assert "sesame" not in told[0]


def test_looking_for_a_journal_makes_none(url: str, clock: HandClock) -> None:
    assert find_journal(url, clock) is None
    assert find_journal(url, clock) is None
    open_at(url, clock).close()
    found = find_journal(url, clock)
    assert found is not None
    assert found.runs(1) == ()
    found.close()


def test_a_journal_that_was_found_can_be_read_and_never_written(url: str, clock: HandClock) -> None:
    made = open_at(url, clock)
    opened = made.open_operation(intent(), "run-1", LEASE)
    found = find_journal(url, clock)
    assert found is not None
    assert found.unresolved() == (opened,)
    writes: tuple[Callable[[], object], ...] = (
        lambda: found.open_run("run-2", "apply", "1", []),
        lambda: found.close_operation("op-1", "run-1", State.DONE, ""),
        lambda: found.claim_plan("plan-1", "run-2"),
    )
    for write in writes:
        with pytest.raises(JournalError, match="cannot be written"):
            write()
    assert found.unresolved() == made.unresolved() == (opened,)
    assert made.runs(9) == ()
    found.close()
    made.close()
