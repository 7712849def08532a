"""The GitLab pipeline keeps its promises: valid by GitLab's schema, run job by job over TCP to a sandbox."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from huaweicloudsdkcore.auth.provider import OidcStsCredentialProvider  # type: ignore[import-untyped]

from reconciler import sandbox
from tests.flows.conftest import FINANCE, manifest
from tests.flows.serving import serving
from tests.scaffolds.installing import Installer, files
from tests.scaffolds.shell import Step, bash, ending, with_python

TEXT = files("gitlab")[".gitlab-ci.yml"]
PIPELINE: dict[str, Any] = yaml.safe_load(TEXT)
MERGE_REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_DEFAULT_BRANCH": "main"}
PUSH = {"CI_PIPELINE_SOURCE": "push", "CI_DEFAULT_BRANCH": "main", "CI_COMMIT_BRANCH": "main"}
OTHER = PUSH | {"CI_COMMIT_BRANCH": "other"}
SCHEDULE = PUSH | {"CI_PIPELINE_SOURCE": "schedule"}


def holds(condition: str, variables: dict[str, str]) -> bool:
    """Whether one of GitLab's conditions of comparisons joined by && holds."""

    def value(term: str) -> str:
        return variables.get(term[1:], "") if term.startswith("$") else term.strip('"')

    for comparison in condition.split(" && "):
        found = re.fullmatch(r"(\$\w+) (==|!=) (\$\w+|\"\w+\")", comparison)
        assert found, comparison
        if (value(found[1]) == value(found[3])) != (found[2] == "=="):
            return False
    return True


def jobs(variables: dict[str, str]) -> dict[str, str]:
    """The jobs of a pipeline, each with when it starts."""
    return {
        name: next((rule.get("when", "always") for rule in job["rules"] if holds(rule["if"], variables)), "")
        for name, job in PIPELINE.items()
        if isinstance(job, dict) and "script" in job
    }


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (MERGE_REQUEST, {"plan": "always", "apply": "", "drift": ""}),
        (PUSH, {"plan": "always", "apply": "manual", "drift": ""}),
        (OTHER, {"plan": "", "apply": "", "drift": ""}),
        (SCHEDULE, {"plan": "", "apply": "", "drift": "always"}),
    ],
)
def test_each_pipeline_has_its_jobs(variables: dict[str, str], expected: dict[str, str]) -> None:
    assert jobs(variables) == expected


def test_the_pipeline_fits_gitlabs_schema(tmp_path: Path) -> None:
    path = tmp_path / ".gitlab-ci.yml"
    path.write_text(TEXT)
    program = Path(sys.executable).parent / "check-jsonschema"
    known = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]
    done = subprocess.run([program, *known, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_from_merge_request_to_merge_to_schedule(tmp_path: Path, installer: Installer) -> None:
    tools = installer.environment("\n".join(PIPELINE["default"]["before_script"]) + "\ncommand -v reconciler")
    # Stored keys, as the header describes it: the identity provider is a machine of its own.
    python = with_python(tmp_path / "bin")
    (tmp_path / "manifests").mkdir()
    manifest(tmp_path / "manifests", [FINANCE])
    with serving(sandbox.default_world()) as served:

        def job(name: str, machine: str, **variables: str) -> Step:
            folder = tmp_path / machine
            if not folder.exists():
                shutil.copytree(tmp_path / "manifests", folder / "manifests")
            script = "\n".join(PIPELINE[name]["script"])
            return bash(
                script, folder, {"HOME": str(folder), **served.env, **variables}, tools / "bin", python
            )

        planned = job("plan", "planning")
        assert planned.code == 0, planned.out
        artifacts = PIPELINE["plan"]["artifacts"]
        report = json.loads((tmp_path / "planning" / artifacts["reports"]["terraform"]).read_text())
        assert report == {"create": 0, "update": 0, "delete": 1}

        (tmp_path / "applying").mkdir()
        for name in artifacts["paths"]:
            shutil.copy(tmp_path / "planning" / name, tmp_path / "applying")
        refused = job("apply", "applying")
        assert (refused.code, served.posts()) == (1, [])
        assert "RECONCILER_JOURNAL is not set" in refused.out
        assert job("drift", "looking").code == 2

        lasting = f"sqlite:///{tmp_path}/shared.db"
        applied = job("apply", "applying", RECONCILER_JOURNAL=lasting)
        assert applied.code == 0, applied.out
        assert len(served.posts()) == 1
        assert job("drift", "looking").code == 0
        again = job("apply", "applying", RECONCILER_JOURNAL=lasting)
        assert again.code == 4, again.out
        assert len(served.posts()) == 1


def test_applies_never_overlap_and_belong_to_an_environment_of_their_own() -> None:
    assert PIPELINE["apply"]["resource_group"] == "reconciler"
    assert PIPELINE["apply"]["environment"]["name"] == "production"
    # What may start from a merge request gets an environment of its own.
    assert [PIPELINE[name]["environment"]["name"] for name in ("plan", "drift")] == ["plan", "drift"]


def test_keys_are_temporary_and_outlast_each_job_and_names_are_those_of_the_official_sdk() -> None:
    known = {value for name, value in vars(OidcStsCredentialProvider).items() if name.endswith("_ENV")}
    assert set(PIPELINE["variables"]) <= known
    for name in ("plan", "apply", "drift"):
        [(variable, asked)] = PIPELINE[name]["id_tokens"].items()
        assert (variable in known, asked) == (True, {"aud": "reconciler"})
        minutes = int(PIPELINE[name]["timeout"].removesuffix("m"))
        assert int(PIPELINE["variables"]["HUAWEICLOUD_OIDC_DURATION_SECONDS"]) > 60 * minutes
    named = set(re.findall(r"HUAWEICLOUD_(?:OIDC|SDK_PROJECT)\w+[A-Z]", TEXT))
    assert named <= known
    assert "HUAWEICLOUD_SDK_PROJECT_ID" in named


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("plan", 5, "run this job again when that run has ended"),
        ("plan", 7, "run 'reconciler resolve'"),
        ("apply", 4, "start a new pipeline and read its plan.html"),
        ("apply", 5, "run this job again when that run has ended"),
        ("apply", 7, "run 'reconciler resolve'"),
        ("drift", 5, "it is measured next time"),
        ("drift", 7, "run 'reconciler resolve'"),
    ],
)
def test_each_exit_code_that_needs_somebody_says_what_to_do_and_stays(
    name: str, code: int, words: str, tmp_path: Path
) -> None:
    script = "\n".join(PIPELINE[name]["script"])
    (tmp_path / "plan.html").write_text("of the checkout")
    done = bash(script, tmp_path, {"RECONCILER_JOURNAL": "x"}, ending(tmp_path / "bin", code))
    assert (tmp_path / "plan.html").exists() == (name != "plan"), "no other plan is shown"
    assert done.code == code
    assert words in done.out
