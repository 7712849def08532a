"""Replay one seed or run many: ``python -m tests.simulation [watchers] FIRST [LAST]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.simulation import scenario, watchers


def main(words: Sequence[str]) -> int:
    """Print every complaint with the line that replays it; exit 1 when there is one."""
    which, words = (words[0], words[1:]) if words[0] == "watchers" else ("", words)
    first = int(words[0])
    last = int(words[1]) if len(words) > 1 else first + 1
    verdicts: Sequence[scenario.Result | watchers.Verdict] = (
        watchers.run_all(range(first, last)) if which else scenario.run_all(range(first, last))
    )
    for verdict in verdicts:
        for complaint in verdict.complaints:
            print(f"python -m tests.simulation {f'{which} ' * bool(which)}{verdict.seed}  # {complaint}")
    bad = sum(bool(verdict.complaints) for verdict in verdicts)
    print(
        f"{len(verdicts)} seeds, {sum(verdict.deleted for verdict in verdicts)} deleted, {bad} with complaints"
    )
    return int(bad > 0)


sys.exit(main(sys.argv[1:]))
