"""The journal's values and its protocol: what other modules can record and query.

Storage is left to ``store``, and no database is imported here. Times are timezone-aware UTC, sizes are GB.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from reconciler.errors import StalePlan
from reconciler.journal.states import Outcome, State, Step
from reconciler.model import LostCopy, Notice
from reconciler.values import Struct, field

Now = Callable[[], datetime]
"""Returns the current time, timezone-aware, in UTC."""

PLAN_APPROVED = "plan.approved"
"""The kind of the event that holds the plan a run carried out."""
IDENTITY = "identity"
"""The kind of the event that names, for each target, as whom it is read and changed."""
IDENTITIES = "identities"
"""The name of the same in a run's summary, without the targets."""
DESKTOPS = "operation.desktops"
"""The kind of the event that keeps on which desktops a job that did only a part did it."""


class StaleGeneration(StalePlan):
    """An operation on the pool was opened or closed after the pool was read, so the reading is stale."""


class ClosedBy(StrEnum):
    """Who decided that an operation is over."""

    RUN = "run"
    RESOLVE = "resolve"
    PERSON = "person"


class PoolKey(Struct, frozen=True, order=True):
    """One pool of one project, as one service knows it."""

    target: str
    """``region/project_id``."""
    service: str
    """Endpoint host, or ``sandbox``: the same ids at another service mean another pool."""
    pool_id: str


class SentDisk(NamedTuple):
    """One disk as the request names it."""

    id: str
    """Empty for a new disk."""
    type: str
    size: int
    """GB."""


class Claim(NamedTuple):
    """One item that a run is about to destroy, as one limit counts it."""

    kind: str
    """The limit: ``disks``, ``copies``, ``pools``, ``gigabytes`` or ``users``."""
    item: str
    """A name that is the same in every run, so that claiming the item again adds nothing."""
    amount: int


class DayBudget(NamedTuple):
    """How many disks of one target may go in one UTC day, over all runs; a run without it has no such bound."""

    disks: int
    source: str
    """Where it was set."""


class GraceRule(NamedTuple):
    """What must hold of every disk of a removal when it is opened: it has been surplus for so long."""

    grace: timedelta
    service_time: datetime | None
    """The time by the service; None when it does not say. The earlier of this and the journal's clock counts."""
    announced: timedelta | None = None
    """Its people must have been notified so long before; None: nobody need be."""


class DayUse(NamedTuple):
    """What one run has removed of one target since a time, or may yet have."""

    who: str
    """The run, or the operation of which the record is damaged."""
    disks: int
    since: datetime | None
    """When the first of these removals was opened; None when that is not known."""

    def __str__(self) -> str:
        """As in ``run 4711: 6 disks from 23:59:58 UTC``."""
        plural = "" if self.disks == 1 else "s"
        return f"{self.who}: {self.disks} disk{plural}" + (
            f" from {self.since:%H:%M:%S} UTC" if self.since else ""
        )


class Intent(Struct, frozen=True):
    """What is about to be sent, complete enough to find out its effect later."""

    operation_id: str
    run_id: str
    pool: PoolKey
    pool_name: str
    step: Step
    handle_type: str | None
    """As sent; None when left out of the request."""
    disks: tuple[SentDisk, ...]
    keep: tuple[str, ...]
    """Ids of the disks that must stay."""
    baseline_jobs: tuple[str, ...]
    """Ids of the pool's jobs that were known before the request; any other may be its job. ``workspace.UNLISTED``
    is among them where the service could not list all, and then only those that had not ended are."""
    generation: int
    """The pool's generation, taken before the pool was read."""
    signed_at: datetime
    not_after: datetime | None
    """From then on the request can no longer be accepted; None when unknown, so that only a person can decide."""
    plan_digest: str
    copies: tuple[LostCopy, ...] = ()
    """Every copy of the disks to remove, as read before the call; empty when unknown, as in older journals.
    For a retry those that are left, by which it is proven."""


class Operation(Struct, frozen=True):
    """One intent and everything known about what followed."""

    intent: Intent
    state: State
    outcome: Outcome | None
    """None until an outcome is recorded."""
    owner: str
    """Id of the only run that may write to this operation now."""
    lease_until: datetime
    """From then on another run may take over."""
    opened: datetime
    closed: datetime | None = None
    """None: unresolved, and no other operation can be opened on the pool."""
    verdict: str = ""
    """The result in words; empty while it is open."""
    closed_by: ClosedBy | None = None

    @property
    def id(self) -> str:
        """The operation's id."""
        return self.intent.operation_id


