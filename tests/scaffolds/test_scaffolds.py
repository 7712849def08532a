"""The ready-made files are valid by the tools that will read them, and the GitHub ones run step by step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from reconciler import sandbox
from reconciler.cli.initializing import Kind
from reconciler.scaffolds import files
from tests.flows.conftest import FINANCE, bare, manifest
from tests.flows.serving import Served, serving


def written(kind: str, folder: Path) -> Path:
    """Write a kind's files as the command does."""
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "init", kind, "--dir", str(folder)],
        env=bare(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_writes_what_it_says_and_never_twice(kind: Kind, tmp_path: Path) -> None:
    written(kind.value, tmp_path)
    for path, text in files(kind.value).items():
        assert (tmp_path / path).read_text() == text
        assert "@VERSION@" not in text
        if path.endswith((".yml", ".yaml")):
            assert list(yaml.safe_load_all(text))
        if path.endswith(".json"):
            assert json.loads(text)["Statement"][0]["Effect"] == "Allow"
    again = subprocess.run(
        [sys.executable, "-m", "reconciler", "init", kind.value, "--dir", str(tmp_path)],
        env=bare(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 9
    assert "--force" in again.stderr


def test_the_plan_policy_can_change_nothing() -> None:
    actions = json.loads(files("github")["iam/plan-policy.json"])["Statement"][0]["Action"]
    assert {action.rpartition(":")[2] for action in actions} == {"list", "get", "listDesktops"}


def test_zizmor_finds_nothing_in_the_workflows(tmp_path: Path) -> None:
    written("github", tmp_path)
    program = Path(sys.executable).parent / "zizmor"
    done = subprocess.run(
        [program, "--offline", "--no-progress", "--persona", "pedantic", str(tmp_path / ".github")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: install the package systemd, as .ci/run does"
    written("systemd", tmp_path)
    units = [str(tmp_path / f"reconciler-drift.{kind}") for kind in ("service", "timer")]
    done = subprocess.run(
        [program, "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    own = [line for line in done.stderr.splitlines() if "reconciler" in line]
    assert (done.returncode, own) == (0, []), done.stderr


def test_kubernetes_files_fit_their_schema_and_run_without_privileges() -> None:
    for path, text in files("kubernetes").items():
        for document in yaml.safe_load_all(text) if path.endswith(".yaml") else ():
            kubernetes_validate.validate(document, "1.30", strict=True)
            spec = document["spec"]
            pod = spec.get("jobTemplate", document)["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"] is True
            [container] = pod["containers"]
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


# -- the GitHub workflows, step by step ----------------------------------------------------------

GH = r"""#!/usr/bin/env bash
# Stands for GitHub's own command line: keeps comments and statuses in files.
set -euo pipefail
store="$GH_STORE"; all="$*"
field() { for each in "$@"; do case "$each" in "$name="*) printf '%s' "${each#"$name="}";; esac; done; }
case "$all" in
  *--method\ POST*statuses*) name=description field "$@" > "$store/digest"; name=state field "$@" > "$store/state";;
  *--method\ POST*comments*) cp plan.md "$store/comment"; echo x >> "$store/made";;
  *--method\ PATCH*comments*) cp plan.md "$store/comment"; echo x >> "$store/updated";;
  *comments*) if [ -f "$store/comment" ]; then echo 77; fi;;
  *pulls*) echo abc123;;
  *statuses*) cat "$store/digest";;
esac
"""


def steps(workflow: str) -> list[dict[str, Any]]:
    """The steps of the only job of a workflow that run commands; installing is left out."""
    told = yaml.safe_load(files("github")[f".github/workflows/{workflow}.yml"])
    [job] = told["jobs"].values()
    return [step for step in job["steps"] if "run" in step and step["name"] != "Install"]


class Runner:
    """Runs steps as GitHub's runner does: bash -e, outputs through a file, expressions resolved in env only."""

    def __init__(self, folder: Path, served: Served) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.store.mkdir()
        program = folder / "bin"
        program.mkdir()
        (program / "gh").write_text(GH)
        (program / "gh").chmod(0o755)
        (program / "reconciler").write_text(f'#!/bin/sh\nexec {sys.executable} -m reconciler "$@"\n')
        (program / "reconciler").chmod(0o755)
        (program / "python").symlink_to(sys.executable)
        self.env = bare(folder) | {
            "PATH": f"{program}:{os.environ['PATH']}",
            "GH_STORE": str(self.store),
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": "example/pools",
            "GITHUB_SHA": "def456",
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "RECONCILER_ENDPOINT": served.url,
            "HUAWEICLOUD_SDK_AK": sandbox.ACCESS_KEY,
            "HUAWEICLOUD_SDK_SK": sandbox.SECRET_KEY,
        }
        self.outputs: dict[str, str] = {}

    def run(self, workflow: str) -> int:
        """Run a workflow's steps in order; returns the first failing step's code."""
        for step in steps(workflow):
            output = self.folder / "output"
            output.write_text("")
            env = self.env | {"GITHUB_OUTPUT": str(output)}
            for name, value in step.get("env", {}).items():
                if "secrets." not in value:
                    env[name] = self._resolved(value)
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]],
                cwd=self.folder,
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )
            for line in output.read_text().splitlines():
                name, _, value = line.partition("=")
                self.outputs[f"steps.{step.get('id')}.outputs.{name}"] = value
            if done.returncode:
                return done.returncode
        return 0

    def _resolved(self, value: str) -> str:
        inner = value.removeprefix("${{ ").removesuffix(" }}")
        known = {"github.token": "t", "github.event.pull_request.number": "5"}
        return self.outputs.get(inner, known.get(inner, "abc123"))


def test_from_pull_request_to_merge_to_schedule(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    with serving(sandbox.default_world()) as served:
        runner = Runner(tmp_path, served)
        manifest(tmp_path / "manifests", [FINANCE])
        assert runner.run("reconciler-plan") == 0
        assert (runner.store / "comment").read_text().startswith("<!-- reconciler-plan -->")
        assert "1 to destroy" in (tmp_path / "summary.md").read_text()
        assert runner.run("reconciler-plan") == 0
        assert ((runner.store / "made").read_text(), (runner.store / "updated").read_text()) == ("x\n", "x\n")
        assert (runner.store / "state").read_text() == "success"
        assert runner.run("reconciler-drift") == 2
        assert served.posts() == []

        assert runner.run("reconciler-apply") == 0
        assert len(served.posts()) == 1
        assert runner.run("reconciler-drift") == 0

        pool = served.pool("finance-analysts")
        pool["disks"].append({"id": "from-the-console", "type": "SAS", "size": 20})
        pool["revision"] += 1
        assert runner.run("reconciler-drift") == 2
        # What was approved before is not what would be done now.
        assert runner.run("reconciler-apply") == 4
        assert len(served.posts()) == 1


def test_a_blocked_plan_is_commented_and_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    with serving(sandbox.default_world()) as served:
        runner = Runner(tmp_path, served)
        manifest(tmp_path / "manifests", [FINANCE], "limits: {disks: 0}")
        assert runner.run("reconciler-plan") == 3
        assert "limit-disks" in (runner.store / "comment").read_text()
        assert (runner.store / "state").read_text() == "failure"
