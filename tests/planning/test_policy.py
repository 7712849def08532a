"""A policy blocks what it forbids, names its place, and lets nothing be looser than it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model import (
    Action,
    ApplyTo,
    ApprovalRule,
    DesiredPool,
    Disk,
    Limit,
    Limits,
    Notice,
    OnTie,
    Placed,
    Policy,
    Pool,
    Position,
    Window,
)
from reconciler.planning.change import Heard, Told
from reconciler.planning.draft import draft
from reconciler.planning.drift import Permission
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.plan import Plan, PoolPlan, Service
from reconciler.planning.plan_file import document, read
from reconciler.planning.policy import WINDOW, acting, judge_pool, pool_checks, run_checks, unattended, within
from reconciler.planning.stale_plan import explain
from reconciler.values import replace
from tests.builders import NO_LIMITS, TARGET, entry, pool

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)  # a Tuesday
AT = Position("policy.yaml", 4, 9)
KEPT, GONE, OTHER = Disk("kept", "SSD", 100), Disk("gone", "SAS", 10), Disk("other", "SAS", 10)
SIGNED = ApprovalRule(2, "allowed_signers", None, AT)


def under(**more: object) -> Policy:
    return replace(Policy("policy.yaml", "1" * 64), **more)  # type: ignore[arg-type]


def placed(*words: str) -> tuple[Placed, ...]:
    return tuple(Placed(word, AT) for word in words)


def planned(desired: DesiredPool | None = None, disks: Sequence[Disk] = (KEPT, GONE)) -> PoolPlan:
    """A pool that loses a disk, unless it is given otherwise."""
    declared = desired or pool(entry("SSD", 100), name="finance-eu", apply_to=ApplyTo.ALL)
    return draft(declared, Pool("pool-1", declared.name, tuple(disks), desktop_count=0), ())


def plan(*pools: PoolPlan, policy: Policy | None = None) -> Plan:
    return Plan(
        id="plan-1",
        services=(Service(TARGET, "workspace.example.com"),),
        pools=pools,
        limits=Limits(),
        created=NOON,
        expires=NOON + timedelta(hours=1),
        tool_version="1.0",
        policy=policy,
    )


def blocking(findings: Sequence[Finding]) -> list[str]:
    return [each.rule for each in findings if each.severity is Severity.BLOCK]


# --- one pool ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", ["finance-*", "FINANCE-EU", "pool-1", "finance-eu"], ids=["pattern", "case", "id", "name"]
)
def test_a_protected_pool_loses_no_disk(words: str) -> None:
    found = judge_pool(planned(), under(protect_pools=placed(words)))
    assert found.blocked is (words != "FINANCE-EU")  # names are compared as they are written
    for each in found.findings:
        assert (each.rule, each.measured, each.limit, each.source) == (
            "policy-protect",
            1,
            0,
            "policy.yaml:4:9",
        )
        assert each.allow.endswith("out of protect.pools in policy.yaml")


def test_a_pool_is_protected_by_its_live_name_as_by_its_declared_one() -> None:
    named = draft(pool(entry("SSD", 100), id="pool-1"), Pool("pool-1", "finance-eu", (KEPT, GONE)), ())
    assert judge_pool(named, under(protect_pools=placed("finance-*"))).blocked


def test_a_protected_disk_is_never_removed_and_a_tie_hides_none() -> None:
    rule = under(protect_disks=placed("gone"))
    assert blocking(judge_pool(planned(), rule).findings) == ["policy-protect"]
    tied = planned(pool(entry("SAS", 10), name="finance-eu"), (GONE, OTHER))
    assert tied.ties
    assert "policy-protect" in blocking(judge_pool(tied, rule).findings)
    assert not judge_pool(planned(), under(protect_disks=placed("kept"))).findings


@pytest.mark.parametrize(
    ("grant", "given"),
    [
        ("allow_empty", {"allow_empty": True}),
        ("allow_live_sessions", {"allow_live_sessions": True}),
        ("on_tie", {"on_tie": OnTie.REMOVE_OLDEST}),
        ("replace", {"disks": (entry("SSD", 100, replacing=True),)}),
    ],
)
def test_a_forbidden_permission_blocks_the_pool_that_has_it(grant: str, given: dict[str, object]) -> None:
    plain = pool(entry("SSD", 100), name="finance-eu")
    has_it = planned(replace(plain, **given))  # type: ignore[arg-type]
    [found] = judge_pool(has_it, under(forbid=placed(grant))).findings
    assert (found.rule, found.severity, found.source) == ("policy-forbid", Severity.BLOCK, "policy.yaml:4:9")
    assert f"the entry at pools.yaml:5:3 has {grant}," in found.message
    assert grant in found.allow
    others = {"allow_empty", "allow_live_sessions", "on_tie", "replace", "remediation", "retry"} - {grant}
    assert judge_pool(has_it, under(forbid=placed(*others))) == has_it
    assert judge_pool(planned(plain), under(forbid=placed(grant))) == planned(plain)


def told(plan: PoolPlan, hours: float | None, heard: Heard = Heard.ACCEPTED) -> PoolPlan:
    """The same plan, its people told so many hours ago."""
    message = Told(Notice.MARKED, heard, NOON, NOON, "HTTP 403" if heard is Heard.REFUSED else "")
    since = None if hours is None else timedelta(hours=hours)
    changes = (
        replace(each, told=(message,), heard_for=since) if each.destroys else each for each in plan.changes
    )
    return replace(plan, desired=replace(plan.desired, announce="x"), changes=tuple(changes))


@pytest.mark.parametrize(
    ("plan", "why", "way"),
    [
        (
            planned(),
            "nobody is notified, as the entry has no announce",
            "write announce: {text: …} and a grace",
        ),
        (told(planned(), None, Heard.UNKNOWN), "it is not known whether the message of", "marks clear"),
        (told(planned(), None, Heard.REFUSED), "was not accepted (HTTP 403)", "remove the cause, then"),
        (told(planned(), 71.5), "they have known for too short a time", "wait for another 0 h 30 min"),
        (told(planned(), 72), "", ""),
    ],
    ids=["no text", "unknown", "refused", "too late", "in time"],
)
def test_nothing_goes_before_its_people_have_known_for_as_long_as_the_policy_demands(
    plan: PoolPlan, why: str, way: str
) -> None:
    rule = under(require=placed("announce: 3d"), announce=timedelta(days=3))
    found = judge_pool(plan, rule).findings
    assert blocking(found) == (["policy-require"] if why else [])
    for each in found:
        assert why in each.message
        assert way in each.allow
        assert each.source == "policy.yaml:4:9"


def test_a_mark_is_to_be_cleared_only_where_there_can_be_one() -> None:
    rule = under(require=placed("announce: true"), announce=timedelta(0))
    [quiet] = judge_pool(planned(), rule).findings
    [marked] = judge_pool(replace(planned(), grace=timedelta(days=3)), rule).findings
    assert "marks clear" not in quiet.allow
    assert "marks clear finance-eu/" in marked.allow


def test_true_demands_that_the_message_was_accepted_and_no_more() -> None:
    rule = under(require=placed("announce: true"), announce=timedelta(0))
    assert blocking(judge_pool(told(planned(), 0), rule).findings) == []
    assert blocking(judge_pool(told(planned(), None), rule).findings) == ["policy-require"]


def test_what_this_version_cannot_fulfil_blocks_every_removal_and_nothing_else() -> None:
    rule = under(require=placed("sermon: 3d", "backup: 24h"))
    found = judge_pool(planned(), rule).findings
    assert blocking(found) == ["policy-require"]  # backups have a guard of their own
    assert "demands sermon: 3d before a removal, and this version cannot fulfil it" in found[0].message
    grows = pool(entry("SSD", 200), name="finance-eu", manage=frozenset({Action.EXPAND}))
    assert judge_pool(planned(grows, (KEPT,)), rule) == planned(grows, (KEPT,))


def test_a_pool_without_changes_needs_no_judging() -> None:
    calm = planned(disks=(KEPT,))
    assert judge_pool(calm, under(protect_pools=placed("*"), require=placed("grace: 3d"))) == calm


def test_every_rule_of_a_policy_says_what_it_found_also_when_it_has_nothing_against_it() -> None:
    assert [(each.rule, each.severity) for each in pool_checks(planned(), under())] == [
        (rule, Severity.PASS) for rule in ("policy-protect", "policy-forbid", "policy-require")
    ]


# --- the run ----------------------------------------------------------------------------------------


def test_a_target_that_is_not_listed_refuses_the_run() -> None:
    [passed] = run_checks([planned()], under(targets=placed(str(TARGET))), NOON)
    assert passed.severity is Severity.PASS
    [found] = run_checks([planned()], under(targets=placed("eu-west-0/" + "f" * 32)), NOON)
    assert (found.rule, found.severity, found.source) == ("policy-target", Severity.BLOCK, "policy.yaml:4:9")
    assert str(TARGET) in found.message
    assert list(run_checks([planned()], under(), NOON)) == []


@pytest.mark.parametrize("name", dict(Limits().items()))
def test_the_lower_of_limit_and_ceiling_holds_with_its_own_place(name: str) -> None:
    def limits(value: int | None, source: str, ceiling: bool = False) -> Limits:
        return replace(NO_LIMITS, **{name: Limit(value, source, ceiling)})

    rule = under(ceilings=limits(7, "policy.yaml:2:3", ceiling=True))
    for value, stays in ((6, True), (7, True), (8, False), (None, False)):
        own = limits(value, "--limit")
        assert within(own, rule) == (own if stays else rule.ceilings)
    assert within(own, under()) == own
    assert within(own, None) == own


def window(days: str) -> Policy:
    return under(windows=(Window((days,), "11:00", "13:00", "UTC", AT),))


def test_outside_the_windows_a_plan_only_warns_and_an_apply_is_blocked() -> None:
    made = plan(planned(), policy=window("wed"))
    [warning] = run_checks(made.pools, window("wed"), NOON)
    assert (warning.rule, warning.severity, warning.source) == (WINDOW, Severity.WARN, "policy.yaml:4:9")
    assert "wed 11:00 to 13:00 UTC" in warning.message
    warned = replace(made, findings=(warning,))
    assert not warned.run_blocked
    blocked = acting(warned, NOON)
    assert blocking(blocked.findings) == [WINDOW]
    assert acting(blocked, NOON + timedelta(days=1)).findings == ()
    # What was reviewed at any time can be applied in a window: the window is no part of the decision.
    assert acting(warned, NOON + timedelta(days=1)).digest == warned.digest
    assert blocked.approved_by(warned.digest)


def test_inside_a_window_or_with_nothing_to_do_no_window_is_in_the_way() -> None:
    assert not acting(plan(planned(), policy=window("tue")), NOON).findings
    assert not acting(plan(planned(disks=(KEPT,)), policy=window("wed")), NOON).findings
    assert not acting(plan(planned()), NOON).findings


# --- without a person -------------------------------------------------------------------------------


def test_where_remediation_is_forbidden_nothing_is_corrected() -> None:
    left = unattended(Permission((planned(),)), under(forbid=placed("remediation")), NOON)
    assert (left.pools, blocking(left.refused)) == ((), ["policy-forbid"])
    untouched = Permission()
    assert unattended(untouched, under(forbid=placed("remediation")), NOON) == untouched


def test_where_people_must_sign_a_remediation_removes_nothing_and_expands_all_the_same() -> None:
    grows = planned(pool(entry("SSD", 200), name="b", manage=frozenset({Action.EXPAND})), (KEPT,))
    left = unattended(Permission((planned(), grows)), under(approvals=SIGNED), NOON)
    assert left.pools == (grows,)
    [found] = left.refused
    assert (found.rule, found.pool, found.measured, found.limit) == ("policy-approvals", "finance-eu", 0, 2)


def test_outside_the_windows_nothing_is_corrected() -> None:
    left = unattended(Permission((planned(),)), window("wed"), NOON)
    assert (left.pools, [each.rule for each in left.refused]) == ((), [WINDOW])
    assert unattended(Permission((planned(),)), window("tue"), NOON).pools


# --- in a plan --------------------------------------------------------------------------------------


def test_a_saved_plan_keeps_its_policy_and_says_when_another_holds() -> None:
    full = under(
        targets=placed(str(TARGET)),
        forbid=placed("replace"),
        require=placed("grace: 3d"),
        windows=window("wed").windows,
        approvals=replace(SIGNED, max_age=timedelta(hours=24)),
        protect_pools=placed("a*"),
        protect_disks=placed("d"),
    )
    made = plan(planned(), policy=full)
    assert read(document(made), "plan") == made
    assert explain(made, made) == ()
    without = replace(made, policy=None)
    assert explain(made, without) == (f"the policy {'1' * 64} → none",)
    assert explain(without, made) == (f"the policy none → {'1' * 64}",)
    assert explain(made, replace(made, policy=replace(full, digest="2" * 64)))
