"""Random pools for the tests of planning: small numbers, so that like disks and ties are common."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reconciler.model import DesiredDisk, DesiredPool, Disk, OnTie, Position
from reconciler.values import replace
from tests.builders import TARGET

TYPES = ("SAS", "SSD", "GPSSD")
SIZES = (10, 20, 30, 50, 100)
MOST = 7


@dataclass(frozen=True, slots=True)
class Case:
    """One declared pool, its live disks and what is known of their age."""

    pool: DesiredPool
    live: tuple[Disk, ...]
    ages: dict[str, datetime]


def random_case(seed: object) -> Case:
    """The case of this seed: up to seven disks on each side, pins, protection and ages among them."""
    rng = random.Random(str(seed))
    kinds = TYPES[: rng.choice((1, 2, 2, 3, 3))]
    sizes = rng.sample(SIZES, rng.choice((1, 2, 3, 4)))
    wishes = rng.random() < 0.3
    live = tuple(_disk(rng, index, kinds, sizes, wishes=wishes) for index in range(rng.randint(0, MOST)))
    entries = [_entry(rng, index, kinds, sizes, wishes=wishes) for index in range(rng.randint(0, MOST))]
    if rng.random() < 0.5:  # as after a small edit: most entries are a live disk
        entries = [_like(rng, entry, live) for entry in entries]
    if live and rng.random() < 0.15:
        entries = _pin(rng, entries, live)
    pool = DesiredPool(
        TARGET,
        Position("pools.yaml", 1, 1),
        tuple(entries),
        name="pool",
        protect=tuple(disk.id for disk in live if rng.random() < 0.12),
        on_tie=rng.choice((None, None, OnTie.REMOVE_NEWEST, OnTie.REMOVE_OLDEST)),
    )
    epoch = datetime(2026, 1, 1, tzinfo=UTC)
    ages = {disk.id: epoch + timedelta(days=rng.randint(0, 5)) for disk in live if rng.random() < 0.97}
    return Case(pool, live, ages)


def shuffled(seed: object, case: Case) -> Case:
    """The same case with both sides in another order."""
    rng = random.Random(f"order {seed}")
    pool = replace(case.pool, disks=tuple(rng.sample(case.pool.disks, len(case.pool.disks))))
    return Case(pool, tuple(rng.sample(case.live, len(case.live))), case.ages)


def _disk(
    rng: random.Random, index: int, kinds: Sequence[str], sizes: Sequence[int], *, wishes: bool
) -> Disk:
    iops, throughput = (rng.choice((None, 100, 200)), rng.choice((None, 5))) if wishes else (None, None)
    return Disk(f"{rng.randrange(1000):03d}-{index}", rng.choice(kinds), rng.choice(sizes), iops, throughput)


def _entry(
    rng: random.Random, index: int, kinds: Sequence[str], sizes: Sequence[int], *, wishes: bool
) -> DesiredDisk:
    return DesiredDisk(
        rng.choice(kinds),
        rng.choice(sizes),
        Position("pools.yaml", 2 + index, 7),
        iops=rng.choice((None, 100, 200)) if wishes else None,
        throughput=rng.choice((None, None, 5)) if wishes else None,
        replace=rng.random() < 0.2,
    )


def _like(rng: random.Random, entry: DesiredDisk, live: Sequence[Disk]) -> DesiredDisk:
    if not live or rng.random() < 0.2:
        return entry
    disk = rng.choice(live)
    return replace(entry, type=disk.type, size=disk.size + rng.choice((0, 0, 0, 10)))


def _pin(rng: random.Random, entries: list[DesiredDisk], live: Sequence[Disk]) -> list[DesiredDisk]:
    disk = rng.choice(live)
    place = Position("pools.yaml", 50, 7)
    size = disk.size + rng.choice((0, 0, 10))
    return [*entries, DesiredDisk(disk.type, size, place, id=disk.id)]
