"""What every flow needs: a sandbox over TCP, a folder of its own, and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from reconciler import sandbox
from tests.documents import check_printed
from tests.flows.inside import Ran, run_inside
from tests.flows.serving import Served, serving
from tests.flows.skipping import TIME

ROOT = Path(__file__).parents[2]

Run = Callable[..., Ran]


@pytest.fixture
def served() -> Iterator[Served]:
    """The default world over TCP."""
    with serving(sandbox.default_world()) as found:
        yield found


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run the command line in this process, as if in ``tmp_path``; ``env`` is added to a bare environment.

    Its waits are skipped: ``TIME`` passes instead, for the sandboxes of the test too.
    """

    def call(
        *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "", cwd: Path | None = None
    ) -> Ran:
        ran = run_inside(arguments, bare(tmp_path) | dict(env or {}), cwd or tmp_path, stdin, TIME)
        assert "Traceback" not in ran.err + ran.out, ran.err
        check_printed(arguments, ran.out)
        return ran

    TIME.reset()
    yield call
    TIME.reset()


@pytest.fixture
def process(tmp_path: Path) -> Run:
    """As ``run``, but in a process of its own: for what only a process has, like the encoding of its streams."""

    def call(
        *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "", cwd: Path | None = None
    ) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments],
            cwd=cwd or tmp_path,
            env=bare(tmp_path) | dict(env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        check_printed(arguments, done.stdout)
        return Ran(done.returncode, done.stdout, done.stderr)

    return call


def bare(folder: Path) -> dict[str, str]:
    """An environment without anything of the machine's owner."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "RECONCILER_STATE_FOLDER": str(folder / "state"),
        "RECONCILER_METADATA": "off",
        "LANG": "C.UTF-8",
    }


def manifest(folder: Path, pools: Sequence[str], head: str = "", name: str = "pools.yaml") -> Path:
    """Write a manifest for the sandbox's project."""
    target = f"target: {{region: {sandbox.REGION}, project_id: {sandbox.PROJECT_ID}}}"
    lines = ["version: 1", target, *([head] if head else []), "pools:", *(f"  - {pool}" for pool in pools)]
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


FINANCE = "{name: finance-analysts, apply_to: all, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"
STUDIO = "{name: design-studio, disks: [{type: SSD, size: 200}, {type: SSD, size: 100}]}"
CALLS = "{name: call-centre, disks: [{type: SAS, size: 20}]}"
