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
    assert "resolved: done: 1 of 1 disk gone" in finished.out
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


def left_open(run: Run, served: Served, path: Path) -> str:
    """The id of the operation that an apply leaves open."""
    run("apply", str(path), "--auto-approve", "--no-wait", env=served.env)
    [listed] = json.loads(run("history", "--format", "json").out)["runs"]
    record = json.loads(run("history", "show", listed["id"], "--format", "json").out)
    return str(record["operations"][0]["intent"]["operation_id"])


def test_a_persons_decision_is_held_against_the_disks_and_the_job(run: Run, tmp_path: Path) -> None:
    with serving(sandbox.default_world(), job_seconds=600) as served:
        operation = left_open(run, served, manifest(tmp_path, [FINANCE]))
        env = served.env | {"RECONCILER_ACTOR": "ann", "GITHUB_ACTOR": "robot"}
        never = run("resolve", "--accept-as", "not-accepted", operation, "--despite-evidence", env=env)
        assert (never.code, "the service accepted the request" in never.err) == (3, True)
        done = run("resolve", "--accept-as", "done", operation, env=env)
        assert done.code == 3
        assert "0 of 1 disk gone" in done.err
        assert "is still running" in done.err
        assert "--despite-evidence" in done.err
        said = run("resolve", "--accept-as", "done", operation, "--despite-evidence", env=env)
        assert said.code == 0, said.err
        assert "a person decided: done (by ann; read: 0 of 1 disk gone" in said.out
        history = run("history", "show", json.loads(run("history", "--format", "json").out)["runs"][0]["id"])
        assert "a person decided: done (by ann;" in history.out
        assert len(served.posts()) == 1


def test_resolve_waits_no_longer_than_it_may(run: Run, tmp_path: Path) -> None:
    with serving(sandbox.default_world(), job_seconds=600) as served:
        left_open(run, served, manifest(tmp_path, [FINANCE]))
        late = run("resolve", "--wait-timeout", "5s", env=served.env)
        assert (late.code, "had not ended after 5 s" in late.out) == (8, True), late.out
        looked = run("resolve", "--no-wait", env=served.env)
        assert (looked.code, "has not ended, and was not waited for" in looked.out) == (8, True), looked.out
        assert run("resolve", env=served.env).code == 0


def test_resolve_can_be_kept_to_some_pools(run: Run, served: Served, tmp_path: Path) -> None:
    left_open(run, served, manifest(tmp_path, [FINANCE]))
    other = run("resolve", "--pool", "call-centre", env=served.env)
    assert (other.code, "0 operations checked" in other.err) == (0, True), other.err
    assert "call-centre: no open operation" in other.err
    by_id = run("resolve", "--pool", "x", "--pool", served.pool("finance-analysts")["id"], env=served.env)
    assert (by_id.code, "1 operation checked, 0 still open" in by_id.err) == (0, True), by_id.err


def test_the_second_word_needs_a_first(run: Run, served: Served) -> None:
    assert run("resolve", "--despite-evidence", env=served.env).code == 9
