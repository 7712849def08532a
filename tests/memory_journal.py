"""A journal in memory, for tests that need no file: no URL of a user's leads to one."""

from __future__ import annotations

from sqlalchemy import make_url

from reconciler.journal.database import Database
from reconciler.journal.records import Journal, Now
from reconciler.journal.store import JournalClock, SqlJournal, prepare

_free: list[Database] = []
"""Databases of closed journals: each keeps the statements that it has compiled, which is most of its work."""


def memory_journal(now: Now) -> Journal:
    """A new journal that is gone when it is closed."""
    database = _free.pop() if _free else Database(make_url("sqlite+pysqlite://"))
    prepare(database)
    return _InMemory(database, JournalClock(database, now))


class _InMemory(SqlJournal):
    """Gives its database back when it is closed; the connection, and with it the tables, are gone by then."""

    _given_back = False

    def close(self) -> None:
        if not self._given_back:
            super().close()
            _free.append(self._database)
            self._given_back = True
