"""No copy goes that is in no usable backup, whatever happens to backups meanwhile; with backups the surplus goes.

``python -m tests.simulation backups SEED`` replays one; ``RECONCILER_SEEDS`` runs more.
"""

from __future__ import annotations

from tests.simulation.backups import run_all
from tests.simulation.test_simulation import SEEDS

MANY = max(SEEDS // 100, 1)


def test_no_copy_goes_without_a_backup_of_its_own() -> None:
    verdicts = run_all(range(MANY))
    assert [
        f"python -m tests.simulation backups {each.seed}  # {what}"
        for each in verdicts
        for what in each.complaints
    ] == []
    if MANY >= 20:  # not a promise of the tool: the simulation meets what it is for
        assert sum(each.deleted for each in verdicts) > 40
        assert (
            min(sum(getattr(each, name) for each in verdicts) for name in ("crashes", "retried", "refused"))
            > 3
        )
