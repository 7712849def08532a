"""Renders a round of drift: as text and page, and as gauges.

Printing is left to ``cli``, notifications to ``notification``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.apply.results import ApplyReport, DriftReport, DriftRound, Due, Status
from reconciler.errors import ExitCode
from reconciler.journal.records import Alarm
from reconciler.planning.drift import Measure, is_being_changed
from reconciler.planning.finding import Severity
from reconciler.render.apply_report import report_lines, report_page, resolution_lines
from reconciler.render.line import Line, Tone, count
from reconciler.render.message import Deliveries
from reconciler.render.prometheus import drift_metrics
from reconciler.render.text import drift_line, finding_lines, head_lines, leftover_lines
from reconciler.render.words import acting, marked, settled

MOST_ALARMS = 3
"""How many alarms a headline shows in full."""


def drift_lines(outcome: DriftRound) -> Iterator[Line]:
    """What was detected, what was remediated, and why the rest was not."""
    report = outcome.report
    if report is None:
        return
    yield from head_lines(report.plan)
    for each in outcome.drifting:
        yield from _pool_lines(each)
    for due in report.became_due:
        yield Line(f"  {_due(due)}", Tone.WARN)
    yield from _hindrances(report)
    if report.applied:
        yield from resolution_lines(report.applied.resolutions)
        yield from report_lines(report.applied) if report.applied.results else ()
    if report.unresolved:
        yield Line(
            f"{count(report.unresolved, 'operation is', 'operations are')} not resolved: reconciler resolve",
            Tone.WARN,
        )
    calm = outcome.exit_code is ExitCode.DONE
    yield Line(headline(outcome), Tone.ADD if calm else Tone.STRONG)


def headline(outcome: DriftRound) -> str:
    """The round in one sentence, one more for each target unseen for long, and for each alarm that is open."""
    unseen = [
        f"Nothing was seen of {each.target} since {each.since:%Y-%m-%d %H:%M:%S} UTC."
        for each in outcome.unseen
    ]
    shown = [_alarm(each) for each in outcome.alarms[:MOST_ALARMS]]
    if more := len(outcome.alarms) - len(shown):
        shown.append(f"{count(more, 'more pool has an alarm', 'more pools have alarms')}.")
    return " ".join([_found(outcome), *_marks(outcome), *unseen, *shown])


def _marks(outcome: DriftRound) -> Iterator[str]:
    """What is only marked, and how much of it has become due since the last round."""
    if (report := outcome.report) is None:
        return
    if waiting := marked(report.plan):
        yield waiting
    if report.became_due:
        yield f"Since the last round {count(len(report.became_due), 'disk has', 'disks have')} become due."


def _due(found: Due) -> str:
    return (
        f"{found.pool.label}/{found.disk_id} has become due: its grace ended {found.due:%Y-%m-%d %H:%M} UTC"
    )


def _alarm(alarm: Alarm) -> str:
    return (
        f"ALARM since {alarm.at:%Y-%m-%d %H:%M} UTC, pool {alarm.pool_name} is left alone: {alarm.message}; "
        f"once you have looked at it: reconciler resolve --acknowledge {alarm.pool.pool_id}"
    )


def _found(outcome: DriftRound) -> str:
    report = outcome.report
    if report is None:
        return (
            f"Drift could not be determined: {outcome.error.message if outcome.error else 'no reason given'}"
        )
    checked = count(len(report.measures), "pool")
    changing = sum(map(is_being_changed, report.plan.pools))
    if not outcome.drifting:
        if changing and outcome.exit_code is ExitCode.HELD:
            others = f"No drift in {checked}; " if report.measures else ""
            return f"{others}{count(changing, 'pool is', 'pools are')} being changed by another run."
        plan = report.plan
        if plan.blocked or plan.failures or report.unresolved or plan.leftovers_unread or report.alarms:
            return f"No drift in {checked}, but not everything could be decided."
        return f"No drift: {checked} checked, all as declared."
    text = f"Drift in {len(outcome.drifting)} of {checked}: {sum_words(outcome.drifting)}."
    left = [each for each in report.measures_now if each.drifts]
    if report.applied and report.applied.results:
        text += f" After remediation: {sum_words(left)}." if left else " All of it was remediated and proven."
    return text


def counts(outcome: DriftRound) -> dict[str, int]:
    """Pools, disks and GB over the whole round; all zero when nothing was measured."""
    found = outcome.report.measures if outcome.report else ()
    return {
        "pools": len(found),
        "drifting": len(outcome.drifting),
        "surplus_disks": sum(each.surplus for each in found),
        "missing_disks": sum(each.missing for each in found),
        "differing_disks": sum(each.differing for each in found),
        "surplus_gigabytes": sum(each.surplus_gb for each in found),
        "leftover_copies": sum(each.leftover_copies for each in found),
    }


def drift_page(outcome: DriftRound) -> tuple[str, list[str]]:
    """The round for the page of a CI job: Markdown, and annotations for what the guards block."""
    from reconciler.render import github  # noqa: PLC0415 - only under GitHub Actions
    from reconciler.render.markdown import code, fitting, prose  # noqa: PLC0415

    report = outcome.report
    rows = [
        f"| {code(each.pool.label)} | {each.surplus} | {each.missing} | {each.differing} | {each.surplus_gb} GB |\n"
        for each in outcome.drifting
    ]
    head = "| pool | surplus disks | missing disks | differing disks | surplus |\n|---|--:|--:|--:|--:|\n"
    table = (head if rows else "") + fitting(rows, github.SUMMARY_LIMIT // 2, "pool")
    whom = "".join(f"{prose(each)}\n\n" for each in acting(report.plan.services)) if report else ""
    text = f"## {prose(headline(outcome))}\n\n{whom}{table}\n"
    if report is None:
        return text, [github.annotation("error", "drift", [headline(outcome)])]
    done, notes = report_page(report.applied) if report.applied and _acted(report.applied) else ("", [])
    return text + done, [*github.plan_annotations(report.plan), *notes]


def _acted(applied: ApplyReport) -> bool:
    """Whether a remediation has something to show: results, or an alarm."""
    return bool(applied.results) or any(each.result.status is Status.ALARM for each in applied.resolutions)


def metrics(outcome: DriftRound, deliveries: Deliveries | None = None) -> str:
    """The round as Prometheus metrics: the drift that is left after remediation, and what became of messages."""
    return drift_metrics(outcome, deliveries or Deliveries())


def _pool_lines(found: Measure) -> Iterator[Line]:
    pool = found.pool
    yield Line(f"  {pool.label}: {sum_words([found])}", Tone.STRONG)
    for change in settled(pool):
        if change in pool.drift:
            yield drift_line(pool, change)
    for tie in pool.ties:
        yield Line(f"  ? {tie.remove} of {len(tie.candidates)} equally good disks are surplus", Tone.WARN)
    yield Line()
    yield from leftover_lines(pool)


def _hindrances(report: DriftReport) -> Iterator[Line]:
    """What the guards block, what could not be read, and what the policy does not allow."""
    blocking = [each for each in report.plan.all_findings if each.severity is Severity.BLOCK]
    for finding in blocking:
        yield from finding_lines(finding, Tone.BLOCK)
    changing = [each for pool in report.plan.pools if is_being_changed(pool) for each in pool.findings]
    changing += [each for each in report.plan.findings if each.severity is Severity.WARN]
    for finding in changing:
        yield from finding_lines(finding, Tone.WARN)
    for failure in report.plan.failures:
        yield Line(f"  ! target {failure.target} could not be read: {failure.message}", Tone.BLOCK)
    if report.refused:
        yield Line("Not remediated:", Tone.WARN)
    for finding in report.refused:
        yield from finding_lines(finding, Tone.WARN)
    if blocking or changing or report.plan.failures or report.refused:
        yield Line()


def sum_words(found: Sequence[Measure]) -> str:
    """Disks and GB over these pools, in words; empty when nothing differs."""
    surplus, missing, differing, gigabytes, left = (
        sum(getattr(each, name) for each in found)
        for name in ("surplus", "missing", "differing", "surplus_gb", "leftover_copies")
    )
    parts = [
        f"{count(surplus, 'surplus disk')} ({gigabytes} GB over all desktops)" if surplus else "",
        count(missing, "missing disk") if missing else "",
        count(differing, "differing disk") if differing else "",
        f"{count(left, 'copy', 'copies')} left by partial removals" if left else "",
    ]
    return ", ".join(filter(None, parts))
