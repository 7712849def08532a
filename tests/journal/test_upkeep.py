"""A journal stays small and quick over years, and pruning takes nothing that a run still goes by; on both databases."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, text

from reconciler.errors import JournalError, Refused, StalePlan
from reconciler.journal import rows, schema
from reconciler.journal.database import LARGE, Database, parse
from reconciler.journal.records import (
    PLAN_APPROVED,
    Approved,
    Claim,
    DayBudget,
    DriftPoint,
    Journal,
    Origin,
    PoolKey,
    Pruned,
    RunDay,
    Way,
)
from reconciler.journal.states import State
from reconciler.journal.store import find_journal, open_journal
from reconciler.planning.drift import MEMORY
from reconciler.render.trend import Trend, total
from reconciler.values import replace
from tests.journal.samples import LEASE, POOL, START, HandClock, analyze, intent, open_at

YEAR = timedelta(days=400)
DAY = timedelta(days=1)


def at(pool: str) -> PoolKey:
    return PoolKey(POOL.target, POOL.service, pool)


def point(when: datetime, surplus: int = 1, pool: str = "a", run: str = "") -> DriftPoint:
    return DriftPoint(run or f"run-{when.isoformat()}", when, at(pool), pool, surplus, 0, surplus * 10)


def removed(journal: Journal, name: str, state: State | None) -> None:
    """A run that opened a removal on a pool of its own, and closed it unless the state is None."""
    journal.open_run(name, "apply", "1", [POOL.target])
    journal.record_event(name, PLAN_APPROVED, {"users": ["ada"]})
    journal.open_operation(replace(intent(f"op-{name}", at(name)), run_id=name), name, LEASE)
    if state:
        journal.close_operation(f"op-{name}", name, state, "over")
    journal.close_run(name, 0, "digest", {})


# --- thinning ------------------------------------------------------------------------------------------


def test_points_older_than_thirty_days_become_the_last_one_of_each_day_and_pool(
    journal: Journal, clock: HandClock
) -> None:
    first = START.replace(hour=0, minute=30)
    hours = [first + timedelta(hours=number) for number in range(72)]
    journal.add_drift([point(each, pool=pool) for each in hours for pool in "ab"])
    clock.time = START + timedelta(days=31)  # the first day is old enough, and the second one just so
    for _ in range(3):
        journal.tidy(None)
    times = [each.at for each in journal.drift(first) if each.pool.pool_id == "a"]
    assert times == [hours[23], *hours[24:]]
    clock.pass_(86_400)
    journal.tidy(None)
    assert [each.at for each in journal.drift(first) if each.pool.pool_id == "b"] == [
        hours[23],
        hours[47],
        *hours[48:],
    ]


def test_one_step_of_thinning_is_bounded_and_the_next_one_goes_on_from_there(
    journal: Journal, clock: HandClock
) -> None:
    first = START.replace(hour=0, minute=0, second=0, microsecond=0)
    minutes = [first + timedelta(seconds=6 * number) for number in range(12_000)]
    journal.add_drift([point(each) for each in minutes])
    clock.time = START + YEAR
    left = []
    for _ in range(4):
        journal.tidy(None)
        left.append(len(journal.drift(first)))
    assert left == [12_000 - 9 * 600, 12_000 - 18 * 600, 1, 1]


# --- pruning -------------------------------------------------------------------------------------------


def test_pruning_deletes_runs_with_all_that_belongs_to_them_and_leaves_younger_ones(
    journal: Journal, clock: HandClock
) -> None:
    removed(journal, "old", State.DONE)
    journal.add_drift([point(clock.time)])
    clock.pass_(YEAR.total_seconds())
    removed(journal, "young", State.DONE)
    journal.add_drift([point(clock.time)])
    assert journal.prune(YEAR - DAY) == Pruned(runs=1, operations=1, points=1)
    assert [each.id for each in journal.runs(9)] == ["young"]
    assert [each.id for each in journal.operations(START)] == ["op-young"]
    assert len(journal.drift(START)) == 1
    assert journal.run("old") is None
    # What the pool goes by is still there.
    assert journal.generation(at("old")) == 2
    journal.open_operation(intent("op-new", at("old"), generation=2), "new", LEASE)
    assert journal.prune(YEAR - DAY) == Pruned()


@pytest.mark.parametrize("state", [None, State.FAILED, State.PARTIAL])
def test_what_is_open_or_did_not_end_well_stays_without_the_names_of_people(
    url: str, journal: Journal, clock: HandClock, state: State | None
) -> None:
    journal.close()
    journal = open_journal(url, clock, server_now=clock, origin=Origin("ada"))
    removed(journal, "old", state)
    journal.approve_run("old", Approved(Way.SIGNED, ("ada",)), "")
    clock.pass_(YEAR.total_seconds())
    assert journal.prune(DAY * 30) == Pruned()
    [known] = journal.not_done(POOL.target, POOL.service)
    assert (known.id, known.intent.disks) == ("op-old", intent().disks)
    record = journal.run("old")
    assert record is not None
    # An open one keeps its copies: they may still have to be looked for.
    assert bool(known.intent.copies) is (state is None)
    assert any(each.kind == PLAN_APPROVED for each in record.events) is (state is None)
    who = ("ada", ("ada",)) if state is None else ("", ())
    assert record.run.approved is not None
    assert (record.run.origin.actor, record.run.approved.principals) == who
    assert journal.damaged(POOL.target, POOL.service) == ()
    journal.close()


def test_a_run_that_took_an_operation_over_stays_while_that_does(journal: Journal, clock: HandClock) -> None:
    removed(journal, "old", None)
    clock.pass_(LEASE)
    journal.open_run("resolver", "resolve", "1", [])
    journal.take_over("op-old", "resolver", LEASE)
    clock.pass_(YEAR.total_seconds())
    assert journal.prune(DAY * 30) == Pruned()
    journal.close_operation("op-old", "resolver", State.DONE, "gone")
    assert journal.prune(DAY * 30) == Pruned()  # it was closed only now
    clock.pass_(YEAR.total_seconds())
    assert journal.prune(DAY * 30) == Pruned(runs=2, operations=1)


def test_no_day_that_a_budget_counts_is_pruned_however_little_is_to_be_kept(
    journal: Journal, clock: HandClock
) -> None:
    removed(journal, "today", State.DONE)
    clock.pass_(0.5)
    assert journal.prune(timedelta(0)) == Pruned()
    with pytest.raises(Refused):
        journal.open_operation(intent("op-2", at("b")), "run-2", LEASE, DayBudget(3, "x"))


def test_a_plan_that_was_applied_stays_applied(journal: Journal, clock: HandClock) -> None:
    journal.claim_plan("plan-1", "old")
    clock.pass_(YEAR.total_seconds())
    journal.prune(DAY * 30)
    with pytest.raises(StalePlan):
        journal.claim_plan("plan-1", "new")


def test_claims_of_a_group_are_forgotten_when_its_last_one_is_old(
    journal: Journal, url: str, clock: HandClock
) -> None:
    journal.claim_losses("old", [Claim("disks", "a", 1)], {"disks": 1})
    clock.pass_(YEAR.total_seconds())
    journal.claim_losses("young", [Claim("disks", "a", 1)], {"disks": 1})
    database = Database(parse(url))
    with database.write() as connection:  # as a program before version 4 left it
        connection.execute(
            insert(schema.group_losses),
            [
                {"run_group": "unknown", "kind": kind, "item": kind, "amount": amount}
                for kind, amount in (("", 0), ("disks", 1))
            ],
        )
    database.close()
    journal.prune(DAY * 30)
    more = [Claim("disks", "b", 1)]
    assert [bool(journal.claim_losses(name, more, {"disks": 1})) for name in ("old", "young", "unknown")] == [
        False,
        True,
        True,
    ]


def test_a_step_of_upkeep_prunes_only_what_is_to_be_kept_no_longer(
    journal: Journal, clock: HandClock
) -> None:
    removed(journal, "old", State.DONE)
    clock.pass_(YEAR.total_seconds())
    journal.tidy(None)
    journal.tidy(YEAR + DAY)
    assert len(journal.runs(9)) == 1
    journal.tidy(YEAR - DAY)
    assert journal.runs(9) == ()


# --- checking ------------------------------------------------------------------------------------------


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Every statement with its parameters, in order."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _u: Any, statement: str, parameters: Any, _x: Any, _m: bool) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def checks(way_in: Callable[..., Journal | None], url: str, clock: HandClock) -> set[str]:
    """What is checked on opening a journal in that way."""
    with statements() as asked:
        opened = way_in(url, clock)
        assert opened
        opened.close()
    return {each.partition("(")[0] for each, _ in asked if each.startswith("PRAGMA") and "check" in each}


def test_a_small_file_is_checked_as_a_whole_and_a_large_one_so_once_a_day(
    tmp_path: Path, clock: HandClock
) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = open_at(url, clock)
    whole, quick = "PRAGMA integrity_check", "PRAGMA quick_check"
    assert checks(open_at, url, clock) == {whole}
    journal.record_event("run-1", "filling", {"text": "x" * (LARGE + 1)})
    for expected in ({whole, quick}, {quick}):
        assert checks(open_at, url, clock) == expected
    assert checks(find_journal, url, clock) == {quick}
    clock.pass_(86_401)
    for expected in ({whole, quick}, {quick}):
        assert checks(open_at, url, clock) == expected
    clock.pass_(-1)  # a clock that was set back must not put the check off
    assert checks(open_at, url, clock) == {whole, quick}
    journal.close()


def test_damage_in_a_large_file_is_found_by_the_check_of_the_day(tmp_path: Path, clock: HandClock) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = open_at(url, clock)
    journal.record_event("run-1", "filling", {"text": "x" * (LARGE + 1)})
    journal.check()
    journal.close()
    with open(tmp_path / "journal.db", "r+b") as file:
        file.seek(LARGE // 8192 * 4096)
        file.write(bytes(4096))
    with pytest.raises(JournalError, match="is damaged"):
        open_at(url, clock)


def test_a_large_file_of_a_version_without_upkeep_can_be_opened_and_checked(
    tmp_path: Path, clock: HandClock
) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = open_at(url, clock)
    journal.record_event("run-1", "filling", {"text": "x" * (LARGE + 1)})
    journal.close()
    database = Database(parse(url))
    with database.write() as connection:  # as version 3 was, for the tables that a check reads
        connection.execute(text("DROP TABLE reconciler_upkeep"))
    database.close()
    found = find_journal(url, clock)
    assert found
    found.check()
    found.close()


# --- queries -------------------------------------------------------------------------------------------


def points_of_a_month(seed: int) -> list[DriftPoint]:
    """Three pools that change, stay, vanish and come back."""
    chance, found = random.Random(seed), []
    for pool in "abc":
        surplus, moment = 1, START
        for number in range(150):
            moment += timedelta(hours=chance.choice([1, 1, 1, 6, 47, 49, 90]))
            surplus = chance.choice([surplus] * 5 + [0, 3])
            found.append(point(moment, surplus, pool, f"{pool}-{number}"))
    return found


def drawn(points: tuple[DriftPoint, ...], until: datetime) -> list[tuple[Any, ...]]:
    """The charts of these points: each time at which a value changes, and to what."""
    return [
        (each.at, each.value)
        for field in ("surplus", "surplus_gb")
        for each in total(Trend(START, until, points, 0), field)
    ]


def steps(chart: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The chart without points that repeat the value before them."""
    return [each for number, each in enumerate(chart) if number == 0 or each[1] != chart[number - 1][1]]


