"""Marks that came back with a backup of the journal make nothing due, on both databases, whoever crashes."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.errors import Refused
from reconciler.journal.database import Database, parse
from reconciler.journal.records import GraceRule, Journal, MarkKey, NewAnnouncement, NewMark
from reconciler.journal.store import JournalClock, SqlJournal, find_journal, prepare
from reconciler.journal.witness import BesideFile, Token
from reconciler.model import Notice
from reconciler.values import replace
from tests import needs
from tests.journal.samples import LEASE, POOL, START, HandClock, intent, open_at
from tests.postgres import PASSWORD, USER, PostgresServer, schema_of

DAY = 86_400.0
WEEK = timedelta(days=7)
ONE, TWO = MarkKey(POOL, "disk-0"), MarkKey(POOL, "disk-1")
ELSEWHERE = MarkKey(replace(POOL, target="elsewhere/project"), "disk-9")


@dataclass(frozen=True)
class Backup:
    """How an administrator backs a journal up and puts it back."""

    save: Callable[[], None]
    restore: Callable[[], None]


@pytest.fixture
def backup(url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Backup:
    """As the README describes it: by cp for a file, by pg_dump and pg_restore for a server."""
    if url.startswith("sqlite"):
        place, copy = Path(url.removeprefix("sqlite:///")), tmp_path / "backup.db"
        return Backup(lambda: _copy(place, copy), lambda: _copy(copy, place))
    server: PostgresServer = request.getfixturevalue("postgres")
    at = ["-h", str(server.socket), "-U", USER]
    dump = [needs.postgresql("pg_dump"), *at, "-Fc", "-t", f"{schema_of(url)}.reconciler_*"]
    dump += ["-f", str(tmp_path / "dump"), "postgres"]
    restore = [needs.postgresql("pg_restore"), *at, "-c", "-d", "postgres", str(tmp_path / "dump")]
    return Backup(lambda: _run(dump), lambda: _run(restore))


def _copy(source: Path, to: Path) -> None:
    shutil.copyfile(source, to)


def _run(command: list[str]) -> None:
    subprocess.run(command, env={"PGPASSWORD": PASSWORD}, check=True, capture_output=True)


def new(key: MarkKey) -> NewMark:
    return NewMark(key, "finance", WEEK)


def seen(journal: Journal) -> dict[str, float]:
    """How many seconds after the beginning each marked disk seems to have become surplus."""
    return {each.key.disk_id: (each.first_seen - START).total_seconds() for each in journal.marks()}


def remove(journal: Journal) -> None:
    journal.open_operation(intent(disks=1), "run-1", LEASE, grace=GraceRule(WEEK, None))


@pytest.fixture
def restored(url: str, backup: Backup, clock: HandClock) -> Iterator[Journal]:
    """After eight days, with two marks that had been cleared in between."""
    journal = open_at(url, clock)
    journal.keep_marks("run-1", [new(ONE), new(ELSEWHERE)], [])
    journal.close()
    backup.save()
    clock.pass_(DAY)
    journal = open_at(url, clock)
    journal.keep_marks("run-2", [], [ONE])
    journal.keep_marks("run-2", [], [ELSEWHERE])
    journal.close()
    clock.pass_(7 * DAY)
    backup.restore()
    journal = open_at(url, clock)
    yield journal
    journal.close()


def test_a_mark_that_came_back_counts_from_now_whoever_reads_it(
    restored: Journal, url: str, clock: HandClock
) -> None:
    assert seen(restored) == {"disk-0": 8 * DAY, "disk-9": 8 * DAY}
    clock.pass_(DAY)
    said: list[str] = []
    reader = find_journal(url, clock, said.append)
    assert reader is not None
    assert reader.doubted_marks() == 2
    assert min(seen(reader).values()) >= 9 * DAY  # a reader goes by the server's own clock
    [words] = said
    assert "seems to be restored from a backup" in words
    assert "its 2 marks" in words
    assert "the next apply lets the grace begin again" in words
    reader.close()


def test_no_removal_is_opened_on_the_strength_of_a_mark_that_came_back(
    restored: Journal, clock: HandClock
) -> None:
    with pytest.raises(Refused, match="disk disk-0 is surplus since 2026-03-09 23:59:59 UTC only"):
        remove(restored)
    clock.pass_(30 * DAY)  # time alone makes no such mark due
    with pytest.raises(Refused, match="disk disk-0 is surplus since"):
        remove(restored)


def test_every_mark_begins_anew_once_and_is_believed_from_then_on(
    restored: Journal, url: str, clock: HandClock
) -> None:
    later = clock() + timedelta(hours=1)
    anew = restored.begin_marks_anew("run-3", later)
    assert {each.key: each.first_seen for each in anew} == {ONE: later, ELSEWHERE: later}
    other = open_at(url, clock)
    clock.pass_(DAY)
    assert (other.begin_marks_anew("run-4"), other.doubted_marks()) == ((), 0)
    assert seen(other) == {"disk-0": 8 * DAY + 3600, "disk-9": 8 * DAY + 3600}
    clock.pass_(6 * DAY)
    with pytest.raises(Refused):
        remove(restored)
    clock.pass_(3600)
    remove(restored)
    other.close()


def test_what_is_marked_cleared_and_extended_meanwhile_vouches_for_nothing_that_came_back(
    restored: Journal, clock: HandClock
) -> None:
    restored.keep_marks("run-3", [new(TWO)], [])
    assert restored.extend_mark(TWO, "run-3", "amara", clock() + timedelta(days=30))
    assert restored.clear_mark(ELSEWHERE, "run-3", "amara")
    assert restored.doubted_marks() == 2
    clock.pass_(DAY)
    assert seen(restored) == {"disk-0": 9 * DAY, "disk-1": 9 * DAY}
    # What a person said of a disk stays.
    [extended] = [each for each in restored.begin_marks_anew("run-4") if each.key == TWO]
    assert (extended.extended_by, extended.due) == ("amara", START + timedelta(days=38))


def test_who_let_marks_begin_anew_is_kept(restored: Journal) -> None:
    restored.open_run("run-3", "apply", "1", [POOL.target])
    restored.begin_marks_anew("run-3")
    record = restored.run("run-3")
    assert record is not None
    [event] = record.events
    assert (event.kind, len(event.detail["marks"])) == ("marks.restored", 2)


def test_a_journal_without_marks_needs_nobody_to_begin_them_anew(
    url: str, backup: Backup, clock: HandClock
) -> None:
    open_at(url, clock).close()
    backup.save()
    backup.restore()
    journal = open_at(url, clock)
    assert journal.begin_marks_anew("run-1") == ()
    journal.keep_marks("run-1", [new(ONE)], [])
    clock.pass_(7 * DAY)
    assert journal.doubted_marks() == 0
    remove(journal)
    journal.close()


@pytest.mark.parametrize("change", ["extend", "clear", "notify"])
def test_a_backup_from_before_a_person_objected_or_was_notified_is_noticed(
    url: str, backup: Backup, clock: HandClock, change: str
) -> None:
    journal = open_at(url, clock)
    journal.keep_marks("run-1", [new(ONE), new(TWO)], [])
    journal.close()
    backup.save()
    journal = open_at(url, clock)
    if change == "extend":
        journal.extend_mark(ONE, "run-2", "amara", START + timedelta(days=30))
    elif change == "notify":
        mark = next(each for each in journal.marks() if each.key == ONE)
        assert journal.open_announcement(NewAnnouncement("a", mark, Notice.MARKED, START, "text"), "run-2")
    else:
        journal.clear_mark(ONE, "run-2", "amara")
    journal.close()
    backup.restore()
    journal = open_at(url, clock)
    assert journal.doubted_marks() == 2
    journal.close()


# --- the file beside a SQLite file ------------------------------------------------------------------


class _Dead(BaseException):
    """The end of a process."""


class _Dying(BesideFile):
    """The process dies before or after its n-th write beside the journal."""

    def __init__(self, journal: Path, left: int, *, before: bool) -> None:
        super().__init__(journal)
        self._left, self._before = left, before

    def write(self, tokens: Collection[str]) -> None:
        self._left -= 1
        if self._left == 0 and self._before:
            raise _Dead
        super().write(tokens)
        if self._left == 0:
            raise _Dead


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def mortal(place: Path, clock: HandClock, left: int, *, before: bool) -> Journal:
    database = Database(parse(f"sqlite:///{place}"))
    prepare(database)
    return SqlJournal(
        database, JournalClock(database, clock), witness=Token(_Dying(place, left, before=before))
    )


CRASHES = [(1, True), (1, False), (2, True), (2, False)]
"""Before and after the first write, which comes before the commit, and before and after the second, after it."""


@pytest.mark.parametrize(("left", "before"), CRASHES)
def test_a_crash_between_the_writes_neither_loses_marks_nor_trusts_a_backup(
    place: Path, tmp_path: Path, clock: HandClock, left: int, before: bool
) -> None:
    journal = open_at(f"sqlite:///{place}", clock)
    journal.keep_marks("run-1", [new(ONE), new(TWO)], [])
    journal.close()
    _copy(place, tmp_path / "backup.db")
    clock.pass_(DAY)
    dying = mortal(place, clock, left, before=before)
    with pytest.raises(_Dead):
        dying.keep_marks("run-2", [], [ONE])
    dying.close()
    journal = open_at(f"sqlite:///{place}", clock)
    committed = left == 2
    assert seen(journal) == ({"disk-1": 0.0} if committed else {"disk-0": 0.0, "disk-1": 0.0})
    assert journal.doubted_marks() == 0
    journal.close()
    _copy(tmp_path / "backup.db", place)
    journal = open_at(f"sqlite:///{place}", clock)
    assert journal.doubted_marks() == (2 if committed else 0)
    journal.close()


@pytest.mark.parametrize(("left", "before"), CRASHES)
def test_a_crash_while_marks_begin_anew_believes_none_that_has_not(
    place: Path, clock: HandClock, left: int, before: bool
) -> None:
    journal = open_at(f"sqlite:///{place}", clock)
    journal.keep_marks("run-1", [new(ONE)], [])
    journal.close()
    BesideFile(place).path.unlink()
    clock.pass_(DAY)
    dying = mortal(place, clock, left, before=before)
    if left == 1:
        with pytest.raises(_Dead):
            dying.begin_marks_anew("run-2")
    else:  # one token is all there is, so nothing is left to do after the commit
        assert len(dying.begin_marks_anew("run-2")) == 1
    dying.close()
    clock.pass_(DAY)
    journal = open_at(f"sqlite:///{place}", clock)
    assert seen(journal) == {"disk-0": DAY if left == 2 else 2 * DAY}
    assert journal.doubted_marks() == (0 if left == 2 else 1)
    journal.close()


def test_two_runners_never_make_each_other_doubt(place: Path, clock: HandClock) -> None:
    url = f"sqlite:///{place}"
    runners = [open_at(url, clock) for _ in range(2)]
    runners[0].keep_marks("run-1", [new(ELSEWHERE)], [])
    reader = find_journal(url, clock)
    assert reader is not None

    def mark_and_clear(at: int) -> None:
        key = MarkKey(POOL, f"disk-{at}")
        for _ in range(8):
            runners[at].keep_marks("run-1", [new(key)], [])
            runners[at].keep_marks("run-1", [], [key])

    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(mark_and_clear, at) for at in range(2)]
        while not all(each.done() for each in both):
            assert reader.doubted_marks() == 0
        for each in both:
            each.result()
    assert seen(reader) == {"disk-9": 0.0}
    for journal in (*runners, reader):
        journal.close()


def _garbage(file: Path) -> None:
    file.write_bytes(b"\xff" * 9_000)


def _older(file: Path) -> None:
    file.write_text("0" * 32 + "\n")


def _link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to(file.with_name("elsewhere"))


@pytest.mark.parametrize("spoil", [Path.unlink, _garbage, _older, _link])
def test_without_the_right_file_beside_it_no_mark_is_believed(
    place: Path, clock: HandClock, spoil: Callable[[Path], None]
) -> None:
    journal = open_at(f"sqlite:///{place}", clock)
    journal.keep_marks("run-1", [new(ONE)], [])
    beside = BesideFile(place).path
    assert (beside.name, beside.stat().st_mode & 0o777) == ("journal.db-witness", 0o600)
    spoil(beside)
    assert journal.doubted_marks() == 1
    with pytest.raises(Refused):
        remove(journal)
    journal.close()


def test_a_file_put_back_with_its_write_ahead_log_is_noticed(
    place: Path, tmp_path: Path, clock: HandClock
) -> None:
    url = f"sqlite:///{place}"
    journal = open_at(url, clock)
    journal.keep_marks("run-1", [new(ONE), new(TWO)], [])
    journal.close()
    other = sqlite3.connect(
        place, isolation_level=None
    )  # another program, which keeps its log beside the file
    assert other.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    other.execute("UPDATE reconciler_marks SET pool_name = 'renamed'")
    backup = {each: each.read_bytes() for each in tmp_path.iterdir() if "witness" not in each.name}
    assert {each.name for each in backup} == {"journal.db", "journal.db-wal", "journal.db-shm"}
    other.close()
    journal = open_at(url, clock)
    journal.keep_marks("run-2", [], [ONE])
    journal.close()
    for each, content in backup.items():
        each.write_bytes(content)
    journal = open_at(url, clock)
    assert [each.pool_name for each in journal.marks()] == ["renamed"] * 2
    assert journal.doubted_marks() == 2
    journal.close()


# --- PostgreSQL -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "timeline", "doubted"),
    [("{system}", "{timeline}", 0), ("-", "-", 0), ("7", "{timeline}", 1), ("{system}", "0000FFFF", 1)],
    ids=["this server", "not known", "another server", "another timeline"],
)
def test_a_row_of_another_server_or_timeline_vouches_for_nothing(
    postgres: PostgresServer, clock: HandClock, system: str, timeline: str, doubted: int
) -> None:
    url = postgres.fresh()
    journal = open_at(url, clock)
    journal.keep_marks("run-1", [new(ONE)], [])
    schema = schema_of(url)
    with postgres.connect() as connection:
        row = connection.execute(f"SELECT token FROM {schema}.reconciler_witness".encode()).fetchone()
        assert row is not None
        _, real, line = str(row[0]).split()
        server = f"{system} {timeline}".format(system=real, timeline=line)
        token = f"txid_current()::text || ' {server}'"
        connection.execute(f"UPDATE {schema}.reconciler_witness SET token = {token}".encode())
    assert journal.doubted_marks() == doubted
    journal.close()


def test_a_role_that_may_only_read_and_knows_nothing_of_the_server_can_tell(
    postgres: PostgresServer, clock: HandClock
) -> None:
    url = postgres.fresh()
    journal = open_at(url, clock)
    journal.keep_marks("run-1", [new(ONE)], [])
    schema = schema_of(url)
    with postgres.connect() as connection:
        for each in (
            "CREATE ROLE looker LOGIN PASSWORD 'looker'",
            f"GRANT USAGE ON SCHEMA {schema} TO looker",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO looker",
            "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC",
            "REVOKE EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) FROM PUBLIC",
        ):
            connection.execute(each.encode())
        try:
            reader = find_journal(
                url.replace(f"//{USER}:", "//looker:").replace("open%3Asesame%2F%C3%BC", "looker"), clock
            )
            assert reader is not None
            assert reader.doubted_marks() == 0
            connection.execute(f"UPDATE {schema}.reconciler_witness SET token = token".encode())
            assert reader.doubted_marks() == 1
            reader.close()
        finally:
            for each in (
                "GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC",
                "GRANT EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) TO PUBLIC",
                "DROP OWNED BY looker",
                "DROP ROLE looker",
            ):
                connection.execute(each.encode())
    journal.close()
