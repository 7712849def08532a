"""A plan without the names of people says everything else as before."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from reconciler.planning.anonymous import anonymised
from reconciler.planning.plan import Plan
from reconciler.render.html import plan_html
from reconciler.render.json.plan import plan_json
from reconciler.render.markdown import plan_markdown
from reconciler.render.text import plan_lines
from tests import sample_plans

SAMPLES = [sample_plans.two_removals, sample_plans.tie, sample_plans.everything, sample_plans.over_limit]


def people(plan: Plan) -> set[str]:
    """Every name of a person or a group in a plan."""
    found: set[str] = set()
    for pool in plan.pools:
        found.update(pool.loss.users, pool.loss.groups, *(each.users for each in pool.candidates))
        found.update(*(copy.users for loss in pool.disk_losses for copy in loss.lost))
        if pool.inconsistent:
            found.update(*(each.users for each in pool.inconsistent.desktops))
    return found


def shown(plan: Plan) -> dict[str, str]:
    """A plan in every form."""
    return {
        "text": "\n".join(line.text for line in plan_lines(plan)),
        "markdown": plan_markdown(plan),
        "html": plan_html(plan),
        "json": plan_json(plan),
    }


@pytest.mark.parametrize("sample", SAMPLES)
def test_no_form_names_anybody_and_every_number_stays(sample: Callable[[], Plan]) -> None:
    plan, without = sample(), anonymised(sample())
    names = people(plan)
    assert names
    for form, text in shown(without).items():
        assert [name for name in names if re.search(rf"\b{re.escape(name)}\b", text)] == [], form
    # Whatever a plan holds is shown somewhere, some day: so nothing in it may name anybody.
    assert [name for name in names if re.search(rf"\b{re.escape(name)}\b", repr(without))] == []
    assert without.digest == plan.digest
    assert without.totals == plan.totals
    assert without.blocked_totals == plan.blocked_totals


def test_the_number_stands_in_place_of_the_names() -> None:
    plan = sample_plans.two_removals()
    number = len(plan.pools[0].loss.users)
    assert number
    forms = shown(anonymised(plan))
    assert f"Users: {number}." in forms["text"]
    assert f"**Users who lose data:** {number}" in forms["markdown"]
    assert f"<strong>Users who lose data:</strong> {number}</p>" in forms["html"]
    assert f'"user_count": {number}' in forms["json"]
