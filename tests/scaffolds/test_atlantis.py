"""The Atlantis workflow keeps its promises: its steps run with Atlantis' own variables over TCP to a sandbox."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from reconciler import sandbox
from reconciler.scaffolds import files
from tests.flows.conftest import FINANCE, manifest
from tests.flows.serving import serving
from tests.scaffolds.shell import Step, bash, programs

REPO = yaml.safe_load(files("atlantis")["atlantis.yaml"])
SERVER = yaml.safe_load(files("atlantis")["repos.yaml"])


def steps(stage: str) -> list[str]:
    """The commands of one stage; Atlantis' own steps are left out."""
    return [
        step["run"] for step in SERVER["workflows"]["reconciler"][stage]["steps"] if isinstance(step, dict)
    ]


def test_plan_policy_check_and_apply_with_atlantis_variables(tmp_path: Path) -> None:
    bin_folder = programs(tmp_path)
    (tmp_path / "manifests").mkdir()
    manifest(tmp_path / "manifests", [FINANCE])
    plan, shown = tmp_path / "reconciler-default.tfplan", tmp_path / "reconciler-default.json"
    with serving(sandbox.default_world()) as served:
        env = {**served.env, "PLANFILE": str(plan), "SHOWFILE": str(shown)}

        def run(stage: str) -> Step:
            [script] = steps(stage)
            return bash(script, tmp_path, env, bin_folder)

        planned = run("plan")
        assert planned.code == 0, planned.out
        assert "Plan: 0 to add, 0 to change, 1 to destroy." in planned.out
        told = json.loads(shown.read_text())
        actions = [each["change"]["actions"] for each in told["resource_changes"]]
        assert actions.count(["delete"]) == 1
        shown.unlink()
        assert run("policy_check").code == 0
        assert json.loads(shown.read_text()) == told
        applied = run("apply")
        assert applied.code == 0, applied.out
        assert len(served.posts()) == 1
        assert run("apply").code == 4


def test_a_pull_request_cannot_lower_what_an_apply_requires() -> None:
    [repo] = SERVER["repos"]
    assert {"approved", "mergeable", "undiverged"} <= set(repo["apply_requirements"])
    assert (repo["allowed_overrides"], repo["allow_custom_workflows"]) == ([], False)
    assert repo["workflow"] in SERVER["workflows"]
    [project] = REPO["projects"]
    assert set(project) == {"name", "dir", "autoplan"}
