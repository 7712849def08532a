"""Numbers that tests counted, printed at the end of the run: they come from the run, never from a hand."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded with ``record_property("counted", "…")``; works under xdist too."""
    lines = [
        str(value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in report.user_properties
        if name == "counted" and report.when == "call"
    ]
    if lines:
        terminalreporter.section("counted in this run")
        for line in sorted(lines):
            terminalreporter.write_line(line)
