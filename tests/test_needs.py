"""A program that is missing skips a test and names its package; where nothing may be missing, that is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import needs

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("switch", "code", "words"), [("", 0, "SKIPPED [1]"), ("1", 1, f"which {needs.NO_SKIP} forbids")]
)
def test_a_missing_program_is_a_skip_that_names_its_package(
    tmp_path: Path, switch: str, code: int, words: str
) -> None:
    test = tmp_path / "test_it.py"
    test.write_text("from tests import needs\ndef test_it():\n    needs.program('gh')\n")
    quickly = ["--disable-plugin-autoload", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "tests.conftest", *quickly, str(test)],
        cwd=tmp_path,
        env=os.environ | {"PATH": str(tmp_path), "PYTHONPATH": str(ROOT), needs.NO_SKIP: switch},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert words in done.stdout
    assert "needs the system package gh" in done.stdout