class DamagedOperation(Struct, frozen=True):
    """A row that is not what this program wrote: its checksum does not fit, or it cannot be read at all."""

    id: str
    pool: PoolKey
    """As the row has it, so it may be wrong too."""
    pool_name: str

    @property
    def message(self) -> str:
        """One sentence that names the pool."""
        return f"the journal's record of operation {self.id} on pool {self.pool_name} ({self.pool.pool_id}) is damaged"


DAMAGED_HINT = (
    "Nothing is sent for this pool. Restore the journal from a backup (see the README, 'The journal'), "
    "and check the pool's disks and jobs in the console; without a backup, close the record by its id with "
    "resolve --accept-as done."
)
"""What to do about a ``DamagedOperation``."""


class Way(StrEnum):
    """How a run was approved."""

    INTERACTIVE = "interactive"
    AUTO_APPROVE = "auto-approve"
    DIGEST = "digest"
    PLAN_FILE = "plan-file"
    SIGNED = "signed"


class Approved(Struct, frozen=True):
    """How a run was approved, and by whom as far as signatures say."""

    way: Way
    principals: tuple[str, ...] = ()
    """Who signed, as the policy's ``allowed_signers`` calls them; empty for every other way."""


class Origin(Struct, frozen=True):
    """Who started a run, and from what, as its environment says; empty where that says nothing."""

    actor: str = ""
    """The CI's user, else ``user@host``; what the environment says, which the CI vouches for and nobody else."""
    commit: str = ""
    pull_request: str = ""
    """Its number, without a sign before it."""
    run_url: str = ""
    """Where the CI shows the run."""


class Run(Struct, frozen=True):
    """One run of a command that wrote to the journal."""

    id: str
    command: str
    tool_version: str
    targets: tuple[str, ...]
    started: datetime
    ended: datetime | None = None
    """None: still running, or it ended without recording it."""
    digest: str = ""
    """Digest of the plan; empty when none was made."""
    exit_code: int | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)
    approved: Approved | None = None
    """None: not approved, or by a policy of drift alone, or recorded by an older version."""
    policy: str = ""
    """Digest of the policy that a run with changes obeyed; empty when there was none."""
    origin: Origin = Origin()
    """Empty when an older version recorded it."""


class Event(Struct, frozen=True):
    """One thing that happened in a run."""

    seq: int
    """Grows with each event of the whole journal."""
    run_id: str
    operation_id: str | None
    at: datetime
    kind: str
    detail: Mapping[str, Any]


class RunRecord(Struct, frozen=True):
    """Everything the journal knows of one run."""

    run: Run
    operations: tuple[Operation, ...]
    """Those it opened and those it took over, oldest first."""
    events: tuple[Event, ...]
    """In order of writing."""
    damaged: tuple[DamagedOperation, ...] = ()
    """Operations of it whose rows cannot be trusted."""
    announcements: tuple[Announcement, ...] = ()
    """Messages that it sent, in order."""


class Alarm(Struct, frozen=True):
    """Something that had to stay is gone, or a second check failed: the pool waits for a person."""

    id: str
    """The operation's id; that of the run and the pool where nothing was sent."""
    run_id: str
    """The run that saw it first."""
    pool: PoolKey
    pool_name: str
    at: datetime
    message: str
    acknowledged: datetime | None = None
    """None: nobody has looked at it yet, and the pool is left alone."""
    acknowledged_by: str = ""


class RunDay(NamedTuple):
    """The runs that started on one day."""

    first: datetime
    last: datetime
    runs: int


class DriftPoint(Struct, frozen=True):
    """How far one pool was from its manifest when one run read it."""

    run_id: str
    at: datetime
    pool: PoolKey
    pool_name: str
    surplus: int
    """Disks that are live but not desired."""
    missing: int
    """Disks that are desired but not live."""
    surplus_gb: int
    """GB of the surplus disks over all desktops."""


class MarkKey(NamedTuple):
    """One disk of one pool."""

    pool: PoolKey
    disk_id: str


