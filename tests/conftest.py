"""Numbers that tests counted, printed at the end of the run: they come from the run, never from a hand."""

from __future__ import annotations

from collections import Counter

import pytest


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
