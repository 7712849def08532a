"""The code keeps its own rules: lint, format, types, the direction of imports, and where things live."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
TOP_LEVEL = {"pyproject.toml", "README.md", "reconciler", "manifests", "tests"}


def run(*command: str) -> str:
    """The output of a command of this interpreter; fails the test when the command fails."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def test_the_linter_has_no_complaint() -> None:
    run("-m", "ruff", "check", "--no-cache", ".")


def test_the_formatter_would_change_nothing() -> None:
    run("-m", "ruff", "format", "--no-cache", "--check", ".")


def test_every_type_is_right() -> None:
    run("-m", "mypy")


def test_imports_point_down_only() -> None:
    assert " 0 broken" in run("-c", LINT_IMPORTS, "--no-cache")


def test_the_top_level_holds_what_a_reader_expects_and_nothing_else() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: which files belong to the repository is known to git alone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {name.split("/", 1)[0] for name in listed.stdout.split("\0") if name}
    assert {name for name in found if not name.startswith(".")} == TOP_LEVEL
