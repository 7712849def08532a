"""Grace through the whole command line: mark, wait, object, extend, due, removed; and what must never end it."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import Run, manifest
from tests.flows.serving import Served
from tests.flows.skipping import TIME

DAY = 86400.0
WEEK = 7 * DAY
FINANCE = "{name: finance-analysts, apply_to: all, grace: 7d, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"
WANTED = (
    "{name: finance-analysts, apply_to: all, grace: 7d, "
    "disks: [{type: SSD, size: 100}, {type: SAS, size: 50}, {type: SAS, size: 200}]}"
)
STUDIO = "{name: design-studio, disks: [{type: SSD, size: 200}, {type: SSD, size: 100}]}"


@pytest.fixture
def env(served: Served, tmp_path: Path) -> dict[str, str]:
    """A sandbox, and a journal that is kept."""
    return served.env | {
        "RECONCILER_JOURNAL": f"sqlite:///{tmp_path}/journal.db",
        "RECONCILER_ACTOR": "amara",
    }


def surplus(served: Served) -> str:
    """The surplus disk of the finance pool."""
    return next(disk["id"] for disk in served.pool("finance-analysts")["disks"] if disk["size"] == 200)


def plan_of(run: Run, path: Path, env: dict[str, str], *more: str) -> Any:
    return json.loads(run("plan", str(path), "--format", "json", *more, env=env).out)


def marks_of(run: Run, env: dict[str, str]) -> list[Any]:
    return list(json.loads(run("marks", "--format", "json", env=env).out)["marks"])


def marked(document: Any) -> list[Any]:
    return [each for each in document["resource_changes"] if each["action_reason"] == "marked"]


def test_a_disk_is_marked_objected_to_extended_due_and_removed_and_the_journal_knows_who(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path, disk = manifest(tmp_path, [FINANCE]), surplus(served)
    first = run("apply", str(path), "--auto-approve", env=env)
    assert first.code == 0
    assert served.posts() == []
    assert "finance-analysts: marked 1 disk; grace 7d begins now" in first.err
    due = TIME.now() + timedelta(seconds=WEEK)
    assert "    SAS 200 GB, surplus since" in run("marks", env=env).out
    [mark] = marks_of(run, env)
    assert mark["shape"] == "SAS 200 GB"
    assert run("report", "--out", str(tmp_path / "report.html"), env=env).code == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8").split("<h2>Marked disks</h2>")[1]
    assert [f"<bdi>{word}</bdi>" in page for word in ("finance-analysts", disk, "SAS 200 GB")] == [True] * 3
    assert f"{due:%Y-%m-%d}" in page.split("</table>")[0]
    words = f"will be destroyed after {due:%Y-%m-%d}"
    assert f"# finance-analysts/{disk} {words}" in first.out
    assert "grace 7d)" in first.out
    assert "Plan: 0 to add, 0 to change, 0 to destroy.\nMarked: 1 disk, the first due " in first.out

    planned = run("plan", str(path), "--detailed-exitcode", env=env)
    assert planned.code == 2
    assert words in planned.out
    document = plan_of(run, path, env)
    [change] = marked(document)
    assert change["carried_out"] is False
    assert change["change"]["actions"] == ["no-op"]
    assert change["marked"]["grace_seconds"] == WEEK
    assert document["marked"]["disks"] == 1
    assert document["summary"]["destroy"] == 0
    assert document["destroyed"]["disks"] == 0

    TIME.skipped += 6 * DAY
    again = run("apply", str(path), "--auto-approve", env=env)
    assert (again.code, served.posts()) == (0, [])
    assert f"{TIME.now() + timedelta(days=1):%Y-%m-%d}" in again.out  # a re-run does not move the clock

    until = TIME.now() + timedelta(days=5)
    extended = run("marks", "extend", f"finance-analysts/{disk}", "--until", f"{until:%Y-%m-%d}", env=env)
    assert extended.code == 0
    assert "(extended by amara)" in extended.err
    TIME.skipped += 2 * DAY
    assert run("apply", str(path), "--auto-approve", env=env).code == 0
    assert served.posts() == []
    assert "; extended by amara)" in run("plan", str(path), env=env).out
    assert f"amara lets it wait until {until:%Y-%m-%d} 00:00 UTC" in run("marks", env=env).out
    for form in ("text", "json", "markdown", "html"):
        assert "amara" not in run("plan", str(path), "--anonymise", "--format", form, env=env).out
    assert "amara" not in run("drift", str(path), "--anonymise", env=env).out
    history = json.loads(run("history", "--format", "json", env=env).out)
    shown = next(each for each in history["runs"] if each["command"] == "marks extend")
    assert "amara" in run("history", "show", shown["id"], env=env).out

    TIME.skipped += 4 * DAY
    drifted = run("drift", str(path), "--format", "json", env=env)
    assert [each["disk"] for each in json.loads(drifted.out)["became_due"]] == [disk]
    assert "Plan: 0 to add, 0 to change, 1 to destroy." in run("plan", str(path), env=env).out
    done = run("apply", str(path), "--auto-approve", env=env)
    assert done.code == 0, done.err
    [post] = served.posts()
    assert disk in json.dumps(post["body"])
    assert marks_of(run, env) == []  # the disk is gone, and so is its mark


def test_plan_and_plain_drift_age_nothing(run: Run, tmp_path: Path, env: dict[str, str]) -> None:
    path = manifest(tmp_path, [FINANCE])
    run("apply", str(manifest(tmp_path, [WANTED], name="all.yaml")), "--auto-approve", env=env)
    for command in ("plan", "drift", "explain finance-analysts"):
        run(*command.split(), str(path), env=env)
    assert marks_of(run, env) == []
    assert "1 disk when apply next runs; grace begins then" in run("plan", str(path), env=env).out


def test_a_disk_that_is_wanted_again_begins_its_grace_again(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path, other = manifest(tmp_path, [FINANCE]), manifest(tmp_path, [WANTED], name="wanted.yaml")
    run("apply", str(path), "--mark", env=env)
    [mark] = marks_of(run, env)
    TIME.skipped += 6 * DAY
    run("apply", str(other), "--auto-approve", env=env)
    assert marks_of(run, env) == []
    TIME.skipped += 2 * DAY
    run("apply", str(path), "--auto-approve", env=env)
    assert served.posts() == []
    [again] = marks_of(run, env)
    assert again["since"] > mark["since"]


def test_in_a_journal_restored_from_a_backup_grace_begins_anew_and_it_is_said_once(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path, other = manifest(tmp_path, [FINANCE]), manifest(tmp_path, [WANTED], name="wanted.yaml")
    run("apply", str(path), "--mark", env=env)
    [mark] = marks_of(run, env)
    shutil.copyfile(tmp_path / "journal.db", tmp_path / "backup.db")
    run("apply", str(other), "--auto-approve", env=env)
    assert marks_of(run, env) == []
    TIME.skipped += 8 * DAY
    shutil.copyfile(tmp_path / "backup.db", tmp_path / "journal.db")
    planned = run("plan", str(path), env=env)
    assert "1 disk" in planned.out
    assert "nobody knows whether its 1 mark held all the time. So nothing marked is due" in planned.err
    for said in (1, 0):
        applied = run("apply", str(path), "--auto-approve", env=env)
        assert applied.err.count("seems to be restored from a backup, or copied from another place") == said
        assert applied.err.count("reconciler marks extend POOL/DISK --until DATE") == said
    assert served.posts() == []
    [again] = marks_of(run, env)
    assert again["since"] > mark["since"]
    TIME.skipped += 8 * DAY
    run("apply", str(path), "--auto-approve", env=env)
    assert len(served.posts()) == 1


def test_a_pool_that_has_left_the_manifests_loses_its_marks(
    run: Run, tmp_path: Path, env: dict[str, str]
) -> None:
    both = manifest(tmp_path, [FINANCE, STUDIO])
    run("apply", str(both), "--mark", env=env)
    assert [each["pool"] for each in marks_of(run, env)] == ["finance-analysts"]
    run("apply", str(manifest(tmp_path, [STUDIO], name="studio.yaml")), "--mark", env=env)
    assert marks_of(run, env) == []


def test_a_rename_moves_no_clock(run: Run, served: Served, tmp_path: Path, env: dict[str, str]) -> None:
    path = manifest(tmp_path, [FINANCE])
    run("apply", str(path), "--mark", env=env)
    [mark] = marks_of(run, env)
    TIME.skipped += DAY
    served.pool("finance-analysts")["name"] = "finance"
    run("apply", str(path), "--mark", env=env)  # the manifest still has the old name
    assert [each["since"] for each in marks_of(run, env)] == [mark["since"]]
    run("apply", str(manifest(tmp_path, [FINANCE.replace("finance-analysts", "finance")])), "--mark", env=env)
    [renamed] = marks_of(run, env)
    assert (renamed["pool"], renamed["since"]) == ("finance", mark["since"])


def test_a_clock_that_jumped_ahead_makes_nothing_due_while_the_service_says_what_time_it_is(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [FINANCE.replace("7d", "15m")])
    run("apply", str(path), "--mark", env=env)
    TIME.skipped += 600
    # This machine's clock jumps ahead, as far as signatures allow; the service's does not.
    TIME.skipped, served.offset[0] = TIME.skipped + 600, -600.0
    assert plan_of(run, path, env)["summary"]["destroy"] == 0
    assert run("apply", str(path), "--auto-approve", env=env).code == 0
    assert served.posts() == []
    TIME.skipped += 600
    assert plan_of(run, path, env)["summary"]["destroy"] == 1


def test_a_clock_that_is_behind_when_it_marks_makes_nothing_due_early(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [FINANCE])
    served.offset[0] = 600.0  # as far off as a signature may be
    run("apply", str(path), "--mark", env=env)
    [mark] = marks_of(run, env)
    assert mark["since"] > (TIME.now() + timedelta(seconds=500)).isoformat()


def test_apply_mark_removes_nothing_and_takes_no_approval(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [FINANCE, STUDIO])
    run("apply", str(path), "--mark", env=env)
    TIME.skipped += 8 * DAY
    assert run("apply", str(path), "--mark", env=env).code == 0
    assert served.posts() == []
    assert plan_of(run, path, env)["summary"]["destroy"] == 2
    refused = run("apply", str(path), "--mark", "--auto-approve", env=env)
    assert refused.code == 9
    assert "needs no approval" in refused.err


def test_what_becomes_due_after_a_plan_file_waits_for_the_next_plan(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [FINANCE, STUDIO])
    run("apply", str(path), "--mark", env=env)
    TIME.skipped += WEEK - 600
    run("plan", str(path), "--out", "plan.json", env=env)
    digest = plan_of(run, path, env)["digest"]
    TIME.skipped += 1200
    stale = run("apply", str(path), "--approve", digest, env=env)
    assert stale.code == 4
    assert served.posts() == []
    done = run("apply", "plan.json", env=env)
    assert done.code == 0, done.err
    [post] = served.posts()
    assert served.pool("design-studio")["id"] in post["path"]
    assert plan_of(run, path, env)["summary"]["destroy"] == 1


def test_marked_disks_are_in_no_digest_and_the_grace_of_a_pool_is(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [FINANCE, STUDIO])
    before = plan_of(run, path, env)["digest"]
    run("apply", str(path), "--mark", env=env)
    served.give(
        "finance-analysts", {**served.pool("finance-analysts")["disks"][0], "id": "late", "size": 900}
    )
    now = plan_of(run, path, env)
    assert len(marked(now)) == 2
    assert now["digest"] == before
    TIME.skipped += 8 * DAY
    digests = {
        plan_of(run, manifest(tmp_path, [FINANCE.replace("7d", grace)], name=f"{grace}.yaml"), env)["digest"]
        for grace in ("7d", "6d")
    }
    assert len(digests) == 2


def test_the_policy_s_grace_holds_where_it_is_longer(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nrequire: {grace: 10d}\n", encoding="utf-8")
    path = manifest(tmp_path, [FINANCE, STUDIO])
    given = (str(path), "--policy", str(policy))
    run("apply", *given, "--mark", env=env)
    TIME.skipped += 8 * DAY
    assert json.loads(run("plan", *given, "--format", "json", env=env).out)["summary"]["destroy"] == 0
    run("apply", *given, "--auto-approve", env=env)
    assert served.posts() == []
    TIME.skipped += 3 * DAY
    assert run("apply", *given, "--auto-approve", env=env).code == 0
    assert len(served.posts()) == 2


def test_without_a_journal_grace_never_ends_and_the_plan_says_so(
    run: Run, served: Served, tmp_path: Path
) -> None:
    planned = run("plan", str(manifest(tmp_path, [FINANCE])), env=served.env)
    assert "grace-never-ends: grace never ends without a journal that is kept" in planned.out
    assert planned.code == 0
    for number in range(2):  # a new journal in each run, as on a runner that keeps nothing
        env = served.env | {"RECONCILER_STATE_FOLDER": str(tmp_path / f"state-{number}")}
        applied = run("apply", str(manifest(tmp_path, [FINANCE])), "--auto-approve", env=env)
        assert "begins now, and ends only in a journal that is kept until then" in applied.err
        TIME.skipped += 8 * DAY
    assert served.posts() == []


def test_a_watch_that_corrects_marks_and_removes_what_is_due(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    always = "[{days: [mon, tue, wed, thu, fri, sat, sun], start: '00:00', end: '23:59', timezone: UTC}]"
    path = manifest(tmp_path, [FINANCE], f"drift: {{correct: [remove], disks_per_day: 9, windows: {always}}}")
    gauges = tmp_path / "gauges.prom"
    first = run("drift", str(path), "--correct", "--prometheus", str(gauges), env=env)
    assert first.code == 2, first.err
    assert len(marks_of(run, env)) == 1
    assert served.posts() == []
    text = gauges.read_text(encoding="utf-8")
    assert 'reconciler_pool_marked_disks{pool="finance-analysts"' in text
    assert 'reconciler_pool_first_due_timestamp_seconds{pool="finance-analysts"' in text
    TIME.skipped += 8 * DAY
    run("watch", str(path), "--correct", "--once", env=env)
    assert len(served.posts()) == 1


def test_a_person_clears_a_mark_and_it_is_kept_who(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path, disk = manifest(tmp_path, [FINANCE]), surplus(served)
    run("apply", str(path), "--mark", env=env)
    TIME.skipped += 8 * DAY
    pool_id = served.pool("finance-analysts")["id"]
    cleared = run("marks", "clear", f"{pool_id}/{disk}", env=env)
    assert cleared.code == 0
    assert "is cleared by amara" in cleared.err
    run("apply", str(path), "--auto-approve", env=env)
    assert served.posts() == []
    for arguments, why in (
        (("clear", "finance-analysts/none"), "no disk 'finance-analysts/none' is marked"),
        (("extend", f"{pool_id}/{disk}"), "--until"),
        (("extend", f"{pool_id}/{disk}", "--until", "soon"), "is not a date"),
        (("extend", f"{pool_id}/{disk}", "--until", "2020-01-01"), "is not within the next 365 days"),
        (("extend", f"{pool_id}/{disk}", "--until", "2026-02-30"), "is not a date"),
        (("prune",), "marks takes nothing"),
    ):
        refused = run("marks", *arguments, env=env)
        assert refused.code == 9
        assert why in refused.err


def test_limits_count_what_goes_on_its_day_and_nothing_that_waits(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [FINANCE], "limits: {disks: 0}")
    assert run("apply", str(path), "--mark", env=env).code == 0
    assert run("plan", str(path), env=env).code == 0
    TIME.skipped += 8 * DAY
    blocked = run("plan", str(path), env=env)
    assert blocked.code == 3
    assert "limit-disks" in blocked.out


def test_every_form_of_a_plan_shows_what_is_marked_and_when_it_is_due(
    run: Run, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [FINANCE])
    run("apply", str(path), "--mark", env=env)
    for form in ("text", "markdown", "html"):
        out = run("plan", str(path), "--format", form, env=env).out
        assert "Plan: 0 to add, 0 to change, 0 to destroy." in out
        plain = out.replace("`", "")
        assert "Marked: 1 disk, the first due" in plain, form
        assert "will be destroyed after" in plain, form
        assert "shown only" not in plain, form
    assert "will be destroyed after" in run("explain", "finance-analysts", str(path), env=env).out


def test_a_shorter_grace_widens_what_a_pull_request_allows(
    run: Run, tmp_path: Path, env: dict[str, str]
) -> None:
    week = manifest(tmp_path, [FINANCE], name="week.yaml")
    day = manifest(tmp_path, [FINANCE.replace("7d", "24h")], name="day.yaml")
    for path, base, words in (
        (day, week, "! finance-analysts: grace changed from 7d to 1d (widens)"),
        (week, day, "* finance-analysts: grace changed from 1d to 7d, at"),
    ):
        assert words in run("plan", str(path), "--base", str(base), env=env).out


def test_defaults_give_every_pool_its_grace_and_an_entry_its_own(
    run: Run, tmp_path: Path, env: dict[str, str]
) -> None:
    other = STUDIO.replace("disks:", "grace: 90m, disks:")
    path = manifest(tmp_path, [FINANCE.replace("grace: 7d, ", ""), other], "defaults: {grace: 48h}")
    run("apply", str(path), "--mark", env=env)
    graces = {each["pool"]: each["grace_seconds"] for each in marks_of(run, env)}
    assert graces == {"finance-analysts": 48 * 3600, "design-studio": 90 * 60}


def test_a_share_of_the_pools_leaves_the_marks_of_the_others_alone(
    run: Run, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [FINANCE, STUDIO.replace("disks:", "grace: 1d, disks:")])
    run("apply", str(path), "--mark", env=env)
    before = marks_of(run, env)
    assert len(before) == 2
    for share in ("1/2", "2/2"):
        run("apply", str(path), "--mark", "--shard", share, "--run-group", "night", env=env)
    assert marks_of(run, env) == before


def test_a_run_about_one_pool_leaves_the_marks_of_the_others(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [FINANCE, STUDIO.replace("disks:", "grace: 7d, disks:")])
    assert run("apply", str(path), "--mark", env=env).code == 0
    before = marks_of(run, env)
    assert len(before) == 2
    run("apply", str(path), "--mark", "--pool", "finance-*", env=env)
    run("apply", str(path), "--mark", "--exclude", "finance-*", env=env)
    assert marks_of(run, env) == before
    assert served.posts() == []
