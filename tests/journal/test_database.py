"""Whatever is wrong with a journal's file, permissions or server is one plain message without a secret."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, Engine, event
from sqlalchemy.exc import OperationalError

from reconciler.errors import BadInput, ExitCode, JournalError, ReconcilerError
from reconciler.journal.database import Database, parse
from reconciler.journal.faults import journal_error
from reconciler.journal.records import MarkKey, NewMark
from reconciler.journal.states import Outcome, State
from reconciler.journal.store import find_journal
from tests.journal.processes import run
from tests.journal.samples import LEASE, POOL, START, HandClock, intent, open_at
from tests.memory_journal import memory_journal
from tests.postgres import PASSWORD, USER, PostgresServer, schema_of


def _refused(url: str, clock: HandClock, *words: str) -> JournalError:
    """Opening must fail in one line with these words, a hint, and no password."""
    with pytest.raises(JournalError) as caught:
        open_at(url, clock)
    error = caught.value
    assert error.exit_code is ExitCode.JOURNAL
    for word in words:
        assert word in error.message
    assert error.hint
    assert "\n" not in error.message
    assert PASSWORD not in error.message + error.hint
    return error


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def once_used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a journal with some history, to be copied: making one takes longer than all that follows."""
    path = tmp_path_factory.mktemp("used") / "journal.db"
    journal = open_at(f"sqlite:///{path}", HandClock())
    journal.open_run("run-1", "apply", "1", ["r/p"])
    for number in range(40):
        journal.open_operation(intent(f"op-{number}", generation=2 * number), "run-1", LEASE)
        journal.record_outcome(f"op-{number}", "run-1", Outcome(State.ACCEPTED, "job"))
        journal.close_operation(f"op-{number}", "run-1", State.DONE, "gone")
    journal.open_operation(intent("open", generation=80), "run-1", LEASE)
    journal.close()
    return path


@pytest.fixture
def used(tmp_path: Path, once_used: Path) -> Path:
    """Such a file of the test's own."""
    for each in once_used.parent.iterdir():
        shutil.copy(each, tmp_path)
    return tmp_path / once_used.name


# --- files and permissions ------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_user_may_read_the_file_and_its_new_folders(
    tmp_path: Path, clock: HandClock, umask: int
) -> None:
    before = os.umask(umask)
    try:
        open_at(f"sqlite:///{tmp_path}/a/b/journal.db", clock).close()
    finally:
        os.umask(before)
    assert _mode(tmp_path / "a" / "b" / "journal.db") == 0o600
    assert _mode(tmp_path / "a" / "b") == _mode(tmp_path / "a") == 0o700


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path, clock: HandClock) -> None:
    tmp_path.chmod(0o755)
    open_at(f"sqlite:///{tmp_path}/journal.db", clock).close()
    assert _mode(tmp_path) == 0o755


def test_the_rollback_file_is_private_too(used: Path) -> None:
    connection = sqlite3.connect(used)
    connection.execute("UPDATE reconciler_runs SET command = 'x'")
    assert _mode(used.with_name("journal.db-journal")) == 0o600
    connection.rollback()
    connection.close()


def test_a_commit_is_on_the_disk_before_it_counts(used: Path) -> None:
    database = Database(parse(f"sqlite:///{used}"))
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 3
    database.close()


def test_a_server_commit_is_on_the_disk_before_it_counts(postgres: PostgresServer) -> None:
    database = Database(parse(f"{postgres.fresh()}%20-csynchronous_commit%3Doff"))
    with database.read() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    database.close()


def test_an_empty_file_becomes_a_journal(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "journal.db").touch()
    assert find_journal(f"sqlite:///{tmp_path}/journal.db", clock) is None
    open_at(f"sqlite:///{tmp_path}/journal.db", clock).close()


def test_a_journal_in_memory_serves_tests_as_a_file_does(clock: HandClock) -> None:
    journal = memory_journal(clock)
    journal.open_operation(intent(), "run-1", LEASE)
    assert len(journal.unresolved()) == 1
    journal.close()


