"""A plan says what would change and what that destroys; its digest holds what a reviewer approves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations

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
    LostCopy,
    OnTie,
    Policy,
    Pool,
    Position,
    Target,
)
from reconciler.planning.change import Rule
from reconciler.planning.draft import draft, needs_desktops
from reconciler.planning.drift import decided
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.guards import judge_pool
from reconciler.planning.plan import (
    Candidate,
    Loss,
    Plan,
    PoolPlan,
    Service,
    TargetFailure,
    decision,
    digest_of,
    totals,
)
from reconciler.planning.stale_plan import explain
from reconciler.values import replace
from tests.builders import TARGET, copies_of, entry, pool
from tests.planning.random_pools import random_case, shuffled

MADE = datetime(2026, 3, 14, 9, 26, tzinfo=UTC)
EVERYTHING = frozenset({Action.REMOVE, Action.EXPAND, Action.ADD})
A, B, C = Disk("a", "SSD", 100), Disk("b", "SAS", 50), Disk("c", "SAS", 70)


def declared(*disks: DesiredDisk, apply_to: ApplyTo | None = ApplyTo.ALL) -> DesiredPool:
    return pool(*disks, name="finance", apply_to=apply_to)


def managed(*disks: DesiredDisk) -> DesiredPool:
    return replace(declared(*disks), manage=EVERYTHING)


def live(*disks: Disk) -> Pool:
    return Pool("pool-1", "finance", disks)


def desktop(number: int, *disks: Disk, users: tuple[str, ...] = (), connected: bool = False) -> Desktop:
    copies = copies_of(disks, number)
    return Desktop(f"desktop-{number}", f"D{number}", users, connected, copies)


def plan_of(*pools: PoolPlan, limits: Limits | None = None, service: str = "workspace.example.com") -> Plan:
    return Plan(
        id="plan-1",
        services=tuple(Service(each, service) for each in sorted({pool.target for pool in pools})),
        pools=pools,
        limits=limits or Limits(),
        created=MADE,
        expires=MADE + timedelta(hours=1),
        tool_version="1.0",
    )


def actions(pool: PoolPlan) -> list[tuple[str, bool]]:
    return [(change.action.value, change.carried_out) for change in pool.changes]


def severities(pool: PoolPlan) -> dict[str, Severity]:
    return {finding.rule: finding.severity for finding in pool.findings}


# --- what would change ------------------------------------------------------------------------------


def test_only_removal_is_carried_out_unless_the_pool_manages_more() -> None:
    wanted = (entry("SSD", 200), entry("GPSSD", 10))
    assert actions(draft(declared(*wanted), live(A))) == [("expand", False), ("add", False)]
    assert actions(draft(managed(*wanted), live(A))) == [("expand", True), ("add", True)]


@pytest.mark.parametrize(
    ("manage", "carried_out"),
    [
        (frozenset({Action.REMOVE}), False),
        (frozenset({Action.ADD}), False),
        (frozenset({Action.REMOVE, Action.ADD}), True),
    ],
)
def test_a_replacement_needs_both_removal_and_adding_managed(
    manage: frozenset[Action], carried_out: bool
) -> None:
    pool = replace(declared(entry("SAS", 10, replacing=True)), manage=manage)
    assert actions(draft(pool, live(B))) == [("replace", carried_out)]


def test_a_difference_that_is_only_shown_destroys_nothing() -> None:
    pool = replace(declared(), manage=frozenset({Action.ADD}))
    plan = draft(pool, live(B), [desktop(1, B, users=("ann",), connected=True)])
    assert plan.removed == ()
    assert plan.loss.disks == plan.loss.copies == plan.loss.live_sessions == 0
    assert [change.action for change in plan.drift] == [Action.REMOVE]


def test_desktops_that_are_set_apart_are_counted_where_they_lose_a_copy() -> None:
    hit, spared = (
        replace(desktop(number, disk), in_maintenance_mode=True, isolated=True, frozen=True)
        for number, disk in ((1, B), (2, A))
    )
    loss = draft(declared(entry("SSD", 100)), live(A, B), [hit, spared, desktop(3, A, B)]).loss
    assert (loss.desktops, loss.maintained, loss.isolated, loss.frozen) == (2, 1, 1, 1)


def test_a_removal_counts_as_destroyed() -> None:
    plan = plan_of(draft(declared(entry("SSD", 100)), live(A, B)))
    assert (plan.totals.add, plan.totals.change, plan.totals.destroy) == (0, 0, 1)


def test_a_replacement_counts_as_destroyed_and_added() -> None:
    plan = plan_of(draft(managed(entry("SAS", 10, replacing=True), entry("SSD", 200)), live(A, B)))
    assert (plan.totals.add, plan.totals.change, plan.totals.destroy) == (1, 1, 1)


def test_performance_that_differs_is_drift_and_no_change() -> None:
    wanted = replace(entry("SSD", 100), iops=5000)
    pool = draft(declared(wanted), live(A))
    assert [change.differs for change in pool.drift] == [("iops",)]
    assert pool.pending == ()


# --- what matching found ----------------------------------------------------------------------------


def test_a_problem_of_the_matching_blocks_the_pool_and_says_where() -> None:
    pool = draft(declared(entry("SAS", 10, 12)), live(B))
    (finding,) = pool.findings
    assert (finding.rule, finding.severity) == ("replace-not-allowed", Severity.BLOCK)
    assert (finding.pool, finding.source) == ("finance", "pools.yaml:12:7")
    assert pool.blocked


@pytest.mark.parametrize(
    ("wanted", "disks", "rule"),
    [
        ((entry("SAS", 50, pin="gone"),), (B,), "pin-not-live"),
        ((entry("SAS", 40, pin="b"),), (B,), "pin-mismatch"),
        ((), (Disk("", "SAS", 50),), "disk-without-id"),
        ((), (B, B), "disk-id-repeated"),
        ((), (Disk("b", "SAS", -1),), "disk-size-absurd"),
    ],
)
def test_what_cannot_be_trusted_or_matched_blocks(
    wanted: tuple[DesiredDisk, ...], disks: tuple[Disk, ...], rule: str
) -> None:
    assert severities(draft(declared(*wanted), live(*disks)))[rule] is Severity.BLOCK


def test_a_left_over_permission_to_replace_only_warns() -> None:
    pool = draft(managed(entry("SAS", 50, replacing=True)), live())
    assert severities(pool) == {"replace-without-counterpart": Severity.WARN}
    assert actions(pool) == [("add", True)]
    assert not pool.blocked


def test_an_interrupted_replacement_goes_on_adding() -> None:
    pool = managed(entry("SSD", 100), entry("SAS", 10, replacing=True))
    before = draft(pool, live(A, B))
    assert (before.removed, before.blocked) == ((B,), False)
    after_the_removal = draft(pool, live(A))
    assert actions(after_the_removal) == [("keep", False), ("add", True)]
    assert not after_the_removal.blocked


def test_a_left_over_permission_beside_another_removal_blocks() -> None:
    pool = draft(managed(entry("SAS", 10, replacing=True), entry("SAS", 20, 10, replacing=True)), live(B))
    assert severities(pool) == {"replace-without-counterpart": Severity.BLOCK}


def test_a_left_over_permission_beside_a_removal_that_is_only_shown_warns() -> None:
    wanted = declared(entry("SAS", 10, replacing=True), entry("SAS", 20, 10, replacing=True))
    assert severities(draft(wanted, live(B))) == {"replace-without-counterpart": Severity.WARN}


@pytest.mark.parametrize("size", [50, 60])
def test_a_permission_beside_a_disk_that_is_kept_or_grown_is_no_finding(size: int) -> None:
    assert draft(managed(entry("SAS", size, replacing=True)), live(B)).findings == ()


@pytest.mark.parametrize(("count", "doubted"), [(10, False), (11, True), (3_000, True)])
def test_a_pool_with_more_disks_than_the_service_allows_is_doubted_and_keeps_them_all(
    count: int, doubted: bool
) -> None:
    many = live(*(Disk(f"d{number}", "SAS", 10 + 10 * number) for number in range(count)))
    pool = judge_pool(draft(managed(entry("SAS", 50), entry("SSD", 10)), many, [desktop(1, *many.disks)]))
    assert ("doubtful-reading" in severities(pool)) is doubted
    assert bool(pool.removed) is not doubted
    if doubted:
        (finding,) = pool.findings
        assert f"{count} disks, the service allows 10" in finding.message
        assert [(each.action, each.rule, each.live) for each in pool.changes] == [
            (Action.KEEP, Rule.SET_ASIDE, disk) for disk in many.disks
        ]
        assert not decided(pool)


def test_a_reading_doubted_already_is_not_doubted_once_more_for_its_number() -> None:
    many = Pool("p", "finance", tuple(Disk(f"d{number}", "SAS", 10) for number in range(11)), doubts=("x",))
    assert [each.rule for each in judge_pool(draft(declared(), many)).findings] == ["doubtful-reading"]


def test_a_disk_set_aside_that_the_reading_doubts_already_is_one_finding() -> None:
    nameless = replace(live(Disk("", "SAS", 50)), doubts=("a disk (SAS, 50 GB) has no id",))
    assert [each.rule for each in judge_pool(draft(declared(), nameless)).findings] == ["doubtful-reading"]


# --- what it destroys -------------------------------------------------------------------------------

PEOPLE = [
    desktop(1, A, B, C, users=("ann", "zoe"), connected=True),
    desktop(2, A, B, users=("bob",)),
    desktop(3, A, users=("chen",), connected=True),
]


@pytest.mark.parametrize("apply_to", [ApplyTo.ALL, ApplyTo.IDLE, None])
def test_the_loss_counts_every_copy_of_every_desktop_reached(apply_to: ApplyTo | None) -> None:
    pool = draft(declared(entry("SSD", 100), apply_to=apply_to), live(A, B, C), PEOPLE)
    loss = pool.loss
    assert (loss.disks, loss.copies, loss.desktops, loss.gigabytes) == (2, 3, 2, 170)
    assert (loss.users, loss.live_sessions) == (("ann", "bob", "zoe"), 1)
    losses = [(each.disk_id, each.copies, each.gigabytes) for each in pool.disk_losses]
    assert losses == [("b", 2, 100), ("c", 1, 70)]


@pytest.mark.parametrize(
    ("apply_to", "upper_bound"), [(ApplyTo.ALL, False), (ApplyTo.IDLE, True), (None, True)]
)
def test_where_the_service_decides_the_loss_is_told_as_the_worst_case(
    apply_to: ApplyTo | None, upper_bound: bool
) -> None:
    pool = draft(declared(entry("SSD", 100), apply_to=apply_to), live(A, B), PEOPLE)
    assert pool.loss.upper_bound is upper_bound


def test_a_change_for_new_desktops_only_destroys_no_copy_that_exists() -> None:
    loss = draft(declared(entry("SSD", 100), apply_to=ApplyTo.NEW), live(A, B), PEOPLE).loss
    assert (loss.disks, loss.copies, loss.desktops, loss.users, loss.live_sessions) == (1, 0, 0, (), 0)
    assert not loss.upper_bound


def test_a_copy_without_a_link_counts_for_each_removed_disk_of_its_type() -> None:
    unlinked = Desktop(
        "desktop-9", "D9", ("eve",), copies=(Copy("", "v", "SAS", 50), Copy("", "w", "SSD", 5))
    )
    loss = draft(declared(entry("SSD", 100)), live(A, B, C), [unlinked]).loss
    assert (loss.copies, loss.gigabytes, loss.users) == (2, 100, ("eve",))


def test_the_gigabytes_are_those_of_the_copies() -> None:
    grown = replace(desktop(1, B), copies=(Copy("b", "v", "SAS", 80),))
    assert draft(declared(), live(B), [grown]).loss.gigabytes == 80


def test_a_person_with_two_desktops_is_one_person() -> None:
    twice = [desktop(1, B, users=("ann",)), desktop(2, B, users=("ann",))]
    pools = [draft(declared(), live(B), twice), draft(declared(), live(B), twice)]
    assert totals(pools).users == 1
    elsewhere = replace(declared(), target=Target("eu-west-101", "f" * 32))
    assert totals([*pools, draft(elsewhere, live(B), twice)]).users == 2


def test_totals_add_up_over_pools() -> None:
    pool = draft(declared(entry("SSD", 100)), live(A, B, C), PEOPLE)
    found = totals([pool, pool, draft(declared(entry("SSD", 100)), live(A), PEOPLE)])
    assert (found.pools, found.destroy, found.copies, found.gigabytes) == (2, 4, 6, 340)
    assert (found.desktops, found.live_sessions, found.users) == (4, 2, 3)


def test_what_is_blocked_is_counted_apart() -> None:
    going = draft(declared(entry("SSD", 100)), live(A, B, C), PEOPLE)
    blocked = replace(going, findings=(Finding("pool-state", "x"),))
    tied = replace(draft(declared(entry("SAS", 50)), live(*TWINS)), findings=(Finding("tie", "x"),))
    plan = plan_of(going, blocked, replace(blocked, loss=Loss(disks=2, copies=1)), tied)
    assert plan.totals == totals([going])
    assert (plan.totals.destroy, plan.totals.copies, plan.totals.undecided) == (2, 3, 0)
    held = plan.blocked_totals
    assert (held.destroy, held.pools, held.copies, held.undecided) == (4, 2, 4, 1)


def test_a_tie_where_removal_is_only_shown_leaves_nothing_undecided() -> None:
    shown = replace(declared(entry("SAS", 50)), manage=frozenset({Action.ADD}))
    assert totals([draft(shown, live(*TWINS))]).undecided == 0


@pytest.mark.parametrize(
    ("wanted", "disks", "needed"),
    [
        ((entry("SSD", 100),), (A,), False),
        ((entry("SSD", 200), entry("SAS", 10)), (A,), False),
        ((), (A,), True),
        ((entry("SAS", 50),), (B, Disk("b2", "SAS", 50)), True),
    ],
    ids=["no change", "only grows", "loses one", "tie"],
)
def test_desktops_are_read_only_where_a_disk_goes_or_could(
    wanted: tuple[DesiredDisk, ...], disks: tuple[Disk, ...], needed: bool
) -> None:
    assert needs_desktops(draft(declared(*wanted), live(*disks))) is needed


# --- ages -------------------------------------------------------------------------------------------


def dated(number: int, **created: datetime | None) -> Desktop:
    copies = tuple(Copy(name, f"v-{number}-{name}", "SAS", 50, when) for name, when in created.items())
    return Desktop(f"desktop-{number}", f"D{number}", copies=copies)


TWINS = (Disk("x", "SAS", 50), Disk("y", "SAS", 50))
DAY = timedelta(days=1)


def twins_by_age(*desktops: Desktop) -> PoolPlan:
    pool = replace(declared(entry("SAS", 50)), on_tie=OnTie.REMOVE_OLDEST)
    return draft(pool, live(*TWINS), desktops)


def test_a_disk_is_as_old_as_its_oldest_copy() -> None:
    pool = twins_by_age(dated(1, x=MADE, y=MADE + DAY), dated(2, x=MADE + 3 * DAY, y=MADE - DAY))
    assert [disk.id for disk in pool.removed] == ["y"]


def test_a_disk_with_a_copy_of_unknown_age_decides_no_tie() -> None:
    pool = twins_by_age(dated(1, x=MADE, y=MADE + DAY), dated(2, x=MADE, y=None))
    assert pool.removed == ()
    assert len(pool.ties) == 1


def test_a_tie_tells_what_is_known_of_each_candidate() -> None:
    pool = twins_by_age(
        replace(dated(1, x=MADE, y=MADE), users=("bob", "ann")),
        replace(dated(2, x=MADE - DAY), users=("bob",)),
    )
    assert pool.candidates == ()  # on_tie decides, so there is no tie

    undecided = draft(
        declared(entry("SAS", 50)), live(*TWINS), (dated(1, x=MADE, y=None), dated(2, x=MADE - DAY))
    )
    assert undecided.candidates == (Candidate("x", 2, 2, (), MADE - DAY), Candidate("y", 1, 1, (), None))
    users = (
        replace(dated(1, x=MADE, y=MADE), users=("bob", "ann")),
        replace(dated(2, x=MADE), users=("bob",)),
    )
    assert [each.users for each in draft(declared(entry("SAS", 50)), live(*TWINS), users).candidates] == [
        ("ann", "bob"),
        ("ann", "bob"),
    ]


# --- the digest -------------------------------------------------------------------------------------

BASE = declared(entry("SSD", 100), apply_to=ApplyTo.ALL)


def base(desired: DesiredPool = BASE, pool: Pool | None = None, desktops: Sequence[Desktop] = PEOPLE) -> Plan:
    return plan_of(draft(desired, pool or live(A, B), desktops))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(
            lambda: base(replace(BASE, target=Target("eu-west-101", TARGET.project_id))), id="region"
        ),
        pytest.param(lambda: base(replace(BASE, target=Target(TARGET.region, "f" * 32))), id="project"),
        pytest.param(
            lambda: replace(base(), services=(Service(TARGET, "staging.example.com"),)), id="endpoint"
        ),
        pytest.param(lambda: base(pool=replace(live(A, B), id="pool-2")), id="pool id"),
        pytest.param(lambda: base(pool=replace(live(A, B), name="finance-2")), id="pool name"),
        pytest.param(lambda: base(pool=live(A, replace(B, id="b2"))), id="disk id"),
        pytest.param(lambda: base(pool=live(A, replace(B, type="GPSSD"))), id="disk type"),
        pytest.param(lambda: base(pool=live(A, replace(B, size=60))), id="disk size"),
        pytest.param(lambda: base(pool=live(A, B, C)), id="one more disk"),
        pytest.param(lambda: base(pool=live(replace(A, size=90), B)), id="size of a disk that stays"),
        pytest.param(lambda: base(replace(BASE, disks=(entry("SSD", 110),))), id="declared size"),
        pytest.param(lambda: base(replace(BASE, apply_to=ApplyTo.NEW)), id="apply_to"),
        pytest.param(lambda: base(replace(BASE, apply_to=None)), id="apply_to left out"),
        pytest.param(lambda: base(replace(BASE, manage=frozenset())), id="carried out"),
        *(
            pytest.param(
                lambda name=name: replace(base(), limits=replace(Limits(), **{name: Limit(7)})),
                id=f"limit {name}",
            )
            for name, _ in Limits().items()
        ),
        pytest.param(lambda: replace(base(), limits=replace(Limits(), copies=Limit(None))), id="no limit"),
        pytest.param(lambda: replace(base(), findings=(Finding("x", "y"),)), id="a blocked run"),
        pytest.param(lambda: replace(base(), policy=Policy("policy.yaml", "1" * 64)), id="a policy"),
        pytest.param(lambda: found("protected"), id="a blocked pool"),
        pytest.param(lambda: found("live-session"), id="a pool blocked for now"),
        pytest.param(lambda: base(replace(BASE, protect=("z",))), id="protected disks"),
        pytest.param(lambda: base(replace(BASE, allow_live_sessions=True)), id="a permission"),
        pytest.param(lambda: base(replace(BASE, target=replace(TARGET, profile="other"))), id="profile"),
        pytest.param(
            lambda: plan_of(*base().pools, PoolPlan(replace(BASE, name="elsewhere"))), id="a pool not found"
        ),
    ],
)
def test_the_digest_changes_with_what_is_approved(other: Callable[[], Plan]) -> None:
    assert other().digest != base().digest


def test_another_policy_makes_another_digest_and_its_path_does_not() -> None:
    under = [
        replace(base(), policy=Policy(file, digest)) for file, digest in (("a", "1"), ("b", "1"), ("a", "2"))
    ]
    assert under[0].digest == under[1].digest != under[2].digest


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda: replace(base(), id="plan-2"), id="plan id"),
        pytest.param(lambda: replace(base(), created=MADE + DAY, expires=MADE + 2 * DAY), id="times"),
        pytest.param(lambda: replace(base(), tool_version="2.0"), id="tool version"),
        pytest.param(lambda: replace(base(), sources=(("pools.yaml", "ab" * 32),)), id="manifest bytes"),
        pytest.param(
            lambda: replace(base(), limits=replace(Limits(), disks=Limit(10, "--x"))), id="limit's place"
        ),
        pytest.param(lambda: replace(base(), findings=(Finding("x", "y", Severity.WARN),)), id="warnings"),
        pytest.param(lambda: replace(base(), failures=(TargetFailure(TARGET, "x"),)), id="failures"),
        pytest.param(lambda: base(desktops=PEOPLE[:1]), id="copies, users and sessions"),
        pytest.param(lambda: base(replace(BASE, at=Position("x.yaml", 1, 1))), id="place in the manifest"),
        pytest.param(lambda: base(replace(BASE, disks=(entry("SSD", 100, 99),))), id="place of an entry"),
        pytest.param(lambda: base(pool=replace(live(A, B), desktop_count=9)), id="number of desktops"),
        pytest.param(
            lambda: replace(
                base(), pools=(*base().pools, draft(declared(entry("SAS", 50)), Pool("p2", "x", (B,))))
            ),
            id="a pool without a difference",
        ),
    ],
)
def test_the_digest_does_not_change_with_what_moves_by_the_minute(other: Callable[[], Plan]) -> None:
    assert other().digest == base().digest


def found(rule: str) -> Plan:
    """The plan with its pool blocked."""
    [pool] = base().pools
    return replace(base(), pools=(replace(pool, findings=(*pool.findings, Finding(rule, "x"))),))


@pytest.mark.parametrize(
    ("reviewed", "now", "holds"),
    [
        (base, lambda: found("live-session"), True),
        (lambda: found("live-session"), base, False),
        (lambda: found("pool-state"), base, False),
        (lambda: found("live-session"), lambda: found("live-session"), True),
        (base, lambda: found("unresolved-operation"), True),
        (lambda: found("unresolved-operation"), base, False),
        (lambda: found("pool-held"), lambda: found("pool-held"), True),
        (base, lambda: found("protected"), False),
        (lambda: found("protected"), base, False),
        (base, lambda: replace(base(), findings=(Finding("limit-copies", "x"),)), True),
        (lambda: replace(base(), findings=(Finding("limit-copies", "x"),)), base, False),
    ],
)
def test_a_pool_blocked_in_the_review_stays_out_and_one_blocked_since_leaves_the_others_in(
    reviewed: Callable[[], Plan], now: Callable[[], Plan], holds: bool
) -> None:
    assert now().approved_by(reviewed().digest) is holds
    assert bool(explain(reviewed(), now())) is not holds


def test_a_plan_of_another_target_never_has_the_same_digest() -> None:
    staging = replace(BASE, target=Target("ap-southeast-3", "f" * 32))
    assert base(staging).digest != base().digest


def test_a_target_without_a_difference_takes_no_part_in_the_decision() -> None:
    quiet = replace(declared(entry("SAS", 50)), target=Target("eu-west-101", "f" * 32))
    both = plan_of(*base().pools, draft(quiet, Pool("p2", "x", (B,))))
    assert [each["region"] for each in decision(both)["targets"]] == ["ap-southeast-3"]


def test_the_decision_names_every_disk_of_a_pool_that_changes() -> None:
    pools = decision(plan_of(draft(managed(entry("SSD", 200), entry("GPSSD", 10)), live(A, B))))["pools"]
    (told,) = pools.values()
    assert list(pools) == [f"{TARGET}/pool-1"]
    assert {name: each["action"] for name, each in told["disks"].items()} == {"a": "expand", "b": "replace"}
    assert told["disks"]["a"]["before"] == {"type": "SSD", "size": 100}
    assert told["disks"]["a"]["after"] == {"type": "SSD", "size": 200}


def test_a_tie_stands_in_the_decision_with_its_candidates() -> None:
    plan = plan_of(draft(declared(entry("SAS", 50)), live(*TWINS)))
    (told,) = decision(plan)["pools"].values()
    assert told["undecided"] == ["x", "y"]


def test_the_order_of_pools_does_not_change_the_digest() -> None:
    pools = [draft(declared(), replace(live(B), id=f"pool-{number}")) for number in range(3)]
    assert len({plan_of(*each).digest for each in permutations(pools)}) == 1


def test_the_order_of_disks_on_either_side_does_not_change_the_digest() -> None:
    for number in range(500):
        case = random_case(f"digest {number}")
        other = shuffled(number, case)
        one = plan_of(draft(replace(case.pool, manage=EVERYTHING), live(*case.live)))
        two = plan_of(draft(replace(other.pool, manage=EVERYTHING), live(*other.live)))
        assert one.digest == two.digest, number


def test_a_digest_is_sha256_over_sorted_json_without_spaces() -> None:
    # printf '{"a":[1,null],"b":"ü"}' | sha256sum
    expected = "99d384bcceb172977f6eaf4ef3a0327d9228fb58de31d042ba9c21853129253a"
    assert digest_of({"b": "ü", "a": [1, None]}) == expected


def test_a_digest_is_that_of_the_json_module_for_every_character() -> None:
    every = {chr(each): [chr(each) * 2, each, -each, True, {}] for each in [*range(0x3000), 0xD800, 0x1F600]}
    for some in (every, {key: every[key] for key in every if key != "\ud800"}):
        text = json.dumps(some, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert digest_of(some) == hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# --- blocked, quiet, sandbox ------------------------------------------------------------------------


def test_a_plan_is_blocked_by_the_run_or_by_any_pool() -> None:
    pool = draft(declared(entry("SAS", 10)), live(B))
    assert plan_of(pool).blocked
    assert not plan_of(pool).run_blocked
    assert replace(base(), findings=(Finding("x", "y"),)).run_blocked
    assert not replace(base(), findings=(Finding("x", "y", Severity.WARN),)).blocked


def test_a_blocked_pool_still_has_changes_to_show() -> None:
    pool = draft(replace(declared(entry("SAS", 10)), manage=EVERYTHING), live(B, C))
    assert pool.blocked
    assert plan_of(pool).has_changes
    assert {change.rule for change in pool.changes} == {Rule.SWAPPED, Rule.SURPLUS}


def test_a_converged_plan_has_no_changes() -> None:
    assert not plan_of(draft(declared(entry("SAS", 50)), live(B))).has_changes


def test_only_a_service_named_sandbox_is_one() -> None:
    assert not base().sandbox
    assert replace(base(), services=(Service(TARGET, "sandbox:default"),)).sandbox


def test_every_copy_that_goes_can_be_named_by_desktop_and_volume() -> None:
    going = Disk("gone", "SAS", 50)
    desktops = [
        Desktop(
            f"id-{name}", name, users=(name.lower(),), copies=(Copy("gone", f"volume-{name}", "SAS", 60),)
        )
        for name in ("ANN", "BOB")
    ]
    planned = draft(pool(name="p", allow_empty=True), Pool("pool", "p", (going,)), desktops)
    [loss] = planned.disk_losses
    assert loss.lost == (
        LostCopy("gone", "id-ANN", "ANN", "volume-ANN", 60, ("ann",)),
        LostCopy("gone", "id-BOB", "BOB", "volume-BOB", 60, ("bob",)),
    )
    assert (loss.copies, loss.gigabytes) == (2, 120)


def test_a_group_is_a_group_and_counts_as_at_least_those_who_are_named() -> None:
    going = Disk("gone", "SAS", 50)
    copies = (Copy("gone", "v", "SAS", 50),)
    desktops = [
        Desktop("1", "one", users=("ann",), copies=copies),
        Desktop("2", "two", groups=("staff",), user_list=("ann", "bob"), copies=copies),
    ]
    planned = draft(pool(name="p", allow_empty=True), Pool("pool", "p", (going,)), desktops)
    assert (planned.loss.users, planned.loss.groups) == (("ann", "bob"), ("staff",))
    assert (totals([planned]).users, totals([planned]).groups) == (2, 1)
