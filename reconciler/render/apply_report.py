"""Renders a finished apply: a line per pool, the operations in flight, and a closing line; as text, page and JSON.

Printing is left to ``cli``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.apply.results import ApplyReport, Resolution, Status
from reconciler.errors import ExitCode
from reconciler.journal.records import Operation
from reconciler.planning.plan import PoolPlan
from reconciler.render.line import Line, Tone, count
from reconciler.render.words import acting

_TONES = {Status.DONE: Tone.ADD, Status.NOT_STARTED: Tone.FAINT, Status.ACCEPTED: Tone.CHANGE}
MOST_NAMES = 5
"""Blocked pools that the last line names."""
ERROR = "Error: "
"""How the line begins that says an apply was refused or partial: Terraform's, which programs look for."""


def report_lines(report: ApplyReport) -> Iterator[Line]:
    """What was done, what failed, what was not started, and what is still in flight."""
    yield from _result_lines(report)
    yield from in_flight_lines(report.in_flight)
    yield closing_line(report)
    yield _in_journal(report)


def retry_lines(report: ApplyReport) -> Iterator[Line]:
    """How a retry ended, counted in copies."""
    yield from _result_lines(report)
    yield from in_flight_lines(report.in_flight)
    done, planned = (sum(getattr(each, name) for each in report.results) for name in ("done", "planned"))
    if report.results and report.plan:
        copies = count(planned, "copy", "copies")
        good = all(each.status is Status.DONE for each in report.results) and not report.exit_code
        words = (
            f"Retry complete! {copies} proven gone."
            if good
            else f"Retry incomplete: {done} of {copies} gone."
        )
        yield Line(ERROR * (not good) + words, Tone.ADD if good else Tone.BLOCK)
    if report.exit_code and not (report.results and report.plan):
        yield Line(verdict(report), Tone.BLOCK)
    yield _in_journal(report)


def _result_lines(report: ApplyReport) -> Iterator[Line]:
    if report.results:
        yield Line()
        width = max(len(result.pool) for result in report.results)
        for result in report.results:
            tone = _TONES.get(result.status, Tone.BLOCK)
            numbers = f"{result.done}/{result.planned}"
            yield Line(
                f"  {result.pool:<{width}}  {result.status.value:<11} {numbers:>7}  {result.message}", tone
            )
            if result.hint:
                yield Line(f"  {'':<{width}}  {result.hint}", Tone.FAINT)
        yield Line()


def resolution_lines(resolutions: Sequence[Resolution]) -> Iterator[Line]:
    """How operations ended that earlier runs left open."""
    for each in resolutions:
        verb = "resolved" if each.resolved else "still open"
        intent = each.operation.intent
        yield Line(
            f"{intent.pool_name}: operation {each.operation.id} of run {intent.run_id} {verb}: "
            f"{each.result.status.value}: {each.result.message}",
            Tone.PLAIN if each.resolved else Tone.BLOCK,
        )
        if each.result.hint:
            yield Line(f"  {each.result.hint}", Tone.FAINT)


def in_flight_lines(operations: Sequence[Operation]) -> Iterator[Line]:
    """Operations that are open: sent or about to be, without a result."""
    for operation in operations:
        job = operation.outcome.job_id if operation.outcome else ""
        yield Line(
            f"In flight: {operation.intent.pool_name}: {operation.intent.step.value} of "
            f"{count(len(operation.intent.disks), 'disk')}, operation {operation.id}, "
            f"{operation.state.value}{f', job {job}' if job else ''}. The next apply will resolve it first.",
            Tone.WARN,
        )


