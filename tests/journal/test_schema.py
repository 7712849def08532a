"""Versions of the journal: created once, migrated forward, refused when newer; on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, event, inspect, select, text

from reconciler.errors import ExitCode, JournalError
from reconciler.journal import schema
from reconciler.journal.database import Database, parse
from reconciler.journal.records import MarkKey, NewMark
from reconciler.journal.states import State
from reconciler.journal.store import find_journal
from reconciler.values import replace
from tests.journal.samples import LEASE, POOL, START, HandClock, analyze, intent, open_at

ADD_NOTE: schema.Migration = ("ALTER TABLE reconciler_runs ADD COLUMN note TEXT",)
FILL_NOTE: schema.Migration = ("UPDATE reconciler_runs SET note = command",)
BROKEN: schema.Migration = (
    "UPDATE reconciler_runs SET command = 'lost'",
    "ALTER TABLE nothing ADD COLUMN x TEXT",
)


OLD = Path(__file__).parent / "old"


@pytest.fixture
def database(url: str, clock: HandClock) -> Iterator[Database]:
    """A journal of the latest version with one run in it, past the journal's own calls."""
    made = open_at(url, clock)
    made.open_run("run-1", "apply", "1", [])
    made.close()
    opened = Database(parse(url))
    yield opened
    opened.close()


def _version(database: Database) -> int | None:
    with database.read() as connection:
        return schema.version_of(connection, database.where)


def test_a_new_journal_has_the_latest_version(database: Database) -> None:
    assert _version(database) == schema.LATEST


def test_an_older_journal_is_led_forward_step_by_step_and_once(database: Database) -> None:
    for _ in range(2):
        with database.write() as connection:
            schema.prepare(connection, database.where, (*schema.MIGRATIONS, ADD_NOTE, FILL_NOTE))
        assert _version(database) == schema.LATEST + 2
    with database.read() as connection:
        assert connection.execute(text("SELECT id, note FROM reconciler_runs")).all() == [("run-1", "apply")]


def _old(url: str, version: int) -> Database:
    """A journal as that version made it, with one run of four operations."""
    parsed = parse(url)
    if parsed.drivername.startswith("sqlite"):
        Path(str(parsed.database)).parent.mkdir(exist_ok=True)
    made = Database(parsed)
    dialect = "sqlite" if made.sqlite else "postgres"
    script = (OLD / f"version_{version}.{dialect}.sql").read_text(encoding="utf-8")
    with made.write() as connection:
        for statement in script.partition("\n")[2].split(";\n"):
            connection.exec_driver_sql(statement or "SELECT 1")
    return made


def _shape(database: Database) -> dict[str, object]:
    """Tables with their columns, and indexes."""
    with database.read() as connection:
        found = inspect(connection)
        return {
            table: (
                [
                    (column["name"], str(column["type"]), column["nullable"])
                    for column in found.get_columns(table)
                ],
                sorted((str(each["name"]), tuple(each["column_names"])) for each in found.get_indexes(table)),
            )
            for table in sorted(found.get_table_names())
        }


def test_a_journal_of_every_version_becomes_like_a_new_one_and_keeps_what_it_knows(
    database: Database, url: str, clock: HandClock, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for version in range(1, schema.LATEST):
        if database.sqlite:
            other = f"sqlite:///{tmp_path}/old/{version}.db"
        else:
            other = request.getfixturevalue("postgres").fresh()
        old = _old(other, version)
        assert _version(old) == version
        journal = open_at(other, clock)
        assert _version(old) == schema.LATEST
        assert _shape(old) == _shape(database)
        assert [run.id for run in journal.runs(9)] == ["run-1"]
        assert [each.id for each in journal.operations(START)] == ["op-1", "op-2", "op-3", "op-4"]
        assert [each.id for each in journal.unresolved()] == ["op-4"]
        assert [each.id for each in journal.not_done(POOL.target, POOL.service)] == ["op-2", "op-4"]
        assert journal.generation(POOL) == 7
        # From now on the rows have checksums that fit.
        assert journal.damaged(POOL.target, POOL.service) == ()
        clock.pass_(LEASE)
        journal.take_over("op-4", "run-9", LEASE)
        journal.close_operation("op-4", "run-9", State.DONE, "gone")
        journal.keep_marks("run-9", [NewMark(MarkKey(POOL, "disk-0"), "finance", timedelta(days=7))], [])
        assert [each.key.disk_id for each in journal.marks()] == ["disk-0"]
        journal.open_operation(intent("op-5", generation=8), "run-9", LEASE)
        journal.close()
        old.close()


@pytest.mark.parametrize("version", range(1, schema.LATEST))
def test_an_older_journal_can_be_read_and_stays_as_it_is(url: str, clock: HandClock, version: int) -> None:
    old = _old(url, version)
    shape = _shape(old)
    journal = find_journal(url, clock)
    assert journal is not None
    assert [run.id for run in journal.runs(9)] == ["run-1"]
    assert [each.id for each in journal.not_done(POOL.target, POOL.service)] == ["op-2", "op-4"]
    assert [each.intent.copies for each in journal.unresolved()] == [()]
    assert journal.marks() == ()  # a journal without the table has none
    journal.close()
    assert _version(old) == version
    assert _shape(old) == shape
    old.close()


def test_the_few_operations_that_did_not_end_well_are_found_by_an_index(
    database: Database, url: str, clock: HandClock
) -> None:
    journal = open_at(url, clock)
    for number, state in ((6, State.DONE), (7, State.FAILED)):
        pool = replace(POOL, pool_id=f"pool-{number}")
        journal.open_operation(intent(f"op-{number}", pool), "run-1", LEASE)
        journal.close_operation(f"op-{number}", "run-1", state, "as it was")
    table = schema.operations
    another = select(*(bindparam("new") if each.name == "id" else each for each in table.c))
    copied = table.insert().from_select(table.c.keys(), another.where(table.c.id == "op-6"))
    with database.write() as connection:
        connection.execute(copied, [{"new": f"op-{number}"} for number in range(10, 310)])
        analyze(connection)
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _u: Any, statement: str, parameters: Any, _x: Any, _m: bool) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert [each.id for each in journal.not_done(POOL.target, POOL.service)] == ["op-7"]
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    [(statement, parameters)] = asked
    explain = "EXPLAIN QUERY PLAN" if database.sqlite else "EXPLAIN"
    with database.read() as connection:
        plan = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    assert "reconciler_not_done" in str(plan)
    journal.close()


