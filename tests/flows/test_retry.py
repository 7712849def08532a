"""``retry``: a person lets the service finish a removal that was done only in part, with the care of any write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.apply.results import ApplyReport, PoolResult, Status
from reconciler.model import Target
from reconciler.render.apply_report import retry_lines
from reconciler.sandbox import seed
from reconciler.sandbox.world import Behaviour
from tests.flows.conftest import Run, manifest
from tests.flows.serving import Served
from tests.flows.test_partial import DECLARED, in_part, left_in_part


def operation_of(run: Run, served: Served, path: str) -> str:
    document = json.loads(run("plan", "--format", "json", path, env=served.env).out)
    return str(document["leftovers"][0]["operation"])


def change(served: Served, **behaviour: Any) -> None:
    with served.store.changing(served.now()) as world:
        [pool] = world["projects"][seed.PROJECT_ID]["pools"].values()
        pool["behaviour"] = behaviour  # type: ignore[typeddict-item]


def retries(served: Served) -> int:
    return sum(each["path"].endswith("/actions") for each in served.posts())


@pytest.mark.parametrize("retried", ["anew", "again"])
def test_a_retry_finishes_the_job_and_proves_it_by_the_copies(run: Run, tmp_path: Path, retried: Any) -> None:
    with in_part({"delete": "partial", "failing": 2, "retried": retried}) as served:
        path = left_in_part(run, served, tmp_path)
        operation = operation_of(run, served, path)
        ran = run("retry", operation, "--auto-approve", env=served.env)
        assert (ran.code, "Retry complete! 2 copies proven gone." in ran.out) == (0, True), ran.out + ran.err
        assert "What the service repeats when it retries a job is not documented" in ran.err
        assert "2 of 2 copies gone, seen in two readings" in ran.out
        body = next(each["body"] for each in served.posts() if each["path"].endswith("/actions"))
        assert (body, retries(served)) == ({"op_type": "retry"}, 1)
        assert all(len(each["copies"]) == 1 for each in served.pool("p")["desktops"])
        assert "No changes. Your infrastructure matches" in run("plan", path, env=served.env).out
        shown = run("history", "show", json.loads(run("history", "--format", "json").out)["runs"][0]["id"])
        assert f"operation: {operation}" in shown.out


def test_without_a_person_nothing_is_sent(run: Run, tmp_path: Path) -> None:
    with in_part() as served:
        path = left_in_part(run, served, tmp_path)
        operation = operation_of(run, served, path)
        ran = run("retry", operation, path, env=served.env)
        assert (ran.code, "cannot prompt for approval" in ran.err, retries(served)) == (3, True, 0)
        assert ran.err.index("Caution: What the service repeats") < ran.err.index("cannot prompt")


def test_only_the_digest_of_the_retry_approves_it(run: Run, tmp_path: Path) -> None:
    with in_part() as served:
        path = left_in_part(run, served, tmp_path)
        operation = operation_of(run, served, path)
        wrong = run("retry", operation, path, "--approve", "0" * 64, env=served.env)
        assert (wrong.code, retries(served)) == (4, 0), wrong.err
        digest = wrong.err.partition("the plan's digest is ")[2][:64]
        ran = run("retry", operation, path, "--approve", digest, env=served.env)
        assert (ran.code, retries(served)) == (0, 1), ran.err


@pytest.mark.parametrize(
    ("declared", "flags", "reason"),
    [
        (DECLARED, ("--limit-copies", "1"), "limit-copies"),
        (DECLARED, ("--limit-users", "0"), "limit-users"),
        (DECLARED.replace("apply_to", "manage: [add], apply_to"), (), "its manage does not have remove"),
        (DECLARED.replace("apply_to", "protect: [DISK], apply_to"), (), "protected"),
        (DECLARED.replace("size: 50}", "size: 50}, {type: SSD, size: 100}"), (), "that the pool lacks"),
        ("{name: q, disks: [{type: SAS, size: 50}]}", (), "do not have one entry for pool p"),
    ],
    ids=["copies", "users", "manage", "protected", "declared again", "not declared"],
)
def test_every_limit_guard_and_permission_holds_anew(
    run: Run, tmp_path: Path, declared: str, flags: tuple[str, ...], reason: str
) -> None:
    pool = seed.pool("p", [("SAS", 50), ("SSD", 100)], 4, 4)
    with in_part(users=4) as served:
        path = left_in_part(run, served, tmp_path)
        operation = operation_of(run, served, path)
        manifest(tmp_path, [declared.replace("DISK", pool["disks"][1]["id"])])
        ran = run("retry", operation, path, "--auto-approve", *flags, env=served.env)
        assert (ran.code, retries(served)) == (3, 0), ran.out + ran.err
        assert reason in ran.out + ran.err


def test_a_session_on_a_desktop_that_is_left_blocks_the_retry(run: Run, tmp_path: Path) -> None:
    with in_part() as served:
        path = left_in_part(run, served, tmp_path)
        operation = operation_of(run, served, path)
        with served.store.changing(served.now()) as world:
            [pool] = world["projects"][seed.PROJECT_ID]["pools"].values()
            pool["desktops"][3]["login_status"] = "CONNECTED"
        ran = run("retry", operation, path, "--auto-approve", env=served.env)
        assert (ran.code, "live-session" in ran.out, retries(served)) == (3, True, 0), ran.out
        with served.store.changing(served.now()) as world:
            [pool] = world["projects"][seed.PROJECT_ID]["pools"].values()
            pool["desktops"][3]["login_status"] = "REGISTERED"
            pool["desktops"][0]["login_status"] = "CONNECTED"  # where nothing is left
        ran = run("retry", operation, path, "--auto-approve", env=served.env)
        assert (ran.code, retries(served)) == (0, 1), ran.out + ran.err


def test_a_retry_that_fails_again_is_partial_or_failed_and_can_be_retried_by_its_own_name(
    run: Run, tmp_path: Path
) -> None:
    behaviour: Behaviour = {"delete": "partial", "failing": 3, "retry": "partial"}
    with in_part(behaviour) as served:
        path = left_in_part(run, served, tmp_path)
        first = operation_of(run, served, path)
        change(served, retry="partial", failing=1)
        ran = run("retry", first, "--auto-approve", "--format", "json", env=served.env)
        [result] = json.loads(ran.out)["results"]
        assert (ran.code, result["ending"], result["done"], result["planned"]) == (6, "partial", 2, 3)
        assert result["desktops"]["copies_gone"] == 2
        second = operation_of(run, served, path)
        assert second != first
        again = run("retry", first, "--auto-approve", env=served.env)
        assert (again.code, f"has been retried since, by operation {second}" in again.err) == (3, True)
        change(served)
        assert run("retry", second, "--auto-approve", env=served.env).code == 0


def test_what_was_not_done_in_part_cannot_be_retried(run: Run, tmp_path: Path) -> None:
    with in_part({}) as served:
        path = str(manifest(tmp_path, [DECLARED]))
        assert run("apply", "--auto-approve", path, env=served.env).code == 0
        record = json.loads(run("history", "--format", "json").out)["runs"][0]["id"]
        found = json.loads(run("history", "show", record, "--format", "json").out)
        operation = found["operations"][0]["intent"]["operation_id"]
        ran = run("retry", operation, "--auto-approve", env=served.env)
        assert (ran.code, "no removal that was done in part" in ran.err) == (3, True), ran.err
        unknown = run("retry", "no-such-operation", "--auto-approve", env=served.env)
        assert unknown.code == 9


def test_a_retry_that_is_not_followed_is_proven_by_the_next_run(run: Run, tmp_path: Path) -> None:
    with in_part() as served:
        path = left_in_part(run, served, tmp_path)
        operation = operation_of(run, served, path)
        ran = run("retry", operation, "--auto-approve", "--no-wait", env=served.env)
        assert ran.code == 8, ran.out + ran.err
        finished = run("resolve", env=served.env)
        assert (finished.code, "2 of 2 copies gone" in finished.out) == (0, True), finished.out
        assert retries(served) == 1


def test_a_retry_for_which_nothing_was_planned_counts_no_copies() -> None:
    held = PoolResult(Target("ap-southeast-3", seed.PROJECT_ID), "p", Status.UNKNOWN, "still open")
    said = "\n".join(line.text for line in retry_lines(ApplyReport("run", None, (held,))))
    assert ("still open" in said, "0 of 0" in said) == (True, False)
