"""Whose clock decides: the server's where machines share a journal, this machine's for a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.errors import ExitCode, JournalError, PoolHeld
from reconciler.journal.store import open_journal
from tests.journal.samples import LEASE, START, HandClock, intent
from tests.postgres import PostgresServer


def _fast() -> datetime:
    """A machine's clock that is four minutes ahead of the real time."""
    return datetime.now(UTC) + timedelta(minutes=4)


def test_what_a_server_keeps_is_timed_by_its_own_clock(postgres: PostgresServer) -> None:
    before = datetime.now(UTC)
    journal = open_journal(postgres.fresh(), _fast)
    journal.open_run("run-1", "apply", "1", [])
    operation = journal.open_operation(intent(), "run-1", LEASE)
    now = journal.now()
    [run] = journal.runs(1)
    journal.close()
    after = datetime.now(UTC)
    assert before <= run.started <= operation.opened <= now <= after
    assert operation.lease_until == operation.opened + timedelta(seconds=LEASE)


def test_a_fast_machine_does_not_take_over_what_another_still_holds(postgres: PostgresServer) -> None:
    url, server = postgres.fresh(), HandClock()
    slow = open_journal(url, server, server_now=server)
    slow.open_operation(intent(), "run-1", LEASE)
    fast = open_journal(url, lambda: server.time + timedelta(minutes=4), server_now=server)
    with pytest.raises(PoolHeld):
        fast.take_over("op-1", "run-2", LEASE)
    server.pass_(LEASE)
    assert fast.take_over("op-1", "run-2", LEASE).lease_until == server.time + timedelta(seconds=LEASE)
    fast.close()
    slow.close()


def test_a_file_goes_by_the_clock_of_its_machine(tmp_path: Path, clock: HandClock) -> None:
    journal = open_journal(f"sqlite:///{tmp_path}/journal.db", clock, server_now=lambda: datetime.now(UTC))
    assert journal.now() == START
    assert journal.open_operation(intent(), "run-1", LEASE).opened == START
    journal.close()


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (0, []),
        (30, []),
        (-30, []),
        (31, ["The clock of this machine is 31 s behind that of the journal's database."]),
        (-300, ["The clock of this machine is 300 s ahead of that of the journal's database."]),
    ],
)
def test_clocks_more_than_thirty_seconds_apart_are_mentioned_once(
    postgres: PostgresServer, clock: HandClock, ahead: int, told: list[str]
) -> None:
    url, said = postgres.fresh(), list[str]()
    open_journal(url, clock, server_now=clock).close()
    journal = open_journal(url, clock, said.append, server_now=lambda: clock() + timedelta(seconds=ahead))
    journal.open_operation(intent(), "run-1", LEASE)
    journal.close()
    assert said == told


@pytest.mark.parametrize("ahead", [301, -301])
def test_clocks_more_than_five_minutes_apart_change_nothing(
    postgres: PostgresServer, clock: HandClock, ahead: int
) -> None:
    with pytest.raises(JournalError, match="more than 5 minutes apart") as caught:
        open_journal(postgres.fresh(), clock, server_now=lambda: clock() + timedelta(seconds=ahead))
    assert caught.value.exit_code is ExitCode.JOURNAL
    assert "2026-03-01 23:59:59 UTC" in caught.value.hint


def test_a_machine_that_wakes_up_with_another_time_opens_no_operation(
    postgres: PostgresServer, clock: HandClock
) -> None:
    machine = HandClock()
    journal = open_journal(postgres.fresh(), machine, server_now=clock)
    machine.pass_(301)
    with pytest.raises(JournalError, match="301 s ahead"):
        journal.open_operation(intent(), "run-1", LEASE)
    assert journal.unresolved() == ()
    journal.close()
