"""GitHub's outputs: the summary fits, annotations are well-formed, and no name is run as a command."""

from __future__ import annotations

import re

import pytest

from reconciler.planning.finding import Severity
from reconciler.render.github import job_summary, neutral, plan_annotations
from reconciler.render.markdown import MARKER
from reconciler.render.text import plan_lines
from tests import sample_plans
from tests.render.hostile import HOSTILE

# As the runner reads a line: properties end at the first "::", values hold no bare colon or comma.
COMMAND = re.compile(r"::(?P<level>error|warning) (?P<properties>[^:]*)::(?P<message>.*)", re.DOTALL)
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u034f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)


def _obeyed(line: str) -> bool:
    """What the runner takes for a command, with a comparison that skips invisible characters."""
    seen = INVISIBLE.sub("", line)
    return seen.lstrip().startswith("::") or "##[" in seen


def annotation(line: str) -> tuple[str, dict[str, str], str]:
    command = COMMAND.fullmatch(line)
    assert command
    pairs = dict(pair.split("=", 1) for pair in command["properties"].split(","))
    return command["level"], {name: _decoded(value) for name, value in pairs.items()}, command["message"]


def _decoded(value: str) -> str:
    for code, character in (("%2C", ","), ("%3A", ":"), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        value = value.replace(code, character)
    return value


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_every_annotation_is_one_command_and_nothing_more(text: str) -> None:
    plan = sample_plans.hostile(text)
    shown = list(plan_annotations(plan))
    findings = [each for each in plan.all_findings if each.severity is not Severity.PASS]
    assert len(shown) == len(findings) + len(plan.failures)
    for line in shown:
        assert line.isprintable()
        _, properties, _ = annotation(line)
        assert set(properties) in ({"title"}, {"file", "line", "col", "title"})


def test_a_finding_is_shown_at_its_manifest_line() -> None:
    level, properties, message = annotation(next(plan_annotations(sample_plans.over_limit())))
    assert level == "error"
    assert properties == {
        "file": "pools/finance.yaml",
        "line": "3",
        "col": "10",
        "title": "reconciler: limit-copies",
    }
    assert message == (
        "30 copies would be destroyed; the limit is 20"
        "%0ATo allow: limits.copies: 30 in a manifest, or --limit-copies 30"
    )


def test_a_limit_from_a_flag_has_no_place() -> None:
    shown = [annotation(line) for line in plan_annotations(sample_plans.over_limit())]
    flagged = [properties for _, properties, _ in shown if properties["title"].endswith("limit-users")]
    assert flagged == [{"title": "reconciler: limit-users"}]


def test_a_warning_stays_a_warning() -> None:
    shown = [annotation(line) for line in plan_annotations(sample_plans.everything())]
    assert [properties["title"] for level, properties, _ in shown if level == "warning"] == [
        "reconciler: clock-skew"
    ]


def test_a_path_with_colons_commas_and_percents_comes_through() -> None:
    plan = sample_plans.hostile("a:b,c%d")
    places = [
        properties for _, properties, _ in map(annotation, plan_annotations(plan)) if "file" in properties
    ]
    assert places
    assert {properties["file"] for properties in places} == {"a:b,c%d"}


def test_a_failed_target_is_annotated() -> None:
    *_, last = plan_annotations(sample_plans.target_failed())
    level, properties, message = annotation(last)
    assert (level, properties["title"]) == ("error", "reconciler: target-failed")
    assert "answered 503" in message


def test_no_line_of_data_is_obeyed() -> None:
    assert any(_obeyed(line) for text in HOSTILE for line in re.split("[\r\n]", text))
    for text in HOSTILE:
        for line in neutral([text, f"  {text}"]):
            assert not _obeyed(line)
            assert "\n" not in line
            assert "\r" not in line


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_line_of_a_plan_is_obeyed(text: str) -> None:
    shown = [line.text for line in plan_lines(sample_plans.hostile(text))]
    assert not any(_obeyed(line) for line in neutral(shown))


def test_harmless_lines_pass_unchanged() -> None:
    lines = ["a::b", "# ::x", "##x[", "naïve \x1b[31mred\x1b[0m", "", "::1 is loopback"[2:]]
    assert list(neutral(lines)) == lines


def test_commands_stay_readable() -> None:
    lines = ["  ::set-output name=a::b", "see ##[group]"]
    assert list(neutral(lines)) == ["  : :set-output name=a::b", "see ## [group]"]


def test_the_job_summary_is_the_comment_with_more_room() -> None:
    assert job_summary(sample_plans.tie()).startswith(MARKER)
    large = job_summary(sample_plans.many(1_500))
    assert 60_000 < len(large.encode()) <= 1024 * 1024
