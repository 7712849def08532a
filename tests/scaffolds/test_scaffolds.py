"""``init`` writes what it says, and the files are valid by the tools that will read them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from reconciler.cli.initializing import Kind
from reconciler.scaffolds import files
from tests.flows.conftest import bare


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
