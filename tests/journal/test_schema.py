"""Versions of the journal: created once, migrated forward, refused when newer; on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from reconciler.errors import ExitCode, JournalError
from reconciler.journal import schema
from reconciler.journal.database import Database, parse
from reconciler.journal.store import find_journal, open_journal
from tests.journal.samples import HandClock, intent

ADD_NOTE: schema.Migration = ("ALTER TABLE reconciler_runs ADD COLUMN note TEXT",)
FILL_NOTE: schema.Migration = ("UPDATE reconciler_runs SET note = command",)
BROKEN: schema.Migration = (
    "UPDATE reconciler_runs SET command = 'lost'",
    "ALTER TABLE nothing ADD COLUMN x TEXT",
)


@pytest.fixture
def database(url: str, clock: HandClock) -> Iterator[Database]:
    """A journal of version 1 with one run in it, past the journal's own calls."""
    made = open_journal(url, clock)
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
    for way_in in (open_journal, find_journal):
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
        open_journal(url, clock)
    assert "backup" in caught.value.hint


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE reconciler_operations SET state = 'perhaps'",
        "UPDATE reconciler_operations SET disks = '[1]'",
        "UPDATE reconciler_operations SET step = ''",
        "DROP TABLE reconciler_operations",
    ],
)
def test_a_row_that_nobody_of_ours_wrote_is_an_error_in_plain_words(
    database: Database, url: str, clock: HandClock, damage: str
) -> None:
    journal = open_journal(url, clock)
    journal.open_operation(intent(), "run-1", 1.0)
    with database.write() as connection:
        connection.execute(text(damage))
    with pytest.raises(JournalError) as caught:
        journal.unresolved()
    assert database.where in caught.value.message
    assert caught.value.hint
    journal.close()
