"""The JSON of the journal: its runs, or one of them whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import Field, RootModel

from reconciler.apply.unnamed import unnamed_record
from reconciler.journal.records import PLAN_APPROVED, ClosedBy, Run, RunRecord, Way
from reconciler.journal.states import State, Step
from reconciler.planning.anonymous import anonymised
from reconciler.render.history import approved_plan
from reconciler.render.json.base import (
    Count,
    Document,
    Entry,
    Flag,
    Integer,
    Moment,
    Open,
    Seconds,
    Text,
    json_text,
)
from reconciler.render.json.marks import AnnouncementEntry, announcement_entry
from reconciler.render.json.plan import Names, PlanDocument, plan_document
from reconciler.render.ways_back import RECYCLE_BIN, WayBack, ways_back

FORMAT_VERSION: Final = "1.4"


class ApprovedEntry(Entry):
    """How a run was approved."""

    way: Way
    principals: list[Text] = Field(description="Who signed, as the policy's allowed_signers calls them.")


class OriginEntry(Entry):
    """Who started a run, and from what, as its environment said."""

    actor: Text = Field(
        description="The CI's user, or user@host; empty when an older version recorded the run."
    )
    commit: Text = Field(description="Empty: not known.")
    pull_request: Text = Field(description="Its number; empty: not known.")
    run_url: Text = Field(description="Where the CI shows the run; empty: not known.")


class RunEntry(Entry):
    """One run of a command that wrote to the journal."""

    id: Text
    command: Text
    tool_version: Text
    targets: list[Text] = Field(description="region/project_id of each.")
    started: Moment
    ended: Moment | None = Field(description="Null: still running, or it died.")
    digest: Text = Field(description="Digest of the plan; empty when none was made.")
    exit_code: Integer | None = Field(description="Null: still running, or it died.")
    summary: Open = Field(description="Counts of the run, by names of the command's own.")
    approved: ApprovedEntry | None = Field(
        description="Null: not approved, or by the drift policy alone, or recorded by an older version."
    )
    policy: Text = Field(description="Digest of the policy that the run obeyed; empty when there was none.")
    origin: OriginEntry


class PoolKeyEntry(Entry):
    """One pool of one project, as one service knows it."""

    target: Text = Field(description="region/project_id.")
    service: Text = Field(description="Host of the endpoint, or that of the sandbox.")
    pool_id: Text


class SentDiskEntry(Entry):
    """One disk as the request names it."""

    id: Text = Field(description="Empty for a disk to add.")
    type: Text
    size: Integer = Field(description="GB.")


class KeptBackupEntry(Entry):
    """A backup of a desktop; what can be restored from it is not documented."""

    id: Text
    at: Text = Field(description="When it was made (protected_at), ISO 8601 with an offset.")


class SentCopyEntry(Entry):
    """One copy of a disk to remove: the volume on one desktop."""

    disk_id: Text
    desktop_id: Text
    desktop_name: Text = Field(description="Empty with --anonymise: it is often that of the user.")
    volume_id: Text = Field(description="Empty when the service left it out.")
    size: Integer = Field(description="GB.")
    users: Names = Field(description="Names of the users bound to the desktop; none with --anonymise.")
    backups: list[KeptBackupEntry] = Field(
        description="Usable backups of that desktop that may hold the copy, newest first, at most 10; empty where no "
        "backup was asked for."
    )


class IntentEntry(Entry):
    """What was about to be sent, written down before the call."""

    operation_id: Text
    run_id: Text = Field(description="The run that opened it.")
    pool: PoolKeyEntry
    pool_name: Text
    step: Step
    handle_type: Text | None = Field(description="As sent; null: left out of the request.")
    disks: list[SentDiskEntry]
    keep: list[Text] = Field(description="Ids of the disks that must survive.")
    baseline_jobs: list[Text] = Field(
        description="Ids of the pool's jobs that were known before the request."
    )
    generation: Count = Field(description="The pool's generation, taken before the pool was read.")
    signed_at: Moment
    not_after: Moment | None = Field(
        description="From then on the request can no longer arrive; null: unknown, only a person can decide."
    )
    plan_digest: Text
    copies: list[SentCopyEntry] = Field(
        description="Every copy of the disks to remove, as read before the call; empty when they were not kept."
    )


class OutcomeEntry(Entry):
    """What became of one call, with what the service said."""

    state: State
    job_id: Text = Field(description="Empty when the service gave none.")
    request_id: Text = Field(description="Empty when the service gave none.")
    status: Integer | None = Field(description="HTTP status; null when no answer arrived.")
    code: Text = Field(description="The service's error code; empty when it gave none.")
    message: Text
    retry_after: Seconds | None = Field(description="Seconds the service asked to wait; not kept, so null.")


class OperationEntry(Entry):
    """One intent and everything known of its fate."""

    intent: IntentEntry
    state: State
    outcome: OutcomeEntry | None = Field(description="Null until an outcome was recorded.")
    owner: Text = Field(description="Id of the only run that may write to this operation now.")
    lease_until: Moment = Field(description="From then on another run may take over.")
    opened: Moment
    closed: Moment | None = Field(description="Null: unresolved, and the pool gets no other operation.")
    verdict: Text = Field(description="Why it was closed; empty while it is open.")
    closed_by: ClosedBy | None


class WayBackEntry(Entry):
    """The handles that are left of what one operation destroyed; none of them promises a restore."""

    operation: Text = Field(description="Its id.")
    certain: Flag = Field(description="False when it is not proven that anything was destroyed.")
    copies: list[SentCopyEntry] = Field(
        description="The copies it was about, with volume ids and backups; empty when they were not kept."
    )
    trace: Text = Field(description="Where to look in Cloud Trace Service.")
    recycle_bin: Text
    ticket: Text = Field(description="A text for the vendor's support, of several lines; names nobody.")


class DamagedEntry(Entry):
    """An operation whose row is not as it was written, so that nothing of it can be trusted."""

    id: Text
    pool: PoolKeyEntry
    pool_name: Text


class EventEntry(Entry):
    """One thing that happened in a run."""

    seq: Count = Field(description="Grows over the whole journal, in the order of writing.")
    run_id: Text
    operation_id: Text | None = Field(description="Null for an event of the run as a whole.")
    at: Moment
    kind: Text
    detail: Open = Field(description="What is known of it, by names of the event's own.")


class HistoryDocument(Document):
    """The latest runs in the journal, newest first."""

    runs: list[RunEntry]


class RunDocument(RunEntry, Document):
    """One run whole."""

    plan: PlanDocument | None = Field(
        description="The plan it carried out; null when it approved none, or one that only another version reads."
    )
    operations: list[OperationEntry] = Field(
        description="Those it opened and those it took over, in order of opening."
    )
    damaged: list[DamagedEntry] = Field(description="Its operations whose rows are damaged; usually empty.")
    announcements: list[AnnouncementEntry] = Field(
        description="Messages to the people of pools that it sent, oldest first."
    )
    events: list[EventEntry] = Field(description="In order of writing.")
    ways_back: list[WayBackEntry] = Field(
        description="Every handle that is left of what the run destroyed; empty when it destroyed nothing."
    )


class AnyHistoryDocument(RootModel[HistoryDocument | RunDocument]):
    """The runs in the journal (history), or one of them whole (history show)."""


def _way_back(found: WayBack) -> WayBackEntry:
    return WayBackEntry(
        operation=found.operation.id,
        certain=found.certain,
        copies=[SentCopyEntry.model_validate(each) for each in found.copies],
        trace=found.trace,
        recycle_bin=RECYCLE_BIN,
        ticket=found.ticket,
    )


def history_json(runs: Sequence[Run]) -> str:
    """The runs as JSON text."""
    entries = [RunEntry.model_validate(each) for each in runs]
    return json_text(HistoryDocument(format_version=FORMAT_VERSION, runs=entries))


def run_json(record: RunRecord, indent: int | None = 2, *, anonymise: bool = False) -> str:
    """One run as JSON text, with its plan, operations and events; without an indent in one line."""
    plan = approved_plan(record)
    if anonymise:
        plan, record = plan and anonymised(plan), unnamed_record(record)
    # A plan that only another version reads is left out too where nobody may be named.
    events = [each for each in record.events if each.kind != PLAN_APPROVED or not (plan or anonymise)]
    return json_text(
        RunDocument(
            format_version=FORMAT_VERSION,
            **dict(RunEntry.model_validate(record.run)),
            plan=plan_document(plan) if plan else None,
            operations=[OperationEntry.model_validate(each) for each in record.operations],
            damaged=[DamagedEntry.model_validate(each) for each in record.damaged],
            announcements=[announcement_entry(each) for each in record.announcements],
            events=[EventEntry.model_validate(each) for each in events],
            ways_back=[_way_back(each) for each in ways_back(record)],
        ),
        indent,
    )
