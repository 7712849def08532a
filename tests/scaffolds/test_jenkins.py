"""The Jenkins pipelines keep their promises: their shell steps run in order over TCP to a sandbox."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from reconciler import sandbox
from tests.flows.conftest import FINANCE, manifest
from tests.flows.serving import serving
from tests.scaffolds.installing import Installer, files
from tests.scaffolds.shell import Step, bash, ending, with_python

BRANCHES, MAIN, DRIFT = (files("jenkins")[f"Jenkinsfile{name}"] for name in ("", ".apply", ".drift"))
PIPELINES = {"Jenkinsfile": BRANCHES, "Jenkinsfile.apply": MAIN, "Jenkinsfile.drift": DRIFT}


def stage(text: str, name: str) -> str:
    """The text of one stage."""
    return re.split(r"stage\('\w+'\)", text.split(f"stage('{name}')", 1)[1], maxsplit=1)[0]


def steps(text: str) -> list[str]:
    """Its shell steps, installing first."""
    return re.findall(r"(?:\bsh |script: )'''(.+?)'''", text, re.S)


def test_what_a_person_approved_is_what_is_applied_on_another_machine(
    tmp_path: Path, installer: Installer
) -> None:
    install, plan, ask = steps(stage(MAIN, "Plan"))
    again, apply = steps(stage(MAIN, "Apply"))
    _, plan_branch = steps(BRANCHES)
    _, drift = steps(DRIFT)
    assert {again, steps(BRANCHES)[0], steps(DRIFT)[0]} == {install}
    tools = installer.environment(install).parent
    python = with_python(tmp_path / "bin")
    for machine in ("one", "two"):
        (tmp_path / machine / "manifests").mkdir(parents=True)
        manifest(tmp_path / machine / "manifests", [FINANCE])
    with serving(sandbox.default_world()) as served:

        def run(script: str, machine: str, **variables: str) -> Step:
            folder = tmp_path / machine
            env = {"HOME": str(folder), "WORKSPACE_TMP": str(tools), **served.env, **variables}
            return bash(script, folder, env, python)

        target = tools / "base" / "manifests"
        target.mkdir(parents=True)
        manifest(target, [FINANCE], "limits: {disks: 9}")
        compared = run(plan_branch, "two")
        assert compared.code == 0
        assert "limits.disks raised from 9 to 10" in " ".join(compared.out.split())
        shutil.rmtree(target.parent)
        assert run(plan_branch, "two").code == 0
        assert (tmp_path / "two" / "plan.html").exists()
        planned = run(plan, "one")
        assert planned.code == 0, planned.out
        digest = run(ask, "one").out.strip()
        assert re.fullmatch(r"[0-9a-f]{64}", digest)
        assert digest in planned.out

        assert run(drift, "two").code == 2
        shutil.copy(tmp_path / "one" / "plan.bin", tmp_path / "two")
        journal = f"sqlite:///{tmp_path}/shared.db"
        other = run(apply, "two", PLAN_DIGEST="0" * 64, RECONCILER_JOURNAL=journal)
        assert (other.code, served.posts()) == (4, [])
        applied = run(apply, "two", PLAN_DIGEST=digest, RECONCILER_JOURNAL=journal)
        assert applied.code == 0, applied.out
        assert len(served.posts()) == 1
        assert run(drift, "two").code == 0


def test_a_branch_is_only_planned_and_main_is_applied_after_a_person_with_the_stronger_identity() -> None:
    order = {path: re.findall(r"stage\('(\w+)'\)", text) for path, text in PIPELINES.items()}
    assert order == {
        "Jenkinsfile": ["Plan"],
        "Jenkinsfile.apply": ["Plan", "Approve", "Apply"],
        "Jenkinsfile.drift": ["Drift"],
    }
    # A file of a branch names no credentials that can change something: they are in another folder.
    named = {
        (path, name): set(re.findall(r"credentialsId: '([\w-]+)'", stage(text, name)))
        for path, text in PIPELINES.items()
        for name in order[path]
    }
    assert named == {
        ("Jenkinsfile", "Plan"): {"reconciler-plan", "reconciler-journal-read"},
        ("Jenkinsfile.apply", "Plan"): {"reconciler-plan", "reconciler-journal-read"},
        ("Jenkinsfile.apply", "Approve"): set(),
        ("Jenkinsfile.apply", "Apply"): {"reconciler-apply", "reconciler-journal"},
        ("Jenkinsfile.drift", "Drift"): {"reconciler-plan", "reconciler-journal"},
    }
    for text in PIPELINES.values():
        assert "disableConcurrentBuilds()" in text
        assert "HUAWEICLOUD_SDK_PROJECT_ID = '" in text
        assert "--auto-approve" not in text
    approve = stage(MAIN, "Approve")
    assert "${env.PLAN_DIGEST}" in approve
    assert "submitter: 'reconciler-approvers'" in approve
    for path, name in named:
        if name != "Approve":
            found = stage(PIPELINES[path], name)
            assert found.index("pip") < found.index("withCredentials"), "installing sees no secret"


@pytest.mark.parametrize(
    ("text", "name", "code", "words"),
    [
        (BRANCHES, "Plan", 5, "build again when that run has ended"),
        (BRANCHES, "Plan", 7, "run 'reconciler resolve'"),
        (MAIN, "Plan", 5, "build again when that run has ended"),
        (MAIN, "Plan", 7, "run 'reconciler resolve'"),
        (MAIN, "Apply", 4, "build again and read the new plan.html"),
        (MAIN, "Apply", 5, "build again when that run has ended"),
        (MAIN, "Apply", 7, "run 'reconciler resolve'"),
        (DRIFT, "Drift", 5, "it is measured next time"),
        (DRIFT, "Drift", 7, "run 'reconciler resolve'"),
    ],
)
def test_each_exit_code_that_needs_somebody_says_what_to_do_and_stays(
    text: str, name: str, code: int, words: str, tmp_path: Path
) -> None:
    ending(tmp_path / "reconciler" / "bin", code)
    _, script, *_ = steps(stage(text, name))
    (tmp_path / "plan.html").write_text("of an earlier build")
    done = bash(script, tmp_path, {"WORKSPACE_TMP": str(tmp_path), "PLAN_DIGEST": "0" * 64})
    assert done.code == code
    assert (tmp_path / "plan.html").exists() == (name != "Plan"), "no other plan is shown"
    assert words in done.out


def test_a_branch_is_compared_with_its_target_checked_out_beside_it_before_there_is_a_secret() -> None:
    found = stage(BRANCHES, "Plan")
    beside = found[found.index('dir("${env.WORKSPACE_TMP}/base")') : found.index("withCredentials")]
    assert "deleteDir()" in beside, "of an earlier build"
    assert "refs/heads/${env.CHANGE_TARGET ?: 'main'}" in beside
    assert '--base "$WORKSPACE_TMP/base/manifests"' in found
    assert "--base" not in MAIN, "main is its own target"


def test_braces_and_quotes_are_closed() -> None:
    for text in PIPELINES.values():
        code = "\n".join(line for line in text.splitlines() if not line.startswith("//"))
        code = re.sub(r"'''.*?'''|'[^'\n]*'|\"[^\"\n]*\"", "", code, flags=re.S)
        assert not set(code) & {"'", '"'}
        for opening, closing in ("{}", "()", "[]"):
            assert code.count(opening) == code.count(closing)
