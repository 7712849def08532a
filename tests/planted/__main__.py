"""Plants every bug in turn and runs the tests that must notice it; ``python -m tests.planted [WORD…]``.

A bug lives in a folder of links to the project in which the one mutated file is real, so nothing is copied, and
processes that a test starts find the bug too. Each runs in a fork of this process, which has imported the
libraries once. Words choose the bugs whose names hold them all.
"""

from __future__ import annotations

import compileall
import contextlib
import gc
import importlib
import os
import pkgutil
import re
import resource
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

import reconciler
from tests.planted.bugs import BUGS, Bug

ROOT = Path(__file__).parents[2]
LIBRARIES = (
    "hypothesis",
    "pydantic",
    "sqlalchemy",
    "httpx",
    "starlette",
    "uvicorn",
    "yaml",
    "msgspec",
)
"""What most tests import and no bug is in."""
FEW = {"RECONCILER_MATCH_CASES": "400"}
"""Enough cases to notice these bugs; the normal run has many more."""
FAILED = 1
"""Exit code of pytest when tests failed; any other means that the tests did not really run."""
QUIETLY = (
    *("-x", "-q", "-p", "no:cacheprovider", "--assert=plain"),  # that they fail says all
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # hypothesis is imported before pytest looks at it
)
BROKEN = ("SyntaxError", "NameError", "ImportError", "ModuleNotFoundError")
"""A mutation that ends in one of these is no bug that anybody would ship."""


@dataclass(frozen=True)
class Job:
    """One run of tests in a fork: with a bug, or as a control with none."""

    name: str
    tests: Sequence[str]
    """Arguments of pytest."""
    bug: Bug | None = None
    seconds: int = 0
    """Of computing, or ten times that in all, after which it is killed; 0: no limit."""

    def trouble(self, code: int, output: str) -> str:
        """Why this is a failure; empty when all is as it must be."""
        if self.bug is None:
            return "" if code == 0 else "the tests fail without any bug"
        if any(re.search(rf"^E +{word}\b", output, re.M) for word in BROKEN):
            return "the bug breaks the program instead of making it wrong"
        return "" if code == FAILED else f"NOT noticed: pytest ended with {code}"


def main(words: Sequence[str]) -> int:
    """Run all; returns the exit code."""
    chosen = [bug for bug in BUGS if all(word in bug.name for word in words)]
    jobs = [Job(bug.name, shlex.split(bug.noticed_by), bug) for bug in chosen]
    tests = sorted({each for job in jobs for each in job.tests})
    jobs.insert(0, Job("the same tests without a bug", tests))  # the longest, beside which all others run
    import_libraries()
    failed: list[str] = []
    for job, code, output, seconds in in_forks(jobs):
        if trouble := job.trouble(code, output):
            failed.append(job.name)
            print(f"FAILED {job.name}: {trouble}\n{output}")
        elif os.environ.get("RECONCILER_PLANTED_TIMES"):
            print(f"{seconds:6.2f} s of computing  {job.name}")
    noticed = sum(job.bug is not None and job.name not in failed for job in jobs)
    print(f"planted bugs: {len(chosen)}, noticed: {noticed}")
    print(f"{len(jobs) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not chosen else 0


def import_libraries() -> None:
    """Import once what all forks use, and compile once what they import."""
    for folder in ("reconciler", "tests"):
        compileall.compile_dir(ROOT / folder, quiet=2)  # as far as it may be written; they write nothing
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):  # a library that is gone is one import less
            importlib.import_module(name)
    for found in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if found.name != "reconciler.__main__":
            importlib.import_module(found.name)
    # Each fork imports this code with its own bug; the libraries that it uses stay.
    for name in [name for name in sys.modules if name.partition(".")[0] == "reconciler"]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()  # forks share what is never collected


def in_forks(jobs: Iterable[Job], at_once: int = 0) -> Iterator[tuple[Job, int, str, float]]:
    """Run jobs in forks, one more at a time than there are processors.

    Yields each with its exit code, its output and the seconds that it computed.
    """
    at_once = at_once or (os.cpu_count() or 1) + 1
    waiting = list(reversed(list(jobs)))
    running: dict[int, tuple[Job, Path]] = {}
    with tempfile.TemporaryDirectory(prefix="planted") as scratch:
        number = 0
        while waiting or running:
            while waiting and len(running) < at_once:
                number += 1
                folder = Path(scratch) / str(number)
                job = waiting.pop()
                try:
                    overlay(folder, job.bug)
                except ValueError as error:
                    yield job, -1, str(error), 0.0
                    continue
                if (pid := os.fork()) == 0:
                    _child(folder, job)
                running[pid] = job, folder
            if running:
                pid, status, used = os.wait4(-1, 0)
                job, folder = running.pop(pid)
                output = (folder / "output").read_text(encoding="utf-8", errors="replace")
                yield job, os.waitstatus_to_exitcode(status), output, used.ru_utime + used.ru_stime


def overlay(folder: Path, bug: Bug | None) -> None:
    """Make ``folder`` look like the project with the bug in it; raises ``ValueError`` when it cannot be planted."""
    folder.mkdir()
    changed = ROOT / "reconciler" / bug.file if bug else None
    for path in (path for path in ROOT.iterdir() if path.name not in (".git", ".venv", "reconciler")):
        (folder / path.name).symlink_to(path)
    link(ROOT / "reconciler", folder / "reconciler", changed)
    if bug and changed:
        text = changed.read_text(encoding="utf-8") if changed.is_file() else ""
        if text.count(bug.right) != 1:
            raise ValueError(
                f"the text to replace stands {text.count(bug.right)} times in {bug.file}, not once"
            )
        (folder / "reconciler" / bug.file).write_text(text.replace(bug.right, bug.wrong), encoding="utf-8")


def link(source: Path, target: Path, changed: Path | None) -> None:
    """Link what is in ``source``, with real folders on the way to ``changed``, which is left out."""
    if changed is None or source not in changed.parents:
        target.symlink_to(source)
        return
    target.mkdir()
    for path in source.iterdir():
        if path != changed:
            link(path, target / path.name, changed)


def _child(folder: Path, job: Job) -> NoReturn:
    """Run tests and end; a fork must not fall back into the code of its parent."""
    code = 1 << 6
    try:
        if job.seconds:
            resource.setrlimit(resource.RLIMIT_CPU, (job.seconds, job.seconds))
            signal.alarm(10 * job.seconds)  # for one that computes nothing and waits for ever
        code = run_tests(folder, job.tests)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run_tests(folder: Path, tests: Sequence[str]) -> int:
    """Run pytest in this process, which is a fork for that alone; returns its exit code."""
    with open(folder / "output", "w", encoding="utf-8") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ.update(FEW | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"})
    sys.dont_write_bytecode = True
    os.chdir(folder)
    sys.path[:] = [str(folder), *(each for each in sys.path if Path(each or ".").resolve() != ROOT)]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    return int(pytest.main([*QUIETLY, *tests]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
