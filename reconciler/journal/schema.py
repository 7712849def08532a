"""The journal's tables, their version, and the migrations between versions.

Connecting is left to ``database``, the meaning of rows to ``rows`` and ``store``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement

from reconciler.errors import JournalError
from reconciler.journal.checksum import intent_sum, state_sum, storable
from reconciler.journal.faults import BACKUP

_CREATION_LOCK = 7_204_417_093
"""Key of the PostgreSQL advisory lock under which one process at a time creates or migrates."""


class Utc(sa.TypeDecorator[datetime]):
    """Aware UTC datetimes, kept to the microsecond; SQLite stores them without the zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse a time without a zone, which would be some machine's local time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the journal stores only timezone-aware times")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        """The same, and for SQLite the text as well: SQLAlchemy would format each of its numbers."""
        if dialect.name != "sqlite":
            return super().bind_processor(dialect)

        def process(value: datetime | None) -> str | None:
            utc = self.process_bind_param(value, dialect)
            return None if utc is None else utc.isoformat(" ", "microseconds")

        return process

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Restore the zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Words(sa.TypeDecorator[str]):
    """Text that every database accepts: NUL and lone surrogates, which some refuse, become escapes."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        """Escape instead of refusing, because an outcome must be recorded whatever the service wrote."""
        return None if value is None else storable(value)

    def bind_processor(self, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        """The same, without SQLAlchemy's calls around it: most values are words."""
        return lambda value: None if value is None else storable(value)


def _keys(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, Words, primary_key=True) for name in names]


def _words(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, Words, nullable=False) for name in names]


def _of_outcome() -> list[sa.Column[Any]]:
    """What the service answered to a call; all empty while nobody knows."""
    return [
        sa.Column("outcome", Words),
        sa.Column("job_id", Words),
        sa.Column("request_id", Words),
        sa.Column("status", sa.Integer),
        sa.Column("code", Words),
        sa.Column("message", Words),
    ]


metadata = sa.MetaData()

version_table = sa.Table("reconciler_schema", metadata, sa.Column("version", sa.Integer, nullable=False))

pools = sa.Table(
    "reconciler_pools",
    metadata,
    *_keys("target", "service", "pool_id"),
    sa.Column("generation", sa.BigInteger, nullable=False),
)

runs = sa.Table(
    "reconciler_runs",
    metadata,
    sa.Column("id", Words, primary_key=True),
    *_words("command", "tool_version"),
    sa.Column("targets", sa.JSON, nullable=False),
    sa.Column("started", Utc, nullable=False, index=True),
    sa.Column("ended", Utc),
    sa.Column("digest", Words, nullable=False),
    sa.Column("exit_code", sa.Integer),
    sa.Column("summary", sa.JSON, nullable=False),
    sa.Column("way", Words, nullable=False),
    sa.Column("principals", sa.JSON, nullable=False),
    sa.Column("policy", Words, nullable=False),
    sa.Column("origin", sa.JSON, nullable=False),
)

