"""How operations, pools and whole runs ended, as values.

Showing them is left to ``render``, deciding them to the other modules of this package and to ``engine``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from reconciler.apply.partial import ByDesktop
from reconciler.errors import ExitCode, ReconcilerError
from reconciler.journal.records import Alarm, Approved, Operation
from reconciler.journal.states import Outcome
from reconciler.model import Target
from reconciler.planning.drift import Measure, proven
from reconciler.planning.finding import Finding
from reconciler.planning.plan import Plan, PoolPlan
from reconciler.values import Struct

LivePool = tuple[Target, str]
"""One pool of a run: its target and its id. Its name says nothing, since another pool may have it as well."""


class Status(StrEnum):
    """How an operation, or a pool's part of a run, ended; worst first: ``worst`` depends on this order."""

    exit_code: ExitCode

    ALARM = "alarm", ExitCode.JOB_FAILED
    UNKNOWN = "unknown", ExitCode.UNKNOWN
    JOURNAL = "journal", ExitCode.JOURNAL
    PARTIAL = "partial", ExitCode.JOB_FAILED
    FAILED = "failed", ExitCode.JOB_FAILED
    RUNNING = "running", ExitCode.RUNNING
    ACCEPTED = "accepted", ExitCode.RUNNING
    INTERRUPTED = "interrupted", ExitCode.INTERRUPTED
    HELD = "held", ExitCode.HELD
    STALE = "stale", ExitCode.STALE
    ERROR = "error", ExitCode.ERROR
    REJECTED = "rejected", ExitCode.ERROR
    REFUSED = "refused", ExitCode.REFUSED
    NOT_STARTED = "not started", ExitCode.DONE
    DONE = "done", ExitCode.DONE

    def __new__(cls, word: str, exit_code: ExitCode) -> Status:
        """Attach the exit code of a run whose worst status this is."""
        self = str.__new__(cls, word)
        self._value_ = word
        self.exit_code = exit_code
        return self


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of them; DONE when there is none."""
    found = set(statuses)
    return next((each for each in Status if each in found), Status.DONE)


class Result(Struct, frozen=True):
    """How one operation ended."""

    status: Status
    message: str
    hint: str = ""
    done: int = 0
    """Disk changes proven done."""
    outcome: Outcome | None = None
    """The answer to a call that was not carried out; it may name a time to wait."""
    desktops: ByDesktop | None = None
    """How far a job came that did only a part; None for every other end."""


class PoolResult(Struct, frozen=True):
    """How the run ended for one pool."""

    target: Target
    pool: str
    status: Status
    message: str = ""
    hint: str = ""
    done: int = 0
    """Disk changes proven done in this run."""
    planned: int = 0
    pool_id: str = ""
    """Which pool it is: two may share a name. Empty when it was not found."""
    desktops: ByDesktop | None = None
    """How far a job came that did only a part; None for every other end."""

    @property
    def key(self) -> LivePool:
        """The pool in this run."""
        return self.target, self.pool_id


class Resolution(Struct, frozen=True):
    """What was found out about one open operation."""

    operation: Operation
    resolved: bool
    """True when the operation is closed and its pool is free again."""
    result: Result


class ApplyReport(Struct, frozen=True):
    """How a run of ``apply`` ended."""

    run_id: str
    plan: Plan | None
    results: tuple[PoolResult, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    in_flight: tuple[Operation, ...] = ()
    """Operations of this run that are still open."""
    remaining: int | None = None
    """Changes that a new plan still shows for the pools done; None when no new plan was made."""
    exit_code: ExitCode = ExitCode.DONE
    approved: Approved | None = None
    """How it was approved; None when it was not, or by no person."""

    @property
    def pools_done(self) -> frozenset[LivePool]:
        """The pools in which everything was carried out."""
        return frozenset(each.key for each in self.results if each.status is Status.DONE and each.pool_id)

    @property
    def proven_pools(self) -> frozenset[LivePool]:
        """The pools that are as declared, proven by a new plan."""
        return self.pools_done if self.remaining == 0 else frozenset()


class Due(Struct, frozen=True):
    """A disk whose grace has ended."""

    pool: PoolPlan
    disk_id: str
    due: datetime


class DriftReport(Struct, frozen=True):
    """What one round detected, and what it remediated."""

    run_id: str
    plan: Plan
    measures: tuple[Measure, ...]
    refused: tuple[Finding, ...] = ()
    """Why the policy did not allow drift to be remediated; empty when no remediation was requested."""
    applied: ApplyReport | None = None
    """None when nothing was to be remediated, or the whole remediation was refused."""
    error: ReconcilerError | None = None
    """Why the whole remediation was refused or could not begin."""
    unresolved: int = 0
    """Open operations of these targets at the end."""
    open_operations: int = 0
    """The same with those of runs that are alive."""
    alarms: tuple[Alarm, ...] = ()
    """Alarms of these targets that no person has closed, at the end."""
    became_due: tuple[Due, ...] = ()
    """Disks whose grace has ended since the round before this one."""
    exit_code: ExitCode = ExitCode.DONE

    @property
    def measures_now(self) -> tuple[Measure, ...]:
        """The measures without the drift that this run has proven gone."""
        done = self.applied.proven_pools if self.applied else frozenset()
        return tuple(proven(each) if live_pool(each.pool) in done else each for each in self.measures)


def live_pool(pool: PoolPlan) -> LivePool | None:
    """Which pool a plan is about; None when it was not found."""
    return (pool.target, pool.live.id) if pool.live else None


class Sight(Struct, frozen=True):
    """When a target was last read completely."""

    target: Target
    since: datetime
    """The beginning of the last round that read it; of one never read, of the first that tried."""


class DriftRound(Struct, frozen=True):
    """One round of ``drift`` or ``watch``, whether it ended well or not."""

    started: datetime
    seconds: float
    exit_code: ExitCode
    report: DriftReport | None = None
    """None when the round failed before anything was measured."""
    error: ReconcilerError | None = None
    """Why it failed; None when there is a report."""

    known_alarms: tuple[Alarm, ...] = ()
    """Those that were open in the journal when the round began."""

    sights: tuple[Sight, ...] = ()
    """Every target that this process has been asked about."""

    drifting_since: tuple[tuple[LivePool, datetime], ...] = ()
    """Since when each pool is seen to have surplus or missing disks; asked for only where gauges are made."""

    @property
    def unseen(self) -> tuple[Sight, ...]:
        """The targets of which this round has read nothing, and others before it have not either."""
        return tuple(each for each in self.sights if each.since < self.started)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """Alarms that no person has closed, also after a round that failed."""
        return self.report.alarms if self.report else self.known_alarms

    @property
    def drifting(self) -> tuple[Measure, ...]:
        """The pools in which drift was detected."""
        return tuple(each for each in self.report.measures if each.drifts) if self.report else ()