def test_a_migration_that_fails_changes_nothing(database: Database) -> None:
    with pytest.raises(JournalError), database.write() as connection:
        schema.prepare(connection, database.where, (*schema.MIGRATIONS, ADD_NOTE, BROKEN))
    assert _version(database) == schema.LATEST
    with database.read() as connection:
        row = connection.execute(text("SELECT * FROM reconciler_runs")).mappings().one()
        assert (row["command"], "note" in row) == ("apply", False)


def test_a_newer_journal_is_refused_by_every_way_in(database: Database, url: str, clock: HandClock) -> None:
    with database.write() as connection:
        connection.execute(schema.version_table.update().values(version=schema.LATEST + 1))
    for way_in in (open_at, find_journal):
        with pytest.raises(JournalError, match=f"has version {schema.LATEST + 1}") as caught:
            way_in(url, clock)
        assert caught.value.exit_code is ExitCode.JOURNAL
        assert database.where in caught.value.message
        assert "newer program" in caught.value.hint
    assert _version(database) == schema.LATEST + 1


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM reconciler_schema",
        "INSERT INTO reconciler_schema (version) VALUES (1)",
        "UPDATE reconciler_schema SET version = 0",
        "UPDATE reconciler_schema SET version = -3",
    ],
)
def test_a_journal_that_does_not_know_its_version_is_damaged(
    database: Database, url: str, clock: HandClock, damage: str
) -> None:
    with database.write() as connection:
        connection.execute(text(damage))
    with pytest.raises(JournalError, match="damaged") as caught:
        open_at(url, clock)
    assert "backup" in caught.value.hint


@pytest.mark.parametrize("origin", ["[]", "null", "1", '"x"'])
def test_an_origin_that_is_no_object_is_damage_in_plain_words(
    database: Database, url: str, clock: HandClock, origin: str
) -> None:
    journal = open_at(url, clock)
    with database.write() as connection:
        connection.execute(text(f"UPDATE reconciler_runs SET origin = '{origin}'"))
    with pytest.raises(JournalError, match="is damaged"):
        journal.runs(1)
    journal.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE reconciler_operations SET state = 'perhaps'",
        "UPDATE reconciler_operations SET disks = '[1]'",
        "UPDATE reconciler_operations SET step = ''",
        "UPDATE reconciler_operations SET state = 'perhaps', intent_sum = '', state_sum = ''",
    ],
)
def test_a_row_that_nobody_of_ours_wrote_is_an_error_in_plain_words(
    database: Database, url: str, clock: HandClock, damage: str
) -> None:
    journal = open_at(url, clock)
    journal.open_operation(intent(), "run-1", 1.0)
    with database.write() as connection:
        connection.execute(text(damage))
    with pytest.raises(JournalError) as caught:
        journal.operation("op-1")
    assert "operation op-1 on pool finance (pool-1) is damaged" in caught.value.message
    assert "backup" in caught.value.hint
    assert [each.id for each in journal.damaged(POOL.target, POOL.service)] == ["op-1"]
    journal.close()


def test_a_table_that_is_gone_is_an_error_in_plain_words(
    database: Database, url: str, clock: HandClock
) -> None:
    journal = open_at(url, clock)
    with database.write() as connection:
        connection.execute(text("DROP TABLE reconciler_operations"))
    with pytest.raises(JournalError) as caught:
        journal.unresolved()
    assert database.where in caught.value.message
    assert caught.value.hint
    journal.close()


def test_no_query_of_an_apply_reads_all_operations(tmp_path: Path, clock: HandClock) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = open_at(url, clock)
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _u: Any, statement: str, parameters: Any, _x: Any, _m: bool) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        journal.open_operation(intent(), "run-1", LEASE)
        journal.renew_lease("op-1", "run-1", LEASE)
        journal.operation("op-1")
        journal.unresolved()
        journal.unresolved(POOL.target, POOL.service)
        journal.not_done(POOL.target, POOL.service)
        journal.damaged(POOL.target, POOL.service)
        journal.removed_since(POOL.target, POOL.service, START)
        journal.take_over("op-1", "run-1", LEASE)
        journal.close_operation("op-1", "run-1", State.DONE, "gone")
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    journal.close()
    opened, plans = Database(parse(url)), []
    with opened.read() as connection:
        for statement, parameters in asked:
            if statement.startswith(("SELECT", "UPDATE")):
                found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                plans += [row[3] for row in found]
    opened.close()
    assert len(plans) >= 10
    scans = {plan for plan in plans if plan.startswith("SCAN")}
    # This index holds the open operations alone.
    assert scans == {"SCAN reconciler_operations USING INDEX reconciler_one_unresolved_per_pool"}
    # The day's removals are found by their time, not by reading every row of the project.
    assert any("ix_reconciler_operations_opened (opened>?)" in plan for plan in plans)
