"""The Atlantis workflow keeps its promises: its steps run with Atlantis' own variables over TCP to a sandbox."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler import sandbox
from tests.flows.conftest import FINANCE, manifest
from tests.flows.serving import serving
from tests.scaffolds.installing import Installer, files, header_lines
from tests.scaffolds.shell import Step, bash, ending, with_python

REPO = yaml.safe_load(files("atlantis")["atlantis.yaml"])
TEXT = files("atlantis")["repos.yaml"]
SERVER = yaml.safe_load(TEXT)
INSTALL = header_lines(TEXT)


def steps(stage: str) -> list[dict[str, Any]]:
    """The steps of one stage; Atlantis' own are left out."""
    return [step for step in SERVER["workflows"]["reconciler"][stage]["steps"] if isinstance(step, dict)]


def script(stage: str) -> str:
    """What a stage runs, with the variables that it sets before, as Atlantis does it."""
    lines = []
    for step in steps(stage):
        if about := step.get("env"):
            value = f"$({about['command']})" if "command" in about else about["value"]
            lines.append(f'export {about["name"]}="{value}"')
        else:
            lines.append(step["run"])
    return "\n".join(lines)


def test_plan_policy_check_and_apply_with_atlantis_variables(tmp_path: Path, installer: Installer) -> None:
    opt, etc = installer.environment(INSTALL), tmp_path / "etc"
    for name in ("plan", "apply"):
        (etc / name).mkdir(parents=True)
        keys = f"ak = {sandbox.ACCESS_KEY}\nsk = {sandbox.SECRET_KEY}\nproject_id = {sandbox.PROJECT_ID}\n"
        (etc / name / "credentials").write_text(f"[basic]\n{keys}")
        (etc / name / "journal").write_text(f"sqlite:///{tmp_path}/shared.db\n")
    (tmp_path / "manifests").mkdir()
    manifest(tmp_path / "manifests", [FINANCE])
    plan, shown = tmp_path / "reconciler-default.tfplan", tmp_path / "reconciler-default.json"
    with serving(sandbox.default_world()) as served:
        env = {name: value for name, value in served.env.items() if not name.startswith("HUAWEICLOUD_")}
        env |= {"PLANFILE": str(plan), "SHOWFILE": str(shown)}

        def run(stage: str) -> Step:
            text = script(stage).replace("/opt/reconciler", str(opt)).replace("/etc/reconciler", str(etc))
            return bash(text, tmp_path, env, with_python(tmp_path / "bin"))

        planned = run("plan")
        assert planned.code == 0, planned.out
        assert "Plan: 0 to add, 0 to change, 1 to destroy." in planned.out
        told = json.loads(shown.read_text())
        actions = [each["change"]["actions"] for each in told["resource_changes"]]
        assert actions.count(["delete"]) == 1
        shown.unlink()
        (etc / "plan" / "credentials").unlink()
        assert run("policy_check").code == 0
        assert json.loads(shown.read_text()) == told
        applied = run("apply")
        assert applied.code == 0, applied.out
        assert len(served.posts()) == 1
        assert run("apply").code == 4


def test_plan_and_apply_have_credentials_and_journals_apart_and_a_plan_never_those_of_an_apply() -> None:
    read = {
        stage: set(re.findall(r"/etc/reconciler/(\w+/\w+)", script(stage))) for stage in ("plan", "apply")
    }
    assert read == {name: {f"{name}/credentials", f"{name}/journal"} for name in ("plan", "apply")}
    assert "/etc/reconciler" not in script("policy_check")
    assert "--auto-approve" not in TEXT
    for path in ("plan/credentials", "plan/journal", "apply/credentials", "apply/journal", "project_id ="):
        assert path in TEXT.partition("\nrepos:")[0], "the header says what each file holds"


@pytest.mark.parametrize(
    ("stage", "code", "words"),
    [
        ("plan", 5, "comment 'atlantis plan' when that run has ended"),
        ("plan", 7, "run 'reconciler resolve'"),
        ("apply", 4, "comment 'atlantis plan' and read the new plan"),
        ("apply", 5, "comment 'atlantis apply' again"),
        ("apply", 7, "run 'reconciler resolve'"),
    ],
)
def test_each_exit_code_that_needs_somebody_says_what_to_do_and_stays(
    stage: str, code: int, words: str, tmp_path: Path
) -> None:
    ending(tmp_path / "bin", code)
    done = bash(steps(stage)[-1]["run"].replace("/opt/reconciler", str(tmp_path)), tmp_path, {})
    assert done.code == code
    assert words in done.out


def test_a_pull_request_cannot_lower_what_an_apply_requires() -> None:
    [repo] = SERVER["repos"]
    assert {"approved", "mergeable", "undiverged"} <= set(repo["apply_requirements"])
    assert (repo["allowed_overrides"], repo["allow_custom_workflows"]) == ([], False)
    assert repo["workflow"] in SERVER["workflows"]
    [project] = REPO["projects"]
    assert set(project) == {"name", "dir", "autoplan"}
