"""Programs that read Terraform's output read ours: the expressions below are theirs, and stand here as facts."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from reconciler.apply.results import ApplyReport, Status
from reconciler.errors import ExitCode
from reconciler.planning.plan import Plan
from reconciler.render.apply_report import report_lines, report_page, retry_lines
from reconciler.render.markdown import plan_markdown
from reconciler.render.text import plan_lines
from reconciler.values import replace
from tests import sample_plans
from tests.documents import applied
from tests.render.hostile import HOSTILE

# tfcmt, pkg/terraform/parser.go
PASS = re.compile(r"^(Plan: \d|No changes\.)", re.M)
FAIL = re.compile(r"^(Error: )", re.M)
APPLIED = re.compile(r"^(Apply complete!)", re.M)
DESTROY = re.compile(r"([1-9][0-9]* to destroy\.)", re.M)
NO_CHANGES = re.compile(r"^(No changes\.)", re.M)
UPDATED = re.compile(r"^ *# (.*) will be updated in-place$", re.M)
DELETED = re.compile(r"^ *# (.*) will be destroyed$", re.M)
# Atlantis, server/events/models/models.go
SUMMARY = re.compile(r"Plan: (\d+) to add, (\d+) to change, (\d+) to destroy\.")
MATCHES = re.compile(
    r"No changes\. (?:Infrastructure is up-to-date|Your infrastructure matches the configuration)\."
)

# setup-terraform, the comment script of its README: the output between fences, through a variable of the process
FENCE = re.compile(r"^ {0,3}(?:`{3,}|~{3,})", re.M)
VARIABLE = 131_072 - len("PLAN=") - 1
"""Bytes that fit into one variable of a process on Linux; a step with a longer one does not start."""
COMMENT = 65_536
"""Characters that GitHub takes for a comment."""


def commented(outcome: str, output: str) -> str:
    """What such a script makes of a step's outcome and of its output."""
    return f"#### Plan `{outcome}`\n\n```\n{output}\n```\n\n*Pushed by: @somebody*\n"


def text(plan: Plan) -> str:
    return "\n".join(line.text for line in plan_lines(plan))


def test_what_is_destroyed_is_found_by_all_of_them() -> None:
    plan = sample_plans.two_removals()
    shown = text(plan)
    assert PASS.search(shown)
    assert DESTROY.search(shown)
    assert not NO_CHANGES.search(shown)
    found = SUMMARY.search(shown)
    assert found
    assert [int(each) for each in found.groups()] == [
        plan.totals.add,
        plan.totals.change,
        plan.totals.destroy,
    ]
    assert len(DELETED.findall(shown)) == plan.totals.destroy == 2


def test_a_plan_without_a_difference_is_one_for_all_of_them() -> None:
    shown = text(sample_plans.no_changes())
    assert NO_CHANGES.search(shown)
    assert MATCHES.search(shown)
    assert not DESTROY.search(shown)


def test_an_expansion_is_an_update_in_place() -> None:
    plan = sample_plans.resize()
    changed = [
        f"{pool.label}/{change.live.id}" for pool in plan.pools for change in pool.pending if change.live
    ]
    assert UPDATED.findall(text(plan)) == changed
    assert not DELETED.search(text(plan))


def test_what_is_blocked_is_not_counted_as_destroyed() -> None:
    shown = text(sample_plans.tie())
    assert not DELETED.search(shown)
    assert not MATCHES.search(shown)


def ended(code: ExitCode, *, results: bool = True) -> ApplyReport:
    """The sample run with another end: every change proven, and still that exit code."""
    report = applied()
    done = tuple(replace(each, status=Status.DONE, done=each.planned) for each in report.results)
    plan = sample_plans.two_removals()
    return replace(report, plan=plan, results=done if results else (), remaining=0, exit_code=code)


@pytest.mark.parametrize("results", [True, False], ids=["results", "none"])
@pytest.mark.parametrize("code", [each for each in ExitCode if each is not ExitCode.CHANGES])
def test_what_an_apply_ends_with_is_read_from_one_line_whatever_went_wrong(
    code: ExitCode, results: bool
) -> None:
    report = ended(code, results=results)
    shown = "\n".join(line.text for line in report_lines(report))
    assert len(FAIL.findall(shown)) == bool(code)
    assert len(APPLIED.findall(shown)) == (not code)
    assert ("complete!" in shown) == (not code)
    page = report_page(report)[0].splitlines()[0]
    assert page.startswith("## Error: " if code else "## Apply complete! "), page
    retried = "\n".join(line.text for line in retry_lines(report))
    assert len(FAIL.findall(retried)) == bool(code)


def test_a_run_without_a_second_plan_is_complete_and_says_what_it_lacks() -> None:
    shown = "\n".join(line.text for line in report_lines(replace(ended(ExitCode.DONE), remaining=None)))
    assert APPLIED.search(shown)
    assert "no new plan could be made to compare" in shown


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_leaves_the_fence_that_a_comment_script_puts_around_the_output(name: str) -> None:
    for output in (
        text(sample_plans.hostile(name)),
        "\n".join(line.text for line in report_lines(applied(name))),
    ):
        assert not FENCE.search(output)
        first, *_, last = MarkdownIt().parse(commented("success", output))
        kinds = [token.type for token in MarkdownIt().parse(commented("success", output))]
        assert (first.type, last.type) == ("heading_open", "paragraph_close")
        assert kinds.count("fence") == 1
        assert [kind for kind in kinds if kind.endswith("_open")] == ["heading_open", "paragraph_open"]


def test_a_review_of_any_size_fits_into_a_comment_and_into_a_variable() -> None:
    review = plan_markdown(sample_plans.many(2000))
    assert len(commented("failure", review)) <= COMMENT
    assert len(review.encode()) <= VARIABLE


def test_the_wrapper_fails_a_step_for_every_end_that_is_neither_done_nor_a_difference() -> None:
    """Its outcome is success for the exit codes 0 and 2, which no refusal and no failure of ours may have."""
    well = {0, 2}
    assert {code for code in ExitCode if code in well} == {ExitCode.DONE, ExitCode.CHANGES}
    assert [each for each in Status if each.exit_code in well] == [Status.NOT_STARTED, Status.DONE]
