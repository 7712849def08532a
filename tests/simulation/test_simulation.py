"""Two thousand scenarios of the real apply code with virtual time and a lying, failing, reordering service.

``RECONCILER_SEEDS=200000 python -m pytest tests/simulation -n 2`` runs more (about 100 minutes on two cores);
``python -m tests.simulation SEED`` replays one.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.simulation.scenario import Result, run_all

SEEDS = int(os.environ.get("RECONCILER_SEEDS", "2000"))
PARTS = 8
MANY = 200
"""Seeds from which each kind of fault has to be among them, not by chance."""


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_twice_nothing_unplanned_nothing_forgotten(
    part: int, record_property: Callable[[str, object], None]
) -> None:
    verdicts = run_all(range(part * SEEDS // PARTS, (part + 1) * SEEDS // PARTS))
    bad = [each for each in verdicts if each.complaints]
    record_property("counted", f"simulation part {part}: {_counts(verdicts)}")
    assert not bad, "\n".join(
        f"python -m tests.simulation {each.seed}  # {each.complaints[0]}" for each in bad
    )
    if len(verdicts) >= MANY:
        _meets_what_it_is_for(verdicts)


def _meets_what_it_is_for(verdicts: list[Result]) -> None:
    """Not a promise of the tool but of the simulation: faults, crashes and unknown outcomes do happen."""
    seeds = len(verdicts)
    assert sum(each.crashes for each in verdicts) > seeds / 10
    assert sum(each.unknown for each in verdicts) > seeds / 10
    assert sum(each.deleted for each in verdicts) > seeds / 2
    assert sum(each.retries for each in verdicts) > seeds / 10
    assert sum(each.left for each in verdicts) > seeds / 20


def _counts(verdicts: list[Result]) -> str:
    names = ("runs", "crashes", "posts", "unknown", "deleted", "retries", "left")
    numbers = ", ".join(f"{sum(getattr(each, name) for each in verdicts)} {name}" for name in names)
    return f"{len(verdicts)} seeds, {numbers}"
