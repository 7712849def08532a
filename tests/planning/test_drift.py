"""Drift is what is live against what is declared; correcting it needs a window, room in the day, no past failure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import Action, Disk, DriftPolicy, Manifest, Position, Window
from reconciler.planning.drift import Past, allowed, keys_of, measure, narrow, opens, proven, removals_of
from reconciler.planning.finding import Finding
from reconciler.planning.plan import PoolPlan
from reconciler.values import replace
from tests import builders, sample_plans

AT = Position("drift.yaml", 4, 3)
ALWAYS = Window(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "00:00", "23:59", "UTC", AT)
NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)  # a Saturday


def policy(*correct: Action, disks_per_day: int = 5, windows: Sequence[Window] = (ALWAYS,)) -> DriftPolicy:
    return DriftPolicy(
        builders.TARGET, AT, frozenset(correct or {Action.REMOVE}), disks_per_day, tuple(windows)
    )


def window(days: str, start: str, end: str, zone: str = "UTC") -> Window:
    return Window(tuple(days.split()), start, end, zone, AT)


def surplus(name: str, number: int, manage: frozenset[Action] | None = None) -> PoolPlan:
    """A pool with one declared disk and ``number`` that nobody declared."""
    declared = sample_plans.pool(name, sample_plans.wanted("SSD", 100))
    if manage is not None:
        declared = replace(declared, manage=manage)
    extra = [Disk(f"{name}-{index}", "SAS", 50) for index in range(number)]
    return sample_plans.planned(declared, [Disk(f"{name}-kept", "SSD", 100), *extra], users=["ann", "bob"])


def rules(found: Sequence[Finding]) -> list[str]:
    return [each.rule for each in found]


# --- measuring ---------------------------------------------------------------------------------


def test_surplus_is_counted_in_disks_and_in_gb_over_all_desktops() -> None:
    (found,) = measure(sample_plans.whole(surplus("finance", 2)))
    assert (found.surplus, found.missing, found.differing, found.surplus_gb) == (2, 0, 0, 2 * 50 * 2)


def test_what_manage_leaves_out_is_drift_all_the_same() -> None:
    (managed,) = measure(sample_plans.whole(surplus("finance", 2)))
    (shown,) = measure(sample_plans.whole(surplus("finance", 2, manage=frozenset())))
    assert (shown.surplus, shown.surplus_gb) == (managed.surplus, managed.surplus_gb)


def test_a_missing_disk_and_a_small_one_are_told_apart() -> None:
    declared = sample_plans.pool("p", sample_plans.wanted("SSD", 100), sample_plans.wanted("SAS", 20))
    (found,) = measure(sample_plans.whole(sample_plans.planned(declared, [Disk("a", "SSD", 50)], ["ann"])))
    assert (found.surplus, found.missing, found.differing) == (0, 1, 1)


def test_of_tied_disks_as_many_count_as_must_go() -> None:
    declared = sample_plans.pool("p", sample_plans.wanted("SAS", 50))
    pool = sample_plans.planned(declared, [Disk("a", "SAS", 50), Disk("b", "SAS", 50)], ["ann"])
    assert pool.ties
    (found,) = measure(sample_plans.whole(pool))
    assert (found.surplus, found.surplus_gb) == (1, 50)


def test_a_doubtful_reading_is_not_measured_and_never_corrected() -> None:
    pool = surplus("finance", 2)
    assert pool.live
    doubtful = replace(pool, live=replace(pool.live, doubts=("a disk is listed twice",)))
    assert measure(sample_plans.whole(doubtful)) == ()
    assert allowed([doubtful], policy(), NOON, Past()).pools == ()


def test_what_is_proven_done_is_no_drift_any_more_and_what_is_only_shown_stays() -> None:
    declared = sample_plans.pool("p", sample_plans.wanted("SSD", 100))
    pool = sample_plans.planned(declared, [Disk("a", "SSD", 50), Disk("b", "SAS", 50)], ["ann"])
    (found,) = measure(sample_plans.whole(pool))
    assert (found.surplus, found.differing) == (1, 1)
    assert (proven(found).surplus, proven(found).differing) == (0, 1)


# --- windows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-03-14T21:59:59+00:00", False),
        ("2026-03-14T22:00:00+00:00", True),
        ("2026-03-15T00:00:00+00:00", True),  # Sunday, but the window of Saturday
        ("2026-03-15T05:59:59+00:00", True),
        ("2026-03-15T06:00:00+00:00", False),
        ("2026-03-15T23:00:00+00:00", False),  # Sunday evening is not listed
        ("2026-03-14T03:00:00+00:00", False),  # nor is Friday's night
    ],
)
def test_a_window_past_midnight_belongs_to_the_day_it_began(moment: str, is_open: bool) -> None:
    assert opens(window("sat", "22:00", "06:00"), datetime.fromisoformat(moment)) is is_open


def test_a_window_is_open_by_the_clock_of_its_own_zone() -> None:
    bangkok = window("sun", "01:00", "02:00", "Asia/Bangkok")
    assert opens(bangkok, datetime(2026, 3, 14, 18, 30, tzinfo=UTC))
    assert not opens(bangkok, datetime(2026, 3, 15, 1, 30, tzinfo=UTC))


def test_an_hour_that_daylight_saving_skips_never_opens() -> None:
    skipped = window("sun", "02:00", "03:00", "Europe/Berlin")
    night = [datetime(2026, 3, 28, 22, 0, tzinfo=UTC) + timedelta(minutes=each) for each in range(600)]
    assert not any(opens(skipped, moment) for moment in night)


def test_an_hour_that_daylight_saving_repeats_opens_both_times() -> None:
    repeated = window("sun", "02:00", "03:00", "Europe/Berlin")
    night = [datetime(2026, 10, 24, 22, 0, tzinfo=UTC) + timedelta(minutes=each) for each in range(600)]
    assert sum(opens(repeated, moment) for moment in night) == 120


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "/etc/passwd", "../UTC", "Europe", "\x00"])
def test_an_unknown_time_zone_never_opens(zone: str) -> None:
    assert not opens(window("sat", "00:00", "23:59", zone), NOON)


def test_a_window_that_begins_where_it_ends_never_opens() -> None:
    assert not opens(window("sat sun", "12:00", "12:00"), NOON)


times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


@given(times, times, moments)
def test_a_window_and_its_complement_never_open_together(start: str, end: str, now: datetime) -> None:
    days = "mon tue wed thu fri sat sun"
    one, other = opens(window(days, start, end), now), opens(window(days, end, start), now)
    assert one != other or start == end


# --- permission --------------------------------------------------------------------------------


def test_drift_within_the_policy_may_be_corrected() -> None:
    pool = surplus("finance", 2)
    permission = allowed([pool], policy(), NOON, Past())
    assert (permission.pools, permission.refused) == ((pool,), ())


def test_without_a_policy_nothing_may_be_corrected() -> None:
    permission = allowed([surplus("finance", 1)], None, NOON, Past())
    assert (permission.pools, rules(permission.refused)) == ((), ["drift-policy"])


@pytest.mark.parametrize("windows", [(), (window("sun", "00:00", "23:59"),)])
def test_outside_every_window_nothing_may_be_corrected(windows: tuple[Window, ...]) -> None:
    permission = allowed([surplus("finance", 1)], policy(windows=windows), NOON, Past())
    assert (permission.pools, rules(permission.refused)) == ((), ["drift-window"])
    assert permission.refused[0].source == str(AT)


def test_without_drift_nobody_is_told_of_a_closed_window() -> None:
    assert allowed([surplus("finance", 0)], policy(windows=()), NOON, Past()).refused == ()


def test_the_budget_of_the_day_counts_what_other_runs_removed() -> None:
    pools = [surplus("finance", 2)]
    assert allowed(pools, policy(disks_per_day=5), NOON, Past(removed_today=3)).pools
    permission = allowed(pools, policy(disks_per_day=5), NOON, Past(removed_today=4))
    (finding,) = permission.refused
    assert (finding.rule, finding.measured, finding.limit) == ("drift-budget", 6, 5)
    assert finding.source == str(AT)
    assert "disks_per_day: 6" in finding.allow


def test_a_pool_that_does_not_fit_leaves_the_rest_of_the_day_to_a_smaller_one() -> None:
    permission = allowed([surplus("a", 4), surplus("b", 2)], policy(disks_per_day=3), NOON, Past())
    assert [pool.label for pool in permission.pools] == ["b"]
    assert rules(permission.refused) == ["drift-budget"]


def test_a_change_that_failed_before_is_not_tried_again() -> None:
    pool = surplus("finance", 1)
    past = Past(failed=frozenset({("finance-0", "SAS", 50)}))
    permission = allowed([pool], policy(), NOON, past)
    assert (permission.pools, rules(permission.refused)) == ((), ["drift-attempted"])
    assert "finance-0" in permission.refused[0].message


def test_a_failed_addition_is_not_tried_again_either() -> None:
    declared = replace(
        sample_plans.pool("p", sample_plans.wanted("SSD", 100)), manage=frozenset({Action.ADD})
    )
    pool = sample_plans.planned(declared, [], ["ann"])
    assert list(keys_of(pool)) == [("id-of-p", "SSD", 100)]
    past = Past(failed=frozenset(keys_of(pool)))
    assert rules(allowed([pool], policy(Action.ADD), NOON, past).refused) == ["drift-attempted"]


def test_narrowing_leaves_only_what_manifest_and_policy_both_say() -> None:
    every = frozenset({Action.REMOVE, Action.EXPAND, Action.ADD})
    pools = (
        replace(sample_plans.pool("a"), manage=every),
        replace(sample_plans.pool("b"), manage=frozenset({Action.ADD})),
        replace(sample_plans.pool("c", target=sample_plans.OTHER), manage=every),
    )
    narrowed = narrow(Manifest(pools, drift=(policy(Action.REMOVE, Action.EXPAND),)))
    assert [pool.manage for pool in narrowed.pools] == [{Action.REMOVE, Action.EXPAND}, set(), set()]


def test_drift_of_an_action_that_is_not_corrected_is_told() -> None:
    pool = surplus("finance", 1, manage=frozenset())
    permission = allowed([pool], policy(Action.EXPAND), NOON, Past())
    assert (permission.pools, rules(permission.refused)) == ((), ["drift-policy"])


pools = st.lists(st.integers(0, 9), max_size=6).map(
    lambda sizes: [surplus(f"pool-{index}", number) for index, number in enumerate(sizes)]
)
tried = st.frozensets(
    st.tuples(
        st.builds("pool-{}-{}".format, st.integers(0, 5), st.integers(0, 9)), st.just("SAS"), st.just(50)
    )
)


@given(pools, st.integers(0, 30), st.integers(0, 30), tried)
def test_no_permission_passes_the_day_s_budget_or_repeats_a_failure(
    planned: list[PoolPlan], used: int, ceiling: int, failed: frozenset[tuple[str, str, int]]
) -> None:
    permission = allowed(planned, policy(disks_per_day=ceiling), NOON, Past(used, failed))
    removed = sum(removals_of(pool) for pool in permission.pools)
    assert removed == 0 or used + removed <= ceiling
    assert not failed.intersection(key for pool in permission.pools for key in keys_of(pool))
    drifting = [pool for pool in planned if pool.drift]
    assert len(permission.pools) + len(permission.refused) == len(drifting)


@given(pools, st.integers(0, 30), st.integers(0, 30))
def test_more_room_in_the_day_never_allows_fewer_disks(
    planned: list[PoolPlan], used: int, ceiling: int
) -> None:
    def removed(most: int) -> int:
        return sum(map(removals_of, allowed(planned, policy(disks_per_day=most), NOON, Past(used)).pools))

    assert removed(ceiling + 9 * len(planned)) >= removed(ceiling)
