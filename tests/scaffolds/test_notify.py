"""Ready-made files notify people where webhooks are set, and work as ever where they are not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.scaffolds import test_atlantis, test_github, test_gitlab, test_jenkins, test_kubernetes
from tests.scaffolds.shell import bash
from tests.scaffolds.test_kubernetes import mounted

__all__ = ["mounted"]

ADDRESS = "https://hooks.invalid/secret"
SECRETS = {"RECONCILER_JOURNAL": "x", "DIGEST": "x"}


def commands(script: str, folder: Path, env: Mapping[str, str]) -> list[tuple[str, bool, str]]:
    """What a script runs of reconciler: the command, whether with --notify, and the webhook that it has."""
    program = folder / "bin" / "reconciler"
    program.parent.mkdir(exist_ok=True)
    program.write_text('#!/bin/sh\necho "ran $1 [$*] [${RECONCILER_WEBHOOK-}]"\n')
    program.chmod(0o755)
    done = bash(script, folder, {**SECRETS, **env}, program.parent)
    ran = re.findall(r"^ran (\w+) \[(.*)\] \[(.*)\]$", done.out, re.M)
    return [(name, "--notify" in words, hook) for name, words, hook in ran if "--mark" not in words]


def github(workflow: str) -> str:
    """The step with an identity."""
    text = test_github.workflows()[f".github/workflows/{workflow}.yml"]
    [step] = [
        each for each in test_github.steps(text) if "HUAWEICLOUD_OIDC_TOKEN_FILE" in each.get("env", {})
    ]
    assert step["env"]["RECONCILER_WEBHOOK"] == "${{ secrets.RECONCILER_WEBHOOK }}"
    return str(step["run"])


@pytest.mark.parametrize("webhook", [ADDRESS, ""])
@pytest.mark.parametrize(
    ("workflow", "event", "notify"),
    [
        (test_github.PLAN, "pull_request", True),
        (test_github.PLAN, "merge_group", False),
        (test_github.APPLY, "push", False),
        (test_github.DUE, "schedule", True),
        (test_github.DRIFT, "schedule", False),
    ],
)
def test_on_github_a_secret_is_enough_and_a_missing_one_is_an_empty_one(
    tmp_path: Path, workflow: str, event: str, notify: bool, webhook: str
) -> None:
    env = {"RUNNER_TEMP": str(tmp_path), "GITHUB_OUTPUT": str(tmp_path / "output")}
    env |= {"GITHUB_EVENT_NAME": event, "RECONCILER_WEBHOOK": webhook}
    [(_, told, hook)] = commands(github(workflow), tmp_path, env)
    assert (told, hook) == (notify and bool(webhook), "" if event == "merge_group" else webhook)


@pytest.mark.parametrize("webhook", [{"RECONCILER_WEBHOOK": ADDRESS}, {}])
@pytest.mark.parametrize(
    ("job", "notify"), [("plan", True), ("apply", False), ("drift", False), ("due", True), ("remove", False)]
)
def test_on_gitlab_a_variable_of_the_environment_is_enough(
    tmp_path: Path, job: str, notify: bool, webhook: dict[str, str]
) -> None:
    script = "\n".join(test_gitlab.PIPELINE[job]["script"])
    env = {"tools": str(tmp_path), **test_gitlab.PUSH, **webhook}
    [(_, told, hook)] = commands(script, tmp_path, env)
    assert (told, hook) == (notify and bool(webhook), ADDRESS if webhook else "")


def test_a_merge_request_on_gitlab_waits_for_no_approval(tmp_path: Path) -> None:
    script = "\n".join(test_gitlab.PIPELINE["plan"]["script"])
    env = {"tools": str(tmp_path), "RECONCILER_WEBHOOK": ADDRESS, **test_gitlab.MERGE_REQUEST}
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\n[ $1 = fetch ]\n")
    git.chmod(0o755)
    assert commands(script, tmp_path, env) == [("plan", False, "")]


@pytest.mark.parametrize("webhook", [ADDRESS, ""])
@pytest.mark.parametrize(
    ("text", "stage", "notify"),
    [
        (test_jenkins.MAIN, "Plan", True),
        (test_jenkins.MAIN, "Apply", False),
        (test_jenkins.DRIFT, "Drift", False),
    ],
)
def test_jenkins_asks_for_credentials_only_where_their_id_is_written(
    tmp_path: Path, text: str, stage: str, notify: bool, webhook: str
) -> None:
    found = test_jenkins.stage(text, stage)
    wanted = "[string(credentialsId: env.WEBHOOK, variable: 'RECONCILER_WEBHOOK')]"
    bound = f"+\n            (env.WEBHOOK ? {wanted} : [])) {{"
    assert found.count("withCredentials(") == found.count(bound) == 1
    assert "    WEBHOOK = ''\n" in text
    _, script, *_ = test_jenkins.steps(found)
    (tmp_path / "reconciler").mkdir()
    (tmp_path / "reconciler" / "bin").symlink_to(tmp_path / "bin")
    env = {"WORKSPACE_TMP": str(tmp_path), "PLAN_DIGEST": "x", "RECONCILER_WEBHOOK": webhook}
    [(_, told, hook)] = commands(script, tmp_path, env)
    assert (told, hook) == (notify and bool(webhook), webhook)


@pytest.mark.parametrize("webhook", [True, False])
@pytest.mark.parametrize("stage", ["plan", "apply"])
def test_on_the_server_of_atlantis_and_in_a_secret_of_kubernetes_a_file_is_enough(
    tmp_path: Path, mounted: Path, stage: str, webhook: bool
) -> None:
    if webhook:
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "webhook").write_text(f"{ADDRESS}\n")
        (mounted / "secrets" / "webhook").write_text(f"{ADDRESS}\n")
    text = test_atlantis.steps(stage)[-1]["run"]
    text = text.replace("/opt/reconciler", str(tmp_path)).replace("/etc/reconciler", str(tmp_path))
    if stage == "plan":  # what it is compared with needs a checkout
        text = "set --\n" + text[text.index("if [ -s ") :]
    hook = f"@{tmp_path}/{stage}/webhook" if webhook else ""
    assert commands(text, tmp_path, {"PLANFILE": "plan", "SHOWFILE": "shown"}) == [
        (stage, webhook and stage == "plan", hook)
    ]
    path, command = {"plan": ("drift-watch.yaml", "watch"), "apply": ("apply-sharded-job.yaml", "apply")}[
        stage
    ]
    (mounted / "approval" / "1").write_text("x")
    env = {"JOB_COMPLETION_INDEX": "0", "N": "8"}
    hook = f"@{mounted}/secrets/webhook" if webhook else ""
    for each, name in ((path, command), ("drift-cronjob.yaml", "drift")):
        assert commands(test_kubernetes.script(each, mounted), tmp_path, env) == [(name, False, hook)]
