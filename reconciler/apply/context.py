"""Owns what a run is given: the journal, the clock, the options, and the request to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from reconciler.apply.shared import Shared
from reconciler.clock import Clock
from reconciler.errors import ExitCode
from reconciler.journal.records import Journal, PoolKey, Step
from reconciler.live import Workspace
from reconciler.model import Pool, Target
from reconciler.plan import Service
from reconciler.planner import Connection


@dataclass(frozen=True, slots=True)
class Options:
    """How a run waits and how wide it goes."""

    wait_timeout: float = 1200.0
    """Seconds a job may take, and seconds a busy pool is waited for."""
    proof_timeout: float = 120.0
    """Seconds after a job's end within which its effect must be readable: desktops lag behind jobs."""
    wait: bool = True
    """False leaves an accepted operation open for the next run."""
    parallelism: int = 4
    """Pools worked on at the same time, after the first one alone."""
    tries: int = 3
    """Times a rejected call is made anew, each time from a fresh reading."""
    keep_going: bool = False
    """True goes on with other pools after a failure; an alarm stops the run all the same."""
    lease: float = 60.0
    """Seconds for which a silent run keeps its hold on an operation."""


class Ending(StrEnum):
    """How a pool's part of the run ended: a closed vocabulary."""

    DONE = "done"
    ACCEPTED = "accepted"
    FAILED = "failed"
    PARTIAL = "partial"
    ALARM = "alarm"
    UNKNOWN = "unknown"
    RUNNING = "running"
    HELD = "held"
    STALE = "stale"
    REFUSED = "refused"
    REJECTED = "rejected"
    ERROR = "error"
    JOURNAL = "journal"
    INTERRUPTED = "interrupted"
    NOT_STARTED = "not started"


EXIT_CODES = {
    Ending.DONE: ExitCode.DONE,
    Ending.ACCEPTED: ExitCode.RUNNING,
    Ending.FAILED: ExitCode.JOB_FAILED,
    Ending.PARTIAL: ExitCode.JOB_FAILED,
    Ending.ALARM: ExitCode.JOB_FAILED,
    Ending.UNKNOWN: ExitCode.UNKNOWN,
    Ending.RUNNING: ExitCode.RUNNING,
    Ending.HELD: ExitCode.HELD,
    Ending.STALE: ExitCode.STALE,
    Ending.REFUSED: ExitCode.REFUSED,
    Ending.REJECTED: ExitCode.ERROR,
    Ending.ERROR: ExitCode.ERROR,
    Ending.JOURNAL: ExitCode.JOURNAL,
    Ending.INTERRUPTED: ExitCode.INTERRUPTED,
    Ending.NOT_STARTED: ExitCode.DONE,
}

SERIOUSNESS = (
    Ending.ALARM,
    Ending.UNKNOWN,
    Ending.JOURNAL,
    Ending.PARTIAL,
    Ending.FAILED,
    Ending.RUNNING,
    Ending.ACCEPTED,
    Ending.INTERRUPTED,
    Ending.HELD,
    Ending.STALE,
    Ending.ERROR,
    Ending.REJECTED,
    Ending.REFUSED,
    Ending.NOT_STARTED,
    Ending.DONE,
)
"""Worst first: the exit code of a run is that of its worst ending."""


@dataclass(frozen=True, slots=True)
class PoolResult:
    """What became of one pool."""

    target: Target
    pool: str
    ending: Ending
    message: str = ""
    hint: str = ""
    done: int = 0
    """Disk changes proven done in this run."""
    planned: int = 0


@dataclass(slots=True)
class Stop:
    """The request to stop; set by a signal, read before every new call."""

    requested: bool = False
    terminated: bool = False
    """True when SIGTERM rather than SIGINT asked."""
    failed: bool = False
    """Without ``keep_going``: a pool did not end well, and no further one is started."""
    alarm: bool = False
    """Something vanished that had to stay: no further call is made."""


@dataclass(frozen=True, slots=True)
class Site:
    """One target with the readings that all its pools share."""

    service: Service
    workspace: Workspace
    pools: Shared[tuple[Pool, ...]]
    running: dict[Step, Shared[frozenset[str]]]
    request_lifetime: float | None
    """Seconds after its signature until which a request can be accepted; None when nothing bounds it."""

    @classmethod
    def of(cls, connection: Connection, clock: Clock) -> Site:
        """Share the readings of one connection."""
        workspace = connection.workspace

        def running(step: Step) -> Shared[frozenset[str]]:
            return Shared(lambda: workspace.running_jobs(step), clock)

        return cls(
            connection.service,
            workspace,
            Shared(workspace.pools, clock),
            {step: running(step) for step in Step},
            connection.request_lifetime,
        )

    def key(self, pool_id: str) -> PoolKey:
        """How the journal names a pool of this target."""
        return PoolKey(str(self.service.target), self.service.name, pool_id)


def _quiet(_message: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that comes in from the world, so that tests can replace the world."""

    journal: Journal
    clock: Clock
    run_id: str
    new_id: Callable[[], str]
    options: Options = field(default_factory=Options)
    stop: Stop = field(default_factory=Stop)
    group: str = ""
    """Runs of the same group share their limits through the journal; empty for a run of its own."""
    say: Callable[[str], None] = _quiet
    """Told one line per event a person may want to see."""
