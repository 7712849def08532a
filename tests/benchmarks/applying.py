"""How long ``apply`` takes, as whole processes: a disk less in each pool, answers after 20 ms, jobs of 2 s.

``python -m tests.benchmarks.applying [POOLS…]`` prints rows of a table.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator

from reconciler.api.budget import WRITES_A_MINUTE
from reconciler.apply.context import PARALLELISM
from tests.benchmarks.__main__ import environment, served
from tests.benchmarks.measure import Cost, cost

MILLISECONDS, JOB_SECONDS = 20, 2
SIZES = (50, 100)
HEADING = "| pools | budget of requests | floor | wall | CPU | requests | requests a pool |"


def floor(pools: int, *, budgeted: bool) -> float:
    """Seconds that the jobs need, one alone and then ten at a time; with a budget, until the last call may leave."""
    jobs = float(JOB_SECONDS * (1 - -(pools - 1) // PARALLELISM))
    at_once = WRITES_A_MINUTE / 2
    return max(jobs, (pools - at_once) / at_once * 60 + JOB_SECONDS) if budgeted else jobs


def applied(pools: int, *, budgeted: bool) -> Cost:
    """The cost of one run that removes a disk of each pool."""
    program = "reconciler" if budgeted else "tests.benchmarks.unbudgeted"
    with (
        tempfile.TemporaryDirectory() as folder,
        served(pools, str(MILLISECONDS), str(JOB_SECONDS)) as service,
    ):
        env = environment(service) | {"RECONCILER_JOURNAL": f"sqlite:///{folder}/journal.db"}
        command = [sys.executable, "-m", program, "apply", "--auto-approve", str(service.manifests)]
        return cost(command, env, service.requests)


def rows(sizes: tuple[int, ...] = SIZES) -> Iterator[str]:
    """The lines of the table."""
    yield HEADING
    yield "|---:|---|---:|---:|---:|---:|---:|"
    for pools in sizes:
        for budgeted in (False, True):
            each = applied(pools, budgeted=budgeted)
            numbers = (
                f"{each.wall:.1f} s | {each.cpu:.1f} s | {each.requests:,} | {each.requests / pools:.1f}"
            )
            least = floor(pools, budgeted=budgeted)
            yield f"| {pools:,} | {'as it is' if budgeted else 'none'} | {least:.0f} s | {numbers} |"


if __name__ == "__main__":
    for line in rows(tuple(map(int, sys.argv[1:])) or SIZES):
        print(line, flush=True)
