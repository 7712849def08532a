"""The code keeps its own rules: lint, format, types, the direction of imports, and where things live."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import needs

ROOT = Path(__file__).parent.parent
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
TOP_LEVEL = {"pyproject.toml", "README.md", "reconciler", "manifests", "tests"}
GENERATED = {"build", "dist"}


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
    found = {name.split("/", 1)[0] for name in kept_files()}
    assert {name for name in found if not name.startswith(".")} == TOP_LEVEL


def kept_files() -> list[str]:
    """The files of the repository; all there are, where this is a copy of it without its history."""
    if not (ROOT / ".git").exists():
        return [str(path.relative_to(ROOT)) for path in ROOT.iterdir() if path.name not in GENERATED]
    git = [needs.program("git"), "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name]
