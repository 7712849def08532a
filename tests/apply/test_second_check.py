"""The check before sending agrees with every removal that was planned, and with no other."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reconciler.apply.second_check import SecondCheckFailed, check_removal
from reconciler.errors import ExitCode
from reconciler.model import (
    Action,
    Copy,
    DesiredDisk,
    DesiredPool,
    Desktop,
    Disk,
    Limit,
    Limits,
    OnTie,
    Pool,
)
from reconciler.planning.draft import draft
from reconciler.planning.guards import judge_pool
from reconciler.planning.plan import PoolPlan
from reconciler.values import replace
from tests.builders import entry, pool
from tests.planning.random_pools import random_case

POOLS = 12_000
POOL_ID = "pool-1"
ROOT = "the-root-disk"
Row = tuple[str, str, int]


def raw(disks: tuple[Disk, ...], **changed: Any) -> bytes:
    """The service's answer about the pool, as far as anyone reads it here."""
    body: dict[str, Any] = {
        "id": POOL_ID,
        "name": "pool",
        "status": "STEADY",
        "charging_mode": "1",
        "root_volume": {"id": ROOT, "type": "SAS", "size": 80},
        "data_volumes": [{"id": disk.id, "type": disk.type, "size": disk.size} for disk in disks],
    }
    return json.dumps(body | changed).encode()


def rows(disks: tuple[Disk, ...]) -> list[Row]:
    return [(disk.id, disk.type, disk.size) for disk in disks]


def agrees(answer: bytes, sent: list[Row], desired: DesiredPool, limits: Limits | None = None) -> bool:
    try:
        return list(check_removal(answer, POOL_ID, sent, desired, limits or Limits())) == [
            each[0] for each in sent
        ]
    except SecondCheckFailed:
        return False


def refusal(answer: bytes, sent: list[Row], desired: DesiredPool, limits: Limits | None = None) -> str:
    with pytest.raises(SecondCheckFailed) as told:
        check_removal(answer, POOL_ID, sent, desired, limits or Limits())
    return told.value.message


# --- against the planner ----------------------------------------------------------------------------


def planned_removals() -> Iterator[tuple[PoolPlan, tuple[Disk, ...], random.Random]]:
    """Random pools that lose a disk and that nothing blocks, with their live disks."""
    for number in range(POOLS):
        rng = random.Random(f"second check {number}")
        case = random_case(f"second check {number}")
        entries = tuple(replace(entry, replace=rng.random() < 0.6) for entry in case.pool.disks)
        manage = frozenset({Action.REMOVE, *rng.choice(((), (Action.ADD,), (Action.ADD, Action.EXPAND)))})
        pool = replace(
            case.pool,
            disks=entries,
            manage=manage,
            on_tie=OnTie.REMOVE_NEWEST,
            allow_empty=rng.random() < 0.5,
        )
        copies = tuple(Copy(disk.id, "v", disk.type, disk.size, case.ages.get(disk.id)) for disk in case.live)
        plan = judge_pool(draft(pool, Pool(POOL_ID, "pool", case.live), [Desktop("d", "D", copies=copies)]))
        if plan.removed and not plan.blocked:
            yield plan, case.live, rng


def test_it_agrees_with_every_planned_removal_and_with_none_that_was_altered(
    record_property: Callable[[str, object], None],
) -> None:
    agreed = altered = 0
    for plan, live, rng in planned_removals():
        sent = rows(plan.removed)
        answer = raw(tuple(rng.sample(live, len(live))))
        assert agrees(answer, sent, plan.desired), (plan, sent)
        agreed += 1
        for name, other in alterations(plan, live, rng):
            assert not agrees(answer, other, plan.desired), (name, plan, other)
            altered += 1
    record_property(
        "counted",
        f"second check: {agreed:,} planned removals of {POOLS:,} pools agreed, {altered:,} altered ones refused",
    )
    assert agreed >= 2_000


