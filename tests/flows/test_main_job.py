"""The main job over TCP with real signatures: plan, approve, apply, proof."""

from __future__ import annotations

import json
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

from reconciler.journal.records import Event, RunRecord
from reconciler.journal.records import Run as KeptRun
from reconciler.render.history import run_lines
from reconciler.render.json.history import run_json
from reconciler.render.json.schemas import document_schema
from tests.documents import DOCUMENTS
from tests.flows.conftest import CALLS, FINANCE, ROOT, STUDIO, Run, manifest
from tests.flows.serving import Served


def test_plan_apply_plan_converges(run: Run, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE, STUDIO, CALLS])
    surplus = {
        disk["id"]
        for name in ("finance-analysts", "design-studio")
        for disk in served.pool(name)["disks"][2:]
    }

    planned = run("plan", str(path), "--detailed-exitcode", env=served.env)
    assert planned.code == 2
    assert "Plan: 0 to add, 0 to change, 2 to destroy." in planned.out
    assert "SANDBOX" in planned.out
    *_, loss, how = [line for line in planned.out.splitlines() if line]
    assert "This destroys 2 disks for good" in loss
    assert how.startswith("Apply exactly this with: reconciler apply ")
    assert served.posts() == []

    applied = run("apply", str(path), "--auto-approve", env=served.env)
    assert applied.code == 0, applied.err
    assert "Apply complete! 2 changes proven; a new plan shows no changes." in applied.out
    sent = [volume["id"] for entry in served.posts() for volume in entry["body"]["volumes"]]  # type: ignore[index]
    assert sorted(sent) == sorted(surplus)

    again = run("plan", str(path), "--detailed-exitcode", env=served.env)
    assert (again.code, "No changes." in again.out) == (0, True)


def test_one_call_carries_all_surplus_of_a_pool(run: Run, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, ["{name: finance-analysts, apply_to: all, disks: [{type: SSD, size: 100}]}"])
    assert run("apply", str(path), "--auto-approve", env=served.env).code == 0
    [entry] = served.posts()
    assert entry["path"].endswith("/volumes/batch-delete")
    assert len(entry["body"]["volumes"]) == 2  # type: ignore[index]
    assert entry["body"]["handle_type"] == "FOR_EXPAND_AND_ALL"  # type: ignore[index]
    assert [disk["type"] for disk in served.pool("finance-analysts")["disks"]] == ["SSD"]


def test_without_a_terminal_nothing_is_asked_and_nothing_sent(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE])
    refused = run("apply", str(path), env=served.env, stdin="yes\n")
    assert refused.code == 3
    assert "not a terminal" in refused.err
    assert served.posts() == []


def test_an_approved_digest_is_honoured_and_any_other_refused(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE])
    digest = json.loads(run("plan", str(path), "--format", "json", env=served.env).out)["digest"]
    wrong = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    assert run("apply", str(path), "--approve", wrong, env=served.env).code == 4
    assert run("apply", str(path), "--approve", "bogus", env=served.env).code == 9
    assert run("apply", str(path), "--approve", digest, "--limit-disks", "9", env=served.env).code == 4
    assert served.posts() == []
    assert run("apply", str(path), "--approve", digest, env=served.env).code == 0
    assert len(served.posts()) == 1


def test_a_saved_plan_is_private_applied_once_and_shown_alike(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE])
    plan = tmp_path / "plan.bin"
    shown = run("plan", str(path), "--out", str(plan), env=served.env)
    assert stat.S_IMODE(plan.stat().st_mode) == 0o600
    assert run("show", str(plan)).out == shown.out
    assert run("apply", str(plan), env=served.env).code == 0
    once_more = run("apply", str(plan), env=served.env)
    assert once_more.code == 4
    assert len(served.posts()) == 1


