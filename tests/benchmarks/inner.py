"""Parts of a plan without network, timed inside one process.

``python -m tests.benchmarks.inner load FOLDER`` or ``… match POOLS``; prints seconds.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from reconciler.manifest.load import load
from reconciler.model import DesiredDisk, DesiredPool, Disk, Limits, Pool, Position, Target
from reconciler.planning.draft import draft
from reconciler.planning.guards import judge

TARGET = Target("ap-southeast-3", "0" * 32)
AT = Position("pools.yaml", 1, 1)
DISKS = 4


def load_seconds(folder: Path) -> float:
    """Read and check every manifest of a folder."""
    start = time.perf_counter()
    load([folder])
    return time.perf_counter() - start


def match_seconds(count: int) -> float:
    """Match, plan and judge pools whose every disk differs: one grows, one shrinks, one goes, one comes."""
    rng = random.Random(1)
    pairs = [_pair(number, rng) for number in range(count)]
    start = time.perf_counter()
    judge([draft(desired, live) for desired, live in pairs], Limits())
    return time.perf_counter() - start


def _pair(number: int, rng: random.Random) -> tuple[DesiredPool, Pool]:
    sizes = [rng.randrange(30, 2000, 10) for _ in range(DISKS)]
    kinds = ["SAS", "SSD", "GPSSD", "SATA"]
    live = tuple(
        Disk(f"{number}-{index}", kind, size)
        for index, (kind, size) in enumerate(zip(kinds, sizes, strict=True))
    )
    wanted = (
        (kinds[0], sizes[0] + 10),
        (kinds[1], sizes[1] - 10),
        ("ESSD", sizes[2]),
        (kinds[3], sizes[3] + 20),
    )
    disks = tuple(DesiredDisk(kind, size, AT) for kind, size in wanted)
    name = f"pool-{number}"
    return DesiredPool(TARGET, AT, disks, name=name), Pool(name, name, live)


if __name__ == "__main__":
    what, argument = sys.argv[1:]
    print(load_seconds(Path(argument)) if what == "load" else match_seconds(int(argument)))