# --- wrong or damaged files -----------------------------------------------------------------------------


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 200)
    _refused(f"sqlite:///{path}", clock, str(path), "not a journal")
    assert path.read_text() == "Dear diary, " * 200


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "places.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    before = path.read_bytes()
    _refused(f"sqlite:///{path}", clock, str(path), "another program")
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [100, 4096, 20_000])
def test_a_truncated_file_is_refused(used: Path, clock: HandClock, kept: int) -> None:
    used.write_bytes(used.read_bytes()[:kept])
    _refused(f"sqlite:///{used}", clock, str(used), "damaged")


def test_an_index_that_forgot_a_held_pool_is_refused(used: Path, clock: HandClock) -> None:
    raw = sqlite3.connect(used)
    wanted = "SELECT rootpage FROM sqlite_master WHERE name = 'reconciler_one_unresolved_per_pool'"
    (page,) = raw.execute(wanted).fetchone()
    (size,) = raw.execute("PRAGMA page_size").fetchone()
    raw.close()
    empty_leaf = bytes([0x0A, 0, 0, 0, 0]) + size.to_bytes(2, "big") + b"\0"
    with open(used, "r+b") as file:
        file.seek((page - 1) * size)
        file.write(empty_leaf.ljust(size, b"\0"))
    _refused(f"sqlite:///{used}", clock, str(used), "damaged", "reconciler_one_unresolved_per_pool")


def test_a_folder_or_a_pipe_is_refused(tmp_path: Path, clock: HandClock) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        _refused(f"sqlite:///{path}", clock, str(path), "not a file")


def test_a_file_where_a_folder_is_needed_is_refused(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "plain").touch()
    _refused(f"sqlite:///{tmp_path}/plain/journal.db", clock, "cannot be opened")


def test_no_damage_ends_in_anything_but_a_journal_error(used: Path, clock: HandClock) -> None:
    whole = used.read_bytes()
    chance = random.Random(11)
    refused = 0
    for _ in range(120):
        damaged = bytearray(whole)
        start = chance.randrange(len(damaged))
        for place in range(start, min(start + chance.choice((1, 16, 4096)), len(damaged))):
            damaged[place] = chance.randrange(256)
        used.write_bytes(damaged)
        used.with_name("journal.db-journal").unlink(missing_ok=True)
        try:
            journal = open_at(f"sqlite:///{used}", clock)
        except JournalError:
            refused += 1
            continue
        try:
            journal.runs(10)
            journal.run("run-1")
            journal.operations(START)
        except JournalError:
            refused += 1
        finally:
            journal.close()
    assert refused > 20


