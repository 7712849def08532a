"""Lines of a narrow terminal are broken between words, and what has to be copied stays whole."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.render.explain import explain_lines
from reconciler.render.text import plan_lines
from reconciler.render.wrap import wrapped
from tests import sample_plans

SENTENCE = "This destroys 1 disk for good: 12 copies on 12 desktops, 2400 GB. Nobody can restore that data."


@pytest.mark.parametrize("width", [40, 80])
def test_no_word_is_cut_and_no_line_is_too_long(width: int) -> None:
    lines = wrapped(f"    {SENTENCE}", width)
    assert len(lines) > 1
    assert all(len(line) <= width for line in lines)
    assert " ".join(" ".join(lines).split()) == SENTENCE
    assert "Nobody" in " ".join(lines).split()
    assert [line[:6] for line in lines[1:]] == ["      "] * (len(lines) - 1)


def test_a_long_word_and_a_command_stay_whole() -> None:
    assert wrapped("an id: d177d324-8803-40df-b98a-af8b2fecf1ea", 30) == [
        "an id:",
        "  d177d324-8803-40df-b98a-af8b2fecf1ea",
    ]
    command = "reconciler apply manifests/ --approve 0123456789012345678901234567890123456789"
    assert wrapped(f"Apply exactly this with: {command}", 40) == ["Apply exactly this with:", f"  {command}"]


def test_a_sentence_about_the_program_is_no_command() -> None:
    assert wrapped("reconciler will perform the following actions:", 30) == [
        "reconciler will perform the",
        "  following actions:",
    ]


def test_what_fits_is_left_as_it_is() -> None:
    assert wrapped("  # a   b  ", 40) == ["  # a   b  "]
    assert wrapped("x" * 50, 10) == ["x" * 50]


@given(st.text(st.sampled_from("ab  "), max_size=200), st.integers(20, 60))
def test_no_word_is_lost(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert " ".join(lines).split() == text.split()
    assert all(len(line) <= width or " " not in line.strip() for line in lines)


@pytest.mark.parametrize("width", [40, 80])
def test_every_line_of_a_plan_and_of_an_explanation_fits_but_for_words_that_are_longer(width: int) -> None:
    plan = sample_plans.everything()
    explained = [line for pool in plan.pools for line in explain_lines(plan, pool)]
    for line in (*plan_lines(plan), *explained):
        pieces = wrapped(line.text, width)
        assert " ".join(pieces).split() == line.text.split()
        assert [each for each in pieces if len(each) > width and len(each.split()) > 1] == []


def test_the_table_of_an_explanation_keeps_guard_and_numbers_in_one_line_of_40_columns() -> None:
    plan = sample_plans.everything()
    rows = [
        wrapped(line.text, 40)[0]
        for pool in plan.pools
        for line in explain_lines(plan, pool)
        if re.match(r" ?(ok|!|NO) ", line.text)
    ]
    assert len(rows) > 20
    assert [row for row in rows if len(row.split()) < 4 or len(row) > 40] == []