@pytest.mark.parametrize("seed", range(5))
def test_a_chart_of_the_changes_is_the_chart_of_all_points(journal: Journal, seed: int) -> None:
    journal.add_drift(points_of_a_month(seed))
    everything, changes = journal.drift(START), journal.drift_changes(START, MEMORY)
    until = everything[-1].at + timedelta(days=5)
    assert steps(drawn(changes, until)) == steps(drawn(everything, until))
    assert len(changes) < len(everything) * 3 / 4
    assert set(changes) <= set(everything)
    assert [each.at for each in changes] == sorted(each.at for each in changes)


def test_pools_that_drift_are_those_whose_latest_point_says_so(journal: Journal) -> None:
    journal.add_drift([point(START, 1, "now"), point(START, 1, "ended"), point(START - DAY, 1, "long ago")])
    journal.add_drift([point(START + DAY, 0, "ended"), point(START - DAY, 0, "now")])
    asked = [at(name) for name in ("now", "ended", "long ago", "it's \" unknown")]
    elsewhere = replace(at("now"), service="elsewhere")
    assert journal.drifting([*asked, elsewhere], START) == {at("now")}
    assert journal.drifting([], START) == frozenset()


def test_drift_began_with_the_first_point_after_the_last_clean_one(journal: Journal) -> None:
    journal.add_drift(
        [point(START + 2 * DAY, 1, "again"), point(START, 3, "always"), point(START, 1, "ended")]
    )
    journal.add_drift(
        [point(START, 1, "again"), point(START + DAY, 1, "always"), point(START + DAY, 0, "ended")]
    )
    journal.add_drift([point(START + DAY, 0, "again")])
    journal.add_drift([point(START + 3 * DAY, 2, "again")])
    asked = [at(name) for name in ("again", "always", "ended", "unknown")]
    elsewhere = replace(at("always"), service="elsewhere")
    began = {at("again"): START + 2 * DAY, at("always"): START}
    assert journal.drifting_since([*asked, elsewhere]) == began
    assert journal.drifting_since([]) == {}


