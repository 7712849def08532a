"""What holds for every test: what a skip means, and numbers that come from the run, never from a hand."""

from __future__ import annotations

import gc
import os
import signal
import sys
import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from operator import itemgetter
from pathlib import Path

import hypothesis
import pytest

from reconciler.redaction import forget
from tests import needs
from tests.postgres import postgres

__all__ = ["postgres"]  # one for all files: each of those that took it would get a server of its own

# How fast the machine is must decide nothing, so no example has a deadline.
hypothesis.settings.register_profile(
    "reconciler",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
hypothesis.settings.register_profile("fast", hypothesis.settings.get_profile("reconciler"), max_examples=25)
hypothesis.settings.load_profile("reconciler")

LONGEST = (
    "test_code.py::test_every_type_is_right",
    "flows/test_rivals.py",
    "scaffolds/test_atlantis.py::test_plan_policy_check_and_apply",
    "planning/test_matching.py::test_no_assignment_of_every_assignment_is_better",
    "simulation/test_grace.py",
)
"""Tests of more than ten seconds, which come first: a worker that ended with one would keep the others waiting."""
BUSY = (
    "simulation/",
    "protocol/",
    "planning/test_matching.py",
    "test_scale.py",
    "apply/test_second_check.py",
    "test_shards.py",
)
"""Where the tests are that keep a processor busy for seconds."""
WAITING = (
    "api/test_outcome.py",
    "flows/test_asking.py",
    "flows/test_hostile_answers.py",
    "flows/test_interlock.py",
    "flows/test_killed.py",
    "flows/test_messages.py",
    "flows/test_prometheus.py",
    "flows/test_shards.py",
    "flows/test_signals.py",
    "flows/test_stalled_output.py",
    "flows/test_watch.py",
    "journal/test_processes.py",
    "notify/",
    "sandbox/test_serve.py",
    "scaffolds/",
)
"""Where the tests are that mostly wait for other processes and for real seconds."""
IN_MEMORY = Path("/dev/shm")
ROOM = 2**31
"""Bytes that must be free there; a run uses a fraction, as the files of a test that has passed are removed."""


def pytest_configure() -> None:
    """Keep files in memory, and hear signals that whoever starts the tests ignores, as ``nohup`` does.

    Programs of tests would inherit that.
    """
    _keep_files_in_memory()
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def _keep_files_in_memory() -> None:
    """Spare thousands of journals the wait until a disk confirms each transaction, unless somebody chose a place."""
    if {"PYTEST_DEBUG_TEMPROOT", "TMPDIR"} & os.environ.keys() or not IN_MEMORY.is_dir():
        return
    there = os.statvfs(IN_MEMORY)
    may_run = not there.f_flag & os.ST_NOEXEC  # programs of tests lie among their files
    if may_run and os.access(IN_MEMORY, os.W_OK) and there.f_bavail * there.f_frsize >= ROOM:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(IN_MEMORY)


@pytest.fixture(autouse=True)
def _nothing_is_secret_yet() -> None:
    """Forget the secrets of the test before, which would be taken out of the messages of this one."""
    forget()


@pytest.fixture(autouse=True)
def _no_time_has_been_skipped() -> Iterator[None]:
    """Take back the time that a test has skipped: programs that the next one starts go by the true time."""
    yield
    skipping = sys.modules.get("tests.flows.skipping")
    if skipping:
        skipping.TIME.reset()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let each worker begin with other files, on a machine that is new: what one has compiled the others only load."""
    report = yield
    worker = getattr(collector.config, "workerinput", None)
    if worker and isinstance(collector, pytest.Directory):
        at = len(report.result) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
        report.result[:] = report.result[at:] + report.result[:at]
    return report


def pytest_collection_finish() -> None:
    """Keep what is imported and collected out of every later search for cycles, which it makes a twentieth dearer."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)  # before ``-k`` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mix tests that wait with tests that compute all through the run, so that no processor is ever idle.

    xdist gives them out in this order, two at a time to a worker. (With one at a time, a worker would ask for the
    next after each of thousands of short ones, and wait for it.)

    Whatever uses the PostgreSQL server goes by the keyword ``postgres``, so that ``-k`` can leave it out.
    """
    items.sort(key=lambda item: item.path)  # no worker has collected them in this order
    kinds: list[list[pytest.Item]] = [[], [], []]
    first: list[tuple[int, pytest.Item]] = []
    for item in items:
        if "postgres" in getattr(item, "fixturenames", ()):
            item.extra_keyword_matches.add("postgres")
        name = item.nodeid.partition("tests/")[2]
        rank = next((at for at, start in enumerate(LONGEST) if name.startswith(start)), None)
        if rank is not None:
            first.append((rank, item))
        else:
            kinds[0 if name.startswith(WAITING) else 1 if name.startswith(BUSY) else 2].append(item)
    for kind in kinds[:2]:  # in any order that is always the same: those of one file are alike
        kind.sort(key=lambda item: zlib.crc32(item.nodeid.encode()))
    # The short ones alone come last, so that all workers end together.
    spread = [
        (at / len(kind) * share, item)
        for kind, share in zip(kinds, (0.9, 0.9, 1), strict=True)
        for at, item in enumerate(kind)
    ]
    items[:] = [item for _, item in [*sorted(first, key=itemgetter(0)), *sorted(spread, key=itemgetter(0))]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skip a failure where nothing may be skipped."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and needs.no_skip():
        report.outcome = "failed"
        report.longrepr = f"skipped, which {needs.NO_SKIP} forbids: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded with ``record_property``: "counted" as it is, "tally" as how many said so."""
    lines = [
        str(value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in report.user_properties
        if name == "counted" and report.when == "call"
    ]
    tally = Counter(
        str(value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in report.user_properties
        if name == "tally" and report.when == "call"
    )
    lines += [f"{number} {what}" for what, number in tally.items()]
    if lines:
        terminalreporter.section("counted in this run")
        for line in sorted(lines):
            terminalreporter.write_line(line)
