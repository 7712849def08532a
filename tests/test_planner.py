"""Desktops that come and go are read again for a while; what keeps contradicting its pool is a doubt."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from reconciler.errors import PoolNotFound, ReadingDoubtful, ServiceError
from reconciler.model import (
    ABSENT_DISKS,
    ApplyTo,
    DesiredDisk,
    DesiredPool,
    Desktop,
    Disk,
    Manifest,
    Pool,
    Position,
    Target,
)
from reconciler.planner import COUNTING, Connection, PlanMetadata, compute, plan_pool
from reconciler.planning.plan import Plan
from reconciler.planning.plan import Service as Named
from reconciler.values import replace
from reconciler.workspace import PoolReading
from tests.simulation.service import Service, TruePool
from tests.simulation.virtual import START, VirtualClock, VirtualLoop

TARGET = Target("ap-southeast-3", "0" * 32)
AT = Position("pools.yaml", 1, 1)
RIGHT = 2
"""Desktops that each pool truly has, and lists."""


@dataclass
class Counting(Service):
    """Shows the pools' counts of desktops as scripted, listing by listing; the last one for ever."""

    counts: list[int | None] = field(default_factory=list)
    broken: frozenset[str] = frozenset()
    vanished: dict[str, str] = field(default_factory=dict)
    """Pools that are only listed, by what is read next: ``desktops``, or ``detail`` since no disks are listed."""

    async def pools(self) -> tuple[Pool, ...]:
        found = await super().pools()
        count = self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]
        counted = [replace(each, desktop_count=count) for each in found]
        return tuple(
            replace(each, disks=(), doubts=(ABSENT_DISKS,))
            if self.vanished.get(each.id) == "detail"
            else each
            for each in counted
        )

    async def pool(self, pool_id: str) -> PoolReading:
        if pool_id in self.vanished:
            raise PoolNotFound("no such pool")
        return await super().pool(pool_id)

    async def desktops(self, pool_id: str) -> tuple[Desktop, ...]:
        if pool_id in self.vanished:
            raise PoolNotFound("no such pool")
        found = await super().desktops(pool_id)
        if pool_id in self.broken:
            raise ReadingDoubtful("the list of desktops is not complete")
        return found


def planned(
    *counts: int | None,
    allowed: bool = False,
    names: tuple[str, ...] = ("a",),
    broken: str = "",
    vanished: dict[str, str] | None = None,
) -> tuple[Plan, Counting]:
    """Plan pools that each lose one disk, in virtual time."""
    loop = VirtualLoop()
    pools = {
        name: TruePool(
            name, name, {f"{name}{gb}": Disk(f"{name}{gb}", "SAS", gb) for gb in (50, 200)}, RIGHT, []
        )
        for name in names
    }
    service = Counting(loop, random.Random(1), pools, counts=list(counts), broken=frozenset({broken}))
    service.vanished = vanished or {}
    wanted = (DesiredDisk("SAS", 50, AT),)
    desired = [
        DesiredPool(TARGET, AT, wanted, name=name, apply_to=ApplyTo.ALL, allow_count_mismatch=allowed)
        for name in names
    ]
    manifest = Manifest(tuple(desired))
    clock = VirtualClock(loop)
    connection = Connection(Named(TARGET, "simulated"), service, clock=clock)
    metadata = PlanMetadata("plan", clock.now(), timedelta(hours=1))
    try:
        story = compute(manifest, manifest.limits, {TARGET: connection}, metadata)
        return loop.run_until_complete(story), service
    finally:
        loop.close()


def removed(plan: Plan) -> list[str]:
    return [disk.id for pool in plan.pools for disk in pool.removed if not pool.blocked]


def test_pools_are_listed_once_before_and_once_after_all_their_desktops() -> None:
    plan, service = planned(RIGHT, names=("a", "b", "c"))
    assert removed(plan) == ["a200", "b200", "c200"]
    assert (service.requests["pools"], service.requests["desktops"]) == (2, 3)


@pytest.mark.parametrize("counts", [(1, RIGHT), (RIGHT, 3, RIGHT), (3, 3, 3, RIGHT)])
def test_a_count_that_comes_right_within_the_time_is_no_doubt(counts: tuple[int, ...]) -> None:
    plan, service = planned(*counts)
    assert removed(plan) == ["a200"]
    assert service.loop.moment < COUNTING + 10


def test_a_count_that_stays_wrong_is_a_doubt_within_its_time() -> None:
    plan, service = planned(3)
    [pool] = plan.pools
    assert pool.live
    assert pool.live.doubts == ("2 desktops were read, and the pool counts 3",)
    assert removed(plan) == []
    assert service.requests["desktops"] > 2
    assert service.loop.moment <= COUNTING + 5


def test_only_the_pool_that_contradicts_itself_is_read_again_and_blocked() -> None:
    plan, service = planned(RIGHT, names=("a", "b"), broken="a")
    assert removed(plan) == ["b200"]
    assert [pool.blocked for pool in plan.pools] == [True, False]
    assert service.requests["desktops"] == 2


@pytest.mark.parametrize("read", ["desktops", "detail"])
def test_a_pool_that_vanishes_between_the_list_and_its_details_is_one_doubt_and_no_more(read: str) -> None:
    plan, _ = planned(RIGHT, names=("a", "b", "c"), vanished={"b": read})
    assert removed(plan) == ["a200", "c200"]
    [gone] = [pool for pool in plan.pools if pool.blocked]
    assert gone.label == "b"
    assert any("was not found any more when its details were read" in each.message for each in gone.findings)


def test_with_the_permission_nothing_is_read_again() -> None:
    plan, service = planned(3, allowed=True)
    assert removed(plan) == ["a200"]
    assert service.requests["desktops"] == 1


def test_a_pool_that_does_not_count_its_desktops_says_so() -> None:
    plan, _ = planned(None)
    assert removed(plan) == ["a200"]
    assert [each.rule for pool in plan.pools for each in pool.findings] == ["desktops-not-counted"]


def test_a_pool_that_is_no_longer_listed_after_its_desktops_is_doubtful() -> None:
    loop = VirtualLoop()
    live = Pool("a", "a", (Disk("a50", "SAS", 50), Disk("a200", "SAS", 200)), desktop_count=RIGHT)
    truth = TruePool("a", "a", {disk.id: disk for disk in live.disks}, RIGHT, [])
    service = Service(loop, random.Random(1), {"a": truth})
    desired = DesiredPool(TARGET, AT, (DesiredDisk("SAS", 50, AT),), name="a", apply_to=ApplyTo.ALL)

    async def nothing() -> tuple[Pool, ...]:
        return ()

    async def fails() -> tuple[Pool, ...]:
        raise ServiceError("the service answered 500", status=500)

    try:
        clock = VirtualClock(loop)
        pool = loop.run_until_complete(plan_pool(desired, live, service, nothing, clock))
        assert pool.blocked
        assert pool.removed == ()
        with pytest.raises(ServiceError):
            loop.run_until_complete(plan_pool(desired, live, service, fails, clock))
    finally:
        loop.close()
    assert clock.now() >= START
