"""Replay one seed or run many: ``python -m tests.simulation [watchers|grace|backups] FIRST [LAST]``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from tests.simulation import backups, grace, scenario, watchers

WORLDS: dict[str, Callable[[range], Sequence[Any]]] = {
    "": scenario.run_all,
    "watchers": watchers.run_all,
    "grace": grace.run_all,
    "backups": backups.run_all,
}


def main(words: Sequence[str]) -> int:
    """Print every complaint with the line that replays it; exit 1 when there is one."""
    which, words = (words[0], words[1:]) if words[0] in WORLDS else ("", words)
    first = int(words[0])
    last = int(words[1]) if len(words) > 1 else first + 1
    verdicts: Sequence[Any] = WORLDS[which](range(first, last))
    for verdict in verdicts:
        for complaint in verdict.complaints:
            print(f"python -m tests.simulation {f'{which} ' * bool(which)}{verdict.seed}  # {complaint}")
    bad = sum(bool(verdict.complaints) for verdict in verdicts)
    print(
        f"{len(verdicts)} seeds, {sum(verdict.deleted for verdict in verdicts)} deleted, {bad} with complaints"
    )
    return int(bad > 0)


sys.exit(main(sys.argv[1:]))
