"""The JSON of one round of ``drift``: what was found, what was done about it, and what was left alone."""

from __future__ import annotations

from typing import Final

from pydantic import Field, RootModel

from reconciler.apply.results import DriftReport, DriftRound
from reconciler.errors import ExitCode, ReconcilerError
from reconciler.planning.drift import Measure
from reconciler.render.drift_report import counts, headline
from reconciler.render.json.apply import ApplyDocument, apply_document
from reconciler.render.json.base import Count, Document, Entry, Flag, Moment, Seconds, Text, json_text
from reconciler.render.json.error import ErrorEntry, error_entry
from reconciler.render.json.finding import FindingEntry
from reconciler.render.json.plan import (
    FailureEntry,
    LeftoversEntry,
    ResourceChange,
    TargetEntry,
    leftovers_entries,
    resource_change,
    target_entries,
)

FORMAT_VERSION: Final = "1.1"


class DriftSummary(Entry):
    """Counts over all pools that were found and read without a doubt."""

    pools: Count
    drifting: Count = Field(description="Pools that differ from their manifest.")
    surplus_disks: Count = Field(description="Disks that are live but not declared.")
    missing_disks: Count = Field(description="Disks that are declared but not live.")
    differing_disks: Count = Field(description="Disks that are smaller than declared, or otherwise differ.")
    surplus_gigabytes: Count = Field(description="GB of the surplus disks over all desktops.")
    leftover_copies: Count = Field(description="Copies that removals done only in part have left.")


class DueEntry(Entry):
    """A disk whose grace has ended."""

    target: Text = Field(description="region/project_id.")
    pool: Text = Field(description="The pool's name.")
    pool_id: Text | None
    disk: Text
    due: Moment


class DriftingPool(Entry):
    """One pool with drift."""

    target: Text = Field(description="region/project_id.")
    pool: Text = Field(description="The pool's name.")
    pool_id: Text | None
    surplus_disks: Count = Field(description="Disks that are live but not declared.")
    missing_disks: Count = Field(description="Disks that are declared but not live.")
    differing_disks: Count = Field(description="Disks that are smaller than declared, or otherwise differ.")
    surplus_gigabytes: Count = Field(description="GB of the surplus disks over all desktops.")
    leftover_copies: Count = Field(description="Copies that removals done only in part have left.")
    blocked: Flag = Field(description="True when a finding forbids changing this pool.")
    corrected: Flag = Field(description="True when this run has proven the pool to be as declared.")


class _Round(Document):
    """What is known of a round however it ended."""

    run: Text | None
    started: Moment
    duration_seconds: Seconds
    exit_code: ExitCode
    headline: Text = Field(description="The whole round in one sentence.")
    error: ErrorEntry | None


class FailedDriftDocument(_Round):
    """A round that failed before anything was measured."""

    run: None


class DriftDocument(_Round):
    """A round that measured how far the pools are from their manifests."""

    run: Text = Field(description="Id of the run, as history show takes it.")
    error: None
    sandbox: Flag = Field(description="True when any target is the simulated service.")
    targets: list[TargetEntry]
    summary: DriftSummary
    pools: list[DriftingPool] = Field(description="The pools with drift, as they were found.")
    resource_changes: list[ResourceChange] = Field(description="The disks that differ, as in the plan.")
    leftovers: list[LeftoversEntry] = Field(description="What removals done only in part have left.")
    findings: list[FindingEntry] = Field(description="What the guards of the plan found.")
    failures: list[FailureEntry] = Field(description="Targets that could not be planned.")
    not_corrected: list[FindingEntry] = Field(description="Why the policy left drift alone.")
    correction: ApplyDocument | None = Field(description="What was done; null when nothing was to be done.")
    correction_error: ErrorEntry | None = Field(
        description="Why the correction as a whole was refused, or could not begin."
    )
    became_due: list[DueEntry] = Field(description="Disks whose grace has ended since the last round.")
    unresolved_operations: Count = Field(description="Open operations of these targets at the end.")
    open_alarms: Count = Field(description="Alarms of these targets that no person has closed.")


class AnyDriftDocument(RootModel[DriftDocument | FailedDriftDocument]):
    """How far the pools are from their manifests, or why that could not be determined; then run is null."""


def drift_json(outcome: DriftRound) -> str:
    """One round as JSON text."""
    return json_text(drift_document(outcome))


def drift_document(outcome: DriftRound) -> DriftDocument | FailedDriftDocument:
    """One round; ``pools`` and ``resource_changes`` hold those with drift alone."""
    if outcome.report:
        return _measured(outcome, outcome.report)
    return FailedDriftDocument(
        format_version=FORMAT_VERSION,
        run=None,
        started=outcome.started,
        duration_seconds=round(outcome.seconds, 3),
        exit_code=outcome.exit_code,
        headline=headline(outcome),
        error=_error(outcome.error),
    )


def _measured(outcome: DriftRound, report: DriftReport) -> DriftDocument:
    plan = report.plan
    left = {id(found): now for found, now in zip(report.measures, report.measures_now, strict=True)}
    return DriftDocument(
        format_version=FORMAT_VERSION,
        run=report.run_id,
        started=outcome.started,
        duration_seconds=round(outcome.seconds, 3),
        exit_code=outcome.exit_code,
        headline=headline(outcome),
        error=None,
        sandbox=plan.sandbox,
        targets=target_entries(plan),
        summary=DriftSummary(**counts(outcome)),
        pools=[_pool(each, left[id(each)]) for each in outcome.drifting],
        resource_changes=[resource_change(pool, change) for pool in plan.pools for change in pool.drift],
        leftovers=leftovers_entries(plan),
        findings=[FindingEntry.model_validate(each) for each in plan.all_findings],
        failures=[FailureEntry.model_validate(each) for each in plan.failures],
        not_corrected=[FindingEntry.model_validate(each) for each in report.refused],
        correction=apply_document(report.applied) if report.applied else None,
        correction_error=_error(report.error),
        became_due=[
            DueEntry(
                target=str(each.pool.target),
                pool=each.pool.label,
                pool_id=each.pool.live.id if each.pool.live else None,
                disk=each.disk_id,
                due=each.due,
            )
            for each in report.became_due
        ],
        unresolved_operations=report.unresolved,
        open_alarms=len(report.alarms),
    )


def _pool(found: Measure, now: Measure) -> DriftingPool:
    pool = found.pool
    return DriftingPool(
        target=str(pool.target),
        pool=pool.label,
        pool_id=pool.live.id if pool.live else None,
        surplus_disks=found.surplus,
        missing_disks=found.missing,
        differing_disks=found.differing,
        surplus_gigabytes=found.surplus_gb,
        leftover_copies=found.leftover_copies,
        blocked=pool.blocked,
        corrected=not now.drifts,
    )


def _error(error: ReconcilerError | None) -> ErrorEntry | None:
    return error_entry(error, int(error.exit_code)) if error else None