def test_the_latest_removals_come_first_and_the_rest_is_counted(journal: Journal, clock: HandClock) -> None:
    for number in range(5):
        removed(journal, f"run-{number}", State.DONE)
        clock.pass_(60)
    latest, more = journal.removals(START, 2)
    assert ([each.id for each in latest], more) == (["op-run-4", "op-run-3"], 3)
    assert journal.removals(clock.time, 2) == ((), 0)


def test_runs_are_counted_and_their_services_known(journal: Journal, clock: HandClock) -> None:
    removed(journal, "before", State.DONE)
    clock.pass_(60)
    removed(journal, "run-1", State.DONE)
    journal.open_run("run-2", "drift", "1", [])
    assert journal.runs_by_day({"apply"}, clock.time) == (RunDay(clock.time, clock.time, 1),)
    midnight = (RunDay(START, START, 1), RunDay(clock.time, clock.time, 2))
    assert journal.runs_by_day({"apply", "drift"}, START) == midnight
    first = clock.time
    clock.pass_(60)
    journal.open_run("run-3", "drift", "1", [])
    assert journal.runs_by_day({"apply", "drift"}, START)[1] == RunDay(first, clock.time, 3)
    assert journal.services(["run-1", "run-2"]) == (POOL.service,)
    assert journal.services([]) == ()


