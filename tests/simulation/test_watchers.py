"""Two watchers and a person on one journal: no day above its budget, nothing outside a window, nothing twice.

``python -m tests.simulation watchers SEED`` replays one; ``RECONCILER_SEEDS`` runs more.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from reconciler.journal.records import Journal, Now
from reconciler.journal.store import open_journal
from tests.postgres import PostgresServer
from tests.simulation.test_simulation import SEEDS
from tests.simulation.watchers import Verdict, run_all

MANY, FEW = max(SEEDS // 50, 1), max(SEEDS // 400, 1)


def complaints(verdicts: list[Verdict]) -> str:
    return "\n".join(
        f"python -m tests.simulation watchers {each.seed}  # {what}"
        for each in verdicts
        for what in each.complaints
    )


def test_no_day_is_above_its_budget_whoever_runs_whenever() -> None:
    verdicts = run_all(range(MANY))
    assert complaints(verdicts) == ""
    if MANY >= 40:  # not a promise of the tool: the simulation meets what it is for
        assert sum(each.corrected for each in verdicts) > 40
        assert sum(each.by_hand for each in verdicts) > 40
        assert min(sum(each.crashes for each in verdicts), sum(each.steps for each in verdicts)) > 10


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_same_holds_on_a_real_database(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    numbers = itertools.count()

    def opened(now: Now) -> Journal:
        if kind == "sqlite":
            return open_journal(f"sqlite:///{tmp_path}/{next(numbers)}.db", now)
        server: PostgresServer = request.getfixturevalue("postgres")
        return open_journal(server.fresh(), now, server_now=now)

    assert complaints(run_all(range(FEW), opened)) == ""