class Mark(Struct, frozen=True):
    """Since when a disk is surplus, without interruption."""

    key: MarkKey
    pool_name: str
    first_seen: datetime
    grace: timedelta
    """The pool's grace when a run last looked; for people, as every plan goes by its own manifests."""
    extended_until: datetime | None = None
    """Not before this time, because a person said so."""
    extended_by: str = ""
    shape: str = ""
    """Type and size of the disk (``SAS 200 GB``); empty for a mark that an older version made, until a run looks."""

    @property
    def due(self) -> datetime:
        """From when on it may go, by that grace."""
        return max(self.first_seen + self.grace, self.extended_until or self.first_seen)


class NewMark(NamedTuple):
    """A disk that a run sees surplus."""

    key: MarkKey
    pool_name: str
    grace: timedelta
    shape: str = ""
    """Type and size of the disk, for people."""


class NewAnnouncement(Struct, frozen=True):
    """One message about a marked disk that is about to be sent to the people of its pool."""

    id: str
    mark: Mark
    """As it was when the text was made: one that has changed since makes it wrong."""
    notice: Notice
    due: datetime
    """The time that it names."""
    text: str

    @property
    def once(self) -> str:
        """What is sent at most once for one mark: the first message, and a reminder for each date."""
        if self.notice is Notice.MARKED:
            return self.notice.value
        return f"{self.notice.value} {self.due.isoformat()}"


class Announcement(Struct, frozen=True):
    """One message about a disk to the people of its pool, and what became of it."""

    id: str
    key: MarkKey
    pool_name: str
    first_seen: datetime
    """Which mark it is about: one that was cleared and made again has another time."""
    notice: Notice
    due: datetime
    text: str
    run_id: str
    """The run that sent it last."""
    begun: datetime
    outcome: Outcome | None
    """None: the run that sent it did not live to record it, or has not done so yet. Nobody knows, as with UNKNOWN."""

    @property
    def state(self) -> State:
        """How far it has come."""
        return self.outcome.state if self.outcome else State.INTENDED


class Pruned(Struct, frozen=True):
    """How much was deleted because it is old."""

    runs: int = 0
    operations: int = 0
    points: int = 0
    """Drift points."""

    def __add__(self, other: Pruned) -> Pruned:
        """Both together."""
        points = self.points + other.points
        return Pruned(self.runs + other.runs, self.operations + other.operations, points)

    def __bool__(self) -> bool:
        """Whether anything was deleted."""
        return bool(self.runs or self.operations or self.points)


