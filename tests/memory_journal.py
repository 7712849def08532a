"""A journal in memory, for tests that need no file: no URL of a user's leads to one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from sqlalchemy import URL, Connection, make_url

from reconciler.journal.database import Database
from reconciler.journal.records import Now
from reconciler.journal.store import JournalClock, SqlJournal, prepare
from reconciler.journal.witness import Place, Token


def memory_journal(now: Now) -> MemoryJournal:
    """A new journal that is gone when it is closed."""
    database = _Held(make_url("sqlite+pysqlite://"))
    prepare(database)
    return MemoryJournal(database, JournalClock(database, now), witness=Token(_Outside()))


class _Held(Database):
    """Holds its connection: nobody else could want it, and getting one takes longer than most statements."""

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self._turn = Lock()
        self._held: Connection | None = None

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self._translated(), self._turn:
            self._held = self._held or self._engine.connect()
            with self._held.begin():
                self._held.connection.driver_connection.execute(begin)  # type: ignore[union-attr]
                yield self._held

    @property
    def driver(self) -> Any:
        """The driver's connection."""
        with self.read() as connection:
            return connection.connection.driver_connection

    def close(self) -> None:
        if self._held:
            self._held.close()
            self._held = None
        super().close()


class _Outside(Place):
    """What a file beside the journal is to one on disk."""

    def __init__(self) -> None:
        self._tokens: Collection[str] = ()

    def read(self) -> Collection[str]:
        return self._tokens

    def write(self, tokens: Collection[str]) -> None:
        self._tokens = tuple(tokens)


class MemoryJournal(SqlJournal):
    """A journal whose tables are gone with its connection."""

    _database: _Held

    def backup(self) -> bytes:
        """What a copy of the file would be."""
        copy: bytes = self._database.driver.serialize()
        return copy

    def restore(self, copy: bytes) -> None:
        """Put a copy in place of all that is there."""
        self._database.driver.deserialize(copy)
