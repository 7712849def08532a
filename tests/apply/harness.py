"""The harness of the tests of ``apply``: one pool, its simulated service, a journal in memory, virtual time.

The faults of the service are left to ``tests.simulation``.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from reconciler.apply.context import Options, RunContext, TargetContext
from reconciler.apply.pools import Task
from reconciler.errors import JournalError
from reconciler.journal.records import Intent, Journal, PoolKey, SentDisk
from reconciler.journal.states import Outcome, Step
from reconciler.model import ApplyTo, Disk, Manifest, Pool
from reconciler.planner import Connection, PlanMetadata, compute
from reconciler.planning.plan import Service as Named
from reconciler.workspace import Call
from tests.builders import TARGET, entry, pool
from tests.memory_journal import memory_journal
from tests.simulation.service import Faults, Service, TruePool
from tests.simulation.virtual import VirtualClock, VirtualLoop

T = TypeVar("T")

KEPT, GOING = Disk("a", "SAS", 50), Disk("b", "SAS", 200)
LIFETIME = 900.0
"""Seconds for which a request can arrive in this world."""


@dataclass
class Scripted(Service):
    """Gives the scripted answers first, then those of the simulated service."""

    answers: list[Outcome] = field(default_factory=list)
    shown: list[tuple[Pool, ...]] = field(default_factory=list)
    sent: list[tuple[float, Call]] = field(default_factory=list)
    """When (seconds) and what."""

    async def send(self, call: Call, signed_at: datetime) -> Outcome:
        self.sent.append((self.loop.moment, call))
        return self.answers.pop(0) if self.answers else await super().send(call, signed_at)

    async def pools(self) -> tuple[Pool, ...]:
        now = await super().pools()
        return self.shown.pop(0) if self.shown else now


@dataclass
class Harness:
    """One pool with one surplus disk, and everything a run needs."""

    loop: VirtualLoop
    clock: VirtualClock
    service: Scripted
    journal: Journal
    said: list[str] = field(default_factory=list)
    serial: int = 0

    def run(self, scenario: Coroutine[Any, Any, T]) -> T:
        """Run a scenario to its end, in virtual time."""
        return self.loop.run_until_complete(scenario)

    def site(self, lifetime: float | None = LIFETIME) -> TargetContext:
        """The target as a run sees it."""
        return TargetContext.of(
            Connection(Named(TARGET, "simulated"), self.service, self.clock, lifetime), self.clock
        )

    def context(self, options: Options | None = None, run_id: str = "run", group: str = "") -> RunContext:
        """The context of one run."""
        options = options or Options()
        return RunContext(
            self.journal,
            self.clock,
            self.new_id,
            {TARGET: Connection(Named(TARGET, "simulated"), self.service, self.clock, LIFETIME)},
            run_id=run_id,
            options=options,
            group=group,
            log=self.said.append,
        )

    def new_id(self) -> str:
        self.serial += 1
        return f"id-{self.serial}"

    async def task(self, ctx: RunContext) -> Task:
        """The pool's share of a plan made now."""
        desired = pool(entry("SAS", 50), apply_to=ApplyTo.ALL)
        manifest = Manifest((desired,))
        metadata = PlanMetadata("plan", self.clock.now(), timedelta(hours=1))
        plan = await compute(manifest, manifest.limits, ctx.connections, metadata)
        return Task(plan.pools[0], plan, plan.digest, self.site(), ctx)

    def intent(self, *, baseline: tuple[str, ...] = (), lifetime: float | None = LIFETIME) -> Intent:
        """The removal of the surplus disk, signed now, by the run ``gone``."""
        now = self.clock.now()
        return Intent(
            operation_id="op",
            run_id="gone",
            pool=PoolKey(str(TARGET), "simulated", "pool"),
            pool_name="pool",
            step=Step.REMOVE,
            handle_type=None,
            disks=(SentDisk(*_row(GOING)),),
            keep=(KEPT.id,),
            baseline_jobs=baseline,
            generation=0,
            signed_at=now,
            not_after=None if lifetime is None else now + timedelta(seconds=lifetime),
            plan_digest="digest",
        )


class FullDisk:
    """A journal whose disk is full when one of its writes comes."""

    def __init__(self, journal: Journal, write: str) -> None:
        self._journal = journal
        self._write = write

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._write else getattr(self._journal, name)

    def _fail(self, *_given: object, **_named: object) -> None:
        raise JournalError("the disk is full")


def removal() -> Call:
    """The call that removes the surplus disk."""
    return Call(Step.REMOVE, "pool", (GOING,), ApplyTo.ALL)


@contextmanager
def harness(faults: Faults | None = None) -> Iterator[Harness]:
    """A new harness that is closed at the end."""
    loop = VirtualLoop()
    clock = VirtualClock(loop)
    pool = TruePool("pool", "pool", {disk.id: disk for disk in (KEPT, GOING)}, 2, [("SAS", 50)])
    service = Scripted(loop, random.Random(1), {"pool": pool}, faults or Faults())
    journal = memory_journal(clock.now)
    try:
        yield Harness(loop, clock, service, journal)
    finally:
        loop.close()
        journal.close()


def _row(disk: Disk) -> tuple[str, str, int]:
    return disk.id, disk.type, disk.size
