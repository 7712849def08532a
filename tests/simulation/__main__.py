"""Replay one seed or run many: ``python -m tests.simulation FIRST [LAST]``."""

from __future__ import annotations

import sys

from tests.simulation.scenario import run_all


def main() -> int:
    """Print every complaint with the line that replays it; exit 1 when there is one."""
    first = int(sys.argv[1])
    last = int(sys.argv[2]) if len(sys.argv) > 2 else first + 1
    verdicts = run_all(range(first, last))
    for verdict in verdicts:
        for complaint in verdict.complaints:
            print(f"python -m tests.simulation {verdict.seed}  # {complaint}")
    bad = sum(bool(verdict.complaints) for verdict in verdicts)
    print(f"{len(verdicts)} seeds, {sum(verdict.posts for verdict in verdicts)} posts, {bad} with complaints")
    return int(bad > 0)


sys.exit(main())
