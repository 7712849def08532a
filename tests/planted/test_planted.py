"""Each planted bug is noticed by tests of the normal run, in a copy of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.planted.bugs import BUGS, Bug

ROOT = Path(__file__).parents[2]
FEW = {"RECONCILER_SEEDS": "480", "RECONCILER_MATCH_CASES": "400"}
"""Enough cases to notice these bugs; the normal run has many more."""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_bug_is_noticed(bug: Bug, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    unwanted = shutil.ignore_patterns("__pycache__", "planted")
    for name in ("reconciler", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=unwanted)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    path = tmp_path / "reconciler" / bug.file
    text = path.read_text(encoding="utf-8")
    assert text.count(bug.right) == 1, "the text to replace is not there exactly once"
    path.write_text(text.replace(bug.right, bug.wrong), encoding="utf-8")
    code = exit_code(tmp_path, bug.noticed_by)
    record_property("counted", f"planted: {'noticed' if code == 1 else 'NOT NOTICED'}: {bug.name}")
    assert code == 1, f"exit code of the tests: {code}"


def exit_code(folder: Path, files: str) -> int:
    """Run these tests in a copy; 1 means that one of them failed."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files.split()],
        cwd=folder,
        env=os.environ | FEW | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=300,
        check=False,
    ).returncode