def test_a_stale_plan_is_explained_field_by_field(run: Run, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    plan = tmp_path / "plan.bin"
    run("plan", str(path), "--out", str(plan), env=served.env)
    served.pool("finance-analysts")["disks"][2]["size"] = 300
    refused = run("apply", str(plan), env=served.env)
    assert refused.code == 4
    assert ": size 200 → 300" in refused.err
    path.write_text(path.read_text() + "# reviewed\n")
    assert "changed since the plan was made" in run("apply", str(plan), env=served.env).err
    assert served.posts() == []


def test_a_saved_plan_that_was_applied_says_by_which_run_and_not_that_disks_are_gone(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path, plan = manifest(tmp_path, [FINANCE]), tmp_path / "plan.bin"
    run("plan", str(path), "--out", str(plan), "--plan-ttl", "60s", env=served.env)
    assert run("apply", str(plan), env=served.env).code == 0
    [done] = json.loads(run("history", "--format", "json").out)["runs"]
    for change in ("", "# reviewed\n"):
        path.write_text(path.read_text() + change)
        refused = run("apply", str(plan), env=served.env)
        assert refused.code == 4
        assert f"this plan was applied by run {done['id']} at " in refused.err
        assert "gone" not in refused.err
    assert len(served.posts()) == 1


def test_a_saved_plan_whose_disk_is_gone_names_that_disk_alone(
    run: Run, served: Served, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.bin"
    run("plan", str(manifest(tmp_path, [FINANCE])), "--out", str(plan), env=served.env)
    gone = served.pool("finance-analysts")["disks"].pop()
    refused = run("apply", str(plan), env=served.env)
    assert refused.code == 4
    [line] = [each for each in refused.err.splitlines() if "gone" in each]
    assert f"finance-analysts: disk {gone['id']} (SAS, 200 GB): was to be removed, is gone now" in line
    assert "the pool is not" not in refused.err


def test_a_sandbox_plan_cannot_be_applied_elsewhere(run: Run, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    plan = tmp_path / "plan.bin"
    run("plan", str(path), "--out", str(plan), env=served.env)
    served.world()["name"] = "another"
    refused = run("apply", str(plan), env=served.env)
    assert refused.code == 4
    assert "sandbox:default → sandbox:another" in refused.err


def test_json_is_shaped_like_terraforms(run: Run, served: Served, tmp_path: Path) -> None:
    told = json.loads(run("plan", str(manifest(tmp_path, [FINANCE])), "--format", "json", env=served.env).out)
    assert told["summary"] == {"add": 0, "change": 0, "destroy": 1}
    assert (told["blocked"], told["sandbox"], told["format_version"]) == (False, True, "1.4")
    [gone] = [each for each in told["resource_changes"] if each["change"]["actions"] == ["delete"]]
    assert gone["address"] == f"finance-analysts/{gone['change']['before']['id']}"
    assert gone["change"]["after"] is None
    assert gone["action_reason"] == "surplus"


def test_the_examples_plan_and_apply_in_process(run: Run, tmp_path: Path) -> None:
    examples = str(ROOT / "manifests")
    assert run("sandbox", "reset").code == 0
    assert "2 to destroy" in run("plan", examples, "--sandbox").out
    assert run("apply", examples, "--sandbox", "--auto-approve").code == 0
    assert "No changes." in run("plan", examples, "--sandbox").out
    assert json.loads(run("sandbox", "state").out)["record"][0]["status"] == 200
    assert re.search(r"apply +0 ", run("history", "--sandbox").out)


def test_history_tells_a_run_whole_with_the_plan_it_carried_out(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE, STUDIO, CALLS])
    planned = json.loads(run("plan", str(path), "--format", "json", env=served.env).out)
    assert run("apply", str(path), "--auto-approve", env=served.env).code == 0
    [listed] = json.loads(run("history", "--format", "json").out)["runs"]
    shown = run("history", "show", listed["id"])
    assert "Plan: 0 to add, 0 to change, 2 to destroy." in shown.out
    assert "Users: amara," in shown.out
    assert "call-centre" not in shown.out
    told = json.loads(run("history", "show", listed["id"], "--format", "json").out)
    assert told["plan"]["digest"] == planned["digest"] == told["digest"]
    assert told["plan"]["resource_changes"] == planned["resource_changes"]
    sent = {disk["id"] for operation in told["operations"] for disk in operation["intent"]["disks"]}
    gone = [each for each in planned["resource_changes"] if each["change"]["actions"] == ["delete"]]
    kept = [copy for operation in told["operations"] for copy in operation["intent"]["copies"]]
    named = [copy for each in gone for copy in each["lost_copies"]]
    assert sorted(copy["volume_id"] for copy in kept) == sorted(copy["volume_id"] for copy in named)
    assert all(copy["desktop_name"] and copy["size"] > 0 for copy in kept)
    assert {user for copy in kept for user in copy["users"]} >= {"amara", "bjorn"}
    assert len(kept) == sum(each["copies"] for each in gone) == 20
    assert kept[0]["volume_id"] in shown.out
    assert sent == {each["change"]["before"]["id"] for each in gone}
    assert [each["kind"] for each in told["events"]].count("operation.closed") == 2
    assert run("history", "show", "no-such-run").code == 9


def test_a_plan_kept_by_another_version_hides_nothing_else() -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    event = Event(1, "run", None, moment, "plan.approved", {"kind": "reconciler-plan", "format": 1})
    record = RunRecord(KeptRun("run", "apply", "9.0", (), moment), (), (event,))
    told = json.loads(run_json(record))
    assert (told["plan"], told["events"][0]["detail"]["format"]) == (None, 1)
    assert "plan.approved" in "".join(line.text for line in run_lines(record))


def test_version_schema_and_validate_answer(run: Run, tmp_path: Path) -> None:
    assert re.fullmatch(r"reconciler \d+\.\d+\.\d+\n", run("version").out)
    assert json.loads(run("schema").out)["properties"]["pools"]
    for command in DOCUMENTS:
        assert json.loads(run("schema", f"--{command}").out) == document_schema(command)
    assert run("validate", str(ROOT / "manifests")).code == 0
    assert run("validate", str(manifest(tmp_path, ["{name: x}"]))).code == 9


def test_history_on_a_new_machine_says_that_there_is_no_journal_and_makes_none(
    run: Run, tmp_path: Path
) -> None:
    place = tmp_path / "state" / "journal.db"
    told = ("--journal", f"sqlite:///{place}")
    ran = run("history", *told)
    assert (ran.code, ran.out, ran.err) == (0, "", f"There is no journal yet at {place}.\n")
    ran = run("history", "--format", "json", *told)
    assert (ran.code, json.loads(ran.out)["runs"]) == (0, [])
    assert ran.err == f"There is no journal yet at {place}.\n"
    ran = run("history", "show", "some-run", *told)
    assert (ran.code, ran.out) == (9, "")
    assert f"There is no journal yet at {place}." in ran.err
    assert "There is no journal yet at " in run("history").err
    assert "There is no journal yet at " in run("history", "--sandbox").err
    assert list(tmp_path.rglob("*")) == []
