"""Which live name is suggested for one that no live pool has."""

from __future__ import annotations

import pytest

from reconciler.planning.finding import Finding
from reconciler.planning.plan import PoolPlan
from reconciler.planning.suggestion import MAX_COMPARISONS, with_nearest_names
from tests.builders import pool

LIVE = ("finance-analysts", "design-studio", "Call-Centre")


def missing(name: str, rule: str = "pool-not-found", **more: str) -> PoolPlan:
    return PoolPlan(pool(name=name, **more), findings=(Finding(rule, "no pool has that name"),))


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("finance-analyst", "finance-analysts"),
        ("desing-studio", "design-studio"),
        ("CALL-CENTRE", "Call-Centre"),
        ("warehouse", ""),
    ],
)
def test_the_nearest_name_is_suggested_and_one_that_is_far_is_not(name: str, suggested: str) -> None:
    ((finding,),) = (each.findings for each in with_nearest_names([missing(name)], LIVE))
    assert finding.message == "no pool has that name" + (
        f"; did you mean {suggested!r}?" if suggested else ""
    )


def test_another_finding_and_a_pool_declared_by_id_are_left_as_they_are() -> None:
    pools = [missing("finance-analyst", "pool-ambiguous"), missing("finance-analyst", id="p1")]
    assert with_nearest_names(pools, LIVE) == pools


def test_the_work_is_bounded_where_every_name_is_missing_and_where_names_are_long() -> None:
    names = [f"pool-{number}" for number in range(MAX_COMPARISONS // 2)]
    pools = [missing("pool-x")] * 5
    suggested = [each != pool for each, pool in zip(with_nearest_names(pools, names), pools, strict=True)]
    assert suggested == [True, True, False, False, False]
    long = [missing("a" * 65)]
    assert with_nearest_names(long, ["a" * 65, "a" * 64]) == long
    assert with_nearest_names([missing("a" * 64)], ["a" * 65])[0] == missing("a" * 64)
    assert with_nearest_names([missing("a")], []) == [missing("a")]
