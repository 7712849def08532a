"""``history`` for audits and for keeping the journal small: what is exported, what is pruned, what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.journal.states import State
from reconciler.journal.store import open_journal
from reconciler.values import replace
from tests.documents import strict
from tests.flows.conftest import FINANCE, Run, manifest
from tests.flows.serving import Served
from tests.journal.samples import LEASE, intent

NOW = datetime.now(UTC)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """A journal with a removal of 500 days ago, one that failed then, and one of today."""
    url = f"sqlite:///{tmp_path}/history.db"
    ages = {"old": (500, State.DONE), "failed": (500, State.FAILED), "young": (0, State.DONE)}
    for number, (run, (days, state)) in enumerate(ages.items()):
        time = NOW - timedelta(days=days)
        made = open_journal(url, lambda time=time: time)  # type: ignore[misc]
        made.open_run(run, "apply", "1", [])
        given = replace(intent(f"op-{run}", generation=2 * number), run_id=run)
        made.open_operation(given, run, LEASE)
        made.close_operation(f"op-{run}", run, state, "over")
        made.close_run(run, 0, "", {})
        made.close()
    return url


def listed(run: Run, journal: str) -> list[str]:
    printed = run("history", "--format", "json", "--journal", journal).out
    return sorted(each["id"] for each in json.loads(printed)["runs"])


def test_history_prune_deletes_what_is_old_and_says_how_much(run: Run, journal: str) -> None:
    ran = run("history", "prune", "--older-than", "400d", "--journal", journal)
    assert (ran.code, ran.out) == (0, "Pruned: 1 run, 1 operation, 0 drift points.\n")
    assert listed(run, journal) == ["failed", "young"]


@pytest.mark.parametrize(
    "arguments", [["prune"], ["--older-than", "400d"], ["prune", "x", "--older-than", "400d"]]
)
def test_prune_and_its_flag_belong_together(run: Run, journal: str, arguments: list[str]) -> None:
    ran = run("history", *arguments, "--journal", journal)
    assert ran.code == 9
    assert "prune" in ran.err
    assert len(listed(run, journal)) == 3


def test_less_than_the_journal_always_keeps_is_refused(run: Run, journal: str) -> None:
    ran = run("history", "prune", "--older-than", "29d", "--journal", journal)
    assert ran.code == 9
    assert "--older-than 29d is less than 30 days, which the journal always keeps" in ran.err


def test_a_command_that_writes_prunes_what_is_to_be_kept_no_longer(
    run: Run, journal: str, tmp_path: Path
) -> None:
    path = manifest(tmp_path, ["{name: finance-analysts, disks: [{type: SSD, size: 100}]}"])
    drift = ("drift", str(path), "--sandbox", "--journal", journal)
    run(*drift)
    assert "old" in listed(run, journal)
    run(*drift, env={"RECONCILER_KEEP": "400d"})
    assert "old" not in listed(run, journal)
    assert {"failed", "young"} < set(listed(run, journal))


def exported(run: Run, *arguments: str) -> list[dict[str, Any]]:
    ran = run("history", *arguments, "--format", "jsonl")
    assert ran.code == 0
    lines = [json.loads(line) for line in ran.out.splitlines()]
    for each in lines:
        strict("history").validate(each)
    return lines


def test_the_export_for_an_audit_has_every_run_whole_a_line_each_oldest_first(run: Run, journal: str) -> None:
    lines = exported(run, "--journal", journal)
    assert {each["id"] for each in lines[:2]} == {"old", "failed"}
    assert lines[2]["id"] == "young"
    [operation] = lines[2]["operations"]
    assert operation["intent"]["copies"][0]["users"] == ["ada", "zo\u00eb"]
    assert [each["kind"] for each in lines[2]["events"]] == ["operation.opened", "operation.closed"]
    [one] = exported(run, "show", "young", "--journal", journal)
    assert one == lines[2]


def test_what_is_listed_and_exported_can_begin_at_a_time(run: Run, journal: str) -> None:
    assert [each["id"] for each in exported(run, "--journal", journal, "--since", "30d")] == ["young"]
    printed = run("history", "--format", "json", "--since", "30d", "--journal", journal).out
    assert [each["id"] for each in json.loads(printed)["runs"]] == ["young"]
    assert run("history", "--since", "soon", "--journal", journal).code == 9


def test_the_export_of_a_journal_that_is_not_there_is_empty_and_says_so(run: Run, tmp_path: Path) -> None:
    ran = run("history", "--format", "jsonl", "--journal", f"sqlite:///{tmp_path}/none.db")
    assert (ran.code, ran.out) == (0, "")
    assert "There is no journal yet at" in ran.err


def test_an_apply_is_exported_with_who_started_it_and_from_what(
    tmp_path: Path, run: Run, served: Served
) -> None:
    started = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTOR": "ann",
        "GITHUB_SHA": "c0ffee",
        "RECONCILER_PULL_REQUEST": "5",
        "RECONCILER_RUN_URL": "https://ci.example/7",
    }
    path = str(manifest(tmp_path, [FINANCE]))
    assert run("apply", path, "--auto-approve", env=served.env | started).code == 0
    (line,) = run("history", "--since", "30d", "--format", "jsonl", env=served.env).out.splitlines()
    (listed,) = json.loads(run("history", "--format", "json", env=served.env).out)["runs"]
    expected = {
        "actor": "ann",
        "commit": "c0ffee",
        "pull_request": "5",
        "run_url": "https://ci.example/7",
    }
    assert json.loads(line)["origin"] == listed["origin"] == expected
