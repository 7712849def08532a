"""A reading that cannot be true is a doubt, and a pool with a doubt is neither matched nor changed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reconciler.model import (
    MAX_DISK_GB,
    Action,
    ApplyTo,
    Copy,
    DesiredDisk,
    DesiredPool,
    Desktop,
    Disk,
    OnTie,
    Pool,
    Position,
    Target,
)
from reconciler.planning.finding import Severity
from reconciler.planning.guards import judge_pool
from reconciler.planning.plan import PoolPlan, pool_decision
from reconciler.planning.readings import Counts, counted, drafted, looked_into, pool_doubts
from reconciler.values import replace

AT = Position("pools.yaml", 5, 3)
KEPT, GOING = Disk("kept", "SAS", 50), Disk("going", "SSD", 100)
DESIRED = DesiredPool(
    Target("ap-southeast-3", "0" * 32), AT, (DesiredDisk("SAS", 50, AT),), name="p", apply_to=ApplyTo.ALL
)
LIVE = Pool("p", "p", (KEPT, GOING), desktop_count=2)


def copy(disk: Disk, size: int | None = None, disk_id: str | None = None) -> Copy:
    return Copy(disk.id if disk_id is None else disk_id, f"v-{disk.id}", disk.type, size or disk.size)


def desktops(*copies: Copy, number: int = 2) -> list[Desktop]:
    return [Desktop(f"d{each}", f"d{each}", (f"user{each}",), copies=copies) for each in range(number)]


def planned(found: Sequence[Desktop], desired: DesiredPool = DESIRED, live: Pool = LIVE) -> PoolPlan:
    return looked_into(drafted(desired, live), found)


def doubts(pool: PoolPlan) -> tuple[str, ...]:
    assert pool.live
    return pool.live.doubts


def test_a_pool_has_ten_disks_at_most_and_one_more_is_not_matched() -> None:
    disks = tuple(Disk(f"d{number}", "SAS", 10) for number in range(11))
    assert list(pool_doubts(disks[:10], 1)) == []
    [doubt] = pool_doubts(disks, 1)
    assert doubt == "11 disks, and no pool can have more than 10"
    live = Pool("p", "p", disks, doubts=(doubt,))
    assert drafted(DESIRED, live).drift == ()


def test_a_negative_count_of_desktops_is_a_doubt() -> None:
    assert list(pool_doubts((KEPT,), -1)) == ["it counts -1 desktops"]
    assert list(pool_doubts((KEPT,), None)) == list(pool_doubts((KEPT,), 0)) == []


def test_a_doubtful_pool_sets_every_disk_aside_and_has_one_finding_a_doubt() -> None:
    nameless = Pool("p", "p", (KEPT, Disk("", "SSD", 100)), doubts=("a disk (SSD, 100 GB) has no id",))
    pool = judge_pool(drafted(DESIRED, nameless))
    assert [(each.action, each.desired) for each in pool.changes] == [(Action.KEEP, None)] * 2
    rules = [each.rule for each in pool.findings if "no id" in each.message]
    assert rules == ["doubtful-reading"]
    assert pool.blocked


@pytest.mark.parametrize("size", [-10, 0, MAX_DISK_GB + 1, 2**62])
def test_a_copy_with_an_impossible_size_is_a_doubt(size: int) -> None:
    odd = replace(copy(GOING), size=size)
    pool = planned(desktops(copy(KEPT), odd))
    assert doubts(pool) == tuple(f"copy v-going on desktop d{n} has the size {size} GB" for n in (0, 1))
    assert (pool.removed, pool.loss.copies) == ((), 0)


def test_many_impossible_copies_are_told_in_few_words() -> None:
    pool = planned(desktops(replace(copy(GOING), size=-1), number=1000))
    assert len(doubts(pool)) == 4
    assert doubts(pool)[-1] == "997 more copies have such a size"


def test_the_largest_and_the_smallest_copy_are_none() -> None:
    for size in (1, MAX_DISK_GB):
        assert doubts(planned(desktops(copy(KEPT), copy(GOING, size)))) == ()


def test_a_disk_that_goes_has_a_copy_somewhere_in_a_pool_with_desktops() -> None:
    words = ("no desktop has a copy of disk going (SSD, 100 GB)",)
    assert doubts(planned(desktops(copy(KEPT)))) == words
    assert doubts(planned(desktops())) == words
    assert doubts(planned([])) == words  # its pool counts two
    assert doubts(planned([], live=replace(LIVE, desktop_count=None, desktop_used=2))) == words
    one = [*desktops(copy(KEPT), number=1), *desktops(copy(KEPT), copy(GOING), number=1)]
    assert doubts(planned(one)) == ()


def test_a_copy_without_a_link_may_be_of_any_disk_of_its_type() -> None:
    assert doubts(planned(desktops(copy(GOING, disk_id="")))) == ()
    assert doubts(planned(desktops(copy(KEPT, disk_id="")))) != ()


def test_without_desktops_or_for_new_ones_alone_no_copy_is_expected() -> None:
    assert doubts(planned([], live=replace(LIVE, desktop_count=0))) == ()
    new = replace(DESIRED, apply_to=ApplyTo.NEW)
    assert doubts(planned(desktops(copy(KEPT)), new)) == ()


def test_copies_of_disks_that_the_pool_no_longer_has_are_no_doubt() -> None:
    pool = planned(desktops(copy(KEPT), copy(GOING), copy(Disk("gone before", "SAS", 70))))
    assert doubts(pool) == ()
    assert pool.loss.copies == 2


def test_a_desktop_without_data_volumes_counts_as_holding_a_copy_of_every_disk_that_goes() -> None:
    unknown = [replace(each, copies_known=False) for each in desktops()]
    pool = planned(unknown)
    assert doubts(pool) == ()
    assert (pool.loss.copies, pool.loss.gigabytes, pool.loss.users) == (2, 200, ("user0", "user1"))


def test_copies_that_nobody_knows_decide_no_tie() -> None:
    twins = Pool("p", "p", (Disk("a", "SAS", 50), Disk("b", "SAS", 50)), desktop_count=1)
    chosen = replace(DESIRED, on_tie=OnTie.REMOVE_NEWEST)
    unknown = [replace(each, copies_known=False) for each in desktops(number=1)]
    pool = planned(unknown, chosen, twins)
    assert pool.removed == ()
    assert len(pool.ties) == 1


GOOD = desktops(copy(KEPT), copy(GOING))


@pytest.mark.parametrize("told", [(2, 2), (2, None), (None, 2)])
def test_counts_that_agree_say_nothing(told: tuple[int | None, ...]) -> None:
    pool = counted(planned(GOOD), Counts(2, told))
    assert (doubts(pool), pool.findings) == ((), ())
    assert pool.removed == (GOING,)


@pytest.mark.parametrize("told", [(3, 2), (2, 3), (1, 1), (None, 0), (2, -2)])
def test_another_count_before_or_after_is_a_doubt(told: tuple[int | None, ...]) -> None:
    pool = counted(planned(GOOD), Counts(2, told))
    [doubt] = doubts(pool)
    assert doubt.startswith("2 desktops were read, and the pool counts ")
    assert pool.removed == ()
    assert judge_pool(pool).blocked


def test_a_pool_that_is_not_counted_says_so_and_is_not_blocked() -> None:
    pool = judge_pool(counted(planned(GOOD), Counts(2, (None, None))))
    assert [(each.rule, each.severity) for each in pool.findings] == [("desktops-not-counted", Severity.WARN)]
    assert pool.removed == (GOING,)


def test_the_permission_covers_the_count_and_nothing_else() -> None:
    allowed = replace(DESIRED, allow_count_mismatch=True)
    assert counted(planned(GOOD, allowed), Counts(2, (9, 9))).removed == (GOING,)
    assert doubts(counted(planned([], allowed), Counts(0, (9, 9)))) != ()
    assert doubts(counted(planned(desktops(copy(KEPT)), allowed), Counts(2, (9, 9)))) != ()
    odd = desktops(replace(copy(GOING), size=-1))
    assert doubts(counted(planned(odd, allowed), Counts(2, (9, 9)))) != ()


def test_the_permission_is_part_of_what_is_approved() -> None:
    allowed = replace(DESIRED, allow_count_mismatch=True)
    assert pool_decision(planned(GOOD, allowed))["allow"] == ["count_mismatch"]
    assert pool_decision(planned(GOOD))["allow"] == []
