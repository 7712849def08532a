"""Connects to the database: URL, file and permissions, connection settings, transactions.

Exceptions of libraries become ``JournalError`` here; their wording is left to ``faults``, tables to ``schema``,
statements to ``store``.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import URL, Connection, Dialect, Engine, Insert, Table, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import LRUCache

from reconciler.errors import BadInput, JournalError
from reconciler.files import writable_by_others
from reconciler.journal import faults
from reconciler.journal.tls import OLDEST_LIBPQ, Protection, protection
from reconciler.journal.url import HOW_TO_WRITE, check_url
from reconciler.network import certificates
from reconciler.redaction import know

BUSY_SECONDS = 10
"""Seconds that a write waits for another process's lock."""
LARGE = 16 * 1024 * 1024
"""Bytes from which a file is read as a whole only once a day; less takes about a quarter of a second."""
_QUICKLY = (
    "reconciler_schema",
    "reconciler_pools",
    "reconciler_plans",
)
"""Small tables, which every version has, that are checked on each opening of a large file."""
_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_POSTGRES: dict[str, Any] = {
    "connect_timeout": BUSY_SECONDS,
    # Without these a run would hang for a quarter of an hour when the network breaks.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "reconciler",
}


def parse(url: str) -> URL:
    """Read a journal URL; raises ``BadInput``, whose message does not repeat the URL: it may hold a password."""
    check_url(url)
    try:
        parsed = make_url(url)
        parsed = parsed.set(drivername=_DRIVERS[parsed.drivername])
    except (ArgumentError, ValueError):
        raise BadInput("the journal's URL cannot be read", f"Use {HOW_TO_WRITE}.") from None
    except KeyError:
        raise BadInput(
            f"the journal cannot be kept in {parsed.drivername!r}", f"Use {HOW_TO_WRITE}."
        ) from None
    if parsed.drivername.startswith("sqlite") and (other := sorted(set(parsed.query) - {"timeout"})):
        raise BadInput(
            f"the journal's URL has options that are unknown for SQLite: {', '.join(other)}",
            "The only option is timeout, in seconds: how long to wait for another process's lock.",
        )
    try:
        _timeout(parsed)
    except ValueError:
        raise BadInput(
            "the timeout in the journal's URL is not a number", "Use seconds, such as timeout=10."
        ) from None
    return parsed


def place(url: URL) -> str:
    """Where the journal is, for messages: the file, or the server's address without secrets."""
    # The query goes too: it may hold a password.
    return str(_file(url) or url.set(query={}).render_as_string(hide_password=True))


def _file(url: URL) -> Path | None:
    kept_in_file = url.drivername.startswith("sqlite") and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if kept_in_file else None


