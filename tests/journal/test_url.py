"""Which places a journal may have: none that is gone after the run, none that nobody filled in."""

from __future__ import annotations

import pytest

from reconciler.errors import BadInput, ExitCode
from reconciler.journal.database import parse
from reconciler.journal.url import check_url

FORGETFUL = [
    "sqlite:",
    "sqlite://",
    "sqlite:///",
    "sqlite:/// ",
    "sqlite:///:memory:",
    "sqlite+pysqlite://",
    "SQLite:///",
    "sqlite:///?timeout=3",
    "sqlite:///file::memory:",
    "sqlite:///file::memory:?cache=shared&uri=true",
    "sqlite:///file:journal?mode=memory&uri=true",
    "sqlite:///journal.db?mode=memory",
]
UNFILLED = [
    "$JOURNAL",
    "postgresql://user:$DB_PASSWORD@host/db",
    "postgresql://user@${DB_HOST}/db",
    "sqlite:///${HOME}/journal.db",
    "sqlite:///$HOME/journal.db",
    "sqlite:///$(pwd)/journal.db",
    "sqlite:///%APPDATA%/journal.db",
    "postgresql://user:%DB_PASSWORD%@host/db",
]


@pytest.mark.parametrize("url", FORGETFUL)
def test_a_journal_that_would_not_outlive_the_run_is_refused_with_how_to_write_it(url: str) -> None:
    with pytest.raises(BadInput, match="the next run would forget") as caught:
        parse(url)
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert "sqlite:////absolute/path/to/journal.db" in caught.value.hint


@pytest.mark.parametrize("url", UNFILLED)
def test_a_variable_that_nothing_filled_in_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadInput, match="a variable in it that nothing filled in") as caught:
        parse(url)
    assert "DB_PASSWORD" not in caught.value.message + caught.value.hint
    assert "%24" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:sword@fish@host/db",
        "postgresql+psycopg://user:swordfish@@host/db",
        "postgresql://us@er:swordfish@host/db",
        "postgresql://user:sword/@fish@host/db?sslmode=require",
        "postgresql://user:sword@fish@[host/db",
    ],
)
def test_an_at_sign_that_is_not_escaped_is_refused_and_the_password_not_shown(url: str) -> None:
    with pytest.raises(BadInput, match="more than one @") as caught:
        parse(url)
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert "write @ as %40" in caught.value.hint
    assert "fish" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////srv/a@b@c.db",
        "postgresql://user:a%40b@host/db?options=a@b@c",
        "sqlite:///journal.db",
        "sqlite:////var/lib/reconciler/journal.db?timeout=3",
        "sqlite:///memory.db",
        "sqlite:///50%.db",
        "sqlite:///no$.db",
        "postgresql://user:open%3Asesame%2F%C3%BC@/db?host=/run",
        "postgresql://user:%e9t%c3%a9@host/db",
        "postgresql+psycopg://user:a%24b%25c@host/db",
    ],
)
def test_a_place_that_lasts_is_taken_as_it_is(url: str) -> None:
    check_url(url)
    assert parse(url).database
