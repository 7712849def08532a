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
from tests.scaffolds.shell import Step, bash, ending, git, with_python

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
    (etc / "policy.yaml").write_text("version: 1\nceilings: {disks: 5}\n")
    (tmp_path / "server").mkdir()
    checkout = checked_out(tmp_path / "server", "limits: {disks: 9999}")
    plan, shown = tmp_path / "reconciler-default.tfplan", tmp_path / "reconciler-default.json"
    with serving(sandbox.default_world()) as served:
        env = {name: value for name, value in served.env.items() if not name.startswith("HUAWEICLOUD_")}
        env |= {"PLANFILE": str(plan), "SHOWFILE": str(shown), "BASE_BRANCH_NAME": "main"}

        def run(stage: str) -> Step:
            text = script(stage).replace("/opt/reconciler", str(opt)).replace("/etc/reconciler", str(etc))
            return bash(text, checkout, env, with_python(tmp_path / "bin"))

        planned = run("plan")
        assert planned.code == 0, planned.out
        assert "Plan: 0 to add, 0 to change, 1 to destroy." in planned.out
        assert "limits.disks raised from 10 to 9999" in " ".join(planned.out.split())
        told = json.loads(shown.read_text())
        actions = [each["change"]["actions"] for each in told["resource_changes"]]
        assert actions.count(["delete"]) == 1
        shown.unlink()
        (etc / "plan" / "credentials").unlink()
        assert run("policy_check").code == 0
        assert json.loads(shown.read_text()) == told
        policy = (etc / "policy.yaml").read_text()
        (etc / "policy.yaml").write_text("version: 1\n")
        assert (run("apply").code, served.posts()) == (4, []), "another policy than the plan's"
        (etc / "policy.yaml").unlink()
        assert (run("apply").code, served.posts()) == (9, [])
        (etc / "policy.yaml").write_text(policy)
        applied = run("apply")
        assert applied.code == 0, applied.out
        assert len(served.posts()) == 1
        assert run("apply").code == 4


def checked_out(folder: Path, change: str) -> Path:
    """A pull request that changes the manifests, merged with its target as the server does it; its checkout."""
    (folder / "origin" / "manifests").mkdir(parents=True)
    manifest(folder / "origin" / "manifests", [FINANCE])
    git(folder / "origin", "init", "--quiet")
    git(folder / "origin", "add", ".")
    git(folder / "origin", "commit", "--quiet", "--message", "target branch")
    git(folder, "clone", "--quiet", "--branch", "main", "--single-branch", "origin", "checkout")
    git(folder / "origin", "switch", "--quiet", "--create", "topic")
    manifest(folder / "origin" / "manifests", [FINANCE], change)
    git(folder / "origin", "commit", "--quiet", "--all", "--message", "more")
    git(folder / "checkout", "fetch", "--quiet", str(folder / "origin"), "topic")
    git(folder / "checkout", "merge", "--quiet", "--no-ff", "--message", "atlantis-merge", "FETCH_HEAD")
    return folder / "checkout"


def test_a_checkout_that_does_not_know_the_target_branch_is_not_planned(tmp_path: Path) -> None:
    checkout = checked_out(tmp_path, "limits: {disks: 9999}")
    [step] = [each["run"] for each in steps("plan") if "run" in each]
    # The branch alone, as Atlantis checks it out otherwise, also that of a fork which calls it main.
    git(checkout, "reset", "--quiet", "--hard", "HEAD^2")
    alone = bash(step, checkout, {"BASE_BRANCH_NAME": "main"})
    assert (alone.code, alone.out.count("--checkout-strategy=merge")) == (1, 1)
    git(checkout, "reset", "--quiet", "--hard", "ORIG_HEAD")
    git(checkout, "update-ref", "-d", "refs/remotes/origin/main")
    assert bash(step, checkout, {"BASE_BRANCH_NAME": "main"}).code == 1


def test_plans_and_applies_are_under_the_policy_of_the_server_and_signatures_are_read_there_alone(
    tmp_path: Path,
) -> None:
    for stage in ("plan", "apply"):
        [policy] = [
            each["env"] for each in steps(stage) if each.get("env", {}).get("name") == "RECONCILER_POLICY"
        ]
        assert policy["value"] == "/etc/reconciler/policy.yaml"
    (tmp_path / "etc" / "approvals").mkdir(parents=True)
    program = tmp_path / "bin" / "reconciler"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    text = steps("apply")[-1]["run"].replace("/opt/reconciler", str(tmp_path))
    text = text.replace("/etc/reconciler", str(tmp_path / "etc"))
    (tmp_path / "approvals").mkdir()  # of the pull request
    words = f"apply plan --approval {tmp_path}/etc/approvals --no-color\n"
    assert bash(text, tmp_path, {"PLANFILE": "plan"}).out == words
    (tmp_path / "etc" / "approvals").rmdir()
    assert bash(text, tmp_path, {"PLANFILE": "plan"}).out == "apply plan --no-color\n"


def test_plan_and_apply_have_credentials_and_journals_apart_and_a_plan_never_those_of_an_apply() -> None:
    read = {
        stage: set(re.findall(r"/etc/reconciler/(\w+/\w+)", script(stage))) for stage in ("plan", "apply")
    }
    assert read == {
        name: {f"{name}/{file}" for file in ("credentials", "journal", "webhook")}
        for name in ("plan", "apply")
    }
    assert "policy.yaml" in TEXT.partition("\nrepos:")[0]
    assert "/etc/reconciler" not in script("policy_check")
    assert "--auto-approve" not in TEXT
    for path in (
        "plan/credentials",
        "plan/journal",
        "apply/credentials",
        "apply/journal",
        "project_id =",
        "plan/webhook",
        "apply/webhook",
    ):
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
    checkout = checked_out(tmp_path, "limits: {disks: 9}")
    text = steps(stage)[-1]["run"].replace("/opt/reconciler", str(tmp_path))
    done = bash(text, checkout, {"BASE_BRANCH_NAME": "main"})
    assert done.code == code
    assert words in done.out


def test_a_pull_request_cannot_lower_what_an_apply_requires() -> None:
    [repo] = SERVER["repos"]
    assert {"approved", "mergeable", "undiverged"} <= set(repo["apply_requirements"])
    assert (repo["allowed_overrides"], repo["allow_custom_workflows"]) == ([], False)
    assert repo["workflow"] in SERVER["workflows"]
    [project] = REPO["projects"]
    assert set(project) == {"name", "dir", "autoplan"}
