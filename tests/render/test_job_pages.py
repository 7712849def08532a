"""What a CI job shows of a finished run and of drift: readable, and no name becomes markup or a command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from reconciler.apply.results import ApplyReport, DriftReport, DriftRound, PoolResult, Status
from reconciler.errors import ExitCode, ServiceError
from reconciler.planning.drift import measure
from reconciler.render.apply_report import report_page
from reconciler.render.drift_report import drift_page
from reconciler.values import replace
from tests import sample_plans
from tests.builders import TARGET
from tests.documents import applied, measured
from tests.render.hostile import HOSTILE
from tests.render.test_github import annotation
from tests.render.test_markdown import AWAKE, ENGINES, OURS, Rendered

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def run_of(text: str) -> ApplyReport:
    """A run in which everything is called the same."""
    good = PoolResult(TARGET, text, Status.DONE, text, "", 1, 1)
    bad = PoolResult(TARGET, text, Status.FAILED, text, text, 0, 1)
    return ApplyReport(text, None, (good, bad), exit_code=ExitCode.JOB_FAILED)


def looked(text: str) -> DriftRound:
    """A drift check in which everything is called the same, and a correction that did not go well."""
    plan = sample_plans.hostile(text)
    report = DriftReport("run", plan, measure(plan), applied=run_of(text))
    return DriftRound(NOW, 1.0, ExitCode.CHANGES, report)


def check(page: str, engine: Callable[[str], str], tables: int) -> Rendered:
    rendered = Rendered(engine(page))
    assert set(rendered.tags) <= OURS
    assert {name for name, _ in rendered.attributes} <= {"align", "style"}
    assert rendered.comments == []
    assert rendered.tags.count("h2") == rendered.tags.count("table") == tables
    assert not [text for text in rendered.spoken if AWAKE.search(text)]
    return rendered


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.__name__)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_becomes_markup_or_a_command(text: str, engine: Callable[[str], str]) -> None:
    page, notes = report_page(run_of(text))
    assert check(page, engine, 1).tags.count("td") == 4 * 2
    [(level, properties, _)] = [annotation(note) for note in notes]
    assert (level, properties) == ("error", {"title": "reconciler: failed"})
    outcome = looked(text)
    page, notes = drift_page(outcome)
    assert check(page, engine, 2).tags.count("td") == 4 * 2 + 5 * len(outcome.drifting)
    for note in notes:
        assert note.isprintable()
        annotation(note)


def test_a_look_that_failed_says_why() -> None:
    outcome = DriftRound(NOW, 1.0, ExitCode.ERROR, error=ServiceError("list pools: HTTP 503"))
    page, [note] = drift_page(outcome)
    assert "could not be determined" in page
    assert annotation(note)[2] == "Drift could not be determined: list pools: HTTP 503"


def test_a_run_over_thousands_of_pools_fits() -> None:
    one = run_of("pool")
    page, notes = report_page(replace(one, results=one.results * 5000))
    assert len(page) < 300_000
    assert "more pools not shown" in page
    assert len(notes) == 5000


def test_the_pages_of_a_job_say_as_whom() -> None:
    for page, _ in (report_page(applied()), drift_page(measured())):
        assert "\nActing as access key `HWAK…7QZK`, from `HUAWEICLOUD_SDK_AK`.\n" in page