def report_page(report: ApplyReport) -> tuple[str, list[str]]:
    """The same for the page of a CI job: Markdown, and one annotation per pool that did not end well."""
    from reconciler.render.github import SUMMARY_LIMIT, annotation  # noqa: PLC0415 - only under GitHub Actions
    from reconciler.render.markdown import code, fitting, prose  # noqa: PLC0415

    rows = [
        f"| {code(each.pool)} | {each.status.value} | {each.done} of {each.planned} | {prose(each.message)} |\n"
        for each in report.results
    ]
    earlier = [each for each in report.resolutions if not each.resolved or each.result.status is Status.ALARM]
    open_ones = [
        f"- {prose(line.text)}\n" for line in (*resolution_lines(earlier), *in_flight_lines(report.in_flight))
    ]
    parts = [
        # What went well names nobody.
        f"## {prose(verdict(report)) if report.exit_code else verdict(report)}\n\n",
        *(f"{prose(each)}\n\n" for each in (acting(report.plan.services) if report.plan else ())),
        "| pool | ended | proven | what happened |\n|---|---|--:|---|\n" if rows else "",
        fitting(rows, SUMMARY_LIMIT, "pool"),
        "\n",
        *open_ones,
        f"\nRun {code(report.run_id)}\n\n",
    ]
    bad = [each for each in report.results if each.status not in _TONES]
    notes = [
        annotation("error", each.status.value, [f"{each.pool}: {each.message}", each.hint]) for each in bad
    ]
    notes += [
        annotation(
            "error", "earlier operation", [f"{each.operation.intent.pool_name}: {each.result.message}"]
        )
        for each in earlier
    ]
    return "".join(parts), notes


def _complete(report: ApplyReport) -> bool:
    return (
        report.exit_code is ExitCode.DONE
        and not report.remaining
        and not _blocked(report)
        and all(each.done == each.planned for each in report.results)
    )


def _blocked(report: ApplyReport) -> list[PoolPlan]:
    """The pools that the plan left alone, also where nobody can say what they would lose."""
    return [pool for pool in report.plan.pools if pool.blocked] if report.plan else []


def headline(report: ApplyReport) -> str:
    """What was carried out, and what was left alone: a run that did both says both."""
    blocked = _blocked(report)
    held = f" {count(len(blocked), 'pool')} blocked and left alone: {_names(blocked)}." if blocked else ""
    if not report.results:
        return f"Nothing was applied.{held}{_also(report)}"
    done = sum(result.done for result in report.results)
    if _complete(report):
        proof = (
            "a new plan shows no changes" if report.remaining == 0 else "no new plan could be made to compare"
        )
        return f"Apply complete! {count(done, 'change')} proven; {proof}."
    left_alone = {(pool.target, pool.live.id) for pool in blocked if pool.live}
    planned = sum(result.planned for result in report.results if result.key not in left_alone)
    left = f" A new plan shows {report.remaining} left." if report.remaining else ""
    return f"Apply incomplete: {done} of {count(planned, 'change')} proven.{left}{held}{_also(report)}"


def verdict(report: ApplyReport) -> str:
    """The headline for programs that read Terraform's output: begins with ``Error:`` or ``Apply complete!``."""
    if report.exit_code:
        return ERROR + headline(report)
    return headline(report) if report.results else f"Apply complete! {count(0, 'change')}."


def _also(report: ApplyReport) -> str:
    """What else keeps a run from having ended well."""
    failures = len(report.plan.failures) if report.plan else 0
    earlier = sum(each.result.status is not Status.DONE for each in report.resolutions)
    found = f" {count(failures, 'target')} could not be planned." if failures else ""
    if earlier and report.exit_code:
        found += f" {count(earlier, 'earlier operation')} did not end well."
    if report.exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
        found += " The run was interrupted."
    return found


def _names(pools: Sequence[PoolPlan]) -> str:
    more = f" and {len(pools) - MOST_NAMES} more" if len(pools) > MOST_NAMES else ""
    return ", ".join(pool.label for pool in pools[:MOST_NAMES]) + more


def closing_line(report: ApplyReport) -> Line:
    """How the run ended, in one line."""
    return Line(verdict(report), Tone.BLOCK if report.exit_code else Tone.ADD)


def _in_journal(report: ApplyReport) -> Line:
    return Line(f"Run {report.run_id} is in the journal: reconciler history show {report.run_id}", Tone.FAINT)
