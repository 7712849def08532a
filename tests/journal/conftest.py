"""The journals of the contract tests: one per kind of database, empty for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.journal.records import Journal
from tests.journal.samples import HandClock, open_at
from tests.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a journal can be made: a file, or a database of a real server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/journal.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.fresh()


@pytest.fixture
def clock() -> HandClock:
    """A clock that stands still until a test moves it."""
    return HandClock()


@pytest.fixture
def journal(url: str, clock: HandClock) -> Iterator[Journal]:
    """An open, empty journal."""
    opened = open_at(url, clock)
    yield opened
    opened.close()
