"""The README shows the numbers that were measured last, not others."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tests.benchmarks.plot import chart

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[2] / "README.md"


def test_the_readme_shows_the_table_of_the_last_run_and_its_plot() -> None:
    text = README.read_text(encoding="utf-8")
    assert (RESULTS / "speed.md").read_text(encoding="utf-8") in text
    assert "(tests/benchmarks/results/speed.svg)" in text
    ElementTree.parse(RESULTS / "speed.svg")


def test_a_plot_is_well_formed_whatever_its_names_are() -> None:
    drawn = ElementTree.fromstring(
        chart("a < b & c", "x", "y", {'"<&>': [(100, 0.1), (1000, 12)], "two": [(100, 3)]})
    )
    assert len(drawn.findall("{*}polyline")) == 2
    assert len(drawn.findall("{*}circle")) == 3
