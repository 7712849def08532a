"""A journal that was backed up and put back, as the README describes it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from pathlib import Path

from reconciler.journal.states import Outcome, State
from tests import needs
from tests.journal.samples import LEASE, POOL, START, HandClock, intent, open_at
from tests.postgres import PASSWORD, USER, PostgresServer, schema_of


def _live_on(url: str, clock: HandClock) -> None:
    """End what was open when the backup was made, and begin something that it does not know."""
    journal = open_at(url, clock)
    journal.close_operation("op-1", "run-1", State.DONE, "gone")
    journal.open_operation(intent("op-2", generation=2), "run-1", LEASE)
    journal.close()


def _begin(url: str, clock: HandClock) -> None:
    journal = open_at(url, clock)
    journal.open_operation(intent(), "run-1", LEASE)
    journal.record_outcome("op-1", "run-1", Outcome(State.ACCEPTED, "job-1"))
    journal.close()


def _check(url: str, clock: HandClock) -> None:
    """What was open is open again, its record sound, and it can be decided once its lease is over."""
    journal = open_at(url, clock)
    assert [each.id for each in journal.operations(START)] == ["op-1"]
    assert [each.id for each in journal.unresolved()] == ["op-1"]
    assert journal.damaged(POOL.target, POOL.service) == ()
    clock.pass_(LEASE)
    journal.take_over("op-1", "run-3", LEASE)
    journal.close_operation("op-1", "run-3", State.DONE, "gone")
    journal.open_operation(intent("op-3", generation=2), "run-3", LEASE)
    journal.close()


def test_a_file_that_is_put_back_holds_what_was_open_then(tmp_path: Path, clock: HandClock) -> None:
    place, backup = tmp_path / "journal.db", tmp_path / "journal-backup.db"
    url = f"sqlite:///{place}"
    _begin(url, clock)
    source, copy = sqlite3.connect(place), sqlite3.connect(backup)
    source.backup(copy)  # what the command line's .backup does
    source.close()
    copy.close()
    _live_on(url, clock)
    shutil.copyfile(backup, place)
    _check(url, clock)


def test_a_dump_that_is_restored_holds_what_was_open_then(
    postgres: PostgresServer, tmp_path: Path, clock: HandClock
) -> None:
    url = postgres.fresh()
    schema = schema_of(url)
    _begin(url, clock)
    options = {"PGPASSWORD": PASSWORD, "PATH": "/usr/bin:/bin"}
    at = ["-h", str(postgres.socket), "-U", USER]
    dump = [needs.postgresql("pg_dump"), *at, "-Fc", "-t", f"{schema}.reconciler_*", "-f"]
    subprocess.run([*dump, str(tmp_path / "dump"), "postgres"], env=options, check=True)
    _live_on(url, clock)
    restore = [needs.postgresql("pg_restore"), *at, "-c", "-d", "postgres", str(tmp_path / "dump")]
    subprocess.run(restore, env=options, check=True)
    _check(url, clock)
