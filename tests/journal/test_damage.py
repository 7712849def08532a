"""A row of the operations that is not as it was written is noticed, and refuses its pool alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from reconciler.errors import ExitCode, JournalError
from reconciler.journal import schema
from reconciler.journal.checksum import INTENT, STATE, intent_sum, state_sum
from reconciler.journal.database import Database, parse
from reconciler.journal.records import ClosedBy, Journal
from reconciler.journal.rows import intent_values
from reconciler.journal.states import Outcome, State, Step
from reconciler.journal.store import find_journal
from reconciler.model import KnownBackup, LostCopy
from reconciler.values import replace
from tests.journal.samples import LEASE, POOL, START, HandClock, intent, open_at

COLUMNS = [column.name for column in schema.operations.c]
OTHER = replace(POOL, pool_id="pool-2")
ANSWER = Outcome(State.ACCEPTED, "job-7", "req-7", 200, "WKS.0001", "wörking")


def _fill(journal: Journal) -> None:
    """One closed operation with every column filled, and a sound one of another pool."""
    journal.open_run("run-1", "apply", "1", [])
    journal.open_operation(intent(), "run-1", LEASE)
    journal.record_outcome("op-1", "run-1", ANSWER)
    journal.close_operation("op-1", "run-1", State.PARTIAL, "1 of 2", closed_by=ClosedBy.PERSON)
    journal.open_operation(intent("op-2", OTHER), "run-1", LEASE)


def _flipped(value: Any, bit: int) -> Any:
    """The stored value with one bit turned over, in the middle of it."""
    if isinstance(value, int):
        return value ^ (1 << bit)
    raw = bytearray(str(value).encode())
    middle = len(raw) // 2
    raw[middle] ^= 1 << bit
    return bytes(raw)


def test_every_column_belongs_to_one_of_the_checksums_or_is_one() -> None:
    assert sorted({*INTENT, *STATE, "intent_sum", "state_sum"}) == sorted(COLUMNS)
    assert set(INTENT) & set(STATE) == {"id"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a filled journal, to be copied: making one takes longer than all that follows."""
    path = tmp_path_factory.mktemp("filled") / "journal.db"
    journal = open_at(f"sqlite:///{path}", HandClock())
    _fill(journal)
    journal.close()
    return path


def test_a_checksum_is_over_the_json_of_what_is_stored_for_every_character() -> None:
    for each in [*map(chr, range(0x300)), "\ud800", "\U0001f600", "\\u0041"]:
        row = {"id": "op-1", "message": each, "status": 7, "disks": [[each, "SAS", 50]]}
        stored = each.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
        kept = {**row, "message": stored}
        assert intent_sum(row) == _by_hand(kept, INTENT), ascii(each)
        assert state_sum(row) == _by_hand(kept, STATE), ascii(each)


def test_a_checksum_takes_nothing_that_json_has_no_word_for_for_something_else() -> None:
    for number in (float("inf"), float("-inf"), float("nan")):
        assert state_sum({"status": number}) != state_sum({"status": None})
        assert intent_sum({"keep": [number]}) != intent_sum({"keep": [None]})
    with pytest.raises(TypeError):
        state_sum({"job_id": b"job-7"})