def alterations(
    plan: PoolPlan, live: tuple[Disk, ...], rng: random.Random
) -> Iterator[tuple[str, list[Row]]]:
    """Calls that no plan of this pool could make."""
    sent = rows(plan.removed)
    victim, others = sent[0], sent[1:]
    kept = [disk for disk in live if disk not in plan.removed]
    yield "wrong size", [(victim[0], victim[1], victim[2] + 10), *others]
    yield "wrong type", [(victim[0], f"{victim[1]}2", victim[2]), *others]
    yield "unknown id", [("elsewhere", victim[1], victim[2]), *others]
    yield "root disk", [*sent, (ROOT, "SAS", 80)]
    yield "twice", [*sent, victim]
    yield "none", []
    alike = Counter((disk.type, disk.size) for disk in live)
    for change in plan.changes:
        if change.live and change.desired and change.action in (Action.KEEP, Action.EXPAND):
            yield "a disk that stays as well", [*sent, *rows((change.live,))]
            if alike[change.live.type, change.live.size] == 1:
                yield "a disk that stays instead", [*others, *rows((change.live,))]
    for protected in kept:
        if protected.id in plan.desired.protect:
            yield "a protected disk instead", [*rows((protected,)), *others]
    for pinned in plan.desired.disks:
        if pinned.id:
            yield (
                "a pinned disk instead",
                [
                    *rows(tuple(disk for disk in live if disk.id == pinned.id)),
                    *others,
                ],
            )


# --- one by one -------------------------------------------------------------------------------------

A, B, C = Disk("a", "SSD", 100), Disk("b", "SAS", 50), Disk("c", "SAS", 70)
LIVE = (A, B, C)


def managed(*disks: DesiredDisk, allow_empty: bool = False) -> DesiredPool:
    return pool(*disks, allow_empty=allow_empty, manage=frozenset({Action.REMOVE, Action.ADD}))


WANTED = managed(entry("SSD", 100), entry("SAS", 70))


def test_the_surplus_disk_may_go() -> None:
    assert check_removal(raw(LIVE), POOL_ID, rows((B,)), WANTED, Limits()) == ("b",)


def test_a_kept_disk_instead_of_the_surplus_is_refused() -> None:
    assert "would be lost" in refusal(raw(LIVE), rows((A,)), WANTED)


def test_a_disk_that_grows_into_its_entry_is_needed() -> None:
    grown = managed(entry("SSD", 200), entry("SAS", 70))
    assert "would be lost" in refusal(raw(LIVE), rows((A, B)), grown)
    assert agrees(raw(LIVE), rows((B,)), grown)


def test_a_pin_serves_only_the_disk_it_names() -> None:
    pinned = managed(entry("SAS", 100, pin="b"), entry("SAS", 50, replacing=True))
    assert agrees(raw((B, C)), rows((C,)), pinned)
    assert "is pinned" in refusal(raw((B, C)), rows((B,)), pinned)


def test_a_pinned_disk_is_not_counted_for_another_entry() -> None:
    pinned = managed(entry("SAS", 50, pin="b"), entry("SAS", 70))
    assert "would be lost" in refusal(raw((B, C)), rows((C,)), pinned)


def test_a_protected_disk_is_refused_although_it_is_surplus() -> None:
    assert "is protected" in refusal(raw(LIVE), rows((B,)), replace(WANTED, protect=("b",)))


def test_the_root_disk_is_refused() -> None:
    assert "not, with this type and size, a data disk" in refusal(raw(LIVE), [(ROOT, "SAS", 80)], WANTED)


def test_a_root_disk_among_the_data_disks_stops_everything() -> None:
    assert "root disk" in refusal(raw((*LIVE, Disk(ROOT, "SAS", 80))), rows((B,)), WANTED)


@pytest.mark.parametrize(("room", "fits"), [(-1, False), (0, True), (1, True)])
def test_the_limit_of_disks_holds_once_more(room: int, fits: bool) -> None:
    limits = Limits(disks=Limit(2 + room, "limits.yaml:3:9"))
    assert agrees(raw(LIVE), rows((B, C)), managed(entry("SSD", 100)), limits) is fits
    if not fits:
        assert "limits.yaml:3:9" in refusal(raw(LIVE), rows((B, C)), managed(entry("SSD", 100)), limits)


