"""What holds for every test: what a skip means, and numbers that come from the run, never from a hand."""

from __future__ import annotations

import itertools
import signal
import sys
from collections import Counter
from collections.abc import Generator, Iterator
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

BUSY = (
    "test_code.py",  # for its types, of which nothing is known on a machine that is new
    "simulation/",
    "protocol/",
    "planning/test_matching.py",
    "test_scale.py",
    "apply/test_second_check.py",
    "test_shards.py",
)
"""Where the tests are that keep a processor busy for longest, the longest first."""
WAITING = (
    "flows/test_rivals.py",
    "scaffolds/test_atlantis.py",
    "scaffolds/test_github.py",
    "flows/test_hostile_answers.py",
    "flows/test_interlock.py",
    "flows/test_shards.py",
    "flows/test_watch.py",
    "flows/test_pasted.py",
    "journal/test_processes.py",
    "flows/test_killed.py",
    "flows/test_signals.py",
    "api/test_outcome.py",
    "scaffolds/",
    "notify/",
    "flows/test_prometheus.py",
    "flows/test_asking.py",
    "flows/test_stalled_output.py",
    "sandbox/test_serve.py",
)
"""Where the tests are that mostly wait for other processes and for real seconds, the longest first."""


def pytest_configure() -> None:
    """Hear signals that whoever starts the tests ignores, as ``nohup`` does: programs of tests would inherit that."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


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


@pytest.hookimpl(tryfirst=True)  # before ``-k`` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests: with few tests at a time to each worker, all workers then end together.

    With one at a time, a worker would ask for the next after each of thousands of short ones, and wait for it.
    Those that wait and those that are busy take turns, so that no processor is idle while any test is left.

    Whatever uses the PostgreSQL server goes by the keyword ``postgres``, so that ``-k`` can leave it out.
    """
    here = Path(__file__).parent
    for item in items:
        if "postgres" in getattr(item, "fixturenames", ()):
            item.extra_keyword_matches.add("postgres")

    def rank(item: pytest.Item, long: tuple[str, ...]) -> int:
        name = item.path.relative_to(here).as_posix() if here in item.path.parents else ""
        return next((at for at, start in enumerate(long) if name.startswith(start)), len(long))

    items.sort(key=lambda item: (rank(item, WAITING), rank(item, BUSY)))
    waiting = [item for item in items if rank(item, WAITING) < len(WAITING)]
    busy = items[len(waiting) :]
    turns = itertools.zip_longest(waiting, busy)
    items[:] = [item for turn in turns for item in turn if item]


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
