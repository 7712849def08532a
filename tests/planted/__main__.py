"""Plants every bug in turn and runs the tests that must notice it; ``python -m tests.planted [WORD…]``.

Each runs in a fork of this process. Where the bug is inside of functions, the fork has imported and collected
everything long ago, and only these functions are exchanged. Any other lives in a folder of links to the project
in which the one mutated file is real, so nothing is copied; its fork has imported the libraries alone. Words
choose the bugs whose names hold them all.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from pathlib import Path
from types import FunctionType
from typing import NoReturn, TypeVar

import hypothesis
import pytest

import reconciler
from tests.planted.bugs import BUGS, Bug
from tests.planted.exchange import Codes, changed_functions, exchange, functions_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "reconciler"
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
FEW = {"RECONCILER_MATCH_CASES": "400", "RECONCILER_SEEDS": "800"}
"""Enough cases to notice these bugs; the normal run has many more."""
FAILED = 1
"""Exit code of pytest when tests failed; any other means that the tests did not really run."""
QUIETLY = (
    *("-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "--tb=native"),  # that they fail says all
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # hypothesis is imported before pytest looks at it
)
BROKEN = ("SyntaxError", "NameError", "ImportError", "ModuleNotFoundError")
"""A mutation that ends in one of these is no bug that anybody would ship."""

T = TypeVar("T")
Work = Callable[[Path], int]
"""What a fork does, given a folder of its own; returns its exit code."""
Ended = tuple[T, int, str, float]
"""A fork that ended: what it was for, its exit code, what it printed, and the seconds that it computed."""


@dataclass(frozen=True, eq=False)
class Job:
    """Tests to run: with a bug, or as a control with none."""

    name: str
    tests: Sequence[str]
    """Ids of tests, or files."""
    bug: Bug | None = None
    codes: Codes = field(default_factory=dict)
    """The functions with the bug; empty where it is not inside of functions."""

    @property
    def path(self) -> str:
        """The file that its bug changes."""
        return str(PACKAGE / self.bug.file) if self.bug else ""

    def chosen(self, items: Iterable[pytest.Item]) -> list[pytest.Item]:
        """The items that are its tests; of a test with parameters those of each, unless its id names some."""
        return [each for each in items if {each.nodeid, each.nodeid.partition("[")[0]} & set(self.tests)]

    def trouble(self, code: int, output: str) -> str:
        """Why this is a failure; empty when all is as it must be."""
        if self.bug is None:
            return "" if code == 0 else "the tests fail without any bug"
        if any(re.search(rf"^{word}\b", output, re.M) for word in BROKEN):
            return "the bug breaks the program instead of making it wrong"
        return "" if code == FAILED else f"NOT noticed: pytest ended with {code}"


def main(words: Sequence[str]) -> int:
    """Run all; returns the exit code."""
    jobs = [_job(bug) for bug in BUGS if all(word in bug.name for word in words)]
    if not jobs:
        print("no planted bug has a name with these words")
        return 1
    os.environ.update(FEW)
    apart = [job for job in jobs if not job.codes]
    failed = [ended[0] for ended in _apart(apart) if not as_expected(*ended)]
    inside = Inside(jobs)
    tests = sorted({test for job in jobs for test in job.tests})
    code = pytest.main([*QUIETLY, "-s", *tests], plugins=[inside])
    if not inside.ran:
        print(f"the tests did not run: pytest ended with {int(code)}")
        return 1
    failed += inside.failed
    print(f"planted bugs: {len(jobs)}, noticed: {len(jobs) - sum(job.bug is not None for job in failed)}")
    print(f"{len(jobs) + inside.controls - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _job(bug: Bug) -> Job:
    """The job of one bug."""
    codes: Codes | None = None
    with contextlib.suppress(ValueError, SyntaxError):  # which its run says, then
        path = PACKAGE / bug.file
        codes = changed_functions(path.read_text(encoding="utf-8"), bug.source(PACKAGE), str(path))
    return Job(bug.name, shlex.split(bug.noticed_by), bug, codes or {})


def as_expected(job: Job, code: int, output: str, seconds: float) -> bool:
    """Whether a job ended as it must; says so if not."""
    if trouble := job.trouble(code, output):
        print(f"FAILED {job.name}: {trouble}\n{output}")
    elif os.environ.get("RECONCILER_PLANTED_TIMES"):
        noticed = next((line for line in output.splitlines() if line.startswith("tests/")), "")
        print(f"{seconds:6.2f} s of computing  {job.name}  {noticed}")
    return not trouble


def _apart(jobs: Sequence[Job]) -> Iterator[Ended[Job]]:
    """Run jobs whose forks import the project anew."""
    if jobs:
        import_libraries()
        yield from in_forks((job, partial(run_apart, job.bug, job.tests)) for job in jobs)


class Inside:
    """Plugin of pytest that runs the tests it has collected: in forks of its process, each with functions exchanged."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._functions: list[FunctionType] = []
        self._broken = False
        self.failed: list[Job] = []
        self.controls = 0
        self.ran = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Let a failure say that it is one, and the same at each run: it is neither made smaller nor kept."""
        profile = hypothesis.settings(
            hypothesis.settings.get_profile("reconciler"),
            database=None,
            derandomize=True,
            phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        )
        hypothesis.settings.register_profile("planted", profile)
        hypothesis.settings.load_profile("planted")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a failure, and print it for the process that waits."""
        if report.failed:
            self._broken = True
            print(f"\n{report.nodeid}\n{report.longreprtext}")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests of each job; and then without a bug each test that failed with one."""
        plugins = session.config.pluginmanager
        plugins.unregister(plugins.get_plugin("terminalreporter"))  # which would print a dot for every test
        import_all()
        gc.unfreeze()  # what was collected is frozen, and what is frozen is not found
        gc.collect()
        self._functions = functions_of({job.path for job in self._jobs})
        gc.freeze()  # forks share what is never collected
        chosen = {job: job.chosen(session.items) for job in self._jobs}
        order = {item: at for at, item in enumerate(session.items)}  # the longest come first
        jobs = sorted(self._jobs, key=lambda job: [order[item] for item in chosen[job]])
        seen = {item.nodeid for job in jobs if not job.codes for item in chosen[job]}
        works = [(job, partial(self._run, job, chosen[job])) for job in jobs if job.codes]
        for job, code, output, seconds in in_forks(works):
            self._judge(job, code, output, seconds)
            seen.update(output.splitlines())
        self._control([item for item in session.items if item.nodeid in seen])
        self.ran = True
        return True

    def _control(self, items: Sequence[pytest.Item]) -> None:
        """Run tests without a bug, those of a file in one fork, and in one those that share a server."""
        groups: dict[str, list[pytest.Item]] = {}
        for item in items:
            name = "PostgreSQL" if "postgres" in item.keywords else item.nodeid.partition("::")[0]
            groups.setdefault(name, []).append(item)
        self.controls = len(groups)
        jobs = [(Job(f"{name} without a bug", ()), group) for name, group in groups.items()]
        for ended in in_forks((job, partial(self._run, job, group)) for job, group in jobs):
            self._judge(*ended)

    def _judge(self, job: Job, code: int, output: str, seconds: float) -> None:
        if not as_expected(job, code, output, seconds):
            self.failed.append(job)

    def _run(self, job: Job, items: Sequence[pytest.Item], folder: Path) -> int:
        """Run tests in this process, which is a fork for that alone."""
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
        if job.bug:
            exchange(self._functions, job.path, job.codes)
        for item, following in zip_longest(items, items[1:]):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._broken:
                return FAILED
        return 0


def import_libraries() -> None:
    """Import once what all forks use, and compile once what they import."""
    for folder in ("reconciler", "tests"):
        compileall.compile_dir(ROOT / folder, quiet=2)  # as far as it may be written; they write nothing
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):  # a library that is gone is one import less
            importlib.import_module(name)
    import_all()
    # Each fork imports this code with its own bug; the libraries that it uses stay.
    for name in [name for name in sys.modules if name.partition(".")[0] == "reconciler"]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()  # forks share what is never collected


def import_all() -> None:
    """Import every module of the project."""
    for found in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if found.name != "reconciler.__main__":
            importlib.import_module(found.name)


def in_forks(works: Iterable[tuple[T, Work]], at_once: int = 0, seconds: int = 0) -> Iterator[Ended[T]]:
    """Run works in forks, one more at a time than there are processors.

    One that computes for more than ``seconds``, or does not end in ten times that, is killed; 0: no limit.
    """
    at_once = at_once or (os.cpu_count() or 1) + 1
    waiting = list(reversed(list(works)))
    running: dict[int, tuple[T, Path]] = {}
    with tempfile.TemporaryDirectory(prefix="planted") as scratch:
        number = 0
        while waiting or running:
            while waiting and len(running) < at_once:
                number += 1
                folder = Path(scratch) / str(number)
                folder.mkdir()
                what, work = waiting.pop()
                if (pid := os.fork()) == 0:
                    _child(folder, work, seconds)
                running[pid] = what, folder
            pid, status, used = os.wait4(-1, 0)
            what, folder = running.pop(pid)
            output = (folder / "output").read_text(encoding="utf-8", errors="replace")
            yield what, os.waitstatus_to_exitcode(status), output, used.ru_utime + used.ru_stime


def _child(folder: Path, work: Work, seconds: int) -> NoReturn:
    """Work and end; a fork must not fall back into the code of its parent."""
    code = 1 << 6
    try:
        with open(folder / "output", "w", encoding="utf-8") as output, open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        if seconds:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            signal.alarm(10 * seconds)  # for one that computes nothing and waits for ever
        code = work(folder)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def overlay(folder: Path, bug: Bug | None) -> None:
    """Make ``folder`` look like the project with the bug in it; raises ``ValueError`` when it cannot be planted."""
    folder.mkdir()
    changed = PACKAGE / bug.file if bug else None
    for path in (path for path in ROOT.iterdir() if path.name not in (".git", ".venv", "reconciler")):
        (folder / path.name).symlink_to(path)
    link(PACKAGE, folder / "reconciler", changed)
    if bug and changed:
        (folder / "reconciler" / bug.file).write_text(bug.source(PACKAGE), encoding="utf-8")


def link(source: Path, target: Path, changed: Path | None) -> None:
    """Link what is in ``source``, with real folders on the way to ``changed``, which is left out."""
    if changed is None or source not in changed.parents:
        target.symlink_to(source)
        return
    target.mkdir()
    for path in source.iterdir():
        if path != changed:
            link(path, target / path.name, changed)


def run_apart(bug: Bug | None, tests: Sequence[str], folder: Path) -> int:
    """Run pytest on a copy with the bug in this process, which is a fork for that alone; returns its exit code."""
    project = folder / "project"
    overlay(project, bug)
    os.environ.update({"PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"})
    sys.dont_write_bytecode = True
    os.chdir(project)
    sys.path[:] = [str(project), *(each for each in sys.path if Path(each or ".").resolve() != ROOT)]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    return int(pytest.main([*QUIETLY, *tests]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
