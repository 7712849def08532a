"""The hook before a commit, by the real pre-commit: as other repositories take it, and as ``init`` writes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.cli.init import Platform
from tests import needs
from tests.flows.conftest import FINANCE, ROOT, manifest
from tests.flows.inside import Ran
from tests.scaffolds.installing import files

HOOKS = ROOT / ".pre-commit-hooks.yaml"
CONFIG = ".pre-commit-config.yaml"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A committer whose PATH has this environment's programs, as ``language: system`` needs it."""
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PRE_COMMIT_HOME": str(tmp_path / "cache"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.com",
        "LANG": "C.UTF-8",
    }


def called(folder: Path, environment: dict[str, str], *command: str) -> Ran:
    """One program in a folder."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


def repository(folder: Path, environment: dict[str, str]) -> str:
    """Make a folder a repository with everything in it committed; returns the commit."""
    git = needs.program("git")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        done = called(folder, environment, git, *words)
        assert done.code == 0, done.err
    return called(folder, environment, git, "rev-parse", "HEAD").out.strip()


@pytest.mark.parametrize("source", ["hooks of this repository", "init"])
def test_a_fault_of_any_manifest_stops_the_commit_by_its_line(
    source: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    own = tmp_path / "own"
    (own / "manifests").mkdir(parents=True)
    if source == "init":
        (own / CONFIG).write_text(files(Platform.PRE_COMMIT)[CONFIG], encoding="utf-8")
    else:
        offered = tmp_path / "offered"
        offered.mkdir()
        (offered / HOOKS.name).write_text(HOOKS.read_text(encoding="utf-8"), encoding="utf-8")
        commit = repository(offered, environment)
        # The language of the hook would install this repository, which the tests of the ready-made files do.
        hook = {"id": "reconciler-validate", "language": "system"}
        config = {"repos": [{"repo": str(offered), "rev": commit, "hooks": [hook]}]}
        (own / CONFIG).write_text(yaml.safe_dump(config), encoding="utf-8")
    manifest(own, [FINANCE], name="manifests/one.yaml")
    (own / "notes.txt").write_text("nothing\n", encoding="utf-8")
    repository(own, environment)

    def hook_on(path: str) -> Ran:
        called(own, environment, needs.program("git"), "add", "-A")
        return called(own, environment, sys.executable, "-m", "pre_commit", "run", "--files", path)

    good = hook_on("manifests/one.yaml")
    assert (good.code, "Passed" in good.out) == (0, True), good.out + good.err
    other = hook_on("notes.txt")
    assert (other.code, "no files to check" in other.out) == (0, True), other.out
    manifest(own, [FINANCE], name="manifests/two.yaml")  # right by itself
    twice = hook_on("manifests/two.yaml")
    assert (twice.code, "manifests/two.yaml:4:" in twice.out) == (1, True), twice.out


def test_the_offered_hook_is_the_one_that_init_writes_and_installs_this_package() -> None:
    [offered] = yaml.safe_load(HOOKS.read_text(encoding="utf-8"))
    [own] = yaml.safe_load(files(Platform.PRE_COMMIT)[CONFIG])["repos"][0]["hooks"]
    assert offered.pop("language") == "python"
    assert own.pop("language") == "system"
    offered.pop("description")
    shared: dict[str, Any] = offered | {"entry": " ".join([offered["entry"], *offered.pop("args")])}
    assert shared == own
