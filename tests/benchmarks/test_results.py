"""The documents show the numbers that were measured last, not others."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

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
