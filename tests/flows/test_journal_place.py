"""Where the journal is, as the command line takes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.conftest import FINANCE, Run, manifest

COMMANDS = [
    ("plan", "pools.yaml"),
    ("apply", "pools.yaml", "--auto-approve"),
    ("drift", "pools.yaml"),
    ("explain", "finance-analysts", "pools.yaml"),
    ("resolve",),
    ("history",),
    ("history", "show", "run-1"),
    ("report", "--out", "report.html"),
]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///$UNSET/journal.db"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_refuses_a_journal_that_no_later_run_could_read(
    run: Run, tmp_path: Path, command: tuple[str, ...], url: str
) -> None:
    manifest(tmp_path, [FINANCE])
    ran = run(*command, "--sandbox", env={"RECONCILER_JOURNAL": url})
    assert ran.code == 9
    assert "the journal's URL" in ran.err
    assert "postgresql+psycopg://" in ran.err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["pools.yaml"]


def test_a_new_journal_says_once_that_it_knows_of_no_earlier_operations(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    place = tmp_path / "kept" / "journal.db"
    told = f"A new journal at {place}: no earlier operations are known here."
    apply = ("apply", str(path), "--sandbox", "--auto-approve", "--journal", f"sqlite:///{place}")
    first = run(*apply)
    assert first.err.count(told) == 1
    assert told not in first.out
    assert "A new journal" not in run(*apply).err
    assert "A new journal" not in run("history", "--journal", f"sqlite:///{place}").err