class Journal(Protocol):
    """The durable record; each call is one transaction and raises ``JournalError`` when it fails.

    A write that raises may still have been stored (the connection broke during commit). So nothing may be sent
    after a failed ``open_operation``, and the next run resolves what it finds.
    """

    def now(self) -> datetime:
        """The time by the journal's clock: the database server's, or this machine's for a file.

        Leases, the expiry of requests and the budgets of a day go by it, since several machines share them.
        """

    def open_run(self, run_id: str, command: str, tool_version: str, targets: Sequence[str]) -> None:
        """Record that a run starts now; ``targets`` as ``region/project_id``."""

    def approve_run(self, run_id: str, approved: Approved | None, policy: str) -> None:
        """Record how a run was approved and the policy's digest, before anything is sent."""

    def close_run(self, run_id: str, exit_code: int, digest: str, summary: Mapping[str, Any]) -> None:
        """Record that a run ends now, with the digest of its plan and a JSON-ready summary."""

    def record_event(
        self, run_id: str, kind: str, detail: Mapping[str, Any], operation_id: str | None = None
    ) -> None:
        """Record an event; ``detail`` is JSON-ready and holds no secret."""

    def generation(self, pool: PoolKey) -> int:
        """How often an operation on the pool has been opened or closed; call it before reading the pool."""

    def open_operation(
        self,
        intent: Intent,
        owner: str,
        lease_seconds: float,
        budget: DayBudget | None = None,
        grace: GraceRule | None = None,
    ) -> Operation:
        """Record the intent and hold the pool, or raise ``PoolHeld`` or ``StaleGeneration``.

        The operation itself is what it uses of a day's budget, on the day on which it is opened. Raises ``Refused``
        when that would be too much, naming the runs that used the rest, and when the ``grace`` of a disk has not
        ended by its mark: in the same transaction, so that nobody can still object in between. Raises ``JournalError``
        when any row of the pool is damaged: what happened to it is not known.
        """

    def renew_lease(self, operation_id: str, owner: str, lease_seconds: float) -> None:
        """Keep other runs from taking over for that many seconds from now; 0 ends the lease."""

    def record_outcome(self, operation_id: str, owner: str, outcome: Outcome) -> None:
        """Record the outcome; raises ``PoolHeld`` when another run owns the operation or it is closed."""

    def close_operation(
        self, operation_id: str, owner: str, state: State, verdict: str, *, closed_by: ClosedBy = ClosedBy.RUN
    ) -> None:
        """End the operation in one of ``FINAL`` and free the pool; raises ``PoolHeld`` as above."""

    def take_over(self, operation_id: str, owner: str, lease_seconds: float) -> Operation:
        """Become, or stay, the owner of an operation whose lease has expired; else raise ``PoolHeld``."""

    def operation(self, operation_id: str) -> Operation | None:
        """One operation, or None; raises ``JournalError`` when its row is damaged."""

    def of_pool(self, pool: PoolKey) -> tuple[Operation, ...]:
        """Every sound operation on one pool, oldest first."""

    def pools(self, target: str, service: str) -> frozenset[str]:
        """Ids of the pools of one project on which there ever was an operation."""

    def operations(self, since: datetime) -> tuple[Operation, ...]:
        """All sound operations opened at or after a time, oldest first."""

    def removals(self, since: datetime, most: int) -> tuple[tuple[Operation, ...], int]:
        """The latest sound removals opened at or after a time, newest first; and how many there are beyond them."""

    def not_done(self, target: str, service: str) -> tuple[Operation, ...]:
        """Sound operations of one project in a state of ``NOT_DONE``, oldest first."""

    def unresolved(self, target: str | None = None, service: str | None = None) -> tuple[Operation, ...]:
        """Sound operations not closed yet, oldest first; None means every target or every service.

        A pool with a damaged one is in ``damaged``, and ``open_operation`` refuses it.
        """

    def damaged(self, target: str, service: str) -> tuple[DamagedOperation, ...]:
        """Rows of one project that are open or not done and cannot be trusted; their pools get no operation."""

    def raise_alarm(self, alarm: Alarm) -> bool:
        """Record an alarm; False when one with this id is known, acknowledged or not."""

    def alarms(self, target: str | None = None, service: str | None = None) -> tuple[Alarm, ...]:
        """Alarms that nobody has acknowledged, oldest first; None means every target or every service."""

    def acknowledge(self, alarm_id: str, by: str) -> bool:
        """Record who has looked at an alarm; False when that is recorded already, or there is no such alarm."""

    def marks(
        self, target: str | None = None, service: str | None = None, pool_id: str | None = None
    ) -> tuple[Mark, ...]:
        """Since when disks are surplus, the longest first; None means every target, every service or every pool."""

    def keep_marks(
        self,
        run_id: str,
        surplus: Sequence[NewMark],
        gone: Collection[MarkKey],
        service_time: datetime | None = None,
    ) -> tuple[Mark, ...]:
        """Mark disks that are surplus, and clear marks of those that are not any more; of one target and service.

        A mark that is there keeps its time, whoever is first. A new one has the later of the journal's clock and
        ``service_time``, so that a clock that is behind makes nothing due early. Returns the new ones.
        """

    def doubted_marks(self) -> int:
        """How many marks may have come back with a backup of the journal; until they begin anew none of them is due.

        Their disks may have been wanted in between, or somebody may have objected. ``marks`` gives such a mark the
        present time, and no removal is opened on its strength.
        """

    def begin_marks_anew(self, run_id: str, service_time: datetime | None = None) -> tuple[Mark, ...]:
        """Let the grace of every mark begin now, as a new one's, where they are doubted; returns them, else nothing."""

    def clear_mark(self, key: MarkKey, run_id: str, by: str) -> bool:
        """Take a mark away as a person wants, so that grace begins again; False when there is none.

        Raises ``PoolHeld`` while an operation on the pool is open.
        """

    def extend_mark(self, key: MarkKey, run_id: str, by: str, until: datetime) -> bool:
        """Let a disk wait until a time as a person wants, if that is later; as ``clear_mark`` otherwise."""

    def announcements(
        self, target: str | None = None, service: str | None = None
    ) -> tuple[Announcement, ...]:
        """The messages about the marks that there are, oldest first; None means every target or every service."""

    def messages(self, pool: PoolKey) -> tuple[Announcement, ...]:
        """Every message about disks of one pool, also about marks that are gone, oldest first."""

    def open_announcement(
        self, new: NewAnnouncement, run_id: str, service_time: datetime | None = None
    ) -> bool:
        """Record that a message is about to be sent; False when it must not be.

        Its time is the later of the journal's clock and ``service_time``, so that nobody has known for too long.
        It must not when it was sent before, unless that certainly reached nobody, and when the mark is gone or is
        another one by now. Of two runs that ask at once one gets True.
        """

    def record_announcement(self, announcement_id: str, run_id: str, outcome: Outcome) -> None:
        """Record what became of a message; only once, and only for the run that opened it."""

    def damaged_operation(self, operation_id: str) -> DamagedOperation | None:
        """The row of this id if it cannot be trusted; None when it is sound, or there is none."""

    def every_damaged(self) -> tuple[DamagedOperation, ...]:
        """As ``damaged``, of every project."""

    def close_damaged(self, operation_id: str, owner: str, state: State, verdict: str) -> Operation:
        """Replace a damaged row by one that says only what a person decided, and free its pool.

        It counts as a removal of as many disks as a pool can have. Raises ``JournalError`` for any other row.
        """

    def check_unclaimed(self, plan_id: str) -> None:
        """Raise ``StalePlan`` when a saved plan has been applied; only ``claim_plan`` decides between two runs."""

    def claim_plan(self, plan_id: str, run_id: str) -> None:
        """Mark a saved plan as applied; raises ``StalePlan`` for every claim but the first."""

    def removed_since(self, target: str, service: str, since: datetime) -> int:
        """Disks in removals opened since then that took effect, or still may."""

    def uses_since(self, target: str, service: str, since: datetime) -> tuple[DayUse, ...]:
        """The same by run, in the order of their first removals."""

    def claim_losses(
        self, group: str, claims: Sequence[Claim], ceilings: Mapping[str, int]
    ) -> Mapping[str, int]:
        """Add claims to those of a group of runs, unless a sum would exceed its ceiling.

        Returns the sums over the whole group that would, by kind; empty when the claims were added.
        """

    def runs(self, limit: int, since: datetime | None = None) -> tuple[Run, ...]:
        """The latest runs, newest first; only those that started at or after a time, if one is given."""

    def last_started(
        self, commands: Collection[str], targets: Collection[str], besides: str
    ) -> datetime | None:
        """When the latest run of these commands started that had all these targets, leaving out one run."""

    def run_ids(self, since: datetime | None = None) -> tuple[str, ...]:
        """The ids of all those runs, oldest first."""

    def runs_by_day(self, commands: Collection[str], since: datetime) -> tuple[RunDay, ...]:
        """When runs of these commands started at or after a time: a day with any becomes one row, oldest first."""

    def run(self, run_id: str) -> RunRecord | None:
        """One run with its operations and events, or None."""

    def services(self, run_ids: Collection[str]) -> tuple[str, ...]:
        """The services at which these runs opened operations, in alphabetical order."""

    def add_drift(self, points: Sequence[DriftPoint]) -> None:
        """Record what a run measured, at most one point per pool."""

    def drift(self, since: datetime) -> tuple[DriftPoint, ...]:
        """Points measured at or after a time, oldest first."""

    def drift_changes(self, since: datetime, memory: timedelta) -> tuple[DriftPoint, ...]:
        """Those of the points without which a chart would differ, in which each counts until the next or ``memory``.

        Read one by one, so that what is held in memory does not grow with the number of points.
        """

    def drifting(self, pools: Collection[PoolKey], since: datetime) -> frozenset[PoolKey]:
        """The pools whose latest point was measured at or after a time, and had surplus or missing disks."""

    def drifting_since(self, pools: Collection[PoolKey]) -> Mapping[PoolKey, datetime]:
        """The first point of each pool after its last one without surplus and missing disks, where there is one."""

    def check(self) -> None:
        """Read the whole journal once; raises ``JournalError`` when it is damaged. A server checks its own files."""

    def tidy(self, keep: timedelta | None) -> None:
        """Thin old drift points and prune what is older than ``keep`` (None: nothing), a bounded step of each."""

    def prune(self, older_than: timedelta) -> Pruned:
        """Delete all runs, operations and drift points that are older and needed no more."""

    def close(self) -> None:
        """Close the file or the connection."""
