"""The GitLab pipeline keeps its promises: valid by GitLab's schema, run job by job over TCP to a sandbox."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from huaweicloudsdkcore.auth.provider import OidcStsCredentialProvider  # type: ignore[import-untyped]
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler import sandbox
from tests import needs
from tests.flows.conftest import FINANCE, manifest
from tests.flows.serving import listening, serving
from tests.flows.skipping import TIME
from tests.scaffolds.installing import Installer, files
from tests.scaffolds.shell import Step, bash, ending, git, with_python

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
        (MERGE_REQUEST, {"plan": "always"}),
        (PUSH, {"plan": "always", "apply": "manual"}),
        (OTHER, {}),
        (SCHEDULE, {"drift": "always", "due": "always", "object": "manual", "remove": "manual"}),
    ],
)
def test_each_pipeline_has_its_jobs(variables: dict[str, str], expected: dict[str, str]) -> None:
    assert {name: when for name, when in jobs(variables).items() if when} == expected


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
                script,
                folder,
                {"HOME": str(folder), "tools": str(folder), **PUSH, **served.env, **variables},
                tools / "bin",
                python,
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
        [digest] = re.findall(r"--approve ([0-9a-f]{64})|\b([0-9a-f]{64})\b", planned.out)[:1]
        digest = "".join(digest)
        assert job("drift", "looking").code == 2

        lasting = f"sqlite:///{tmp_path}/shared.db"
        unread = job("apply", "applying", RECONCILER_JOURNAL=lasting)
        assert (unread.code, served.posts()) == (1, [])
        assert "with the variable DIGEST" in unread.out
        other = job("apply", "applying", RECONCILER_JOURNAL=lasting, DIGEST="0" * 64)
        assert (other.code, served.posts()) == (4, [])
        applied = job("apply", "applying", RECONCILER_JOURNAL=lasting, DIGEST=digest)
        assert applied.code == 0, applied.out
        assert len(served.posts()) == 1
        assert job("drift", "looking").code == 0
        again = job("apply", "applying", RECONCILER_JOURNAL=lasting, DIGEST=digest)
        assert again.code == 4, again.out
        assert len(served.posts()) == 1


class Issues:
    """The issues of a GitLab project, as its interface has them; a person has labelled one of their own."""

    def __init__(self) -> None:
        forged = {
            "iid": 1,
            "by": "person",
            "state": "opened",
            "labels": "reconciler-due",
            "description": "no",
        }
        self.all: list[dict[str, Any]] = [forged]
        self.tokens = set[str]()

    @property
    def own(self) -> list[dict[str, Any]]:
        return self.all[1:]

    async def answer(self, request: Request) -> Response:
        self.tokens.add(request.headers["PRIVATE-TOKEN"])
        if request.method == "GET":
            wanted = {name: request.query_params[name] for name in ("labels", "state")}
            assert request.query_params["scope"] == "created_by_me"
            mine = [each for each in self.own if wanted.items() <= each.items()]
            return JSONResponse(mine)
        form = {name: values[-1] for name, values in parse_qs((await request.body()).decode()).items()}
        if request.method == "POST":
            self.all.append({"iid": len(self.all) + 1, "by": "token", "state": "opened"})
            found = self.all[-1]
        else:
            found = self.all[int(request.path_params["iid"]) - 1]
        if form.pop("state_event", "") == "close":
            found["state"] = "closed"
        found |= form
        return JSONResponse(found, 201 if request.method == "POST" else 200)


def test_from_a_mark_to_its_removal_what_is_due_is_one_issue_and_goes_only_by_its_digest(
    tmp_path: Path, installer: Installer
) -> None:
    needs.program("curl")
    tools = installer.environment("\n".join(PIPELINE["default"]["before_script"]) + "\ncommand -v reconciler")
    python, issues, numbers = with_python(tmp_path / "bin"), Issues(), itertools.count()
    graceful = FINANCE.replace("{name", "{grace: 7d, name")
    manifest(tmp_path, [graceful])
    path = "/api/v4/projects/7/issues"
    routes = [
        Route(path, issues.answer, methods=["GET", "POST"]),
        Route(path + "/{iid}", issues.answer, methods=["PUT"]),
    ]
    with serving(sandbox.default_world()) as served, listening(Starlette(routes=routes)) as gitlab:
        env = (
            served.env
            | SCHEDULE
            | {
                "RECONCILER_JOURNAL": f"sqlite:///{tmp_path}/shared.db",
                "RECONCILER_ISSUE_TOKEN": "issue-token",
                "CI_API_V4_URL": f"{gitlab}/api/v4",
                "CI_PROJECT_ID": "7",
                "CI_PIPELINE_URL": "https://gitlab.invalid/pools/-/pipelines/9",
            }
        )

        def job(name: str, days: float, **variables: str) -> Step:
            TIME.skipped = days * 86400
            machine = tmp_path / f"machine-{next(numbers)}"
            (machine / "manifests").mkdir(parents=True)
            shutil.copy(tmp_path / "pools.yaml", machine / "manifests")
            own = {"HOME": str(machine), "tools": str(machine), **env, **variables}
            return bash("\n".join(PIPELINE[name]["script"]), machine, own, tools / "bin", python)

        marked = job("due", 0)
        assert (marked.code, issues.own, served.posts()) == (0, [], []), marked.out
        assert "marked 1 disk" in marked.out
        disk = re.findall(r"to object: reconciler marks extend (finance-analysts/\S+)", marked.out)[0]
        until = f"{TIME.now() + timedelta(days=9):%Y-%m-%d}"
        assert job("object", 5, DISK=disk, UNTIL=until).code == 0
        assert job("object", 5).code == 1
        assert (job("due", 7.5).code, issues.own) == (0, []), "somebody lets it wait"

        for days in (9.5, 10):  # the next day it is the same issue
            listed = job("due", days)
            assert (listed.code, served.posts()) == (0, []), listed.out
            [issue] = issues.own
            assert (issue["state"], issue["title"]) == ("opened", "Disks are due to be removed")
        [digest] = set(re.findall(r"--digest ([0-9a-f]{64})", issue["description"]))
        assert disk.partition("/")[2] in issue["description"]
        assert "the variable `DISK`" in issue["description"]
        assert env["CI_PIPELINE_URL"] in issue["description"]
        for unapproved in ({}, {"DIGEST": "0" * 64}):
            assert job("remove", 10, **unapproved).code in (1, 4)
        assert served.posts() == []
        removed = job("remove", 10, DIGEST=digest)
        assert (removed.code, len(served.posts())) == (0, 1), removed.out
        assert job("due", 11).code == 0
        assert [each["state"] for each in issues.all] == ["opened", "closed"]
        assert issues.all[0]["description"] == "no", "of somebody else"
        assert issues.tokens == {"issue-token"}
        assert job("drift", 11).code == 0


@pytest.mark.parametrize("target", ["main", "without-manifests"])
def test_a_merge_request_shows_what_it_widens_against_its_target_branch(target: str, tmp_path: Path) -> None:
    origin, checkout = tmp_path / "origin", tmp_path / "checkout"
    origin.mkdir()
    git(origin, "init", "--quiet")
    git(origin, "commit", "--quiet", "--allow-empty", "--message", "first")
    git(origin, "branch", "without-manifests")
    (origin / "manifests").mkdir()
    manifest(origin / "manifests", [FINANCE])
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "--message", "target")
    git(tmp_path, "clone", "--quiet", "origin", "checkout")
    program = tmp_path / "bin" / "reconciler"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    (tmp_path / "tools").mkdir()
    env = MERGE_REQUEST | {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": target, "tools": str(tmp_path / "tools")}
    script = "\n".join(PIPELINE["plan"]["script"])
    done = bash(script, checkout, env, program.parent)
    assert done.code == 0, done.out
    beside = f"--base {tmp_path}/tools/base/manifests"
    assert (beside in done.out) == (target == "main")
    assert target != "main" or (tmp_path / "tools" / "base" / "manifests" / "pools.yaml").exists()
    assert bash(script, checkout, env | {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "gone"}, program.parent).code


def test_the_policy_is_that_of_the_project_s_variables_and_signatures_are_those_that_the_starter_brings(
    tmp_path: Path,
) -> None:
    policy = PIPELINE["default"]["before_script"][1]
    text = policy + 'echo "${RECONCILER_POLICY:-none}"'
    assert bash(text, tmp_path, {"tools": str(tmp_path)}).out == "none\n"
    given = {"RECONCILER_POLICY_TEXT": "version: 1\nforbid: [replace]", "RECONCILER_SIGNERS_TEXT": "one\ntwo"}
    assert bash(text, tmp_path, {"tools": str(tmp_path), **given}).out == f"{tmp_path}/policy.yaml\n"
    assert (tmp_path / "policy.yaml").read_text() == "version: 1\nforbid: [replace]\n"
    assert (tmp_path / "allowed_signers").read_text() == "one\ntwo\n"
    assert (tmp_path / "policy.yaml").stat().st_mode & 0o777 == 0o600
    for name in ("apply", "remove"):
        (tmp_path / name).mkdir()
        own = {"tools": str(tmp_path / name), "RECONCILER_JOURNAL": "x", "DIGEST": "x"}
        own["APPROVALS"] = '{\n  "of": "alice",\n  "by": {}\n} {"of": "bob"}\n\n{"of": "carol"} '
        done = bash(PIPELINE[name]["script"][0] + 'echo "$@"', tmp_path, own, with_python(tmp_path / "bin"))
        assert done.out == f"--approval {tmp_path}/{name}/approvals\n"
        signed = sorted((tmp_path / name / "approvals").iterdir())
        assert [json.loads(each.read_text())["of"] for each in signed] == ["alice", "bob", "carol"]


def test_applies_never_overlap_and_belong_to_an_environment_of_their_own() -> None:
    assert PIPELINE["apply"]["resource_group"] == "reconciler"
    assert PIPELINE["remove"]["resource_group"] == "reconciler"
    assert PIPELINE["apply"]["environment"]["name"] == "production"
    assert PIPELINE["remove"]["environment"]["name"] == "production"
    # What may start from a merge request gets an environment of its own.
    named = {name: PIPELINE[name]["environment"]["name"] for name in ("plan", "drift", "due", "object")}
    assert named == {"plan": "plan", "drift": "drift", "due": "drift", "object": "drift"}


def test_keys_are_temporary_and_outlast_each_job_and_names_are_those_of_the_official_sdk() -> None:
    known = {value for name, value in vars(OidcStsCredentialProvider).items() if name.endswith("_ENV")}
    assert set(PIPELINE["variables"]) <= known
    for name in ("plan", "apply", "drift", "due", "remove"):
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
        ("remove", 4, "read the issue"),
        ("remove", 5, "run this job again when that run has ended"),
        ("remove", 7, "run 'reconciler resolve'"),
        ("drift", 5, "it is measured next time"),
        ("drift", 7, "run 'reconciler resolve'"),
    ],
)
def test_each_exit_code_that_needs_somebody_says_what_to_do_and_stays(
    name: str, code: int, words: str, tmp_path: Path
) -> None:
    script = "\n".join(PIPELINE[name]["script"])
    (tmp_path / "plan.html").write_text("of the checkout")
    done = bash(
        script, tmp_path, {"RECONCILER_JOURNAL": "x", "DIGEST": "x", **PUSH}, ending(tmp_path / "bin", code)
    )
    assert (tmp_path / "plan.html").exists() == (name != "plan"), "no other plan is shown"
    assert done.code == code
    assert words in done.out
