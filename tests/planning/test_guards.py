"""Each guard holds exactly at its limit, and one plan shows everything that blocks it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reconciler.model import (
    Action,
    ApplyTo,
    Copy,
    DesiredDisk,
    DesiredPool,
    Desktop,
    Disk,
    Limit,
    Limits,
    Pool,
)
from reconciler.planning.draft import draft
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.guards import judge, judge_pool, pool_checks, run_checks
from reconciler.planning.plan import PoolPlan
from reconciler.values import replace
from tests.builders import AT, NO_LIMITS, copies_of, entry, pool

KEPT = Disk("kept", "SSD", 100)


def desired(name: str = "finance") -> DesiredPool:
    """A pool that wants one disk of 100 GB."""
    return pool(entry("SSD", 100), name=name, apply_to=ApplyTo.ALL)


def surplus(count: int) -> tuple[Disk, ...]:
    return tuple(Disk(f"gone-{number}", "SAS", 10 + 10 * number) for number in range(count))


def drafted(
    pool: DesiredPool | None = None,
    disks: Sequence[Disk] = (KEPT, *surplus(1)),
    desktops: int = 1,
    connected: int = 0,
) -> PoolPlan:
    """A pool whose desktops, one user each, all have a copy of every disk."""
    declared = pool or desired()
    people = [
        Desktop(
            f"{declared.name}-{number}",
            f"D{number}",
            (f"user-{declared.name}-{number}",),
            number < connected,
            copies_of(disks, number),
        )
        for number in range(desktops)
    ]
    live = Pool(f"id-{declared.name}", declared.name, tuple(disks), desktop_count=desktops)
    return draft(declared, live, people)


def only(**limits: int) -> Limits:
    """Nothing is limited but these, set in a manifest."""
    return replace(NO_LIMITS, **{name: Limit(value, "limits.yaml:3:9") for name, value in limits.items()})


def blocking(findings: Sequence[Finding]) -> list[str]:
    return [each.rule for each in findings if each.severity is Severity.BLOCK]


# --- the ceilings of a run --------------------------------------------------------------------------

TWO_POOLS = (
    drafted(desired("one"), (KEPT, *surplus(2)), desktops=3),
    drafted(desired("two"), (KEPT, *surplus(1)), desktops=2),
)
MEASURED = {
    "disks": 3,  # two of the one, one of the other
    "copies": 2 * 3 + 1 * 2,
    "pools": 2,
    "gigabytes": (10 + 20) * 3 + 10 * 2,
    "users": 3 + 2,
}

SHARES = {"share-of-pool": 67, "share-of-run": 60}
"""Percent, rounded up: 2 of 3 disks of the one pool, 3 of 5 of both."""


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize(("room", "blocks"), [(-1, True), (0, False), (1, False)])
def test_a_ceiling_holds_exactly_at_its_limit(name: str, room: int, blocks: bool) -> None:
    limit = MEASURED[name] + room
    judged, found = judge(TWO_POOLS, only(**{name: limit}))
    assert blocking(found) == ([f"limit-{name}"] if blocks else [])
    assert not any(pool.findings for pool in judged)


@pytest.mark.parametrize("name", MEASURED)
def test_a_ceiling_says_the_number_the_limit_its_place_and_the_way_out(name: str) -> None:
    (finding,) = judge(TWO_POOLS, only(**{name: 1}))[1]
    number = MEASURED[name]
    assert (finding.measured, finding.limit, finding.source) == (number, 1, "limits.yaml:3:9")
    assert f"limits.{name}: {number}" in finding.allow
    assert f"--limit-{name} {number}" in finding.allow
    assert str(number) in finding.message
    assert "the limit is 1" in finding.message


@pytest.mark.parametrize("name", MEASURED)
def test_a_limit_of_nothing_blocks_the_smallest_removal(name: str) -> None:
    assert blocking(judge([drafted()], only(**{name: 0}))[1]) == [f"limit-{name}"]


@pytest.mark.parametrize("name", MEASURED)
def test_what_is_not_limited_never_blocks(name: str) -> None:
    assert name in dict(Limits().items())
    assert judge(TWO_POOLS, only())[1] == ()


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize(("room", "blocks"), [(-1, True), (0, False), (1, False)])
def test_a_share_holds_exactly_at_its_limit(name: str, room: int, blocks: bool) -> None:
    limit = SHARES[name] + room
    assert blocking(judge(TWO_POOLS, only(**{name.replace("-", "_"): limit}))[1]) == (
        [f"limit-{name}"] if blocks else []
    )


def test_a_share_is_above_its_limit_by_any_part_of_a_percent() -> None:
    wanted = pool(entry("SSD", 100), entry("SSD", 200), name="finance", apply_to=ApplyTo.ALL)
    third = drafted(wanted, (KEPT, Disk("kept-2", "SSD", 200), *surplus(1)))  # 1 of 3: 33.3 percent
    assert blocking(judge([third], only(share_of_pool=33))[1]) == ["limit-share-of-pool"]
    assert judge([third], only(share_of_pool=34))[1] == ()


def test_one_of_one_disk_is_everything() -> None:
    alone = drafted(pool(name="finance", apply_to=ApplyTo.ALL, allow_empty=True), surplus(1))
    (finding,) = judge([alone], only(share_of_pool=99))[1]
    assert (finding.measured, finding.limit, finding.source) == (100, 99, "limits.yaml:3:9")
    assert finding.message == "1 of 1 disk of finance (100 %) would be destroyed; the limit is 99 %"
    assert finding.allow == "limits.share_of_pool: 100% in a manifest, or --limit-share-of-pool 100%"
    assert judge([alone], only(share_of_pool=100, share_of_run=100))[1] == ()


def test_the_share_of_a_run_is_of_the_disks_of_pools_that_are_not_blocked() -> None:
    held = replace(TWO_POOLS[1], findings=(Finding("pool-held", "held"),))
    assert [each.measured for each in judge([TWO_POOLS[0], held], only(share_of_run=66))[1]] == [67]


def test_a_ceiling_of_the_policy_says_that_only_the_policy_can_raise_it() -> None:
    limits = replace(NO_LIMITS, disks=Limit(1, "policy.yaml:2:19", ceiling=True))
    (finding,) = judge(TWO_POOLS, limits)[1]
    assert (finding.measured, finding.limit, finding.source) == (3, 1, "policy.yaml:2:19")
    assert finding.allow == "ceilings.disks: 3 in the policy; no manifest and no flag can raise it"


def test_the_defaults_are_ten_disks_a_hundred_copies_and_five_pools() -> None:
    at_the_limit = [drafted(desired(f"p{number}"), (KEPT, *surplus(2)), desktops=10) for number in range(5)]
    assert judge(at_the_limit, Limits())[1] == ()
    one_pool_more = [*at_the_limit, drafted(desired("p5"), (KEPT, *surplus(1)))]
    assert blocking(judge(one_pool_more, Limits())[1]) == ["limit-disks", "limit-copies", "limit-pools"]


def test_growing_and_adding_counts_against_no_ceiling() -> None:
    wanted = (entry("SSD", 200), entry("SAS", 10))
    pool = replace(desired(), disks=wanted, manage=frozenset({Action.EXPAND, Action.ADD}))
    assert judge([drafted(pool, (KEPT,))], only(**dict.fromkeys(MEASURED, 0)))[1] == ()


def test_a_replacement_counts_as_a_removal() -> None:
    wanted = (entry("SSD", 10, replacing=True),)
    pool = replace(desired(), disks=wanted, manage=frozenset({Action.REMOVE, Action.ADD}))
    assert blocking(judge([drafted(pool, (KEPT,))], only(disks=0))[1]) == ["limit-disks"]


def test_a_difference_that_is_only_shown_counts_against_no_ceiling() -> None:
    pool = replace(desired(), manage=frozenset({Action.ADD}))
    assert judge([drafted(pool)], only(**dict.fromkeys(MEASURED, 0)))[1] == ()


def test_blocked_pools_do_not_count() -> None:
    frozen = drafted(desired("frozen"), (KEPT, *surplus(2)), desktops=3)
    assert frozen.live is not None
    frozen = replace(frozen, live=replace(frozen.live, status="EXIST_FROZEN"))
    pools = [frozen, drafted(desired("open"))]
    judged, found = judge(pools, only(disks=1, copies=1, pools=1, gigabytes=10, users=1))
    assert [pool.blocked for pool in judged] == [True, False]
    assert found == ()


def test_a_pool_blocked_before_the_guards_does_not_count_either() -> None:
    held = replace(drafted(), findings=(Finding("pool-held", "another run"),))
    assert judge([held], only(disks=0))[1] == ()


def test_a_warning_does_not_take_a_pool_out_of_the_count() -> None:
    warned = replace(drafted(), findings=(Finding("x", "y", Severity.WARN),))
    assert blocking(judge([warned], only(disks=0))[1]) == ["limit-disks"]


# --- the guards of a pool ---------------------------------------------------------------------------


def test_a_pool_in_order_has_no_finding() -> None:
    assert judge_pool(drafted()).findings == ()


def test_emptying_a_pool_blocks_however_few_disks_it_has() -> None:
    pool = replace(desired(), disks=())
    (finding,) = judge_pool(drafted(pool, surplus(1))).findings
    assert finding.rule == "empties-pool"
    assert (finding.measured, finding.limit) == (0, 1)
    assert "allow_empty: true" in finding.allow


@pytest.mark.parametrize(("stays", "blocks"), [(0, True), (1, False), (2, False)])
def test_a_pool_keeps_at_least_one_disk(stays: int, blocks: bool) -> None:
    kept = tuple(Disk(f"kept-{number}", "SSD", 100 + 10 * number) for number in range(stays))
    pool = replace(desired(), disks=tuple(entry("SSD", disk.size) for disk in kept))
    assert bool(judge_pool(drafted(pool, (*kept, *surplus(2)))).findings) is blocks


def test_emptying_is_allowed_where_the_entry_says_so() -> None:
    pool = replace(desired(), disks=(), allow_empty=True)
    assert judge_pool(drafted(pool, surplus(2))).findings == ()


def test_replacing_the_only_disk_does_not_empty_the_pool() -> None:
    wanted = (entry("SSD", 10, replacing=True),)
    pool = replace(desired(), disks=wanted, manage=frozenset({Action.REMOVE, Action.ADD}))
    assert judge_pool(drafted(pool, (KEPT,))).findings == ()


def test_a_replaced_disk_leaves_its_successor() -> None:
    wanted = (*desired().disks, DesiredDisk("SAS", 10, AT, replace=True))
    pool = replace(desired(), disks=wanted, manage=frozenset({Action.REMOVE, Action.ADD}))
    plan = drafted(pool, (KEPT, Disk("old", "SAS", 50)))
    assert judge_pool(plan).findings == ()
    assert "2 of 2 disks stay" in {each.message for each in pool_checks(plan)}


@pytest.mark.parametrize(("connected", "blocks"), [(0, False), (1, True), (2, True)])
def test_one_connected_user_blocks(connected: int, blocks: bool) -> None:
    findings = judge_pool(drafted(desktops=3, connected=connected)).findings
    assert blocking(findings) == (["live-session"] if blocks else [])
    assert [(each.measured, each.limit) for each in findings] == ([(connected, 0)] if blocks else [])


def test_connected_users_are_allowed_where_the_entry_says_so() -> None:
    pool = replace(desired(), allow_live_sessions=True)
    assert judge_pool(drafted(pool, connected=1)).findings == ()


def test_a_connected_user_of_a_desktop_that_loses_nothing_does_not_block() -> None:
    pool = replace(desired(), apply_to=ApplyTo.NEW)
    assert judge_pool(drafted(pool, connected=1)).findings == ()


def test_a_protected_disk_blocks_by_its_id() -> None:
    pool = replace(desired(), protect=("gone-0", "elsewhere"))
    (finding,) = judge_pool(drafted(pool)).findings
    assert finding.rule == "protected"
    assert "gone-0" in finding.message
    assert "elsewhere" not in finding.message


@pytest.mark.parametrize("status", ["TEMPORARY", "EXIST_FROZEN", "UNKNOWN", "steady", "", "NEVER_HEARD_OF"])
def test_a_pool_that_is_not_steady_blocks(status: str) -> None:
    pool = drafted()
    assert pool.live is not None
    judged = judge_pool(replace(pool, live=replace(pool.live, status=status)))
    assert blocking(judged.findings) == ["pool-state"]
    assert f"the pool is {status or 'in an unknown state'}, " in judged.findings[0].message


@pytest.mark.parametrize("mode", ["0", "", "2"])
def test_a_pool_that_is_not_known_to_be_pay_per_use_blocks(mode: str) -> None:
    pool = drafted()
    assert pool.live is not None
    judged = judge_pool(replace(pool, live=replace(pool.live, charging_mode=mode)))
    assert blocking(judged.findings) == ["prepaid"]
    assert ("orders" in judged.findings[0].message) is (mode == "0")


def test_every_doubt_blocks_even_where_nothing_would_change() -> None:
    pool = drafted(disks=(KEPT,))
    assert pool.live is not None
    judged = judge_pool(replace(pool, live=replace(pool.live, doubts=("one", "two"))))
    assert blocking(judged.findings) == ["doubtful-reading", "doubtful-reading"]


def test_a_tie_blocks_and_names_its_candidates() -> None:
    twins = (Disk("twin-1", "SSD", 100), Disk("twin-2", "SSD", 100))
    (finding,) = judge_pool(drafted(disks=twins)).findings
    assert finding.rule == "tie"
    assert "twin-1" in finding.message
    assert "twin-2" in finding.message
    assert "on_tie" in finding.allow


def test_a_pool_without_changes_is_not_judged_by_its_state() -> None:
    pool = drafted(disks=(KEPT,))
    assert pool.live is not None
    frozen = replace(pool, live=replace(pool.live, status="EXIST_FROZEN", charging_mode="0"))
    assert judge_pool(frozen).findings == ()


def test_a_change_that_only_grows_is_judged_by_the_pools_state_too() -> None:
    wanted = (entry("SSD", 200),)
    pool = drafted(replace(desired(), disks=wanted, manage=frozenset({Action.EXPAND})), (KEPT,))
    assert pool.live is not None
    judged = judge_pool(replace(pool, live=replace(pool.live, status="TEMPORARY")))
    assert blocking(judged.findings) == ["pool-state"]


def test_a_pool_that_was_not_found_has_that_one_finding() -> None:
    missing = PoolPlan(desired(), findings=(Finding("pool-not-found", "no pool has the name 'finance'"),))
    assert judge_pool(missing) == missing


# --- what rests on changes that are only shown ---------------------------------------------------------

SMALL, LARGE = Disk("small", "SSD", 40), Disk("large", "SSD", 50)


def entries(*sizes: int, **more: object) -> tuple[DesiredDisk, ...]:
    return tuple(replace(DesiredDisk("SSD", size, AT), **more) for size in sizes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("manage", "blocks"),
    [
        (frozenset({Action.REMOVE}), True),
        (frozenset({Action.REMOVE, Action.ADD}), True),
        (frozenset({Action.REMOVE, Action.EXPAND}), False),
        (frozenset({Action.EXPAND}), False),
    ],
)
def test_no_disk_goes_because_another_would_grow_where_growing_is_not_carried_out(
    manage: frozenset[Action], blocks: bool
) -> None:
    pool = replace(desired(), disks=entries(60), manage=manage)
    findings = judge_pool(drafted(pool, (SMALL, LARGE))).findings
    assert blocking(findings) == (["rests-on-unmanaged"] if blocks else [])
    if blocks:
        assert "disk small (SSD 40 GB) would be destroyed because disk large" in findings[0].message
        assert "manage" in findings[0].allow
        assert "write the id" in findings[0].allow


@pytest.mark.parametrize("surplus_disk", [Disk("x", "SAS", 10), Disk("x", "SSD", 200)])
def test_a_disk_that_could_not_be_the_declared_one_goes_beside_an_expansion_only_shown(
    surplus_disk: Disk,
) -> None:
    plan = judge_pool(drafted(replace(desired(), disks=entries(60)), (LARGE, surplus_disk)))
    assert (plan.removed, plan.blocked) == ((surplus_disk,), False)


def test_a_pin_says_which_disk_is_the_declared_one() -> None:
    pool = replace(desired(), disks=entries(60, id="large"))
    assert judge_pool(drafted(pool, (SMALL, LARGE))).findings == ()


def test_a_pin_that_only_grows_on_paper_lets_no_disk_go_that_equals_it() -> None:
    pool = replace(desired(), disks=entries(50, id="small"))
    findings = judge_pool(drafted(pool, (SMALL, LARGE))).findings
    assert blocking(findings) == ["rests-on-unmanaged"]
    assert "write the id" not in findings[0].allow  # it is there
    growing = replace(pool, manage=frozenset({Action.REMOVE, Action.EXPAND}))
    assert judge_pool(drafted(growing, (SMALL, LARGE))).findings == ()


@pytest.mark.parametrize(
    ("manage", "blocks"),
    [(frozenset({Action.REMOVE}), True), (frozenset({Action.REMOVE, Action.ADD}), False)],
)
def test_no_disk_goes_beside_a_replacement_that_is_only_shown(
    manage: frozenset[Action], blocks: bool
) -> None:
    pool = replace(desired(), disks=entries(10, replace=True), manage=manage)
    findings = judge_pool(drafted(replace(pool, allow_empty=True), (SMALL, LARGE))).findings
    assert blocking(findings) == (["rests-on-unmanaged"] if blocks else [])


def test_a_replacement_that_is_only_shown_blocks_nothing_by_itself() -> None:
    pool = replace(desired(), disks=entries(10, replace=True))
    assert judge_pool(drafted(pool, (SMALL,))).findings == ()


# --- ties ---------------------------------------------------------------------------------------------

TWINS = (Disk("twin-1", "SSD", 100), Disk("twin-2", "SSD", 100))


def tied(pool: DesiredPool, disks: Sequence[Disk] = TWINS, connected: int = 0) -> list[str]:
    return blocking(judge_pool(drafted(pool, disks, desktops=2, connected=connected)).findings)


def test_a_tie_of_protected_disks_says_that_one_of_them_would_go() -> None:
    assert tied(replace(desired(), protect=("twin-1", "twin-2"))) == ["tie", "protected"]
    plan = judge_pool(drafted(replace(desired(), protect=("twin-1",)), TWINS))
    assert ([disk.id for disk in plan.removed], plan.findings) == (["twin-2"], ())


def test_a_tie_that_can_spare_the_protected_disk_says_nothing_of_it() -> None:
    plan = drafted(desired(), TWINS)
    spared = replace(plan, desired=replace(plan.desired, protect=("twin-1",)))
    assert blocking(judge_pool(spared).findings) == ["tie"]


def test_a_tie_says_that_somebody_is_connected_whichever_disk_goes() -> None:
    assert tied(desired(), connected=1) == ["tie", "live-session"]
    assert tied(replace(desired(), allow_live_sessions=True), connected=1) == ["tie"]
    assert tied(replace(desired(), apply_to=ApplyTo.NEW), connected=1) == ["tie"]


def test_a_tie_counts_only_the_sessions_that_any_choice_would_hit() -> None:
    one = Desktop("d", "D", ("ann",), live_session=True, copies=(Copy("twin-1", "v", "SSD", 100),))
    two = replace(one, id="e", live_session=False, copies=(Copy("twin-2", "w", "SSD", 100),))
    live = Pool("p", "finance", TWINS)
    assert blocking(judge_pool(draft(desired(), live, [one, two])).findings) == ["tie"]
    both = replace(two, live_session=True)
    assert blocking(judge_pool(draft(desired(), live, [one, both])).findings) == ["tie", "live-session"]


def test_a_tie_shows_everything_else_that_blocks_its_pool() -> None:
    pool = replace(desired(), protect=("twin-1", "twin-2"), disks=(*entries(100), *entries(10)))
    plan = drafted(pool, TWINS, desktops=2, connected=1)
    assert plan.live is not None
    judged = judge_pool(replace(plan, live=replace(plan.live, status="TEMPORARY", charging_mode="0")))
    assert set(blocking(judged.findings)) == {
        "tie",
        "pool-state",
        "prepaid",
        "protected",
        "live-session",
        "replace-not-allowed",
    }


def test_a_tie_where_removal_is_only_shown_destroys_nothing_protected() -> None:
    pool = replace(desired(), protect=("twin-1", "twin-2"), manage=frozenset({Action.ADD}))
    assert tied(pool, connected=1) == ["tie"]


def test_a_tie_rests_on_an_expansion_only_shown_as_a_removal_does() -> None:
    assert tied(replace(desired(), disks=entries(200))) == ["tie", "rests-on-unmanaged"]
    growing = replace(desired(), disks=entries(200), manage=frozenset({Action.REMOVE, Action.EXPAND}))
    assert tied(growing) == ["tie"]
    another_type = replace(desired(), disks=(*entries(100), DesiredDisk("SAS", 60, AT)))
    assert tied(another_type, (*TWINS, Disk("twin-3", "SSD", 100), Disk("grows", "SAS", 50))) == ["tie"]


def test_a_tie_beside_a_replacement_that_is_only_shown_blocks_for_both() -> None:
    three = (*TWINS, Disk("twin-3", "SSD", 100))
    pool = replace(desired(), disks=(*entries(100), *entries(10, replace=True)))
    assert tied(pool, three) == ["tie", "rests-on-unmanaged"]
    findings = judge_pool(drafted(pool, three)).findings
    assert "while another one, of which a declared disk is to be made, stays" in findings[1].message
    assert tied(pool) == ["tie"]  # the one that goes would be replaced, which is only shown


def test_a_tie_beside_two_replacements_that_are_only_shown_names_the_disk_that_stays() -> None:
    kinds = tuple(DesiredDisk(kind, 10, AT, replace=True) for kind in ("GPSSD", "ESSD"))
    pool = replace(desired(), disks=(*entries(100), *kinds))
    disks = (*TWINS, Disk("twin-3", "SSD", 100), Disk("old", "SAS", 50))
    findings = judge_pool(drafted(pool, disks)).findings
    assert blocking(findings) == ["tie", "rests-on-unmanaged"]
    assert "while disk old (SAS 50 GB), of which a declared disk is to be made, stays" in findings[1].message


# --- all together -----------------------------------------------------------------------------------


def test_all_blockers_appear_in_one_plan() -> None:
    twins = (Disk("twin-1", "SSD", 100), Disk("twin-2", "SSD", 100))
    tied = drafted(desired("tied"), twins)
    emptied = drafted(
        replace(desired("emptied"), disks=(), protect=("gone-0",)), surplus(2), desktops=2, connected=1
    )
    assert emptied.live is not None
    live = replace(emptied.live, status="TEMPORARY", charging_mode="0", doubts=("a page was cut",))
    worst = replace(emptied, live=live)
    over = drafted(desired("over"), (KEPT, *surplus(2)), desktops=2)
    judged, run = judge([tied, worst, over], only(**dict.fromkeys(MEASURED, 0)))
    found = [*run, *(finding for pool in judged for finding in pool.findings)]
    assert set(blocking(found)) == {
        "limit-disks",
        "limit-copies",
        "limit-pools",
        "limit-gigabytes",
        "limit-users",
        "tie",
        "doubtful-reading",
        "pool-state",
        "prepaid",
        "empties-pool",
        "protected",
        "live-session",
    }
    assert all(each.message for each in found)
    assert all(each.source for each in found)


def test_every_check_reports_what_it_measured_when_it_passes() -> None:
    rules = [(each.rule, each.severity) for each in pool_checks(drafted())]
    assert rules == [
        (rule, Severity.PASS)
        for rule in ("doubtful-reading", "pool-state", "prepaid", "empties-pool", "protected", "live-session")
    ]
    assert {each.rule: each.measured for each in run_checks(TWO_POOLS, only())} == {
        f"limit-{name}": number for name, number in (MEASURED | SHARES).items()
    }


@pytest.mark.parametrize(("limit", "blocked"), [(Limit(9, "pools.yaml:1:1"), True), (Limit(None), False)])
def test_a_limit_on_people_cannot_hold_where_a_group_is_attached(limit: Limit, blocked: bool) -> None:
    desktop = Desktop("1", "one", groups=("staff",), user_list=("ann",), copies=copies_of(surplus(1), 1))
    planned = draft(pool(name="p", allow_empty=True), Pool("pool", "p", surplus(1)), [desktop])
    _, run = judge([planned], Limits(users=limit))
    found = [each for each in run if each.rule == "limit-users"]
    assert bool(found) is blocked
    if found:
        assert (found[0].severity, found[0].measured, found[0].limit) == (Severity.BLOCK, 1, 9)
        assert "1 user group whose members are not known" in found[0].message


# --- what each of them says ---------------------------------------------------------------------------


def said(pool: PoolPlan) -> dict[str, Finding]:
    """The findings that block, by their rule."""
    return {each.rule: each for each in judge_pool(pool).findings if each.severity is Severity.BLOCK}


def test_every_finding_says_whose_it_is_and_where_the_pool_is_declared() -> None:
    checked = [*pool_checks(drafted(disks=TWINS, connected=1)), *pool_checks(drafted())]
    assert {each.severity for each in checked} == {Severity.PASS, Severity.BLOCK}
    assert {(each.pool, each.source) for each in checked} == {("finance", str(AT))}


def test_what_blocks_says_what_would_allow_it() -> None:
    pool = replace(desired(), protect=("gone-0",))
    plan = drafted(pool, connected=1)
    assert plan.live is not None
    found = said(replace(plan, live=replace(plan.live, status="TEMPORARY", charging_mode="0")))
    assert {rule: each.allow for rule, each in found.items()} == {
        "pool-state": "wait until the pool is STEADY and plan again",
        "prepaid": "unsubscribe the disk in the console, then plan again",
        "protected": "declare the disk, or take gone-0 out of this pool's protect list",
        "live-session": "wait until they have logged out, or allow_live_sessions: true in this pool's entry",
    }


def test_a_tie_says_how_many_of_how_many_go() -> None:
    three = (*TWINS, Disk("twin-3", "SSD", 100))
    finding = said(drafted(disks=three))["tie"]
    assert (finding.measured, finding.limit) == (3, 2)
    assert "2 of 3 equally good disks must go" in finding.message


def test_a_tie_that_must_hit_protected_disks_says_what_would_spare_them() -> None:
    plan = drafted(replace(desired(), protect=("twin-1", "twin-2")), TWINS)
    found = [each for each in pool_checks(plan) if each.rule == "protected"]
    assert [(each.severity, each.allow) for each in found] == [
        (Severity.BLOCK, "declare the disks, or take some of twin-1, twin-2 out of this pool's protect list")
    ]


def test_a_removal_beside_a_replacement_only_shown_says_what_would_allow_it() -> None:
    pool = replace(desired(), disks=entries(10, replace=True), allow_empty=True)
    assert said(drafted(pool, (SMALL, LARGE)))["rests-on-unmanaged"].allow == (
        "let this pool manage add as well, or declare every disk that is to stay"
    )


def test_a_disk_as_large_as_the_one_into_which_another_only_grows_does_not_go_either() -> None:
    tied = drafted(replace(desired(), disks=entries(100)), TWINS)
    (change, *_) = drafted(replace(desired(), disks=entries(100)), (LARGE,)).changes
    assert change.action is Action.EXPAND
    assert "rests-on-unmanaged" in said(replace(tied, changes=(change,)))


def test_sessions_that_are_allowed_are_counted_all_the_same() -> None:
    (passed,) = (
        each
        for each in pool_checks(drafted(replace(desired(), allow_live_sessions=True), connected=1))
        if each.rule == "live-session"
    )
    assert (passed.severity, passed.message, passed.measured) == (Severity.PASS, "1 connected users", 1)


def test_a_pool_that_was_not_found_has_no_disks_to_count() -> None:
    messages = [each.message for each in pool_checks(PoolPlan(desired()))]
    assert "0 of 0 disks stay" in messages


def test_the_share_of_a_pool_is_that_of_the_pool_that_loses_most_of_its_disks() -> None:
    many = tuple(Disk(f"kept-{number}", "SSD", 100 + number) for number in range(7))
    large = replace(desired("large"), disks=tuple(entry("SSD", disk.size) for disk in many))
    plans = (drafted(large, (*many, *surplus(3))), drafted(desired("small"), (KEPT, *surplus(1))))
    found = {each.rule: each for each in run_checks(plans, only())}
    assert found["limit-share-of-pool"].message == "1 of 2 disks of small (50 %) would be destroyed; no limit"
    assert found["limit-share-of-run"].measured == 34  # 4 of 12


def test_a_run_without_pools_destroys_no_share_of_anything() -> None:
    found = {each.rule: each for each in run_checks([], only(share_of_pool=0))}
    assert found["limit-share-of-pool"].message == "0 of 0 disks (0 %) would be destroyed; the limit is 0 %"
    assert found["limit-share-of-pool"].measured == 0


def test_a_group_that_a_limit_on_people_cannot_count_says_where_the_limit_is_and_what_would_do() -> None:
    desktop = Desktop("1", "one", groups=("staff",), copies=copies_of(surplus(1), 1))
    planned = draft(pool(name="p", allow_empty=True), Pool("pool", "p", surplus(1)), [desktop])
    (found,) = (each for each in run_checks([planned], only(users=9)) if each.rule == "limit-users")
    assert (found.source, found.allow) == (
        "limits.yaml:3:9",
        "attach the people by name, or take limits.users out",
    )
