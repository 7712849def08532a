"""Takes the names of desktops and their people out of what was done, for what others can read.

Pure. A desktop is often called after its user, so only its id stays; the plan's part is ``planning.anonymous``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from reconciler.apply.partial import PARTS, ByDesktop, Share, unnamed, words
from reconciler.apply.results import ApplyReport, DriftReport, PoolResult, Result
from reconciler.journal.records import DESKTOPS, Event, Operation, RunRecord
from reconciler.planning.anonymous import Numbers, anonymised, anonymised_pool
from reconciler.values import replace

Ended = TypeVar("Ended", Result, PoolResult)


def unnamed_report(report: ApplyReport) -> ApplyReport:
    """The same report of an apply."""
    return replace(
        report,
        plan=report.plan and anonymised(report.plan),
        results=tuple(_result(each) for each in report.results),
        resolutions=tuple(replace(each, result=_result(each.result)) for each in report.resolutions),
    )


def unnamed_drift(report: DriftReport) -> DriftReport:
    """The same round of drift, with the pools that it measured and what it applied."""
    return replace(
        report,
        plan=anonymised(report.plan),
        measures=tuple(replace(each, pool=anonymised_pool(each.pool)) for each in report.measures),
        applied=report.applied and unnamed_report(report.applied),
    )


def unnamed_record(record: RunRecord) -> RunRecord:
    """The same record of the journal without names, save those of the plan in it."""
    named = [_of(each.detail) for each in record.events if each.kind == DESKTOPS]
    numbers = Numbers()
    return replace(
        record,
        operations=tuple(_operation(each, named, numbers) for each in record.operations),
        events=tuple(_event(each, named) for each in record.events),
    )


def _result(result: Ended) -> Ended:
    if not result.desktops:
        return result
    message = _without(result.message, [result.desktops])
    return replace(result, message=message, desktops=unnamed(result.desktops))


def _operation(operation: Operation, named: Iterable[ByDesktop], numbers: Numbers) -> Operation:
    copies = tuple(numbers.copy(each) for each in operation.intent.copies)
    intent = replace(operation.intent, copies=copies)
    return replace(operation, intent=intent, verdict=_without(operation.verdict, named))


def _event(event: Event, named: Iterable[ByDesktop]) -> Event:
    if event.kind == DESKTOPS:
        return replace(event, detail=unnamed(_of(event.detail)).detail())
    detail = {
        name: _without(value, named) if isinstance(value, str) else value
        for name, value in event.detail.items()
    }
    return replace(event, detail=detail)


def _without(text: str, named: Iterable[ByDesktop]) -> str:
    for each in named:
        text = text.replace(words(each), words(unnamed(each)))
    return text


def _of(detail: Mapping[str, Any]) -> ByDesktop:
    """The desktops as the journal keeps them; what is not of that form is left out."""
    return ByDesktop(
        *(
            tuple(
                Share(
                    str(each.get("desktop_name") or ""),
                    str(each.get("desktop_id")),
                    int(each.get("copies") or 0),
                )
                for each in detail.get(part, ())
            )
            for part in PARTS
        )
    )
