"""Where the journal is, as the command line takes it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.flows.conftest import FINANCE, STUDIO, Run, manifest
from tests.flows.skipping import TIME

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


def test_a_damaged_record_stops_its_pool_by_name_and_no_other(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "journal.db"
    shrunk = "{name: finance-analysts, apply_to: all, disks: [{type: SSD, size: 100}]}"
    journal = ("--sandbox", "--journal", f"sqlite:///{place}")
    both = manifest(tmp_path, [shrunk, STUDIO])
    started = run("apply", str(both), "--auto-approve", "--no-wait", *journal)
    assert started.code == 8, started.err
    kept = sqlite3.connect(place)
    kept.execute("UPDATE reconciler_operations SET keep = '[]'")
    kept.commit()
    [run_id] = kept.execute("SELECT id FROM reconciler_runs").fetchone()
    kept.close()
    again = run("apply", str(both), "--auto-approve", *journal)
    assert again.code == 3
    assert "journal-damaged" in again.out + again.err
    assert "on pool finance-analysts" in again.err
    shown = run("history", "show", run_id, *journal)
    assert shown.code == 0
    assert "on pool finance-analysts" in shown.out
    assert "is damaged" in shown.out
    # Who only looks must see it as well: a reviewer, and a schedule.
    for command in (("plan", str(both)), ("explain", "finance-analysts", str(both)), ("drift", str(both))):
        looked = run(*command, *journal)
        assert (looked.code in (2, 3), "journal-damaged" in looked.out) == (True, True), looked.out


def test_a_damaged_record_has_a_way_out_that_a_person_takes_by_name(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "journal.db"
    journal = ("--sandbox", "--journal", f"sqlite:///{place}")
    shrunk = "{name: finance-analysts, apply_to: all, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"
    path = str(manifest(tmp_path, [shrunk]))
    assert run("apply", path, "--auto-approve", "--no-wait", *journal).code == 8
    kept = sqlite3.connect(place)
    kept.execute("UPDATE reconciler_operations SET disks = X'FF'")
    kept.commit()
    [operation] = kept.execute("SELECT id FROM reconciler_operations").fetchone()
    kept.close()

    listed = run("resolve", *journal)
    assert (listed.code, "on pool finance-analysts" in listed.err) == (10, True), listed.err
    assert f"--accept-as done {operation}" in listed.err
    once = run("resolve", "--accept-as", "done", operation, *journal)
    assert once.code == 3
    assert "cannot be trusted, so nothing was checked" in once.err
    env = {"RECONCILER_ACTOR": "ann"}
    decision = ("resolve", "--accept-as", "done", operation, "--despite-evidence")
    said = run(*decision, *journal, env=env)
    assert (said.code, "done (by ann; the record was damaged:" in said.out) == (0, True), said.err
    assert run("resolve", *journal).code == 0
    TIME.skipped += 60  # the job of that apply ends
    assert run("apply", path, "--auto-approve", *journal).code == 0
    assert run(*decision, *journal, env=env).code == 9