@pytest.mark.parametrize(("room", "fits"), [(-1, False), (0, True)])
def test_a_share_of_the_pool_holds_here_too(room: int, fits: bool) -> None:
    limits = Limits(share_of_pool=Limit(67 + room, "policy.yaml:3:9"))  # 2 of 3: 66.7 percent
    assert agrees(raw(LIVE), rows((B, C)), managed(entry("SSD", 100)), limits) is fits
    if not fits:
        assert "policy.yaml:3:9" in refusal(raw(LIVE), rows((B, C)), managed(entry("SSD", 100)), limits)


@pytest.mark.parametrize(("percent", "fits"), [(49, False), (50, True)])
def test_half_of_the_pool_is_exactly_half(percent: int, fits: bool) -> None:
    limits = Limits(share_of_pool=Limit(percent, "policy.yaml:3:9"))
    assert agrees(raw((A, B)), rows((B,)), managed(entry("SSD", 100)), limits) is fits


@pytest.mark.parametrize(("count", "fits"), [(9, True), (10, True), (11, False)])
def test_a_call_holds_at_most_ten_disks(count: int, fits: bool) -> None:
    many = tuple(Disk(f"d{number}", "SAS", 10) for number in range(count))
    unlimited = Limits(disks=Limit(None))
    assert agrees(raw((*many, A)), rows(many), managed(entry("SSD", 100)), unlimited) is fits


def test_emptying_the_pool_needs_to_be_allowed() -> None:
    assert "without any disk" in refusal(raw((B,)), rows((B,)), managed())
    assert agrees(raw((B,)), rows((B,)), managed(allow_empty=True))


def test_a_replacement_needs_an_entry_that_allows_it_and_lacks_a_disk() -> None:
    assert "replace: true" in refusal(raw((B,)), rows((B,)), managed(entry("SAS", 10)))
    assert agrees(raw((B,)), rows((B,)), managed(entry("SAS", 10, replacing=True)))


def test_a_replacement_needs_adding_to_be_managed() -> None:
    wanted = replace(managed(entry("SAS", 10, replacing=True)), manage=frozenset({Action.REMOVE}))
    assert "replace: true" in refusal(raw((B,)), rows((B,)), wanted)


def test_a_pool_that_does_not_manage_removal_loses_nothing() -> None:
    only_adds = replace(WANTED, manage=frozenset({Action.ADD}))
    assert "does not let disks be removed" in refusal(raw(LIVE), rows((B,)), only_adds)


def test_a_pin_that_is_not_live_stops_every_removal() -> None:
    gone = managed(entry("SSD", 100), entry("SAS", 70), entry("SAS", 10, pin="gone"))
    assert "is not a data disk of the pool" in refusal(raw(LIVE), rows((B,)), gone)


def growing(*disks: DesiredDisk) -> DesiredPool:
    return replace(managed(*disks), manage=frozenset({Action.REMOVE, Action.EXPAND}))


def test_the_larger_of_two_disks_is_not_given_up_for_the_smaller() -> None:
    assert agrees(raw((B, C)), rows((B,)), growing(entry("SAS", 100)))
    assert "is needed" in refusal(raw((B, C)), rows((C,)), growing(entry("SAS", 100)))


def test_a_protected_disk_makes_no_larger_one_go_in_its_place() -> None:
    guarded = replace(growing(entry("SAS", 100)), protect=("b",))
    assert "is needed" in refusal(raw((B, C)), rows((C,)), guarded)
    assert "is protected" in refusal(raw((B, C)), rows((B,)), guarded)


def test_a_disk_that_equals_a_declared_one_goes_only_where_enough_others_like_it_stay() -> None:
    twin = Disk("b2", "SAS", 50)
    one, two = growing(entry("SAS", 50)), growing(entry("SAS", 50), entry("SAS", 50))
    assert agrees(raw((B, twin, C)), rows((twin, C)), one)
    assert "too few would stay" in refusal(raw((B, twin, C)), rows((twin, C)), two)
    assert "too few would stay" in refusal(raw((B, twin, C)), rows((B, twin)), one)


