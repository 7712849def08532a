"""The Jenkins pipelines keep their promises: their shell steps run in order over TCP to a sandbox."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from reconciler import sandbox
from reconciler.scaffolds import files
from tests.flows.conftest import FINANCE, manifest
from tests.flows.serving import serving
from tests.scaffolds.shell import Step, bash, programs

PLAN_AND_APPLY, DRIFT = files("jenkins")["Jenkinsfile"], files("jenkins")["Jenkinsfile.drift"]


def stage(text: str, name: str) -> str:
    """The text of one stage."""
    return re.split(r"stage\('\w+'\)", text.split(f"stage('{name}')", 1)[1], maxsplit=1)[0]


def steps(text: str) -> list[str]:
    """Its shell steps; installing is left out."""
    found = re.findall(r"\bsh '([^']+)'|script: '''(.+?)'''", text)
    return [script for pair in found for script in pair if script and "pip install" not in script]


def test_what_a_person_approved_is_what_is_applied_on_another_machine(tmp_path: Path) -> None:
    bin_folder = programs(tmp_path)
    for machine in ("one", "two"):
        (tmp_path / machine / "manifests").mkdir(parents=True)
        manifest(tmp_path / machine / "manifests", [FINANCE])
        (tmp_path / machine / ".venv").mkdir()
        (tmp_path / machine / ".venv" / "bin").symlink_to(bin_folder)
    with serving(sandbox.default_world()) as served:

        def run(script: str, machine: str, **variables: str) -> Step:
            folder = tmp_path / machine
            return bash(script, folder, {"HOME": str(folder), **served.env, **variables}, bin_folder)

        plan, ask = steps(stage(PLAN_AND_APPLY, "Plan"))
        planned = run(plan, "one")
        assert planned.code == 0, planned.out
        digest = run(ask, "one").out.strip()
        assert re.fullmatch(r"[0-9a-f]{64}", digest)
        assert digest in planned.out

        [drift] = steps(DRIFT)
        assert run(drift, "two").code == 2
        shutil.copy(tmp_path / "one" / "plan.bin", tmp_path / "two")
        [apply] = steps(stage(PLAN_AND_APPLY, "Apply"))
        journal = f"sqlite:///{tmp_path}/shared.db"
        other = run(apply, "two", PLAN_DIGEST="0" * 64, RECONCILER_JOURNAL=journal)
        assert (other.code, served.posts()) == (4, [])
        applied = run(apply, "two", PLAN_DIGEST=digest, RECONCILER_JOURNAL=journal)
        assert applied.code == 0, applied.out
        assert len(served.posts()) == 1
        assert run(drift, "two").code == 0


def test_only_main_is_applied_only_after_a_person_and_only_then_with_the_stronger_identity() -> None:
    order = re.findall(r"stage\('(\w+)'\)", PLAN_AND_APPLY)
    assert order == ["Plan", "Approve", "Apply"]
    assert "disableConcurrentBuilds()" in PLAN_AND_APPLY
    for name in ("Approve", "Apply"):
        assert "when { branch 'main' }" in stage(PLAN_AND_APPLY, name)
    assert "${env.PLAN_DIGEST}" in stage(PLAN_AND_APPLY, "Approve")
    assert [name for name in order if "'reconciler-apply'" in stage(PLAN_AND_APPLY, name)] == ["Apply"]
    assert "'reconciler-apply'" not in DRIFT


def test_braces_and_quotes_are_closed() -> None:
    for text in (PLAN_AND_APPLY, DRIFT):
        code = "\n".join(line for line in text.splitlines() if not line.startswith("//"))
        code = re.sub(r"'''.*?'''|'[^'\n]*'|\"[^\"\n]*\"", "", code)
        assert not set(code) & {"'", '"'}
        for opening, closing in ("{}", "()", "[]"):
            assert code.count(opening) == code.count(closing)
