"""A saved plan holds only while exactly what was approved would be done; every difference is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache

import pytest

from reconciler.model import ApplyTo, DesiredDisk, Disk, Limit, Limits, Position, Target
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.plan import Plan, Service
from reconciler.planning.stale_plan import explain
from reconciler.values import replace
from tests.builders import TARGET
from tests.planning.random_pools import random_case
from tests.sample_plans import MADE, disk, planned, pool, wanted, whole

KEPT, GONE, OTHER = disk(1, "SSD", 100), disk(2, "SAS", 50), disk(3, "SAS", 60)
DECLARED = pool("finance", wanted("SSD", 100))


def approved() -> Plan:
    return whole(planned(DECLARED, [KEPT, GONE], ["ann", "bob"], connected=0))


def now(*disks: Disk, users: tuple[str, ...] = ("ann", "bob"), connected: int = 0) -> Plan:
    return whole(planned(DECLARED, disks or (KEPT, GONE), users, connected))


def with_live(plan: Plan, **changed: str) -> Plan:
    """The same plan, its pool's live counterpart changed."""
    pools = [replace(each, live=replace(each.live, **changed)) for each in plan.pools if each.live]  # type: ignore[arg-type]
    return replace(plan, pools=tuple(pools))


def test_an_approval_holds_while_nothing_relevant_changed() -> None:
    assert explain(approved(), now()) == ()


def test_an_approval_holds_whatever_the_order_of_the_reading() -> None:
    assert explain(approved(), now(GONE, KEPT)) == ()


def test_another_time_id_version_and_manifest_do_not_matter() -> None:
    later = replace(
        now(), id="other", created=MADE + timedelta(minutes=5), tool_version="9.9", sources=(("x", "y"),)
    )
    assert explain(approved(), later) == ()


@pytest.mark.parametrize(
    ("current", "parts"),
    [
        pytest.param(
            lambda: now(KEPT, replace(GONE, size=60)), [f"finance: disk {GONE.id}: size 50 → 60"], id="size"
        ),
        pytest.param(
            lambda: now(KEPT, replace(GONE, type="GPSSD")),
            [f"finance: disk {GONE.id}: type SAS → GPSSD"],
            id="type",
        ),
        pytest.param(
            lambda: now(KEPT, GONE, OTHER),
            [f"finance: disk {OTHER.id} (SAS, 60 GB): was not in the approved plan, is to be removed now"],
            id="one more",
        ),
        pytest.param(
            lambda: now(KEPT),
            [f"finance: disk {GONE.id} (SAS, 50 GB): was to be removed, is gone now"],
            id="gone already",
        ),
        pytest.param(
            lambda: now(KEPT, replace(GONE, id=OTHER.id)),
            [OTHER.id, GONE.id, "is gone now"],
            id="another disk",
        ),
        pytest.param(
            lambda: whole(planned(replace(DECLARED, apply_to=ApplyTo.NEW), [KEPT, GONE], ["ann", "bob"])),
            ["finance: apply_to all → new"],
            id="apply_to",
        ),
        pytest.param(
            lambda: whole(
                planned(DECLARED, [KEPT, GONE], ["ann", "bob"]),
                limits=Limits(disks=Limit(99, "--limit-disks")),
            ),
            ["limit disks 10 → 99"],
            id="limit",
        ),
        pytest.param(
            lambda: whole(planned(DECLARED, [KEPT, GONE], ["ann", "bob"]), limits=Limits(disks=Limit(None))),
            ["limit disks 10 → none"],
            id="no limit",
        ),
        pytest.param(
            lambda: with_live(now(), id="another-id"), ["another-id", "id-of-finance"], id="a namesake pool"
        ),
        pytest.param(
            lambda: with_live(now(), name="treasury"), ["finance: name finance → treasury"], id="pool renamed"
        ),
        pytest.param(
            lambda: replace(now(), services=(Service(TARGET, "staging.example.com"),)),
            [f"service of {TARGET} workspace.example.com → staging.example.com"],
            id="endpoint",
        ),
        pytest.param(
            lambda: whole(
                planned(replace(DECLARED, target=Target("eu-west-101", "f" * 32)), [KEPT, GONE], ["ann"])
            ),
            ["ap-southeast-3", "eu-west-101"],
            id="target",
        ),
        pytest.param(
            lambda: whole(planned(replace(DECLARED, manage=frozenset()), [KEPT, GONE], ["ann", "bob"])),
            [f"finance: disk {GONE.id}: carried out yes → no"],
            id="managed no more",
        ),
    ],
)
def test_what_changed_is_told_field_by_field(current: Callable[[], Plan], parts: list[str]) -> None:
    told = explain(approved(), current())
    assert told
    for part in parts:
        assert any(part in line for line in told), (part, told)


