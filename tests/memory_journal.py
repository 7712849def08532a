"""A journal in memory, for tests that need no file: no URL of a user's leads to one."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Collection
from functools import cache
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

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
    database = Database(_URL)
    prepare(database)
    with database.read() as connection:
        driver: Any = connection.connection.driver_connection
        copy: bytes = driver.serialize()
    database.close()
    return copy


class _Held(Database):
    """Holds its connection: nobody else could want it, and getting one takes longer than most statements."""

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        connection = self._engine.connect()
        self.driver: Any = connection.connection.driver_connection
        quick: Any = _Quick(connection, self.driver)
        turn = Lock()
        self._reading = _Turn(self, quick, turn, None)
        self._writing = _Turn(self, quick, turn, "BEGIN IMMEDIATE")

    def read(self) -> Any:
        return self._reading

    def write(self) -> Any:
        return self._writing

    def fail(self, error: BaseException) -> None:
        """Raise what the journal raises for this error of a library."""
        with self._translated():
            raise error


class _Turn:
    """One transaction at a time; what only reads needs none, since nobody else has a turn meanwhile."""

    def __init__(self, held: _Held, quick: _Quick, turn: Lock, begin: str | None) -> None:
        self._held, self._quick, self._turn, self._begin = held, quick, turn, begin

    def __enter__(self) -> _Quick:
        self._turn.acquire()
        try:
            if self._begin:
                self._held.driver.execute(self._begin)
        except BaseException as error:
            self.__exit__(None, error, None)
        return self._quick

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        driver = self._held.driver
        try:
            if error:
                driver.rollback()
            elif driver.in_transaction:
                driver.commit()
        finally:
            self._turn.release()
        if error:
            self._held.fail(error)


class _Quick:
    """A connection that compiles each statement once and then leaves it to the driver.

    SQLAlchemy's own work for each execution takes several times as long as SQLite's. Statements that are composed
    anew whenever they are run, and those that need more than plain values, go its usual way.
    """

    def __init__(self, connection: Connection, driver: Any) -> None:
        self._connection, self._driver = connection, driver
        self._seen: WeakKeyDictionary[Any, dict[Collection[str], _Compiled | None]] = WeakKeyDictionary()

    def execute(self, statement: Any, values: Any = None) -> Any:
        known = self._seen.get(statement)
        if known is None or isinstance(values, list):
            self._seen.setdefault(statement, {})
            return self._connection.execute(statement, values)
        names = tuple(values or ())
        if names not in known:
            known[names] = _Compiled.of(statement, names, self._connection.dialect)
        ready = known[names]
        return ready.run(self._driver, values or {}) if ready else self._connection.execute(statement, values)

    def scalar(self, statement: Any, values: Any = None) -> Any:
        return self.execute(statement, values).scalar()

    def scalars(self, statement: Any, values: Any = None) -> Any:
        return self.execute(statement, values).scalars()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class _Compiled:
    """One statement with the names of its values."""

    def __init__(self, compiled: Any, dialect: Any) -> None:
        self._sql = compiled.string
        self._fixed = {name: bind.value for bind, name in compiled.bind_names.items() if not bind.required}
        self._values = [(name, compiled._bind_processors.get(name)) for name in compiled.positiontup]
        columns = compiled._result_columns
        row: Any = namedtuple("Row", [each.keyname for each in columns])  # type: ignore[misc]
        self._row = row._make if columns else None
        self._readers = [each.type._cached_result_processor(dialect, None) for each in columns]

    @classmethod
    def of(cls, statement: Any, names: tuple[str, ...], dialect: Any) -> _Compiled | None:
        """None where more is to be done for each execution."""
        compiled = statement.compile(dialect=dialect, column_keys=names)
        defaults = compiled.insert_prefetch or compiled.update_prefetch
        lists = compiled.post_compile_params or compiled.literal_execute_params
        return None if defaults or lists or compiled.isplaintext else cls(compiled, dialect)

    def run(self, driver: Any, values: Any) -> Any:
        """What SQLAlchemy would return, as far as the journal asks for it."""
        given = {**self._fixed, **values} if self._fixed else values
        cursor = driver.execute(self._sql, [p(given[n]) if p else given[n] for n, p in self._values])
        if not self._row:
            return _Result([], cursor.rowcount)
        readers = self._readers
        raw = cursor.fetchall()
        return _Result(
            [self._row([r(v) if r else v for r, v in zip(readers, each, strict=True)]) for each in raw]
        )


class _Result(list[Any]):
    """The rows of one statement, or how many it changed."""

    def __init__(self, found: list[Any], rowcount: int = -1) -> None:
        super().__init__(found)
        self.rowcount = rowcount

    def all(self) -> list[Any]:
        return self

    def first(self) -> Any:
        return self[0] if self else None

    def scalars(self) -> _Result:
        return _Result([each[0] for each in self])

    def scalar(self) -> Any:
        return self[0][0] if self else None

    def scalar_one_or_none(self) -> Any:
        [value] = self.scalars() or [None]
        return value

    def scalar_one(self) -> Any:
        [value] = self.scalars()
        return value


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