def _by_hand(row: dict[str, Any], columns: tuple[str, ...]) -> str:
    text = json.dumps([row.get(each) for each in columns], separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@pytest.mark.parametrize("column", COLUMNS)
def test_one_bit_in_any_column_is_noticed_and_refuses_the_pool_by_name(
    tmp_path: Path, filled: Path, clock: HandClock, column: str
) -> None:
    # A file, since a server checks the types of its columns: see the test of changed values for both.
    shutil.copy(filled, tmp_path)
    url = f"sqlite:///{tmp_path}/{filled.name}"
    journal = open_at(url, clock)
    database = Database(parse(url))

    with database.read() as connection:
        sound = f"SELECT {column}, rowid FROM reconciler_operations WHERE id = 'op-1'"
        stored, row = connection.exec_driver_sql(sound).one()

    def put(value: Any) -> None:
        wanted = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
        change = f"UPDATE reconciler_operations SET {column} = {wanted} WHERE rowid = {row}"
        with database.write() as connection:
            assert connection.exec_driver_sql(change, (value,)).rowcount == 1

    others: list[str] = []
    for bit in range(8):
        put(_flipped(stored, bit))
        _check_noticed(journal, column, others)
        others.append(f"op-4-{bit}")
        journal.open_operation(intent(others[-1], replace(POOL, pool_id=f"pool-9-{bit}")), "run-2", LEASE)
        put(stored)
        assert [each.id for each in journal.operations(START)] == ["op-1", "op-2", *others]
    database.close()
    journal.close()


def _check_noticed(journal: Journal, column: str, others: list[str]) -> None:
    """That operation op-1, which is damaged in that column, counts as no operation and holds its pool."""
    if column in {"target", "service", "pool_id"}:  # it is the row of another pool by now, and damaged
        assert [each.id for each in journal.not_done(POOL.target, POOL.service)] == ["op-2", *others]
    else:
        with pytest.raises(JournalError, match="is damaged") as caught:
            journal.open_operation(intent("op-3", generation=2), "run-2", LEASE)
        assert caught.value.exit_code is ExitCode.JOURNAL
        assert "pool-1" in caught.value.message
        assert "finance" in caught.value.message or column == "pool_name"
    record = journal.run("run-1")
    assert record is not None
    assert [each.id for each in record.operations] == ["op-2"]
    assert len(record.damaged) == (column != "id")  # under another id no event leads to it
    assert [each.id for each in journal.operations(START)] == ["op-2", *others]
    assert journal.operation("op-2") is not None


CHANGES = [
    "disks = '[]'",
    "disk_count = 1",
    "keep = '[]'",
    "baseline_jobs = '[]'",
    "not_after = NULL",
    "handle_type = NULL",
    "copies = '[]'",
    f"copies = '{'[' * 5000}{']' * 5000}'",
    "opened = '2026-01-01 00:00:00'",
    "state = 'done'",
    "outcome = NULL",
    "job_id = ''",
    "owner = 'run-2'",
    "lease_until = '2026-01-01 00:00:00'",
    "verdict = ''",
    "closed_by = 'run'",
    "intent_sum = ''",
    "state_sum = ''",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_value_is_noticed_on_every_database(url: str, clock: HandClock, change: str) -> None:
    journal = open_at(url, clock)
    _fill(journal)
    _change(url, f"UPDATE reconciler_operations SET {change} WHERE id = 'op-1'")
    with pytest.raises(JournalError, match=r"operation op-1 on pool finance \(pool-1\) is damaged"):
        journal.open_operation(intent("op-3", generation=2), "run-2", LEASE)
    with pytest.raises(JournalError, match="is damaged"):
        journal.operation("op-1")
    journal.close()


@pytest.mark.parametrize("change", ["SET pool_id = 'pool-3'", "SET target = 'x'", "SET service = 'x'"])
def test_an_open_operation_that_no_longer_names_its_pool_still_holds_it(
    url: str, clock: HandClock, change: str
) -> None:
    journal = open_at(url, clock)
    journal.open_operation(intent(), "run-1", LEASE)
    _change(url, f"UPDATE reconciler_operations {change}")
    with pytest.raises(JournalError, match="lost the open operation of pool finance"):
        journal.open_operation(intent("op-2", generation=1), "run-2", LEASE)
    assert journal.operation("op-2") is None
    assert journal.generation(POOL) == 1
    journal.close()


def test_an_open_operation_whose_row_is_gone_still_holds_its_pool(url: str, clock: HandClock) -> None:
    journal = open_at(url, clock)
    journal.open_operation(intent(), "run-1", LEASE)
    _change(url, "DELETE FROM reconciler_operations")
    with pytest.raises(JournalError, match="lost the open operation of pool finance"):
        journal.open_operation(intent("op-2", generation=1), "run-2", LEASE)
    journal.close()


def test_states_of_two_rows_cannot_be_exchanged(url: str, clock: HandClock) -> None:
    journal = open_at(url, clock)
    _fill(journal)
    names = ", ".join(each for each in (*STATE, "state_sum") if each != "id")
    _change(
        url,
        f"UPDATE reconciler_operations SET ({names}) = "
        f"(SELECT {names} FROM reconciler_operations WHERE id = 'op-1') WHERE id = 'op-2'",
    )
    with pytest.raises(JournalError, match="op-2"):
        journal.operation("op-2")
    journal.close()


def test_a_write_to_a_damaged_row_is_kept_and_does_not_make_it_look_sound(url: str, clock: HandClock) -> None:
    journal = open_at(url, clock)
    journal.open_operation(intent(), "run-1", LEASE)
    _change(url, "UPDATE reconciler_operations SET verdict = 'forged'")
    journal.record_outcome("op-1", "run-1", ANSWER)
    assert _scalar(url, "SELECT job_id FROM reconciler_operations") == "job-7"
    assert [each.id for each in journal.damaged(POOL.target, POOL.service)] == ["op-1"]
    journal.close()


def test_every_write_keeps_the_row_sound(url: str, clock: HandClock) -> None:
    journal = open_at(url, clock)
    journal.open_operation(replace(intent(), baseline_jobs=("\ud800", "\0")), "run-1", LEASE)
    journal.renew_lease("op-1", "run-1", LEASE)
    journal.record_outcome("op-1", "run-1", replace(ANSWER, message="nul \0 and \ud800"))
    clock.pass_(LEASE)
    journal.take_over("op-1", "run-2", LEASE)
    assert journal.damaged(POOL.target, POOL.service) == ()
    journal.close_operation("op-1", "run-2", State.DONE, "gone: \0")
    journal.open_operation(intent("op-2", generation=2), "run-2", LEASE)
    journal.close()


def test_a_damaged_removal_counts_as_the_most_that_it_can_have_been(url: str, clock: HandClock) -> None:
    journal = open_at(url, clock)
    _fill(journal)
    assert journal.removed_since(POOL.target, POOL.service, START) == 4
    _change(url, "UPDATE reconciler_operations SET disk_count = 0, disks = '[]' WHERE id = 'op-1'")
    assert journal.removed_since(POOL.target, POOL.service, START) == 2 + 10
    journal.close()


def test_damage_is_seen_by_a_reader_that_may_not_write(url: str, clock: HandClock) -> None:
    journal = open_at(url, clock)
    _fill(journal)
    _change(url, "UPDATE reconciler_operations SET state = 'done' WHERE id = 'op-2'")
    found = find_journal(url, clock)
    assert found is not None
    [broken] = found.damaged(POOL.target, POOL.service)
    assert (broken.id, broken.pool) == ("op-2", OTHER)
    found.close()
    journal.close()


def test_the_copies_of_what_was_removed_come_back_exactly(journal: Journal) -> None:
    copies = (
        LostCopy("disk-0", "desktop-1", "FIN-1", "volume-1", 100, ("ada", "zoë")),
        LostCopy("disk-0", "desktop-2", "FIN-2", "", 100),
        LostCopy(
            "disk-0",
            "desktop-3",
            "FIN-3",
            "volume-3",
            100,
            backups=(
                KnownBackup("backup-2", "2026-11-25T22:10:00+00:00"),
                KnownBackup("backup-1", "2026-11-24T22:10:00+00:00"),
            ),
        ),
    )
    journal.open_operation(replace(intent(), copies=copies), "run-1", LEASE)
    found = journal.operation("op-1")
    assert found is not None
    assert found.intent.copies == copies
    assert found.intent.step is Step.REMOVE


def test_a_copy_without_backups_is_kept_in_the_form_of_older_versions() -> None:
    copies = (LostCopy("disk-0", "desktop-1", "FIN-1", "volume-1", 100, ("ada",)),)
    [kept] = intent_values(replace(intent(), copies=copies))["copies"]
    assert kept == ["disk-0", "desktop-1", "FIN-1", "volume-1", 100, ["ada"]]


def test_the_checksum_stays_what_it_was_in_every_later_version(url: str, clock: HandClock) -> None:
    journal = open_at(url, clock)
    journal.open_operation(replace(intent(), handle_type=None, copies=()), "run-1", LEASE)
    text_of_state = (
        '["op-1","intended",null,null,null,null,null,null,"run-1",'
        '"2026-03-02T00:00:59.123456+00:00",null,"",null]'
    )
    expected = hashlib.sha256(text_of_state.encode()).hexdigest()
    assert _scalar(url, "SELECT state_sum FROM reconciler_operations") == expected
    journal.close()


@pytest.mark.parametrize("column", COLUMNS)
def test_a_persons_decision_frees_the_pool_of_a_damaged_record_whatever_is_wrong_in_it(
    tmp_path: Path, clock: HandClock, column: str
) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = open_at(url, clock)
    journal.open_operation(intent(), "run-1", LEASE)
    before = journal.removed_since(POOL.target, POOL.service, START)
    database = Database(parse(url))
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE reconciler_operations SET {column} = CAST('dam' AS TEXT)")
    database.close()
    [broken] = journal.every_damaged()
    closed = journal.close_damaged(broken.id, "run-9", State.DONE, "a person decided")
    assert (closed.state, closed.closed_by, closed.verdict) == (
        State.DONE,
        ClosedBy.PERSON,
        "a person decided",
    )
    assert (journal.every_damaged(), journal.unresolved()) == ((), ())
    assert journal.damaged_operation(broken.id) is None
    if column not in {"target", "service", "pool_id"}:  # else the row names another pool
        assert journal.generation(POOL) == 2
        journal.open_operation(intent("op-3", generation=2), "run-2", LEASE)
        assert journal.removed_since(POOL.target, POOL.service, START) >= 10 > before
    with pytest.raises(JournalError, match="no damaged record"):
        journal.close_damaged(broken.id, "run-9", State.DONE, "again")
    journal.close()


def _change(url: str, statement: str) -> None:
    database = Database(parse(url))
    with database.write() as connection:
        connection.execute(text(statement))
    database.close()


def _scalar(url: str, query: str) -> object:
    database = Database(parse(url))
    with database.read() as connection:
        found = connection.execute(text(query)).scalar_one()
    database.close()
    return found
