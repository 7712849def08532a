"""One seed of backups: runs and retries that need them, while they are made, fail, expire and are deleted.

The oracle knows by true time which copy was in a usable backup when the service took a removal.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from reconciler.apply.context import Options, RunContext
from reconciler.engine.apply import ApplyRequest
from reconciler.engine.apply import apply as run_apply
from reconciler.engine.known import known_of
from reconciler.engine.retry import RetryRequest
from reconciler.engine.retry import retry as run_retry
from reconciler.errors import ReadingDoubtful, ReconcilerError, ServiceError
from reconciler.journal.records import Journal
from reconciler.model import BackedVolume, Backup, BackupRule, Disk, Limit, Limits, Manifest, Policy
from reconciler.planner import Connection
from reconciler.planning.plan import Plan
from reconciler.planning.plan import Service as Named
from reconciler.values import replace
from reconciler.workspace import BackupReading
from tests.builders import AT, TARGET, backup_page, entry, pool
from tests.memory_journal import memory_journal
from tests.simulation.scenario import Killed, Mortal
from tests.simulation.service import Faults, Service, TruePool
from tests.simulation.virtual import START, VirtualClock, VirtualLoop

HOUR = 3600.0
WITHIN = 24 * HOUR
SKEW = 300.0
"""Seconds by which a machine's clock may be off."""
BETWEEN = 120.0
"""Seconds that may pass between the reading of the backups and the service's taking the call."""
LIMITS = Limits(disks=Limit(100), copies=Limit(1000), pools=Limit(100))


@dataclass
class TrueBackup:
    """One backup as it really is, in true seconds."""

    id: str
    desktop: str
    made: float
    volumes: tuple[str, ...] = ()
    status: str = "available"
    expires: float = float("inf")
    gone: float = float("inf")
    replica: bool = False
    restorable: bool = True

    def saves(self, copy: str, disk: str, at: float) -> bool:
        """Whether it was, at some moment just before ``at``, a usable backup that may hold this copy."""
        return (
            self.status == "available"
            and self.restorable
            and not self.replica
            and self.desktop == copy
            and (not self.volumes or f"{disk}-{copy.rpartition('-d')[2]}" in self.volumes)
            and self.made <= at + SKEW
            and at - self.made < WITHIN + SKEW + BETWEEN
            and min(self.expires, self.gone) > at - SKEW - BETWEEN
        )


@dataclass
class Verdict:
    """What the oracle found in one seed; no complaint is a pass."""

    seed: int
    complaints: list[str] = field(default_factory=list)
    crashes: int = 0
    deleted: int = 0
    """Disks in removals that the service accepted."""
    retried: int = 0
    refused: int = 0
    """Runs after which a disk was still held back for want of a backup."""


