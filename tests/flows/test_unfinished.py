"""What a run leaves open, the next one or ``resolve`` finishes; a person decides what nothing else can."""

from __future__ import annotations

import json
from pathlib import Path

from reconciler import sandbox
from tests.flows.conftest import FINANCE, Run, manifest
from tests.flows.serving import Served, serving
from tests.flows.test_killed import HOUR, LATER, WRITES, mortal


def test_no_wait_leaves_the_job_to_the_next_run(run: Run, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    left = run("apply", str(path), "--auto-approve", "--no-wait", env=served.env)
    assert left.code == 8
    assert "not followed (--no-wait)" in left.out
    assert "In flight: finance-analysts" in left.out
    finished = run("apply", str(path), "--auto-approve", env=served.env)
    assert finished.code == 0, finished.err
    assert "resolved: done: 1 of 1 disks gone" in finished.out
    assert len(served.posts()) == 1


def test_resolve_proves_what_was_left_open(run: Run, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    run("apply", str(path), "--auto-approve", "--no-wait", env=served.env)
    resolved = run("resolve", "--format", "json", env=served.env)
    assert resolved.code == 0, resolved.err
    [told] = json.loads(resolved.out)["operations"]
    assert (told["resolved"], told["ending"]) == (True, "done")
    assert run("resolve", env=served.env).code == 0


def test_a_job_longer_than_the_deadline_is_exit_8_and_found_again(run: Run, tmp_path: Path) -> None:
    with serving(sandbox.default_world(), job_seconds=600) as served:
        path = manifest(tmp_path, [FINANCE])
        late = run("apply", str(path), "--auto-approve", "--wait-timeout", "1s", env=served.env)
        assert late.code == 8, late.out
        assert "had not ended after 1 s" in late.out
        assert run("apply", str(path), "--auto-approve", env=served.env).code == 0
        assert len(served.posts()) == 1


def test_an_intent_without_a_trace_waits_for_time_and_no_person_may_shorten_that(
    run: Run, tmp_path: Path
) -> None:
    with serving(sandbox.default_world()) as served:
        path = manifest(tmp_path, [FINANCE])
        journal = ("--journal", f"sqlite:///{tmp_path}/journal.db")
        assert mortal(served, tmp_path, WRITES.index("open_operation"), "after") == -9
        # The dead process called the service otherwise, so its operation is another service's to the CLI.
        assert mortal(served, tmp_path, ahead=LATER) == 7
        listed = json.loads(run("history", "--format", "json", *journal).out)["runs"]
        record = json.loads(run("history", "show", listed[-1]["id"], "--format", "json", *journal).out)
        operation = record["operations"][0]["intent"]["operation_id"]
        served.offset[0] = 2 * LATER
        wrong = run("resolve", "--accept-as", "done", "no-such-operation", *journal, env=served.env)
        assert wrong.code == 9
        said = run("resolve", "--accept-as", "not-accepted", operation, *journal, env=served.env)
        assert said.code == 3, said.err
        assert "may still be accepted until" in said.err
        assert served.posts() == []
        assert mortal(served, tmp_path, ahead=HOUR) == 0
        assert len(served.posts()) == 1
        assert path.exists()
