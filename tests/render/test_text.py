"""The console output: Terraform's words, and no name that controls the terminal."""

from __future__ import annotations

import unicodedata

import pytest

from reconciler.model import Action
from reconciler.planning.change import Change, Rule
from reconciler.render import words
from reconciler.render.text import Line, plan_lines
from tests import sample_plans
from tests.render.hostile import HOSTILE


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_drives_the_terminal(text: str) -> None:
    for line in plan_lines(sample_plans.hostile(text)):
        for character in line.text:
            assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_imitates_a_line_that_parsers_look_for(text: str) -> None:
    plan = sample_plans.hostile(text)
    shown = [line.text for line in plan_lines(plan)]
    assert [line for line in shown if line.startswith("Plan: ")] == [words.summary(plan.totals)]
    assert not [line for line in shown if line.startswith(("No changes.", "Error: ", "::"))]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_every_line_survives_an_ascii_terminal(text: str) -> None:
    for line in plan_lines(sample_plans.hostile(text)):
        shown = line.text.encode("ascii", "backslashreplace").decode("ascii")
        assert not shown or shown.isprintable()


def test_a_line_is_one_line_whatever_it_is_made_of() -> None:
    assert Line("a\nb\x1b[0m").text == "a\\nb\\x1b[0m"


def test_a_blocked_plan_is_shown_completely() -> None:
    shown = "\n".join(line.text for line in plan_lines(sample_plans.over_limit()))
    for word in ("limit-copies", "limit-users", "live-session", "will be destroyed", "Digest: ", "for good"):
        assert word in shown


def test_a_resize_is_an_expansion_and_destroys_nothing() -> None:
    shown = [line.text for line in plan_lines(sample_plans.resize())]
    assert "Plan: 0 to add, 1 to change, 0 to destroy." in shown
    assert not any("destroyed" in line for line in shown)


def test_a_tie_names_each_candidate_with_the_line_that_keeps_it() -> None:
    shown = [line.text.strip() for line in plan_lines(sample_plans.tie())]
    for disk in words.candidates(sample_plans.tie().pools[0]):
        assert words.pin(disk) in shown


def test_what_is_blocked_has_a_line_of_its_own() -> None:
    shown = [line.text for line in plan_lines(sample_plans.over_limit())]
    assert "Plan: 0 to add, 0 to change, 1 to destroy." in shown
    assert "Blocked: 1 pool, 1 disk that would be destroyed." in shown
    assert not [
        line.text for line in plan_lines(sample_plans.two_removals()) if line.text.startswith("Blocked: ")
    ]


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_has_a_reason_in_words(rule: Rule) -> None:
    assert words.reason(Change(Action.KEEP, rule))


def test_a_disk_set_aside_is_not_said_to_be_declared() -> None:
    assert words.reason(Change(Action.KEEP, Rule.SET_ASIDE)).startswith("set aside")


def test_users_beyond_the_tenth_are_counted() -> None:
    shown = "\n".join(line.text for line in plan_lines(sample_plans.over_limit()))
    assert "user-09 and 20 more." in shown
    assert "user-10" not in shown