@contextmanager
def counted_rows() -> Iterator[list[int]]:
    """How many rows any database handed over: one number, which grows."""
    count = [0]

    def connected(connection: Any, _record: object) -> None:
        def row(*values: Any) -> Any:
            count[0] += 1
            return values[-1]

        def maker(cursor: Any) -> Any:
            from psycopg.rows import tuple_row  # noqa: PLC0415 - installed where a server is

            made = tuple_row(cursor)
            return lambda values: row(made(values))

        is_file = type(connection).__module__.startswith("sqlite3")
        connection.row_factory = row if is_file else maker

    event.listen(Engine, "connect", connected)
    try:
        yield count
    finally:
        event.remove(Engine, "connect", connected)


def filled(url: str, clock: HandClock) -> None:
    """A journal of 40 days with four pools an hour and a run for each, every tenth with an operation."""
    open_at(url, clock).close()
    database = Database(parse(url))
    times = [START - timedelta(hours=number) for number in range(960)]
    drift = [rows.drift_values(point(each, 2, pool)) for each in times for pool in "abcd"]
    ended = {"command": "drift", "tool_version": "1", "targets": [], "digest": "", "summary": {}}
    ended |= {"way": "", "principals": [], "policy": "", "origin": {}}
    runs = [{"id": f"run-{number}", "started": each} | ended for number, each in enumerate(times)]
    with database.write() as connection:
        connection.execute(insert(schema.drift_points), drift)
        connection.execute(insert(schema.runs), runs)
    database.close()
    journal = open_at(url, clock)
    for number in range(0, 960, 10):
        clock.time = times[number]
        removed(journal, f"removal-{number}", State.DONE)
    journal.close()
    clock.time = START
    database = Database(parse(url))
    with database.write() as connection:
        analyze(connection)
    database.close()


def test_queries_use_indexes_and_fetch_no_more_than_they_return(url: str, clock: HandClock) -> None:
    filled(url, clock)
    keys = [at(name) for name in "abcd"]
    with counted_rows() as count, statements() as asked:
        journal = open_at(url, clock)

        def fetched(query: Callable[[], object]) -> int:
            before = count[0]
            query()
            return count[0] - before

        assert fetched(lambda: journal.drifting(keys, START - MEMORY)) == 4
        assert fetched(lambda: journal.runs(20)) == 20
        assert fetched(lambda: journal.removals(START - timedelta(days=30), 5)) == 5 + 1
        assert fetched(lambda: journal.runs_by_day({"drift"}, START - timedelta(days=30))) <= 31
        assert fetched(lambda: journal.services([each.id for each in journal.runs(20)])) <= 20 + 1
        assert fetched(lambda: journal.uses_since(POOL.target, POOL.service, START.replace(hour=0))) <= 3
        # A day's points of four pools become one each; what is read for it are a time and a mark for each hour.
        clock.pass_(86_400)
        assert fetched(lambda: journal.tidy(timedelta(days=39))) < 700
        journal.close()
    database = Database(parse(url))
    plans: dict[str, str] = {}
    with database.read() as connection:
        if not database.sqlite:  # else small tables are read whole, as that is cheaper
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN QUERY PLAN" if database.sqlite else "EXPLAIN"
        for statement, parameters in asked:
            if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE")) and "reconciler_" in statement:
                found = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
                plans[statement] = "\n".join(str(row[-1]) for row in found)
    database.close()
    assert len(plans) > 12
    whole = [
        f"{statement}\n{plan}"
        for statement, plan in plans.items()
        for line in plan.splitlines()
        if line.strip().startswith(("SCAN reconciler_", "->  Seq Scan", "Seq Scan"))
        and not any(few in line for few in ("reconciler_schema", "reconciler_upkeep", "USING INDEX"))
    ]
    assert whole == []
