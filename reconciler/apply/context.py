"""What a run is given: the journal, the clock, the connections, the options, and the request to stop.

Filling it in is left to ``cli``; using it to the other modules of this package and to ``engine``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from reconciler.api.client import POOLS, SUB_JOBS, Renew, nothing_to_renew
from reconciler.apply.events import Event, PoolMoved
from reconciler.apply.polling import CoalescedRead, Pace
from reconciler.apply.stop import Stop
from reconciler.clock import Clock
from reconciler.journal.records import DayBudget, Journal, PoolKey
from reconciler.journal.states import Step
from reconciler.logs import log as log_event
from reconciler.model import Policy, Pool, Shard, Target
from reconciler.planner import CLOCKS_APART, Connection, Connections, PlanMetadata, no_time
from reconciler.planning.plan import Service
from reconciler.values import Struct, field
from reconciler.workspace import BackupReading, Workspace

PARALLELISM = 10
"""As Terraform's: what whoever runs both expects."""


class Options(Struct, frozen=True):
    """How a run waits and how wide it goes."""

    wait_timeout: float = 1200.0
    """Seconds to wait for a job, and for a busy pool."""
    proof_timeout: float = 120.0
    """Seconds after a job's end within which the disks must show its effect: they lag behind the job."""
    wait: bool = True
    """False leaves an accepted operation open for the next run."""
    parallelism: int = PARALLELISM
    """Pools worked on at the same time, after the first one alone."""
    tries: int = 3
    """How often a rejected call may be made, each time from a fresh reading."""
    keep_going: bool = False
    """True continues with other pools after a failure; an alarm still stops the run."""
    lease: float = 60.0
    """Seconds without renewal after which another run may take an operation over."""


class Halt(Struct):
    """What keeps the further pools of one run from being begun; the next run has its own."""

    failed: bool = False
    """Without ``keep_going``: a pool did not end well, so no further one is started."""
    alarm: bool = False
    """Something that had to stay is gone: no further call is made."""


class TargetContext(Struct, frozen=True):
    """One target with the readings that all its pools share."""

    service: Service
    workspace: Workspace
    pools: CoalescedRead[tuple[Pool, ...]]
    running: dict[Step, CoalescedRead[frozenset[str]]]
    pace: Pace
    request_lifetime: float | None
    """Seconds after signing within which a request can still be accepted; None when there is no bound."""
    backups: CoalescedRead[BackupReading]
    """Every backup of a desktop; asked right before a removal that needs one."""
    renew: Renew = nothing_to_renew
    service_time: Callable[[], datetime | None] = no_time

    @classmethod
    def of(cls, connection: Connection, clock: Clock) -> TargetContext:
        """The context of one connection."""
        workspace, pace = connection.workspace, Pace()

        def running(step: Step) -> CoalescedRead[frozenset[str]]:
            return CoalescedRead(
                lambda: workspace.running_jobs(step), clock, pace.spacing, lambda: connection.room(SUB_JOBS)
            )

        return cls(
            connection.service,
            workspace,
            CoalescedRead(workspace.pools, clock, pace.spacing, lambda: connection.room(POOLS)),
            {step: running(step) for step in Step},
            pace,
            connection.request_lifetime,
            CoalescedRead(connection.backups, clock),
            connection.renew,
            connection.service_time,
        )

    def key(self, pool_id: str) -> PoolKey:
        """How the journal names a pool of this target."""
        return PoolKey(str(self.service.target), self.service.name, pool_id)

    def not_after(self, signed_at: datetime, keys_end: datetime | None) -> datetime | None:
        """Until when a request can be accepted: as long as its signature, and no longer than the keys that made it.

        The keys end by the service's clock, this bound goes by ours, so it stays later by what the two may be apart.
        """
        if self.request_lifetime is None:
            return None
        signature = signed_at + timedelta(seconds=self.request_lifetime)
        return min(signature, keys_end + CLOCKS_APART) if keys_end else signature


def _quiet(_message: str) -> None:
    """Discard the message."""


def _settled() -> None:
    """Nothing decides this run that could have changed."""


def nothing_shown() -> None:
    """Nobody waits for a pool to show its effect."""


class RunContext(Struct, frozen=True):
    """Everything a run uses from outside, so that a test can pass in its own."""

    journal: Journal
    clock: Clock
    new_id: Callable[[], str]
    connections: Connections = field(default_factory=dict)
    run_id: str = ""
    """Set by the engine when the run begins."""
    options: Options = field(default_factory=Options)
    stop: Stop = field(default_factory=Stop)
    halt: Halt = field(default_factory=Halt)
    """Made by the engine for each run; ``stop`` may outlive it."""
    shard: Shard = field(default_factory=Shard)
    """The share of the pools that this run works on."""
    group: str = ""
    """Runs of the same group share their limits through the journal; empty for a run of its own."""
    policy: Policy | None = None
    """What no manifest and no flag can lift."""
    budgets: Mapping[Target, DayBudget] = field(default_factory=dict)
    """How many disks may go in one UTC day; set for a run that no person approved."""
    check_sources: Callable[[], None] = _settled
    """Raises ``StalePlan`` when the files that decide the run have changed; asked right before calls."""
    unnamed: bool = False
    """True: what is logged and what is recorded as the result names desktops by their ids alone."""
    shown: Callable[[], None] = nothing_shown
    """Called when a reading after a job that ended well shows its whole effect and nothing else missing."""
    log: Callable[[str], None] = _quiet
    """Receives one line per event that the user should see, also one who wants no progress."""
    observer: Callable[[Event], None] | None = None
    """Is given the progress of the run; without one, its words go to ``log``."""

    def tell(self, event: Event) -> None:
        """Give progress to whoever shows it; whatever becomes of that, the run goes on as it would."""
        moved = event if isinstance(event, PoolMoved) else None
        if moved:
            ending, until = moved.words.partition(":")[0], moved.until.isoformat() if moved.until else ""
            known = {"pool": moved.pool, "pool_id": moved.pool_id, "job": moved.job_id, "until": until}
            # Not all the words: those of a job that was done in part name desktops, and so people.
            log_event("apply", moved.phase.value, **known, result=ending if moved.ended else "")
        if self.observer is None:
            if moved and moved.words:
                self.log(f"{moved.pool}: {moved.words}")
            return
        with suppress(Exception):
            self.observer(event)

    def plan_metadata(self, lifetime: timedelta) -> PlanMetadata:
        """The metadata of a plan made now."""
        return PlanMetadata(self.new_id(), self.clock.now(), lifetime, self.shard, self.policy)
