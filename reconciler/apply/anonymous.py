"""Takes the names of people and desktops out of what a run reports, as ``planning.anonymous`` does for its plan.

The journal keeps the names; this is for what others will see.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from reconciler.apply.partial import words
from reconciler.apply.results import ApplyReport, DriftReport, PoolResult, Result
from reconciler.planning.anonymous import anonymised, anonymised_pool

Ended = TypeVar("Ended", Result, PoolResult)


def unnamed(result: Ended) -> Ended:
    """How something ended, with the ids of desktops in the place of their names."""
    if result.desktops is None:
        return result
    desktops = result.desktops.unnamed
    message = result.message.replace(words(result.desktops), words(desktops))
    return replace(result, message=message, desktops=desktops)


def anonymised_apply(report: ApplyReport) -> ApplyReport:
    """The report of an apply that names nobody."""
    return replace(
        report,
        plan=report.plan and anonymised(report.plan),
        results=tuple(map(unnamed, report.results)),
        resolutions=tuple(replace(each, result=unnamed(each.result)) for each in report.resolutions),
    )


def anonymised_drift(report: DriftReport) -> DriftReport:
    """The report of a round that names nobody."""
    return replace(
        report,
        plan=anonymised(report.plan),
        measures=tuple(replace(each, pool=anonymised_pool(each.pool)) for each in report.measures),
        applied=report.applied and anonymised_apply(report.applied),
    )
