"""The documents show the numbers that were measured last, not others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks.applying import floor
from tests.benchmarks.guard import BOUNDS, GUARDED, above
from tests.benchmarks.plot import chart

HERE = Path(__file__).parent
RESULTS = HERE / "results"
TABLE = (RESULTS / "speed.md").read_text(encoding="utf-8")
README = (HERE.parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_page_shows_the_table_of_the_last_run_and_its_plot() -> None:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    assert TABLE in text
    assert "(results/speed.svg)" in text
    ElementTree.parse(RESULTS / "speed.svg")


def test_the_three_rows_of_the_readme_are_rows_of_that_table() -> None:
    section = README.split("\n## Speed\n", 1)[1].split("\n## ", 1)[0]
    head, _, *rows = re.findall(r"^\|.*\|$", section, re.M)
    lines = TABLE.splitlines()
    assert head == lines[0]
    assert len(rows) == 3
    assert [row for row in rows if row not in lines] == []
    assert TABLE.splitlines()[-1] in section, "how it was measured"
    assert "(tests/benchmarks/README.md)" in section


def test_a_plot_is_well_formed_whatever_its_names_are() -> None:
    drawn = ElementTree.fromstring(
        chart("a < b & c", "x", "y", {'"<&>': [(100, 0.1), (1000, 12)], "two": [(100, 3)]})
    )
    assert len(drawn.findall("{*}polyline")) == 2
    assert len(drawn.findall("{*}circle")) == 3


def test_a_plan_that_costs_more_than_its_bounds_is_named_with_both_numbers() -> None:
    bounds = {"plan": {"million_instructions": 100, "requests": 1}}
    assert above({"plan": {"million_instructions": 100, "requests": 1}}, bounds) == []
    assert above({"plan": {"million_instructions": 1101, "requests": 2}}, bounds) == [
        "plan: 1,101 million instructions, at most 100 allowed",
        "plan: 2 requests, at most 1 allowed",
    ]


def test_what_is_guarded_is_what_is_measured_and_its_requests_are_the_pages_of_pools() -> None:
    bounds = json.loads(BOUNDS.read_text(encoding="utf-8"))
    assert list(bounds) == list(GUARDED)
    pages = [-(-pools // 1000) if command == "plan" else 0 for command, pools in GUARDED.values()]
    assert [each["requests"] for each in bounds.values()] == pages


@pytest.mark.parametrize(
    ("pools", "budgeted", "seconds"), [(100, False, 22), (100, True, 62), (50, True, 12)]
)
def test_the_floor_of_an_apply_is_what_its_jobs_and_the_budget_need(
    pools: int, budgeted: bool, seconds: int
) -> None:
    assert floor(pools, budgeted=budgeted) == seconds
