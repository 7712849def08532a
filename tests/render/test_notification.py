"""Notifications as text and Markdown: what they say, and that names from elsewhere stay names."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from reconciler.apply.results import ApplyReport, DriftReport, DriftRound, PoolResult, Status
from reconciler.errors import ExitCode, Refused
from reconciler.journal.records import Approved, Way
from reconciler.model import DesiredPool
from reconciler.planning.drift import measure
from reconciler.planning.plan import Plan
from reconciler.render.message import EVERYBODY, Level, Message
from reconciler.render.notification import (
    MOST_POOLS,
    Source,
    apply_message,
    drift_message,
    of_exit_code,
    plan_message,
)
from reconciler.values import replace
from tests import sample_plans
from tests.builders import TARGET

SOURCE = Source(
    "apply",
    "ann",
    "abc123",
    "https://git.example/pull/5",
    "https://ci.example/7",
    "reconciler apply m --approve D",
)


def owned(plan: Plan, owner: str) -> Plan:
    """The plan whose first pool has this owner."""
    first, *others = plan.pools
    return replace(plan, pools=(replace(first, desired=replace(first.desired, owner=owner)), *others))


def made(message: Message | None) -> Message:
    assert message is not None
    return message


def applied(plan: Plan, status: Status, code: ExitCode) -> ApplyReport:
    results = tuple(
        PoolResult(
            each.target, each.label, status, planned=1, done=1, pool_id=each.live.id if each.live else ""
        )
        for each in plan.pools
    )
    approved = Approved(Way.SIGNED, ("ann@example.org", "bob@example.org"))
    return ApplyReport("run-1", plan, results, remaining=0, exit_code=code, approved=approved)


def declared(plan: Plan) -> list[DesiredPool]:
    return [each.desired for each in plan.pools]


def test_a_text_says_what_where_who_and_how_to_see_more() -> None:
    plan = sample_plans.two_removals()
    report = applied(plan, Status.DONE, ExitCode.DONE)
    told = made(apply_message(report, None, declared(plan), SOURCE)(EVERYBODY))
    [pool] = plan.pools
    assert told.level is Level.SUCCESS
    assert told.title == "reconciler apply: success"
    assert told.text.splitlines() == [
        "Apply complete! 1 change proven; a new plan shows no changes.",
        f"Region {TARGET.region}, project {TARGET.project_id}.",
        f"- {pool.label}: done, 1 of 1 change done; planned to destroy 2 disks: up to 6 copies on 3 desktops, "
        f"{pool.loss.gigabytes} GB, 3 users",
        "Approved: signed by ann@example.org, bob@example.org",
        "Started by: ann",
        "Commit: abc123",
        "Pull request: https://git.example/pull/5",
        "Run: https://ci.example/7",
        "Journal: reconciler history show run-1",
        "To approve: reconciler apply m --approve D",
    ]
    assert "- Run: <https://ci.example/7>" in told.markdown


@pytest.mark.parametrize(
    ("code", "level"),
    [
        (ExitCode.DONE, Level.SUCCESS),
        (ExitCode.RUNNING, Level.INFO),
        (ExitCode.CHANGES, Level.WARNING),
        (ExitCode.REFUSED, Level.WARNING),
        (ExitCode.STALE, Level.WARNING),
        (ExitCode.JOB_FAILED, Level.FAILURE),
        (ExitCode.UNKNOWN, Level.FAILURE),
        (ExitCode.BAD_INPUT, Level.FAILURE),
        (ExitCode.JOURNAL, Level.FAILURE),
    ],
)
def test_how_bad_it_is_goes_by_the_outcome(code: ExitCode, level: Level) -> None:
    assert of_exit_code(code) is level


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (Status.DONE, Level.SUCCESS),
        (Status.ACCEPTED, Level.INFO),
        (Status.REFUSED, Level.WARNING),
        (Status.UNKNOWN, Level.FAILURE),
        (Status.ALARM, Level.FAILURE),
    ],
)
def test_for_an_owner_it_goes_by_the_owner_s_pools(status: Status, level: Level) -> None:
    plan = owned(sample_plans.everything(), "finance")
    report = applied(plan, Status.UNKNOWN, ExitCode.UNKNOWN)
    first, *others = report.results
    report = replace(report, results=(replace(first, status=status), *others))
    told = made(apply_message(report, None, declared(plan), SOURCE)("finance"))
    assert told.level is level
    assert [each["pool"] for each in told.values["details"]] == [first.pool]


def test_an_owner_of_nothing_in_it_is_told_nothing() -> None:
    plan = owned(sample_plans.everything(), "finance")
    report = applied(plan, Status.DONE, ExitCode.DONE)
    round_ = DriftRound(
        sample_plans.MADE,
        1.0,
        ExitCode.CHANGES,
        DriftReport("run", plan, measure(plan), exit_code=ExitCode.CHANGES),
    )
    for compose in (
        apply_message(report, None, declared(plan), SOURCE),
        apply_message(None, Refused("the pool of others is blocked"), declared(plan), SOURCE),
        drift_message(round_, SOURCE),
        plan_message(plan, SOURCE),
    ):
        assert compose("research") is None
    assert apply_message(None, Refused("of others"), declared(plan), SOURCE)("finance") is None
    assert drift_message(DriftRound(sample_plans.MADE, 1.0, ExitCode.ERROR), SOURCE)("finance") is None


def test_of_many_pools_the_first_are_named_and_the_rest_is_counted() -> None:
    plan = sample_plans.many(MOST_POOLS + 5)
    told = made(plan_message(plan, SOURCE)(EVERYBODY)) if any(not p.blocked for p in plan.pools) else None
    assert told
    assert (len(told.values["details"]), told.values["more_pools"]) == (MOST_POOLS, 5)
    assert "and 5 more" in told.text
    assert "and 5 more" in told.markdown


@pytest.mark.parametrize(
    "name",
    ["<!channel>", "**bold** [x](http://evil.example)", "`code`", "@everyone", "![](http://e.example/p)"],
)
def test_a_name_means_nothing_in_markdown(name: str) -> None:
    plan = sample_plans.hostile(name)
    report = DriftReport("run", plan, measure(plan), exit_code=ExitCode.CHANGES)
    round_ = DriftRound(sample_plans.MADE, 1.0, ExitCode.CHANGES, report)
    source = replace(SOURCE, actor=name, run=f"https://x/{name}", pull_request=name)
    told = made(drift_message(round_, source)(EVERYBODY))
    inline = [child for token in MarkdownIt().parse(told.markdown) for child in token.children or ()]
    links = [
        each.attrGet("href") or each.attrGet("src") for each in inline if each.type in {"link_open", "image"}
    ]
    assert links == []
    assert not [each for each in inline if each.type == "html_inline"]
    plain = "".join(each.content for each in inline if each.type == "text")
    assert name not in plain
