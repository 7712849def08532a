"""Nothing goes before it is due and nobody is told twice, whatever crashes, whoever objects, and however clocks step.

``python -m tests.simulation grace SEED`` replays one; ``RECONCILER_SEEDS`` runs more.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from reconciler.journal.records import Journal, Now
from reconciler.journal.store import open_journal
from tests.postgres import PostgresServer
from tests.simulation.grace import Verdict, run_all
from tests.simulation.test_simulation import SEEDS

MANY, FEW = max(SEEDS // 50, 1), max(SEEDS // 400, 1)


def complaints(verdicts: list[Verdict]) -> str:
    return "\n".join(
        f"python -m tests.simulation grace {each.seed}  # {what}"
        for each in verdicts
        for what in each.complaints
    )


def test_no_disk_goes_before_it_is_due_and_nobody_is_told_twice() -> None:
    verdicts: list[Verdict] = []
    for seed in range(MANY):
        verdicts += run_all([seed])
        assert complaints(verdicts) == ""  # at the first that complains: planted bugs are noticed sooner
    if MANY >= 40:  # not a promise of the tool: the simulation meets what it is for
        assert sum(each.deleted for each in verdicts) > 100
        assert (
            min(
                sum(getattr(each, name) for each in verdicts)
                for name in ("crashes", "steps", "objections", "restores")
            )
            > 10
        )
        assert (
            min(sum(getattr(each, name) for each in verdicts) for name in ("told", "reminders", "announced"))
            > 50
        )


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_same_holds_on_a_real_database(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    numbers = itertools.count()

    def opened(now: Now) -> Journal:
        if kind == "sqlite":
            return open_journal(f"sqlite:///{tmp_path}/{next(numbers)}.db", now)
        server: PostgresServer = request.getfixturevalue("postgres")
        return open_journal(server.fresh(), now, server_now=now)

    assert complaints(run_all(range(FEW), opened)) == ""