class Database:
    """One database with its transactions, over a single connection that threads use in turn.

    With ``read_only`` it creates no file and refuses every change.
    """

    def __init__(self, url: URL, *, read_only: bool = False) -> None:
        self.sqlite = url.drivername.startswith("sqlite")
        self.path = _file(url)
        """The SQLite file; None for a database in memory or on a server."""
        self.where = place(url)
        know(*_secrets(url))
        guarded = None if self.sqlite else protection(url, os.environ)
        self.warning = _weakened(self.where, guarded) if guarded else ""
        """What the user should hear about the connection; empty if there is nothing."""
        with self._translated():
            self._engine = _postgres(url, read_only, guarded) if guarded else _sqlite(url, read_only)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that only reads."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that holds SQLite's write lock from its start; any exception rolls it back."""
        # A lock taken only at the first write could fail after reads on which that write depends.
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self._translated(), self._engine.begin() as connection:
            if self.sqlite:  # not by an event of the engine: that would make each statement fire events
                connection.connection.driver_connection.execute(begin)  # type: ignore[union-attr]
            yield connection

    def take_turn(self, connection: Connection, name: str) -> None:
        """Let one write transaction at a time go on under this name, until it ends; in SQLite any is alone."""
        if not self.sqlite:
            turn = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
            connection.execute(turn, {"name": name})

    def insert_new(self, table: Table) -> Insert:
        """An insert that adds nothing where a unique key is taken; its row count is then 0."""
        return _insert_new(table, sqlite=self.sqlite)

    def file_is_missing(self) -> bool:
        """True when there is no SQLite file yet; raises ``JournalError`` when its path is not a file."""
        if self.path is None:
            return False
        with self._translated():
            if not self.path.exists():
                return True
            self._check_file(self.path)
            return False

    def create_file(self) -> None:
        """Create the file (0600) and its missing folders (0700), whatever the umask."""
        if self.path is None:
            return
        with self._translated():
            for folder in reversed([self.path.parent, *self.path.parent.parents]):
                if not folder.exists():
                    folder.mkdir(mode=0o700, exist_ok=True)
            _check_rights(self.path.parent)
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                self._check_file(self.path)
            # SQLite would open it read-only and fail at the first write, which may be after a plan was made.
            if not os.access(self.path, os.W_OK) or not os.access(self.path.parent, os.W_OK):
                raise JournalError(
                    f"the journal {self.path} cannot be written: it or its folder is read-only for this user",
                    faults.ELSEWHERE,
                )

    @staticmethod
    def _check_file(path: Path) -> None:
        if not path.is_file():
            raise JournalError(f"the journal {path} is not a file", faults.ELSEWHERE) from None
        _check_rights(path)

    def verify(self, connection: Connection) -> None:
        """Raise ``JournalError`` when the file is damaged: reads a small file once, of a large one what is cheap."""
        if not self.is_large():
            self.check_whole(connection)
            return
        for (
            table
        ) in _QUICKLY:  # rows of operations have checksums of their own, and the rest no call rests on
            self._pragma(connection, f"quick_check({table})")

    def check_whole(self, connection: Connection) -> None:
        """Read the whole SQLite file once and raise ``JournalError`` when it is damaged."""
        if self.path is None:
            return  # in memory, or a server that checks its own files
        self._pragma(connection, "integrity_check(1)")

    def check_table(self, connection: Connection, table: Table) -> None:
        """The same for one table with its indexes."""
        if self.path is not None:
            self._pragma(connection, f"integrity_check({table.name})")

    def is_large(self) -> bool:
        """Whether reading the whole file takes longer than a command should."""
        return self.path is not None and self.path.stat().st_size > LARGE

    def _pragma(self, connection: Connection, check: str) -> None:
        found = connection.exec_driver_sql(f"PRAGMA {check}").scalar()
        if found != "ok":
            raise JournalError(f"the journal {self.where} is damaged ({found})", faults.BACKUP)

    @contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """Close the connection when the block raises."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError, ImportError, ValueError, TypeError) as error:
            # ValueError and TypeError come from stored values that cannot be read: this program did not write them.
            raise faults.journal_error(error, self.where) from error


@cache
def _insert_new(table: Table, *, sqlite: bool) -> Insert:
    if sqlite:
        from sqlalchemy.dialects.sqlite import insert  # noqa: PLC0415 - loaded by the engine already

        quiet: Insert = insert(table).on_conflict_do_nothing()
    else:
        from sqlalchemy.dialects.postgresql import insert as pg_insert  # noqa: PLC0415 - costs time

        quiet = pg_insert(table).on_conflict_do_nothing()
    # SQLAlchemy discards the row count of an insert without this option.
    return quiet.execution_options(preserve_rowcount=True)


def _sqlite(url: URL, read_only: bool) -> Engine:
    options: dict[str, Any] = {"timeout": float(BUSY_SECONDS), "check_same_thread": False} | _timeout(url)
    file = _file(url)
    if read_only and file:
        # Read-write where permitted: before reading, SQLite must roll back what a dead run left half written.
        # Unlike the default mode, rw creates no file.
        url = url.set(database=f"file:{quote(str(file.absolute()))}", query={"mode": "rw", "uri": "true"})
    dialect, compiled = _of_sqlite()
    [name], named = dialect.create_connect_args(url)

    def connect() -> Any:
        connection = sqlite3.connect(name, **{**named, **options})
        try:
            _set_up(connection, read_only)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    pool = QueuePool(connect, pool_size=1, max_overflow=0, dialect=dialect)
    return Engine(pool, dialect, url, execution_options={"compiled_cache": compiled})


@cache
def _of_sqlite() -> tuple[Dialect, LRUCache[Any, Any]]:
    """What all SQLite journals of a process share, so that it compiles a statement only once."""
    engine = create_engine("sqlite+pysqlite://", json_serializer=_to_json, json_deserializer=_from_json)
    engine.connect().close()  # the dialect learns what it speaks to
    engine.dispose()
    return engine.dialect, LRUCache(500)


def _to_json(value: Any) -> str:
    """As ``json.dumps``, in a tenth of the time: a plan is kept in the journal as a whole."""
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, TypeError):  # a lone surrogate, or a type of text of its own
        return json.dumps(value)


def _from_json(text: str | bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:  # what only the json module reads, such as an escaped lone surrogate
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested more deeply than anything that this program writes") from None


def _set_up(connection: sqlite3.Connection, read_only: bool) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by its own rules
    # A byte that is no UTF-8 would make a whole result unreadable; checksums find it row by row.
    connection.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")
    connection.execute("PRAGMA journal_mode=DELETE")
    # EXTRA also syncs the folder: a commit survives power loss right after it.
    connection.execute("PRAGMA synchronous=EXTRA")
    if read_only:
        connection.execute("PRAGMA query_only=ON")


def _check_rights(path: Path) -> None:
    """Raise ``JournalError`` where other users could change what the journal says, or lead it elsewhere."""
    if path.is_symlink() and path.is_file():
        raise JournalError(
            f"the journal {path} is a symbolic link", "Name the file itself in RECONCILER_JOURNAL."
        )
    folder = path if path.is_dir() else path.parent
    for each in {folder, path}:
        if writable_by_others(each):
            raise JournalError(
                f"other users may write {each}, so they could change the journal or take its place",
                f"Take that right away (chmod go-w {each}), or point RECONCILER_JOURNAL at a place of your own.",
            )


def _timeout(url: URL) -> dict[str, float]:
    given = url.query.get("timeout")
    return {"timeout": float(str(given))} if given else {}


def _secrets(url: URL) -> Iterator[str]:
    """What must not be shown of a URL; the query may hold a password too."""
    for each in (url.password, *(url.query.get(name) for name in ("password", "sslpassword"))):
        yield from filter(None, [each] if isinstance(each, str) else each or ())


def _weakened(where: str, guarded: Protection) -> str:
    if not guarded.spoken:
        return ""
    weaker = f"with {guarded.spoken}, as its URL says, and without it better protected"
    return f"Warning: the journal {where} is reached {weaker}."


def _postgres(url: URL, read_only: bool, guarded: Protection) -> Engine:
    options = guarded.options
    if not _knows_protection():
        if guarded.remote:
            raise BadInput(
                "the journal's PostgreSQL driver is too old to verify a server",
                "Install one with libpq 16 or later, such as psycopg[binary] 3.2.",
            )
        options = {}
    if options.get("sslrootcert") == "system":
        _lead_to_certificates()
    dialect, compiled = _of_postgres(url.set(database=None, query={"host": url.query.get("host", "")}))
    arguments, named = dialect.create_connect_args(url)
    named = {**named, **{key: value for key, value in _POSTGRES.items() if key not in url.query}, **options}

    def connect() -> Any:
        connection: Any = dialect.connect(*arguments, **named)
        try:
            _greet(connection, dialect, read_only)
        except BaseException:
            connection.close()
            raise
        return connection

    pool = QueuePool(connect, pool_size=1, max_overflow=0, pre_ping=True, dialect=dialect)
    engine = Engine(pool, dialect, url, execution_options={"compiled_cache": compiled})
    if dialect.server_version_info is None:

        @event.listens_for(engine, "engine_connect")
        def connected(connection: Connection) -> None:
            if dialect.server_version_info is None:
                _introduce(dialect, connection)

    return engine


def _introduce(dialect: Dialect, connection: Connection) -> None:
    """Let the dialect learn what it speaks to: all of it, or nothing that the next connection would build on."""
    try:
        with connection.begin():
            dialect.initialize(connection)
    except BaseException:
        dialect.server_version_info = None
        connection.close()
        raise


@cache
def _of_postgres(server: URL) -> tuple[Dialect, LRUCache[Any, Any]]:
    """What all journals on a PostgreSQL server share, so that a process compiles a statement only once."""
    return create_engine(server, json_deserializer=_from_json).dialect, LRUCache(500)


def _greet(connection: Any, dialect: Dialect, read_only: bool) -> None:
    # A statement must see what was committed while it waited for its turn, whatever the server's default is.
    dialect.set_isolation_level(connection, "READ COMMITTED")
    with connection.cursor() as cursor:
        # An intent must be on disk before the call is sent, whatever the server's default is.
        cursor.execute("SET synchronous_commit = on")
        cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
        if read_only:
            cursor.execute("SET default_transaction_read_only = on")
    connection.commit()


def _knows_protection() -> bool:
    import psycopg  # noqa: PLC0415 - an extra

    return psycopg.pq.version() >= OLDEST_LIBPQ


def _lead_to_certificates() -> None:
    """Lead the driver's own OpenSSL to the system's certificates: built elsewhere, it looks for them elsewhere."""
    for name, place in zip(("SSL_CERT_FILE", "SSL_CERT_DIR"), certificates(os.environ), strict=True):
        if place:
            os.environ.setdefault(name, place)