class Story:
    """A world of pools that need backups, and everybody in it."""

    def __init__(self, seed: int, journal: Journal, loop: VirtualLoop) -> None:
        self.rng, self.verdict = random.Random(seed), Verdict(seed)
        self.journal, self.loop = journal, loop
        self.service = Service(loop, self.rng, {name: self._pool(name) for name in "ab"})
        self.backups: list[TrueBackup] = []
        """All that there ever were; ``gone`` says since when one is not there any more."""
        self.unreadable = 0.0
        self.serial = 0
        # Demanded by the entries or by the policy: either way it holds.
        rule = BackupRule(timedelta(seconds=WITHIN), AT)
        self.policy = Policy("policy.yaml", "0" * 64, backup=rule) if self.rng.random() < 0.5 else None
        declared = tuple(pool(entry("SSD", 100), name=name, backup=rule) for name in "ab")
        if self.policy:
            declared = tuple(replace(each, backup=None) for each in declared)
        self.manifest = Manifest(declared, LIMITS)

    def _pool(self, name: str) -> TruePool:
        disks = [Disk(f"{name}-kept", "SSD", 100)]
        disks += [Disk(f"{name}-{number}", "SAS", 50) for number in range(self.rng.randint(1, 3))]
        return TruePool(name, name, {disk.id: disk for disk in disks}, 2, [("SSD", 100)])

    async def run(self) -> Verdict:
        """Rounds with faults and everything that happens to backups, then calm ones, then the judgement."""
        for _ in range(self.rng.randint(2, 5)):
            self.service.faults = self._faults()
            self.unreadable = self.rng.choice([0.0, 0.0, 0.2])
            await asyncio.gather(self._meddle(), *(self._somebody() for _ in range(self.rng.randint(1, 2))))
            await asyncio.sleep(self.rng.uniform(0.1, 30) * HOUR)
        self.service.faults, self.unreadable = Faults(), 0.0
        await asyncio.sleep(2 * HOUR)  # until no request of before can arrive
        self.backups += [self._made(f"{name}-d{number}") for name in "ab" for number in range(2)]
        for _ in range(3):
            await asyncio.sleep(2 * HOUR)
            await self._somebody(mortal=False)
        self.service.settle()
        self._judge()
        return self.verdict

    # -- what happens ------------------------------------------------------------------------------

    def _made(self, desktop: str, **more: Any) -> TrueBackup:
        self.serial += 1
        return TrueBackup(f"b-{self.serial}", desktop, self.loop.moment, **more)

    async def _meddle(self) -> None:
        """Backups are made, well or badly, expire and are deleted, while others plan and apply."""
        rate = self.rng.choice([0.2, 0.5, 0.9])
        for _ in range(self.rng.randint(1, 5)):
            await asyncio.sleep(self.rng.uniform(0, 40))
            for name in "ab":
                for number in range(2):
                    if self.rng.random() < rate:
                        self.backups.append(self._some(name, number))
            for each in self.rng.sample(self.backups, min(2, len(self.backups))):
                each.gone = min(each.gone, self.loop.moment)

    def _some(self, name: str, number: int) -> TrueBackup:
        volumes = tuple(f"{disk}-{number}" for disk in self.service.pools_[name].disks)
        faults: list[dict[str, Any]] = [
            {},
            {"volumes": volumes},
            {"volumes": volumes[:1]},
            {"status": "error"},
            {"status": "protecting"},
            {"expires": self.loop.moment + self.rng.uniform(0, 120)},
            {"replica": True},
            {"restorable": False},
        ]
        chosen = self.rng.choice(faults)
        return self._made(f"{name}-d{number}", **chosen)

    async def read(self) -> BackupReading:
        """The face of the backup service, which fails now and then."""
        await asyncio.sleep(self.rng.uniform(0.05, 0.4))
        if self.rng.random() < self.unreadable:
            raise self.rng.choice([ServiceError("HTTP 403", status=403), ReadingDoubtful("not complete")])
        shown = [_shown(each) for each in self.backups if each.gone > self.loop.moment]
        return BackupReading(tuple(shown), (backup_page(shown),))

    def _context(self, journal: Any, clock: VirtualClock) -> RunContext:
        connection = Connection(Named(TARGET, "simulated"), self.service, clock=clock, backups=self.read)
        return RunContext(journal, clock, self._id, {TARGET: connection}, policy=self.policy)

    async def _somebody(self, *, mortal: bool = True) -> None:
        """Applies, then lets the service finish what was done in part."""
        await asyncio.sleep(self.rng.uniform(0, 60) if mortal else 0)
        clock = VirtualClock(self.loop, self.rng.uniform(-SKEW, SKEW) if mortal else 0.0)
        dies_at = self.rng.randint(0, 20) if mortal and self.rng.random() < 0.3 else None
        journal: Any = Mortal(self.journal, dies_at, before=self.rng.random() < 0.5)
        run = self._context(journal, clock)
        try:
            with suppress(ReconcilerError):
                report = await run_apply(ApplyRequest(self.manifest, LIMITS, _yes, Options()), run)
                findings = report.plan.all_findings if report.plan else ()
                self.verdict.refused += any(each.rule == "backup" for each in findings)
            for known in known_of(self.journal, [Named(TARGET, "simulated")], {}).partial.values():
                latest = max(known, key=lambda each: each.opened)
                request = RetryRequest(latest.operation_id, self.manifest, LIMITS, _yes)
                with suppress(ReconcilerError):
                    await run_retry(request, run)
        except Killed:
            self.verdict.crashes += 1

    def _faults(self) -> Faults:
        level = self.rng.choice([0.0, 0.05, 0.2])
        # A request that arrives late was decided by backups of then, so none is late.
        return Faults(
            read_error=level / 10,
            not_sent=level,
            rejected=level,
            lost_request=level,
            lost_response=level,
            job_partial=0.4,
            full_budget=level,
        )

    def _id(self) -> str:
        self.serial += 1
        return f"id-{self.serial}"

    # -- the oracle --------------------------------------------------------------------------------

    def _judge(self) -> None:
        for line in self.service.record:
            self.verdict.deleted += len(line.ids)
            for disk in line.ids:
                for number in range(self.service.pools_[line.pool].desktops):
                    self._judge_one(f"{line.pool}-d{number}", disk, line.at)
        for again in self.service.retried:
            self.verdict.retried += 1
            for desktop, disk in again.copies:
                self._judge_one(desktop, disk, again.at)
        held = [each.name for each in self.service.pools_.values() if self.service.pending(each)]
        if held and not self.service.late:
            self._complain(f"every desktop has a fresh backup, and disks of {held} are still there")

    def _judge_one(self, desktop: str, disk: str, at: float) -> None:
        if not any(each.saves(desktop, disk, at) for each in self.backups):
            self._complain(f"{disk} on {desktop} went at {at:.0f} s without a backup")

    def _complain(self, what: str) -> None:
        self.verdict.complaints.append(what)


def _shown(each: TrueBackup) -> Backup:
    ends = None if each.expires == float("inf") else START + timedelta(seconds=each.expires)
    volumes = tuple(BackedVolume(volume, "available") for volume in each.volumes)
    made = START + timedelta(seconds=each.made)
    return Backup(each.id, each.desktop, each.status, made, ends, volumes, each.replica, each.restorable)


async def _yes(_plan: Plan) -> None:
    """A person says yes to everything."""


def run_all(seeds: Iterable[int]) -> list[Verdict]:
    """Run these seeds, each on a loop and a journal of its own."""
    return [_run_seed(seed) for seed in seeds]


def _run_seed(seed: int) -> Verdict:
    loop = VirtualLoop()
    journal = memory_journal(VirtualClock(loop).now)
    try:
        return loop.run_until_complete(Story(seed, journal, loop).run())
    finally:
        loop.close()
        journal.close()