def test_a_lock_held_too_long_is_named(used: Path, clock: HandClock) -> None:
    other = sqlite3.connect(used, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    _refused(f"sqlite:///{used}?timeout=0.05", clock, str(used), "locked by another process")
    other.execute("ROLLBACK")
    other.close()
    open_at(f"sqlite:///{used}?timeout=0.05", clock).close()


def test_a_full_disk_is_named_and_what_was_written_stays(tmp_path: Path, clock: HandClock) -> None:
    told = run("full", f"sqlite:///{tmp_path}/journal.db")
    assert "cannot be" in told["message"]
    assert "full" in told["message"]
    assert "space" in told["hint"]
    connection = sqlite3.connect(tmp_path / "journal.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("SELECT count(*) FROM reconciler_events").fetchone() == (told["kept"] + 1,)
    connection.close()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that anybody may read but only its owner may write to, with a journal in it."""
    folder = Path(tempfile.mkdtemp(prefix="journal"))
    folder.chmod(0o755)
    journal = open_at(f"sqlite:///{folder}/journal.db", HandClock())
    journal.open_run("run-1", "apply", "1", [])
    journal.close()
    (folder / "journal.db").chmod(0o444)
    if os.geteuid() != 0:
        folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_file_can_be_read_but_not_opened_for_writing(public: Path) -> None:
    answers = run("humble", f"sqlite:///{public}/journal.db")
    assert answers["find"] == "1 runs"
    assert "read-only" in answers["open"]
    assert "RECONCILER_JOURNAL" in answers["open"]


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?.db", "no#1.db", "é&x=y.db"])
def test_a_file_of_any_name_can_be_found(tmp_path: Path, clock: HandClock, name: str) -> None:
    url = URL.create("sqlite", database=str(tmp_path / name)).render_as_string()
    open_at(url, clock).close()
    assert [each.name for each in tmp_path.iterdir()] == [name]
    found = find_journal(url, clock)
    assert found is not None
    assert found.runs(1) == ()
    found.close()
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_looking_for_a_journal_refuses_what_is_none(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("Dear diary, " * 200)
    other = sqlite3.connect(tmp_path / "places.sqlite")
    other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    for name, words in (
        ("folder", "is not a file"),
        ("notes.txt", "not a journal"),
        ("places.sqlite", "another program"),
    ):
        with pytest.raises(JournalError, match=words):
            find_journal(f"sqlite:///{tmp_path}/{name}", clock)


def test_what_a_dead_writer_left_half_written_is_undone_before_it_is_read(
    used: Path, clock: HandClock
) -> None:
    whole = used.read_bytes()
    writer = sqlite3.connect(used, isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN IMMEDIATE")
    for number in range(2000):
        writer.execute(
            "INSERT INTO reconciler_plans VALUES (?, 'run', '2026-03-01 00:00:00.000000')",
            (f"{number}" + "x" * 500,),
        )
    # As a process leaves it that dies now: pages written over, and the old ones beside it.
    torn, beside = used.read_bytes(), used.with_name("journal.db-journal").read_bytes()
    writer.execute("ROLLBACK")
    writer.close()
    assert torn != whole
    used.write_bytes(torn)
    used.with_name("journal.db-journal").write_bytes(beside)
    found = find_journal(f"sqlite:///{used}", clock)
    assert found is not None
    assert len(found.runs(9)) == 1
    found.close()
    assert used.read_bytes() == whole


def test_a_folder_without_the_right_to_write_is_named(public: Path) -> None:
    answers = run("humble", f"sqlite:///{public}/new/journal.db")
    assert answers["find"] == "none"
    assert f"{public}/new/journal.db cannot be opened" in answers["open"]
    assert "permissions" in answers["open"]


# --- servers --------------------------------------------------------------------------------------------


def test_a_server_that_is_down_is_named(tmp_path: Path, clock: HandClock) -> None:
    url = f"postgresql+psycopg://{USER}:open%3Asesame%2F%C3%BC@/db?host={tmp_path}"
    error = _refused(url, clock, "cannot be reached")
    assert "host, port and network" in error.hint


def test_a_wrong_password_is_named_but_never_shown(postgres: PostgresServer, clock: HandClock) -> None:
    error = _refused(postgres.url("postgres", "swordfish"), clock, "refuses this user or password")
    assert "swordfish" not in error.message + error.hint


def test_a_password_in_the_query_is_never_shown(tmp_path: Path, clock: HandClock) -> None:
    error = _refused(f"postgresql://u@/db?host={tmp_path}&password=swordfish", clock)
    assert "swordfish" not in error.message + error.hint


def test_a_database_that_is_not_there_is_named(postgres: PostgresServer, clock: HandClock) -> None:
    _refused(postgres.url("nowhere"), clock, "does not have this user or database", "nowhere")


def test_a_user_who_may_not_make_tables_is_told(postgres: PostgresServer, clock: HandClock) -> None:
    url = postgres.fresh()
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
        schema = schema_of(url)
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO poor".encode())
    error = _refused(url.replace(url[: url.index("@")], "postgresql://poor:poor"), clock, "does not allow")
    assert "RECONCILER_JOURNAL" in error.hint


def test_a_role_that_may_only_select_can_read_a_journal(postgres: PostgresServer, clock: HandClock) -> None:
    url = postgres.fresh()
    as_reader = url.replace(url[: url.index("@")], "postgresql://reader:reader")
    schema = schema_of(url)
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO reader".encode())
        assert find_journal(as_reader, clock) is None
        made = open_at(url, clock)
        made.open_run("run-1", "apply", "1", [])
        made.keep_marks("run-1", [NewMark(MarkKey(POOL, "disk-0"), "finance", timedelta(days=7))], [])
        made.close()
        with pytest.raises(JournalError, match="does not allow this user"):
            find_journal(as_reader, clock)
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader".encode())
    found = find_journal(as_reader, clock)
    assert found is not None
    assert [run.id for run in found.runs(9)] == ["run-1"]
    assert found.not_done("r/p", "s") == ()
    assert [each.key for each in found.marks()] == [MarkKey(POOL, "disk-0")]
    with pytest.raises(JournalError):
        found.open_run("run-2", "apply", "1", [])
    found.close()


def test_a_read_only_server_is_named(postgres: PostgresServer, clock: HandClock) -> None:
    url = f"{postgres.fresh()}%20-cdefault_transaction_read_only%3Don"
    _refused(url, clock, "cannot be written", "read-only")


def test_a_connection_that_was_cut_is_made_again(postgres: PostgresServer, clock: HandClock) -> None:
    journal = open_at(postgres.fresh(), clock)
    journal.open_run("run-1", "apply", "1", [])
    _cut_connections(postgres)
    assert [each.id for each in journal.runs(1)] == ["run-1"]
    journal.close()


def test_a_connection_cut_in_the_middle_of_a_write_keeps_nothing(
    postgres: PostgresServer, clock: HandClock
) -> None:
    url = postgres.fresh()
    open_at(url, clock).close()
    database = Database(parse(url))
    with pytest.raises(JournalError):
        _cut_while_writing(database, postgres)
    database.close()
    open_at(url, clock).close()


def _cut_while_writing(database: Database, postgres: PostgresServer) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM reconciler_schema")
        _cut_connections(postgres)


def _cut_connections(postgres: PostgresServer) -> None:
    ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reconciler'"
    with postgres.connect() as connection:
        assert connection.execute(ours).fetchall()


def test_a_connection_cut_while_it_learns_about_the_server_leaves_nothing_half_known(
    postgres: PostgresServer,
) -> None:
    never_met = postgres.fresh().replace(str(postgres.socket), f"{postgres.socket}/.")
    database = Database(parse(never_met))
    cut: list[str] = []

    def cut_once(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not cut:
            cut.append(statement)
            _cut_connections(postgres)

    event.listen(Engine, "after_cursor_execute", cut_once)
    try:
        with pytest.raises(JournalError), database.read():
            pass
    finally:
        event.remove(Engine, "after_cursor_execute", cut_once)
    with database.read() as connection:
        assert "version()" in cut[0]
        assert connection.dialect.default_schema_name == schema_of(never_met)
    database.close()


def test_a_lock_of_another_session_is_named(postgres: PostgresServer) -> None:
    with postgres.connect() as holder, postgres.connect() as waiter:
        holder.execute("SELECT pg_advisory_lock(1)")
        waiter.execute("SET lock_timeout = '1ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable) as caught:
            waiter.execute("SELECT pg_advisory_lock(1)")
    error = journal_error(OperationalError("", {}, caught.value), "postgresql://host/db")
    assert "is locked by another session" in error.message


def test_a_missing_driver_is_named_with_the_way_to_get_it() -> None:
    told = run("without_driver", "postgresql+psycopg://user:swordfish@host/db")
    assert "needs the PostgreSQL driver" in told["message"]
    assert "desktop-pool-reconciler[postgres]" in told["hint"]
    assert "swordfish" not in told["message"]


# --- URLs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "journal.db",
        "swordfish",
        "mysql://user:swordfish@host/db",
        "sqlite+aiosqlite:///journal.db",
        "postgresql+asyncpg://user:swordfish@host/db",
        "postgresql://user:swordfish@host:port/db",
        "sqlite:///file:journal.db?uri=true",
        "sqlite:///journal.db?timeout=soon",
    ],
)
def test_a_url_that_is_no_journal_is_bad_input_and_not_repeated(
    url: str, clock: HandClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for way_in in (open_at, find_journal):
        with pytest.raises(BadInput) as caught:
            way_in(url, clock)
        error: ReconcilerError = caught.value
        assert error.hint
        assert "swordfish" not in error.message + error.hint
    assert list(tmp_path.iterdir()) == []
