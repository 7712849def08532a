"""Each planted bug is noticed by tests of the normal run, in a copy of the project; without it they pass."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.planted.bugs import BUGS, Bug

ROOT = Path(__file__).parents[2]
FEW = {"RECONCILER_MATCH_CASES": "400"}
"""Enough cases to notice these bugs; the normal run has many more."""
PASSED, FAILED = 0, 1
"""Exit codes of pytest; any other means that the tests did not really run."""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_bug_is_noticed(bug: Bug, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    copy_to(tmp_path)
    path = tmp_path / "reconciler" / bug.file
    text = path.read_text(encoding="utf-8")
    assert text.count(bug.right) == 1, "the text to replace is not there exactly once"
    path.write_text(text.replace(bug.right, bug.wrong), encoding="utf-8")
    ended = run(tmp_path, bug.noticed_by)
    noticed = ended.returncode == FAILED
    record_property("tally", f"planted bugs {'noticed' if noticed else 'NOT noticed'}")
    assert noticed, f"exit code of the tests: {ended.returncode}\n{ended.stdout}"
    assert "SyntaxError" not in ended.stdout
    assert "NameError" not in ended.stdout


@pytest.mark.parametrize("tests", sorted({bug.noticed_by for bug in BUGS}))
def test_without_a_bug_the_same_tests_pass(
    tests: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    copy_to(tmp_path)
    ended = run(tmp_path, tests)
    assert ended.returncode == PASSED, ended.stdout
    record_property("tally", "sets of tests that notice planted bugs, passing without them")


def copy_to(folder: Path) -> None:
    """A copy of the project without these tests."""
    # Compiled files come along: they stay valid with the times of their sources, and save half of every start.
    unwanted = shutil.ignore_patterns("planted")
    for name in ("reconciler", "tests", "manifests"):
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)


def run(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Run these tests, given as arguments of pytest, in a copy."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *shlex.split(tests)],
        cwd=folder,
        env=os.environ | FEW | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
