"""What programs read: failures as JSON, faults as annotations, and the outputs of a step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.flows.conftest import FINANCE, Run, manifest

BROKEN = "{name: finance-analysts, disks: [{type: SSD, size: 105}]}"


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["validate", "broken.yaml"], 9, "bad_input"),
        (["plan", "broken.yaml", "--sandbox"], 9, "bad_input"),
        (["plan", "missing.yaml", "--sandbox"], 9, "bad_input"),
        (["drift", "broken.yaml", "--sandbox"], 9, "bad_input"),
        (["plan", "pools.yaml", "--sandbox", "--no-such-flag"], 9, "bad_input"),
        (["plan", "pools.yaml"], 1, "credentials_error"),
        (["apply", "pools.yaml", "--sandbox"], 3, "refused"),
        (["apply", "pools.yaml", "--sandbox", "--approve", "0" * 64], 4, "stale_plan"),
        (["history", "show", "nothing"], 9, "bad_input"),
    ],
)
def test_every_failure_under_format_json_is_one_document(
    run: Run, tmp_path: Path, arguments: list[str], code: int, kind: str
) -> None:
    manifest(tmp_path, [BROKEN], name="broken.yaml")
    manifest(tmp_path, [FINANCE])
    for form in (["--format", "json"], ["--format=json"]):
        ran = run(*arguments, *form)
        found = json.loads(ran.out)["error"]
        assert (ran.code, found["exit_code"], found["kind"]) == (code, code, kind)
        assert f"Error: {found['message']}" in ran.err
    if "broken.yaml" in arguments:
        [fault] = found["faults"]
        assert (fault["file"], fault["line"]) == ("broken.yaml", 4)
    assert run(*arguments).out.startswith("{") is False


def test_validate_says_as_json_how_much_it_read(run: Run, tmp_path: Path) -> None:
    found = json.loads(run("validate", str(manifest(tmp_path, [FINANCE])), "--format", "json").out)
    assert (found["pools"], found["files"], found["targets"]) == (1, 1, 1)


@pytest.mark.parametrize("command", ["plan", "apply", "drift", "validate"])
def test_faults_of_manifests_are_annotations_at_their_lines_and_in_the_job_summary(
    run: Run, tmp_path: Path, command: str
) -> None:
    manifest(tmp_path, [BROKEN], name="broken.yaml")
    summary, outputs = tmp_path / "summary.md", tmp_path / "outputs"
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(outputs)}
    ran = run(command, "broken.yaml", *(["--sandbox"] if command != "validate" else []), env=env)
    annotations = [
        each for each in ran.err.splitlines() if each.startswith("::error file=broken.yaml,line=4,col=")
    ]
    assert (ran.code, len(annotations)) == (9, 1)
    assert "`broken.yaml:4:" in summary.read_text(encoding="utf-8")
    assert outputs.read_text(encoding="utf-8") == "exit_code=9\n"


def test_a_manifest_that_is_not_there_is_an_annotation_too(run: Run, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    ran = run("plan", "none.yaml", env={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)})
    [found] = [each for each in ran.err.splitlines() if each.startswith("::")]
    assert found.startswith("::error file=none.yaml,line=1,col=1,title=reconciler%3A manifest::no such file")
    assert "- `none.yaml` no such file" in summary.read_text(encoding="utf-8")


def test_a_step_gets_the_numbers_of_its_plan_as_outputs(run: Run, tmp_path: Path) -> None:
    path, outputs = str(manifest(tmp_path, [FINANCE])), tmp_path / "outputs"
    for command, more, code in (("plan", [], 0), ("drift", [], 2), ("apply", ["--auto-approve"], 0)):
        outputs.unlink(missing_ok=True)
        ran = run(command, path, "--sandbox", *more, env={"GITHUB_OUTPUT": str(outputs)})
        given = dict(each.split("=", 1) for each in outputs.read_text(encoding="utf-8").splitlines())
        assert ran.code == code
        assert (given["exit_code"], given["destroy"], given["blocked"]) == (str(code), "1", "false"), command
        assert (given["add"], given["change"], len(given["digest"])) == ("0", "0", 64)
        assert given["marked"] == "0"
    waits = str(manifest(tmp_path, [FINANCE], "defaults: {grace: 7d}", "waits.yaml"))
    outputs.unlink()
    run(
        "plan",
        waits,
        "--sandbox",
        env={"GITHUB_OUTPUT": str(outputs), "RECONCILER_STATE_FOLDER": str(tmp_path / "new")},
    )
    assert {"marked=1", "destroy=0"} <= set(outputs.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    ("flags", "code", "blocked"),
    [(["--auto-approve", "--limit-disks", "0"], 3, "true"), (["--approve", "0" * 64], 4, "false")],
)
def test_a_step_gets_the_numbers_of_a_plan_that_is_refused_once(
    run: Run, tmp_path: Path, flags: list[str], code: int, blocked: str
) -> None:
    path, outputs = str(manifest(tmp_path, [FINANCE])), tmp_path / "outputs"
    ran = run("apply", path, "--sandbox", *flags, env={"GITHUB_OUTPUT": str(outputs)})
    lines = outputs.read_text(encoding="utf-8").splitlines()
    given = dict(each.split("=", 1) for each in lines)
    assert (ran.code, given["exit_code"], given["blocked"], given["destroy"]) == (
        code,
        str(code),
        blocked,
        "1",
    )
    assert len(lines) == len(given) == 7
