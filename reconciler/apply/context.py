"""What a run is given: the journal, the clock, the connections, the options, and the request to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from reconciler.apply.polling import CoalescedRead
from reconciler.clock import Clock
from reconciler.journal.records import Journal, PoolKey, Step
from reconciler.model import Pool, Shard
from reconciler.planner import Connection, Connections, PlanMetadata
from reconciler.planning.plan import Service
from reconciler.workspace import Workspace


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
class TargetContext:
    """One target with the readings that all its pools share."""

    service: Service
    workspace: Workspace
    pools: CoalescedRead[tuple[Pool, ...]]
    running: dict[Step, CoalescedRead[frozenset[str]]]
    request_lifetime: float | None
    """Seconds after its signature until which a request can be accepted; None when nothing bounds it."""

    @classmethod
    def of(cls, connection: Connection, clock: Clock) -> TargetContext:
        """Share the readings of one connection."""
        workspace = connection.workspace

        def running(step: Step) -> CoalescedRead[frozenset[str]]:
            return CoalescedRead(lambda: workspace.running_jobs(step), clock)

        return cls(
            connection.service,
            workspace,
            CoalescedRead(workspace.pools, clock),
            {step: running(step) for step in Step},
            connection.request_lifetime,
        )

    def key(self, pool_id: str) -> PoolKey:
        """How the journal names a pool of this target."""
        return PoolKey(str(self.service.target), self.service.name, pool_id)


def _quiet(_message: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """Everything that comes in from the world, so that tests can replace the world."""

    journal: Journal
    clock: Clock
    new_id: Callable[[], str]
    connections: Connections = field(default_factory=dict)
    run_id: str = ""
    """Set by the engine when the run begins."""
    options: Options = field(default_factory=Options)
    stop: Stop = field(default_factory=Stop)
    shard: Shard = field(default_factory=Shard)
    """The share of the pools that this run works on."""
    group: str = ""
    """Runs of the same group share their limits through the journal; empty for a run of its own."""
    say: Callable[[str], None] = _quiet
    """Gets one line per event that a person may want to see."""

    def plan_metadata(self, lifetime: timedelta) -> PlanMetadata:
        """The metadata of a plan made now."""
        return PlanMetadata(self.new_id(), self.clock.now(), lifetime, self.shard)
