"""Corrections without a person around midnight, with faults and kills: no UTC day is ever above its budget."""

from __future__ import annotations

from tests.simulation.midnight import nights


def test_no_day_is_above_its_budget_and_what_it_did_not_use_is_used_later() -> None:
    told = nights(range(20))
    assert [line for each in told for line in (f"seed {each.seed}: {c}" for c in each.complaints)] == []
    # Not a promise of the tool but of these stories: runs die, days are used up, and both sides of midnight see some.
    assert sum(each.killed for each in told) > 5
    assert sum(max(each.days.values()) == each.budget for each in told) > 5
    assert sum(len(each.days) > 1 for each in told) > 5