def test_one_changed_field_is_one_sentence() -> None:
    told = explain(approved(), now(KEPT, replace(GONE, size=40)))
    assert told == (f"finance: disk {GONE.id}: size 50 → 40",)


def test_of_a_pool_whose_surplus_disk_is_gone_only_that_disk_is_said_to_be_gone() -> None:
    told = explain(approved(), now(KEPT))
    gone = [line for line in told if "gone" in line]
    assert [line.split(" (")[0] for line in gone] == [f"finance: disk {GONE.id}"]
    assert told == tuple(gone)


def test_another_declared_size_is_told() -> None:
    grown = replace(DECLARED, disks=(DesiredDisk("SSD", 200, Position("x", 1, 1)),))
    told = explain(approved(), whole(planned(grown, [KEPT, GONE], ["ann", "bob"])))
    assert any(line == f"finance: disk {KEPT.id}: was to stay, is to be expanded now" for line in told)


def test_another_size_of_a_disk_that_grows_anyway_is_told() -> None:
    two, three = (replace(DECLARED, disks=(wanted("SSD", size),)) for size in (200, 300))
    told = explain(whole(planned(two, [KEPT])), whole(planned(three, [KEPT])))
    assert told == (f"finance: disk {KEPT.id}: declared size 200 → 300",)


def test_of_a_pool_that_needed_nothing_it_is_told_what_its_disk_was_to_do() -> None:
    quiet = pool("quiet", wanted("SAS", 60))
    then, later = (planned(declared, [OTHER]) for declared in (quiet, replace(quiet, disks=())))
    told = explain(whole(*approved().pools, then), whole(*approved().pools, later))
    assert f"quiet: disk {OTHER.id}: was to stay, is to be removed now" in told
    assert not any("was not in the approved plan" in line for line in told)


def test_a_region_whose_name_looks_private_to_python_is_compared_like_any_other() -> None:
    private = replace(DECLARED, target=Target("__eu", "f" * 32))
    then, later = (whole(planned(private, [KEPT, GONE]), service=name) for name in ("one", "two"))
    assert explain(then, later) == (f"service of __eu/{'f' * 32} one → two",)


def test_a_disk_that_two_candidates_compete_for_is_told() -> None:
    twin = replace(KEPT, id=OTHER.id)
    told = explain(approved(), now(KEPT, GONE, twin))
    assert any("disks of which some must go" in line and twin.id in line for line in told)


# --- counts that move by the minute -----------------------------------------------------------------


def with_loss(**changed: int | tuple[str, ...]) -> Plan:
    """The approved plan, recounted."""
    plan = approved()
    (only,) = plan.pools
    return replace(plan, pools=(replace(only, loss=replace(only.loss, **changed)),))  # type: ignore[arg-type]


