"""One seed of a night: several corrections without a person around 00:00 UTC, faults, kills, and an oracle."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from reconciler.apply.context import RunContext
from reconciler.engine.remediation import remediate
from reconciler.errors import ReconcilerError
from reconciler.journal.records import DayBudget, GraceRule, Intent, Journal, Operation
from reconciler.journal.states import Step
from reconciler.model import Action, Disk, DriftPolicy, Limit, Limits, Manifest, Window
from reconciler.planner import Connection
from reconciler.planning.plan import Service as Named
from tests.builders import AT, TARGET, entry, pool
from tests.memory_journal import memory_journal
from tests.simulation.scenario import Killed, Mortal, _faults
from tests.simulation.service import Faults, Service, TruePool
from tests.simulation.virtual import START, VirtualClock, VirtualLoop

ALWAYS = Window(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "00:00", "23:59", "UTC", AT)
EVENING = 16 * 3600.0 - 900
"""Seconds from the beginning of the virtual world to 23:45 UTC."""
LIMITS = Limits(disks=Limit(100), copies=Limit(1000), pools=Limit(100))


class Noting:
    """A journal that notes what was opened when, whatever becomes of it afterwards."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.opened: list[tuple[datetime, str]] = []
        """Time and pool."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def open_operation(
        self,
        intent: Intent,
        owner: str,
        lease: float,
        budget: DayBudget | None = None,
        grace: GraceRule | None = None,
    ) -> Operation:
        opened = self._journal.open_operation(intent, owner, lease, budget, grace)
        self.opened.append((opened.opened, intent.pool.pool_id))
        return opened

    def day(self, pool_id: str, accepted: datetime) -> date:
        """The UTC day on which the operation was opened whose call the service accepted at that time."""
        return max(at for at, pool in self.opened if pool == pool_id and at <= accepted).date()


@dataclass
class Night:
    """What one seed did, and what the oracle found; no complaint is a pass."""

    seed: int
    budget: int
    complaints: list[str] = field(default_factory=list)
    killed: int = 0
    days: Counter[date] = field(default_factory=Counter)
    """Disks in accepted removals, by the day on which they were opened."""


class Story:
    """A world, a night with faults, and calm days after it."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.chance, self.loop = random.Random(seed), loop
        self.night = Night(seed, self.chance.randint(3, 6))
        self.journal = Noting(memory_journal(VirtualClock(loop).now))
        pools = {name: self._pool(name) for name in "abcdefgh"[: self.chance.randint(3, 8)]}
        self.service = Service(loop, self.chance, pools)
        policy = DriftPolicy(TARGET, AT, frozenset({Action.REMOVE}), self.night.budget, (ALWAYS,))
        declared = tuple(pool(entry("SSD", 100), name=name) for name in pools)
        self.manifest = Manifest(declared, drift=(policy,))
        self.serial = 0

    def _pool(self, name: str) -> TruePool:
        disks = [Disk(f"{name}-{each}", "SAS", 50) for each in range(self.chance.randint(1, 3))]
        kept = Disk(f"{name}-kept", "SSD", 100)
        return TruePool(name, name, {each.id: each for each in [kept, *disks]}, 2, [("SSD", 100)])

    async def tell(self) -> Night:
        """The night, the days after it, the judgement."""
        await asyncio.sleep(EVENING)
        self.service.faults = _faults(self.chance) if self.chance.random() < 0.7 else Faults()
        self.service.faults.foreign = 0.0
        await asyncio.gather(*(self._later(self.chance.uniform(0, 1800)) for _ in range(4)))
        self.service.faults = Faults()
        await asyncio.sleep(43_200)  # about noon: no run of a calm day is near the end of the window
        for _ in range(10):
            await asyncio.sleep(86_400)
            await self._run(self.journal)
        self._judge()
        return self.night

    async def _later(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        dies_at = self.chance.randint(2, 20) if self.chance.random() < 0.4 else None
        journal: Any = self.journal
        await self._run(Mortal(journal, dies_at, before=self.chance.random() < 0.5))

    async def _run(self, journal: Any) -> None:
        clock = VirtualClock(self.loop)
        connections = {TARGET: Connection(Named(TARGET, "simulated"), self.service, clock=clock)}
        with suppress(ReconcilerError):
            try:
                await remediate(self.manifest, LIMITS, RunContext(journal, clock, self._id, connections))
            except Killed:
                self.night.killed += 1

    def _id(self) -> str:
        self.serial += 1
        return f"id-{self.serial}"

    def _judge(self) -> None:
        """By the service's own record: nothing over a day's budget, nothing twice, and nothing left for no reason."""
        for line in self.service.record:
            day = self.journal.day(line.pool, START + timedelta(seconds=line.at))
            self.night.days[day] += len(line.ids)
            if line.twice or line.needed:
                self.night.complaints.append(f"deleted twice or although needed: {line}")
        for day, disks in self.night.days.items():
            if disks > self.night.budget:
                self.night.complaints.append(f"{disks} disks on {day}, the budget is {self.night.budget}")
        self.service.settle()
        known = self.journal.not_done(str(TARGET), "simulated")
        excused = {each.intent.pool.pool_id for each in known if each.intent.step is Step.REMOVE}
        for each in self.service.pools_.values():
            if len(each.disks) > 1 and each.id not in excused:
                self.night.complaints.append(f"pool {each.id} still has surplus after ten calm days")


def nights(seeds: Iterable[int]) -> list[Night]:
    """Tell these seeds, each on a loop and a journal of its own."""
    told = []
    for seed in seeds:
        loop = VirtualLoop()
        story = Story(seed, loop)
        try:
            told.append(loop.run_until_complete(story.tell()))
        finally:
            loop.close()
            story.journal.close()
    return told
