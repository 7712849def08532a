"""Looks at a journal without changing it: its kind, version and lock, and whether this user can write to it.

For ``doctor``; opening it for work is left to ``store``.
"""

from __future__ import annotations

from sqlalchemy import text

from reconciler.errors import JournalError
from reconciler.journal import schema
from reconciler.journal.database import Database, parse
from reconciler.values import Struct


class _Undone(Exception):
    """Ends a transaction that was begun only to see whether it can be."""


class Condition(Struct, frozen=True):
    """What there is to say about a journal that exists."""

    kind: str
    """``SQLite`` or ``PostgreSQL``."""
    version: int | None
    """Of its tables; None while it has none."""
    latest: int = schema.LATEST
    """The version that this program writes."""
    unwritable: str = ""
    """Why it cannot be locked for writing; empty when it can."""


def condition(url: str) -> Condition | None:
    """The condition of the journal at a URL, or None for a file that is not there; raises ``JournalError``.

    Takes the lock of a writer and gives it back; nothing is written, created or migrated.
    """
    database = Database(parse(url))
    try:
        if database.file_is_missing():
            return None
        with database.read() as connection:
            version = schema.version_of(connection, database.where)
        return Condition(
            kind="SQLite" if database.sqlite else "PostgreSQL",
            version=version,
            unwritable=_unwritable(database) if version else "",
        )
    finally:
        database.close()


def _unwritable(database: Database) -> str:
    try:
        with database.write() as connection:
            if not database.sqlite:
                allowed = text("SELECT has_table_privilege('reconciler_runs', 'INSERT')")
                if not connection.execute(allowed).scalar():
                    return "this user may only read it"
            database.take_turn(connection, "doctor")
            raise _Undone
    except _Undone:
        return ""
    except JournalError as error:
        return error.message
