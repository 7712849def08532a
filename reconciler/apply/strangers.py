"""Jobs of a pool that this journal does not know: somebody else's, or those of operations that a backup lacks.

What follows from them is left to ``resolve`` and ``pools``.
"""

from __future__ import annotations

from collections.abc import Collection

from reconciler.journal.records import Journal, PoolKey
from reconciler.journal.states import Step
from reconciler.workspace import UNLISTED

RESTORED = "somebody else acted on it, or the journal was restored from a backup"


def strangers(journal: Journal, pool: PoolKey, jobs: Collection[str]) -> frozenset[str]:
    """Those of the pool's removal jobs that are of no operation here, and were not there before the latest one.

    The journal counts its operations on a pool, its generation: a job that came after the latest of them, and is
    not its own, was begun without this journal. Empty where that cannot be said: without an operation, or where
    the list of jobs has gaps.
    """
    known = [each for each in journal.of_pool(pool) if each.intent.step in (Step.REMOVE, Step.RETRY)]
    if not known:
        return frozenset()
    before = set(known[-1].intent.baseline_jobs)
    if UNLISTED in before or UNLISTED in jobs:
        return frozenset()
    own = {each.outcome.job_id for each in known if each.outcome}
    return frozenset(jobs) - before - own


def restored_words(found: Collection[str]) -> str:
    """One sentence about jobs that are not known here."""
    jobs = f"job{'s'[: len(found) != 1]} {', '.join(sorted(found))}"
    return f"the service shows {jobs} of this pool, of which this journal has no operation: {RESTORED}"
