"""Sample values for the journal tests: an intent, a pool, a clock moved by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from reconciler.journal import schema
from reconciler.journal.records import Intent, Journal, Now, PoolKey, SentDisk
from reconciler.journal.states import Step
from reconciler.journal.store import open_journal
from reconciler.model import LostCopy

START = datetime(2026, 3, 1, 23, 59, 59, 123456, tzinfo=UTC)
POOL = PoolKey("ap-southeast-3/0123456789abcdef0123456789abcdef", "workspace.example", "pool-1")
LEASE = 60.0


class HandClock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def pass_(self, seconds: float) -> None:
        """Let time go by."""
        self.time += timedelta(seconds=seconds)


def open_at(url: str, clock: Now) -> Journal:
    """Open a journal whose database, a server's too, goes by this clock."""
    return open_journal(url, clock, server_now=clock)


def intent(operation: str = "op-1", pool: PoolKey = POOL, generation: int = 0, disks: int = 2) -> Intent:
    """The intent to remove some disks."""
    return Intent(
        operation_id=operation,
        run_id="run-1",
        pool=pool,
        pool_name="finance",
        step=Step.REMOVE,
        handle_type="FOR_EXPAND_AND_IDLE",
        disks=tuple(SentDisk(f"disk-{number}", "SSD", 100) for number in range(disks)),
        keep=("kept-1", "kept-2"),
        baseline_jobs=("job-0",),
        generation=generation,
        signed_at=START,
        not_after=START + timedelta(minutes=15),
        plan_digest="sha256:abc",
        copies=tuple(
            LostCopy(f"disk-{number}", "desktop-1", "FIN-1", f"volume-{number}", 100, ("ada", "zoë"))
            for number in range(disks)
        ),
    )


def analyze(connection: Connection) -> None:
    """Let the database count the rows of this journal's tables, by which it chooses indexes.

    One that looks at all tables of a server would lock those of every test before.
    """
    for table in schema.metadata.sorted_tables:
        connection.exec_driver_sql(f"ANALYZE {table.name}")
