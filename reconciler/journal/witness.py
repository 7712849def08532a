"""Notices that a journal was restored from a backup: marks that came back with it may be of disks wanted in between.

SQLite: every transaction that changes marks leaves a new token in the database and in a small file beside it, which
a backup of the database does not hold. PostgreSQL: a row keeps the id of the transaction that wrote it, which a dump
does not bring back, with the system and the timeline of the server. What is done about it is left to ``store``.
"""

from __future__ import annotations

import os
import secrets
from abc import abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, select, text, update

from reconciler.files import write_atomically
from reconciler.journal.database import Database
from reconciler.journal.schema import witness

_STORED = select(witness.c.token).where(witness.c.what == "marks")
_STORE = update(witness).where(witness.c.what == "marks")
_MOST = 4096
"""Bytes of the file that are read; two tokens take 66."""
_UNKNOWN = "-"
_WROTE = text("SELECT token, CAST(CAST(xmin AS text) AS bigint) FROM reconciler_witness WHERE what = 'marks'")
_MAY = text(
    "SELECT has_function_privilege('pg_control_system()', 'EXECUTE'), NOT pg_is_in_recovery() "
    "AND has_function_privilege('pg_walfile_name(pg_lsn)', 'EXECUTE') "
    "AND has_function_privilege('pg_current_wal_lsn()', 'EXECUTE')"
)
_SYSTEM = text("SELECT CAST(system_identifier AS text) FROM pg_control_system()")
# The name of a file of the log begins with the timeline it is of; the control file learns of a new one only later.
_TIMELINE = text("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")


class Witness(Protocol):
    """What is known outside of a journal's backups about the last change of its marks."""

    @abstractmethod
    def holds(self, connection: Connection) -> bool:
        """Whether this is the journal whose marks were changed last; only compares."""

    @abstractmethod
    def change(self, connection: Connection) -> None:
        """Go along with a transaction that changes marks, as its last step before it commits."""

    @abstractmethod
    def is_settled(self) -> bool:
        """Whether nothing is left to do after such a transaction."""

    @abstractmethod
    def settle(self, connection: Connection) -> None:
        """Do what is left, in a write transaction of its own that comes after."""


class Place(Protocol):
    """Where the tokens are kept outside of the database."""

    @abstractmethod
    def read(self) -> Collection[str]:
        """The tokens that are there: none where nothing can be read."""

    @abstractmethod
    def write(self, tokens: Collection[str]) -> None:
        """Replace them at once and durably."""


class BesideFile:
    """A file beside the SQLite file, for its owner alone."""

    def __init__(self, journal: Path) -> None:
        self.path = journal.with_name(f"{journal.name}-witness")

    def read(self) -> Collection[str]:
        """The tokens in the file, one a line."""
        try:
            number = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(number, "rb") as file:
                return frozenset(file.read(_MOST).decode("ascii", "replace").split())
        except OSError:  # then nothing vouches for the marks, and whoever writes hears of it
            return frozenset()

    def write(self, tokens: Collection[str]) -> None:
        """Replace the file; also the folder's entry is on disk before the database commits."""
        write_atomically(self.path, "".join(f"{each}\n" for each in tokens))
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Token(Witness):
    """A token in the database and outside of it."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def holds(self, connection: Connection) -> bool:
        """Whether the database's token is known outside."""
        # In this order: having read, a transaction keeps others from committing a token that is not outside yet.
        stored = _stored(connection)
        return stored is not None and stored in self._place.read()

    def change(self, connection: Connection) -> None:
        """Put a new token outside beside the one that holds, then into the database."""
        stored, new = _stored(connection), secrets.token_hex(16)
        # Whether the transaction commits or not, one of both is the database's. One that did not hold before must
        # not hold either when this transaction fails: its marks have not begun anew.
        known = [stored] if stored is not None and stored in self._place.read() else []
        self._place.write([*known, new])
        _store(connection, new)

    def is_settled(self) -> bool:
        """Whether only one token is known."""
        return len(self._place.read()) <= 1

    def settle(self, connection: Connection) -> None:
        """Forget the other token, so that a backup from before is noticed."""
        stored = _stored(connection)
        if stored is not None and stored in self._place.read():
            self._place.write([stored])


class Server(Witness):
    """A row of PostgreSQL that knows which transaction wrote it, on which system and timeline."""

    def holds(self, connection: Connection) -> bool:
        """Whether the row is as it was written, and on this server; what this role may not read does not count."""
        row = connection.execute(_WROTE).first()
        if row is None:
            return False
        transaction, _, server = row[0].partition(" ")
        if not transaction.isdigit() or int(transaction) % 2**32 != row[1]:
            return False
        then, now = server.split(), _server(connection)
        return len(then) == len(now) and all(
            _UNKNOWN in pair or pair[0] == pair[1] for pair in zip(then, now, strict=True)
        )

    def change(self, connection: Connection) -> None:
        """Write the row anew where it does not hold; no dump brings it back, however old it is."""
        if not self.holds(connection):
            transaction = connection.execute(text("SELECT txid_current()")).scalar_one()
            _store(connection, " ".join([str(transaction), *_server(connection)]))

    def is_settled(self) -> bool:
        """Nothing is ever left to do."""
        return True

    def settle(self, connection: Connection) -> None:
        """Do nothing."""


class InMemory(Witness):
    """For a database in memory, of which there is no backup."""

    def holds(self, connection: Connection) -> bool:  # noqa: ARG002
        """Whether it is the one it was: always."""
        return True

    def change(self, connection: Connection) -> None:
        """Do nothing."""

    def is_settled(self) -> bool:
        """Nothing is ever left to do."""
        return True

    def settle(self, connection: Connection) -> None:
        """Do nothing."""


def witness_of(database: Database) -> Witness:
    """What notices that this journal was restored."""
    if not database.sqlite:
        return Server()
    return Token(BesideFile(database.path)) if database.path else InMemory()


def _server(connection: Connection) -> tuple[str, str]:
    """System identifier and timeline of the server, as far as this role may know them."""
    may_system, may_timeline = connection.execute(_MAY).one()
    system = connection.execute(_SYSTEM).scalar_one() if may_system else _UNKNOWN
    return system, connection.execute(_TIMELINE).scalar_one() if may_timeline else _UNKNOWN


def _stored(connection: Connection) -> str | None:
    return connection.scalar(_STORED)


def _store(connection: Connection, token: str) -> None:
    if connection.execute(_STORE, {"token": token}).rowcount == 0:
        # Two runs may do so at once on PostgreSQL: the row of either vouches for both.
        row = "INSERT INTO reconciler_witness (what, token) VALUES ('marks', :token) ON CONFLICT DO NOTHING"
        connection.execute(text(row), {"token": token})