@pytest.mark.parametrize("size", [100, 120])
def test_where_disks_do_not_grow_none_goes_that_could_be_the_declared_one(size: int) -> None:
    wanted = managed(entry("SAS", size))
    assert "does not let disks be expanded" in refusal(raw((B, C)), rows((B,)), wanted)
    assert agrees(raw((B, C)), rows((B,)), growing(entry("SAS", size)))
    assert agrees(raw((A, B)), rows((B,)), managed(entry("SSD", size)))


def test_a_pinned_disk_that_does_not_grow_gives_no_reason_to_lose_one_that_equals_its_entry() -> None:
    like_c = entry("SAS", 70, pin="b")
    assert "does not let disks be expanded" in refusal(raw((B, C)), rows((C,)), managed(like_c))
    assert agrees(raw((B, C)), rows((C,)), growing(like_c))
    assert agrees(raw((B, C)), rows((C,)), managed(entry("SAS", 80, pin="b")))


def test_a_pinned_disk_does_not_stand_for_the_declared_one_into_which_another_only_grows() -> None:
    small, middle = Disk("small", "SAS", 30), Disk("middle", "SAS", 40)
    wanted = managed(entry("SAS", 50, pin="b"), entry("SAS", 50))
    assert "does not let disks be expanded" in refusal(raw((B, small, middle)), rows((small,)), wanted)


def test_nothing_goes_beside_a_replacement_that_is_only_shown() -> None:
    wanted = replace(managed(entry("SAS", 10, replacing=True)), manage=frozenset({Action.REMOVE}))
    assert "replace: true" in refusal(raw((B, C)), rows((C,)), wanted)
    assert agrees(raw((B, C)), rows((B, C)), managed(entry("SAS", 10, replacing=True)))
    assert "replace: true" in refusal(raw((B, C)), rows((C,)), managed(entry("SAS", 10)))


def test_a_permission_beside_a_disk_that_is_there_allows_nothing_else() -> None:
    wanted = managed(entry("SSD", 100, replacing=True), entry("GPSSD", 50))
    assert "replace: true" in refusal(raw((A, B)), rows((B,)), wanted)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"id": "pool-2"}, "is about pool pool-2"),
        ({"status": "TEMPORARY"}, "not STEADY"),
        ({"status": None}, "not STEADY"),
        ({"charging_mode": "0"}, "pay-per-use"),
        ({"charging_mode": None}, "pay-per-use"),
        ({"data_volumes": None}, "does not hold"),
        ({"data_volumes": [{"id": "b", "type": "SAS"}]}, "does not hold"),
        ({"data_volumes": [{"id": ["b"], "type": "SAS", "size": 50}]}, "does not hold"),
        ({"data_volumes": [{"id": None, "type": "SAS", "size": 50}]}, "does not hold"),
        ({"data_volumes": [{"id": "b", "type": "SAS", "size": "50"}]}, "does not hold"),
        ({"data_volumes": [{"id": "b", "type": "SAS", "size": True}]}, "does not hold"),
        ({"data_volumes": [{"id": "b", "type": None, "size": 50}]}, "does not hold"),
        ({"data_volumes": ["b"]}, "does not hold"),
        ({"data_volumes": "b"}, "does not hold"),
        ({"root_volume": "b"}, "does not hold"),
        ({"data_volumes": [{"id": "", "type": "SAS", "size": 50}]}, "ids of their own"),
        ({"data_volumes": [{"id": "b", "type": "SAS", "size": 50}] * 2}, "ids of their own"),
    ],
)
def test_an_answer_that_is_not_exactly_what_is_needed_is_refused(
    changed: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(raw(LIVE, **changed), rows((B,)), WANTED)


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_an_answer_that_is_no_pool_is_refused(answer: bytes) -> None:
    assert "does not hold" in refusal(answer, rows((B,)), WANTED)


def test_a_pool_without_a_root_disk_in_its_answer_is_checked_all_the_same() -> None:
    assert agrees(raw(LIVE, root_volume=None), rows((B,)), WANTED)


def test_a_refusal_is_no_traceback_but_an_exit_code_and_a_hint() -> None:
    with pytest.raises(SecondCheckFailed) as told:
        check_removal(raw(LIVE), POOL_ID, [], WANTED, Limits())
    assert told.value.exit_code is ExitCode.REFUSED
    assert "nothing was sent" in told.value.hint
