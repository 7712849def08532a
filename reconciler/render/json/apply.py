"""The JSON of a finished run of ``apply``: what was done, what failed, and what is still in flight."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from reconciler.apply.results import ApplyReport, PoolResult, Status
from reconciler.errors import ExitCode
from reconciler.render.json.base import Count, Digest, Document, Entry, Flag, Said, Text, entry_of, json_text
from reconciler.render.json.plan import TargetEntry, target_entries
from reconciler.render.json.resolve import DesktopsEntry, ResolutionEntry, desktops_entry, resolution_entry

FORMAT_VERSION: Final = "1.1"


class ResultEntry(Entry):
    """What became of one pool."""

    target: Text = Field(description="region/project_id.")
    pool: Text = Field(description="The pool's name.")
    ending: Status
    done: Count = Field(description="Disk changes proven done in this run.")
    planned: Count = Field(description="Disk changes that were to be carried out.")
    message: Text
    hint: Said = Field(description="What to do; null when nothing can be said.")
    desktops: DesktopsEntry | None = Field(
        description="How far a job came that did only a part; null for any other end."
    )


class ApplyDocument(Document):
    """How a run of apply went."""

    run: Text = Field(description="Id of the run, as history show takes it.")
    exit_code: ExitCode
    digest: Digest | None = Field(description="That of the plan; null when none was made.")
    sandbox: Flag = Field(description="True when any target is the simulated service.")
    targets: list[TargetEntry] = Field(description="Those of the plan, and as whom they were changed.")
    remaining: Count | None = Field(
        description="Changes that a new plan still shows for the pools done; null when it was not made."
    )
    results: list[ResultEntry] = Field(description="One entry per pool that was to be changed.")
    resolved: list[ResolutionEntry] = Field(description="Operations that earlier runs had left open.")
    in_flight: list[Text] = Field(description="Ids of this run's operations that are still open.")


def apply_json(report: ApplyReport) -> str:
    """A finished run as JSON text."""
    return json_text(apply_document(report))


def apply_document(report: ApplyReport) -> ApplyDocument:
    """A finished run."""
    return ApplyDocument(
        format_version=FORMAT_VERSION,
        run=report.run_id,
        exit_code=report.exit_code,
        digest=report.plan.digest if report.plan else None,
        sandbox=bool(report.plan and report.plan.sandbox),
        targets=target_entries(report.plan) if report.plan else [],
        remaining=report.remaining,
        results=[_result(each) for each in report.results],
        resolved=[resolution_entry(each) for each in report.resolutions],
        in_flight=[each.id for each in report.in_flight],
    )


def _result(result: PoolResult) -> ResultEntry:
    desktops = desktops_entry(result.desktops)
    return entry_of(ResultEntry, result, target=str(result.target), ending=result.status, desktops=desktops)