COUNTS: dict[str, tuple[int | tuple[str, ...], int | tuple[str, ...]]] = {
    "copies": (1, 3),
    "gigabytes": (99, 101),
    "users": (("ann",), ("ann", "bob", "chen")),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_may_shrink_but_not_grow(name: str) -> None:
    less, more = COUNTS[name]
    assert explain(approved(), with_loss(**{name: less})) == ()
    (told,) = explain(approved(), with_loss(**{name: more}))
    assert told.startswith(f"finance: {name} affected grew from ")


def test_sessions_may_end_but_not_begin() -> None:
    allowing = replace(DECLARED, allow_live_sessions=True)
    one, two = (whole(planned(allowing, [KEPT, GONE], ["ann", "bob"], connected=each)) for each in (1, 2))
    assert explain(two, one) == ()
    assert explain(one, two) == ("finance: live sessions affected grew from 1 to 2",)


def test_counts_of_a_pool_that_is_blocked_now_are_left_to_its_blocker() -> None:
    connected = now(users=("ann", "bob", "chen"), connected=1)
    assert connected.blocked
    assert explain(approved(), connected) == ()


def test_counts_of_a_pool_that_follows_a_blocked_one_are_bounded_too() -> None:
    def two(users: tuple[str, ...], connected: int) -> Plan:
        first = planned(replace(DECLARED, name="blocked"), [KEPT, GONE], ["ann"], connected)
        return whole(first, planned(DECLARED, [KEPT, GONE], users))

    told = explain(two(("ann",), 1), two(("ann", "bob"), 1))
    assert "finance: users affected grew from 1 to 2" in told
    assert not any(line.startswith("blocked") for line in told)


def test_a_pool_without_a_difference_takes_no_part() -> None:
    same = planned(pool("quiet", wanted("SAS", 60)), [OTHER], ["zoe"])
    assert explain(approved(), whole(*approved().pools, same)) == ()


def test_one_more_pool_to_change_is_told() -> None:
    more = planned(pool("busy", wanted("SAS", 60)), [OTHER, KEPT], ["zoe"])
    (told,) = explain(approved(), whole(*approved().pools, more))
    assert "id-of-busy" in told
    assert "was not in the approved plan" in told


def test_an_approval_of_a_plan_that_was_blocked_is_none_of_the_same_plan_unblocked() -> None:
    blocked = replace(approved(), findings=(Finding("sources", "a file is not read"),))
    assert explain(blocked, now()) == ("the whole plan: blocked yes → no",)


def test_a_warning_is_no_difference() -> None:
    warned = replace(now(), findings=(Finding("clock-skew", "40 seconds", Severity.WARN),))
    assert explain(approved(), warned) == ()


def test_the_number_of_people_is_bounded_not_their_names() -> None:
    assert explain(approved(), now(users=("ann", "chen"))) == ()


# --- nothing slips through --------------------------------------------------------------------------


def test_an_id_that_looks_private_to_python_is_compared_like_any_other() -> None:
    told = explain(approved(), now(KEPT, GONE, replace(OTHER, id="__gone__")))
    assert any("__gone__" in line for line in told)


def test_another_digest_is_always_explained_and_the_same_digest_never() -> None:
    compared = [(one, two) for one in range(20) for two in range(60)]
    same = {pair: _random_plan(pair[0]).digest == _random_plan(pair[1]).digest for pair in compared}
    assert set(same.values()) == {True, False}
    for pair in compared:
        assert (_explained(*pair) == ()) == same[pair]


@cache
def _explained(one: int, two: int) -> tuple[str, ...]:
    return explain(_random_plan(one), _random_plan(two))


@cache
def _random_plan(number: int) -> Plan:
    case = random_case(f"stale {number % 40}")
    return whole(planned(replace(case.pool, apply_to=ApplyTo.ALL), case.live))


def test_a_disk_that_is_gone_is_named_and_neither_its_pool_nor_its_target_is_called_gone() -> None:
    told = explain(approved(), now(KEPT))
    assert told == (f"finance: disk {GONE.id} (SAS, 50 GB): was to be removed, is gone now",)


def test_nothing_of_an_explanation_is_a_path_or_a_dictionary() -> None:
    lines = [line for one in range(40) for two in range(40) for line in _explained(one, two)]
    assert lines
    for line in lines:
        assert not any(mark in line for mark in ("{", "}", "[", "]", "before", "disks.", "True", "None")), (
            line
        )
