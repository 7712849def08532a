"""A journal in memory, for tests that need no file: no URL of a user's leads to one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from sqlalchemy import URL, Connection, make_url

from reconciler.journal.database import Database
from reconciler.journal.records import Now
from reconciler.journal.store import JournalClock, SqlJournal, prepare
from reconciler.journal.witness import Place, Token

_URL = make_url("sqlite+pysqlite://")
_free: list[_Held] = []
"""Databases of closed journals: each keeps the statements that it has compiled, which is most of its work."""


def memory_journal(now: Now) -> MemoryJournal:
    """A new journal that is gone when it is closed."""
    database = _free.pop() if _free else _Held(_URL)
    database.driver.deserialize(_new())
    return MemoryJournal(database, JournalClock(database, now), witness=Token(_Outside()))


@cache
def _new() -> bytes:
    """A journal in which nothing was written: putting a copy in place is cheaper than creating each table again."""
    database = _Held(_URL)
    prepare(database)
    copy: bytes = database.driver.serialize()
    database.close()
    return copy


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
    """Gives its database back when it is closed; nobody reaches it through this journal any more."""

    _database: _Held

    def backup(self) -> bytes:
        """What a copy of the file would be."""
        copy: bytes = self._database.driver.serialize()
        return copy

    def restore(self, copy: bytes) -> None:
        """Put a copy in place of all that is there."""
        self._database.driver.deserialize(copy)

    def close(self) -> None:
        if hasattr(self, "_database"):
            _free.append(self._database)
            del self._database
