"""A journal in memory, for tests that need no file: no URL of a user's leads to one."""

from __future__ import annotations

from sqlalchemy import make_url

from reconciler.journal.database import Database
from reconciler.journal.records import Journal, Now
from reconciler.journal.store import JournalClock, SqlJournal, prepare


def memory_journal(now: Now) -> Journal:
    """A new journal that is gone when it is closed."""
    database = Database(make_url("sqlite+pysqlite://"))
    prepare(database)
    return SqlJournal(database, JournalClock(database, now))