operations = sa.Table(
    "reconciler_operations",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("run_id", Words, nullable=False, index=True),
    *_words("target", "service", "pool_id", "pool_name", "step"),
    sa.Column("handle_type", Words),
    sa.Column("disks", sa.JSON, nullable=False),
    sa.Column("disk_count", sa.Integer, nullable=False),
    sa.Column("keep", sa.JSON, nullable=False),
    sa.Column("baseline_jobs", sa.JSON, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("signed_at", Utc, nullable=False),
    sa.Column("not_after", Utc),
    *_words("plan_digest", "state"),
    *_of_outcome(),
    sa.Column("owner", Words, nullable=False, index=True),
    sa.Column("lease_until", Utc, nullable=False),
    sa.Column("opened", Utc, nullable=False, index=True),
    sa.Column("closed", Utc),
    sa.Column("verdict", Words, nullable=False),
    sa.Column("closed_by", Words),
    sa.Column("copies", sa.JSON, nullable=False),
    *_words("intent_sum", "state_sum"),
)

# Before a pool is held, all its rows are checked, however many other pools have. The pool comes first: an index that
# begins with the target would be chosen, without statistics, for queries of one day, and read every row of the target.
sa.Index("reconciler_by_pool", operations.c.pool_id, operations.c.target, operations.c.service)

# The lock that everything rests on: two runs cannot both have an open operation on one pool.
sa.Index(
    "reconciler_one_unresolved_per_pool",
    operations.c.target,
    operations.c.service,
    operations.c.pool_id,
    unique=True,
    sqlite_where=operations.c.closed.is_(None),
    postgresql_where=operations.c.closed.is_(None),
)

NOT_DONE = sa.text("state NOT IN ('done', 'not_accepted', 'not_sent', 'rejected')")
"""SQL for ``states.NOT_DONE``, spelled as in the index: only then does the database use the index."""

# Holds only the few operations that are not a success, however many there ever were.
sa.Index(
    "reconciler_not_done",
    operations.c.target,
    operations.c.service,
    sqlite_where=NOT_DONE,
    postgresql_where=NOT_DONE,
)

events = sa.Table(
    "reconciler_events",
    metadata,
    sa.Column(
        "seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    sa.Column("run_id", Words, nullable=False, index=True),
    sa.Column("operation_id", Words),
    sa.Column("at", Utc, nullable=False),
    sa.Column("kind", Words, nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
)

alarms = sa.Table(
    "reconciler_alarms",
    metadata,
    sa.Column("id", Words, primary_key=True),
    *_words("run_id", "target", "service", "pool_id", "pool_name"),
    sa.Column("at", Utc, nullable=False),
    sa.Column("message", Words, nullable=False),
    sa.Column("acknowledged", Utc),
    sa.Column("acknowledged_by", Words, nullable=False),
)

# Every run asks for the few that are open, however many there ever were.
sa.Index(
    "reconciler_open_alarms",
    alarms.c.target,
    alarms.c.service,
    sqlite_where=alarms.c.acknowledged.is_(None),
    postgresql_where=alarms.c.acknowledged.is_(None),
)

marks = sa.Table(
    "reconciler_marks",
    metadata,
    *_keys("target", "service", "pool_id", "disk_id"),
    *_words("pool_name", "run_id"),
    sa.Column("first_seen", Utc, nullable=False),
    sa.Column("grace", sa.BigInteger, nullable=False),
    sa.Column("extended_until", Utc),
    sa.Column("extended_by", Words, nullable=False),
    sa.Column("shape", Words, nullable=False, server_default=""),
)

announcements = sa.Table(
    "reconciler_announcements",
    metadata,
    sa.Column("id", Words, primary_key=True),
    *_words("target", "service", "pool_id", "disk_id"),
    sa.Column("first_seen", Utc, nullable=False),
    *_words("once", "pool_name", "notice"),
    sa.Column("due", Utc, nullable=False),
    sa.Column("text", Words, nullable=False),
    sa.Column("run_id", Words, nullable=False, index=True),
    sa.Column("begun", Utc, nullable=False, index=True),
    *_of_outcome(),
)

# The lock that "sent once" rests on: two runs cannot both have the same message about the same mark. The pool comes
# first, as above.
sa.Index(
    "reconciler_one_announcement",
    announcements.c.pool_id,
    announcements.c.disk_id,
    announcements.c.target,
    announcements.c.service,
    announcements.c.first_seen,
    announcements.c.once,
    unique=True,
)

witness = sa.Table(
    "reconciler_witness",
    metadata,
    sa.Column("what", Words, primary_key=True),
    sa.Column("token", Words, nullable=False),
)

plans = sa.Table(
    "reconciler_plans",
    metadata,
    sa.Column("plan_id", Words, primary_key=True),
    sa.Column("run_id", Words, nullable=False),
    sa.Column("claimed", Utc, nullable=False),
)

group_losses = sa.Table(
    "reconciler_group_losses",
    metadata,
    *_keys("run_group", "kind", "item"),
    sa.Column("amount", sa.BigInteger, nullable=False),
)

# One row for each group, whose amount is the time of its last claim in seconds since 1970.
sa.Index(
    "reconciler_last_claims",
    group_losses.c.amount,
    sqlite_where=group_losses.c.kind == "",
    postgresql_where=group_losses.c.kind == "",
)

drift_points = sa.Table(
    "reconciler_drift",
    metadata,
    *_keys("run_id", "target", "service", "pool_id"),
    sa.Column("pool_name", Words, nullable=False),
    sa.Column("at", Utc, nullable=False, index=True),
    sa.Column("surplus", sa.Integer, nullable=False),
    sa.Column("missing", sa.Integer, nullable=False),
    sa.Column("surplus_gb", sa.BigInteger, nullable=False),
)

# A pool's latest point, and the later points of a day. The pool comes first, as above.
sa.Index(
    "reconciler_drift_by_pool",
    drift_points.c.pool_id,
    drift_points.c.target,
    drift_points.c.service,
    drift_points.c.at,
)

upkeep = sa.Table(
    "reconciler_upkeep",
    metadata,
    sa.Column("what", Words, primary_key=True),
    sa.Column("until", Utc, nullable=False),
)

Migration = tuple[str | Callable[[sa.Connection], None], ...]
"""SQL statements, valid for both databases, and functions that lead from one version to the next."""


def _add_sums(connection: sa.Connection) -> None:
    """Give every row its checksums; what is damaged already cannot be distinguished from what was written."""
    keep = sa.update(operations).where(operations.c.id == sa.bindparam("of_id"))
    for (identifier,) in connection.execute(sa.select(operations.c.id)).all():
        row = connection.execute(sa.select(operations).where(operations.c.id == identifier)).one()._asdict()
        sums = {"intent_sum": intent_sum(row), "state_sum": state_sum(row)}
        connection.execute(keep, {"of_id": identifier} | sums)


def _adding(*tables: sa.Table) -> Callable[[sa.Connection], None]:
    """What creates these tables as a new journal has them."""

    def add(connection: sa.Connection) -> None:
        for statement in _creation(connection.engine.url.drivername, tuple(each.name for each in tables)):
            connection.exec_driver_sql(statement)

    return add


def _add_shapes(connection: sa.Connection) -> None:
    """What a marked disk is; a table of marks that has just been created has the column already."""
    if marks.c.shape.name not in {each["name"] for each in sa.inspect(connection).get_columns(marks.name)}:
        connection.execute(sa.text("ALTER TABLE reconciler_marks ADD COLUMN shape TEXT DEFAULT '' NOT NULL"))


MIGRATIONS: tuple[Migration, ...] = (
    (
        "CREATE INDEX reconciler_not_done ON reconciler_operations (target, service) "
        "WHERE state NOT IN ('done', 'not_accepted', 'not_sent', 'rejected')",
    ),
    (
        "ALTER TABLE reconciler_operations ADD COLUMN copies JSON DEFAULT '[]' NOT NULL",
        "ALTER TABLE reconciler_operations ADD COLUMN intent_sum TEXT DEFAULT '' NOT NULL",
        "ALTER TABLE reconciler_operations ADD COLUMN state_sum TEXT DEFAULT '' NOT NULL",
        "CREATE INDEX reconciler_by_pool ON reconciler_operations (pool_id, target, service)",
        _add_sums,
    ),
    (
        "ALTER TABLE reconciler_runs ADD COLUMN way TEXT DEFAULT '' NOT NULL",
        "ALTER TABLE reconciler_runs ADD COLUMN principals JSON DEFAULT '[]' NOT NULL",
        "ALTER TABLE reconciler_runs ADD COLUMN policy TEXT DEFAULT '' NOT NULL",
        "ALTER TABLE reconciler_runs ADD COLUMN origin JSON DEFAULT '{}' NOT NULL",
        # What a day's budget has used is counted from the operations themselves.
        "DROP TABLE reconciler_budgets",
        "CREATE INDEX reconciler_drift_by_pool ON reconciler_drift (pool_id, target, service, at)",
        "CREATE INDEX reconciler_last_claims ON reconciler_group_losses (amount) WHERE kind = ''",
        _adding(upkeep, alarms, marks),
    ),
    (_adding(announcements, witness), _add_shapes),
)
"""Index n leads from version n + 1 to n + 2; a new journal is created at the latest version directly."""

LATEST = len(MIGRATIONS) + 1
"""The version this program writes."""

READABLE_SINCE = 1
"""The oldest version whose tables and columns this program can read without migrating it."""
SUMS_SINCE = 3
"""The version from which rows of operations have copies and checksums."""
ALARMS_SINCE = 4
"""The version from which there are alarms."""
MARKS_SINCE = 4
"""The version from which there are marks of surplus disks."""
ANNOUNCEMENTS_SINCE = 5
"""The version from which there are messages to the people of pools."""
WITNESS_SINCE = 5
"""The version from which it is noticed that a journal was restored."""

SHAPES_SINCE = 5
"""The version from which a mark says what the disk is."""

APPROVALS_SINCE = 4
"""The version from which rows of runs say how they were approved, and who started them where."""


def readable_runs(version: int) -> sa.Select[Any]:
    """The query for runs with the columns that a journal of this version has."""
    if version >= APPROVALS_SINCE:
        return sa.select(runs)
    later = {"way", "principals", "policy", "origin"}
    return sa.select(*(column for column in runs.c if column.name not in later))


def readable_operations(version: int) -> sa.Select[Any]:
    """The query for operations with the columns that a journal of this version has."""
    if version >= SUMS_SINCE:
        return sa.select(operations)
    later = {"copies", "intent_sum", "state_sum"}
    return sa.select(*(column for column in operations.c if column.name not in later))


def matching(table: sa.Table, *columns: str) -> list[sa.ColumnElement[bool]]:
    """That columns have the values which ``given`` gives when the statement runs, so that it is composed once."""
    return [table.c[name] == sa.bindparam(f"at_{name}") for name in columns]


def equal(table: sa.Table, values: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    """That columns have these values."""
    return [table.c[name] == value for name, value in values.items()]


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of columns for a statement with ``matching``."""
    return {f"at_{name}": value for name, value in values.items()}


def version_of(connection: sa.Connection, where: str) -> int | None:
    """The version of the schema in the database, or None when there is no journal yet."""
    if not sa.inspect(connection).has_table(version_table.name):
        return None
    found = connection.scalars(version_table.select()).all()
    if len(found) != 1 or found[0] < 1:
        raise JournalError(f"the journal {where} is damaged: its version is missing", BACKUP)
    return int(found[0])


def prepare(connection: sa.Connection, where: str, migrations: Sequence[Migration] = MIGRATIONS) -> bool:
    """Create the tables or migrate them, inside one write transaction; safe when many start at once.

    Returns True when it created them, so when nobody has written to this journal before.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION_LOCK})
    latest = len(migrations) + 1
    version = version_of(connection, where)
    if version is None:
        _create(connection, where, latest)
        return True
    _check_known(version, latest, where)
    for statements in migrations[version - 1 :]:
        for statement in statements:
            if isinstance(statement, str):
                connection.execute(sa.text(statement))
            else:
                statement(connection)
    if version < latest:
        connection.execute(version_table.update().values(version=latest))
    return False


def check_readable(version: int, where: str) -> None:
    """Raise ``JournalError`` for a version that can only be read after a migration, or by a newer program."""
    _check_known(version, LATEST, where)
    if version < READABLE_SINCE:
        raise JournalError(
            f"the journal {where} has version {version}, which is too old to be read without a migration",
            "A command that writes to it, such as resolve, migrates it.",
        )


def check_unused(connection: sa.Connection, where: str) -> None:
    """Raise ``JournalError`` when a file without a journal holds something else."""
    # A PostgreSQL database may be shared, so other tables are fine there; a file with tables is another program's.
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA schema_version").scalar():
        raise JournalError(f"{where} is a database of another program, not a journal", BACKUP)


def _check_known(version: int, latest: int, where: str) -> None:
    if version > latest:
        raise JournalError(
            f"the journal {where} has version {version}; this program supports versions up to {latest}",
            "Use the newer program that wrote it, or point RECONCILER_JOURNAL at another journal.",
        )


def _create(connection: sa.Connection, where: str, version: int) -> None:
    check_unused(connection, where)
    for statement in _creation(connection.engine.url.drivername):
        connection.exec_driver_sql(statement)
    connection.execute(version_table.insert().values(version=version))


@cache
def _creation(driver: str, only: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The statements that create all tables, or only some; cached, as composing takes longer than running."""
    dialect = sa.make_url(f"{driver}://").get_dialect()()
    tables = [table for table in metadata.sorted_tables if not only or table.name in only]
    made: list[DDLElement] = [CreateTable(table) for table in tables]
    made += [
        CreateIndex(index) for table in tables for index in sorted(table.indexes, key=lambda i: str(i.name))
    ]
    composed = [str(each.compile(dialect=dialect)) for each in made]
    # A server takes them all at once, which spares the way there and back; SQLite takes one at a time.
    return tuple(composed) if dialect.name == "sqlite" else (";\n".join(composed),)
