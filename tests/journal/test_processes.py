"""The journal between processes that race and processes that are killed; on both databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from reconciler.journal.records import PoolKey
from tests.journal.processes import run, run_together
from tests.journal.samples import POOL, HandClock, open_at

PROCESSES, POOLS = 8, 25
RANK = {"intended": 0, "accepted": 1, "done": 2, "not_accepted": 2}


def test_eight_processes_make_one_schema_and_hold_each_pool_once(
    url: str, clock: HandClock, record_property: Callable[[str, object], None]
) -> None:
    children = [("race", url, f"process-{number}", str(POOLS)) for number in range(PROCESSES)]
    told = run_together(children, guns=2)
    wins = Counter(pool for each in told for pool in each["won"])
    assert wins == dict.fromkeys(range(POOLS), 1)
    assert sum(each["claimed"] for each in told) == 1
    assert sum(each["reserved"] for each in told) == 100 // 3

    journal = open_at(url, clock)
    assert len(journal.unresolved(POOL.target)) == POOLS
    pools = [PoolKey(POOL.target, POOL.service, f"pool-{number}") for number in range(POOLS)]
    assert [journal.generation(pool) for pool in pools] == [1] * POOLS
    journal.close()
    winners = sum(bool(each["won"]) for each in told)
    record_property(
        "counted",
        f"journal race on {url.partition(':')[0]}: {PROCESSES} processes, {POOLS} pools, "
        f"{sum(wins.values())} operations opened by {winners} of them",
    )


def test_a_writer_killed_at_any_moment_loses_nothing_it_was_promised(
    url: str, record_property: Callable[[str, object], None]
) -> None:
    rounds = 25 if url.startswith("sqlite") else 8
    told = run("die", url, str(rounds), "7")
    promised, found = told["promised"], told["found"]
    assert len(promised) >= rounds
    assert [
        each for each, state in promised.items() if each not in found or RANK[found[each]] < RANK[state]
    ] == []
    assert told["open"] <= 1
    assert told["generation"] == 2 * len(found) - told["open"]
    record_property(
        "counted",
        f"journal kills on {url.partition(':')[0]}: {rounds} SIGKILLs, {len(promised)} operations promised, 0 lost",
    )
