"""One seed of grace: runs and rounds on one journal over weeks, crashes, stepping clocks, objections, restored backups.

The oracle knows by true time since when each disk is surplus, who let it wait, and which messages the service took;
the tool's marks are not asked.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from reconciler.apply.context import RunContext
from reconciler.engine.apply import ApplyRequest
from reconciler.engine.apply import apply as run_apply
from reconciler.engine.remediation import remediate
from reconciler.errors import ReconcilerError
from reconciler.journal.records import Journal, Now
from reconciler.model import (
    Action,
    DesiredPool,
    Disk,
    DriftPolicy,
    Limit,
    Limits,
    Manifest,
    Placed,
    Policy,
    Window,
)
from reconciler.planner import Connection
from reconciler.planning.plan import Plan
from reconciler.planning.plan import Service as Named
from reconciler.values import replace
from tests.builders import AT, TARGET, entry, pool
from tests.memory_journal import MemoryJournal, memory_journal
from tests.simulation.scenario import Killed, Mortal
from tests.simulation.service import Faults, Service, TruePool
from tests.simulation.virtual import START, VirtualLoop
from tests.simulation.watchers import SteppingClock

DAY = 86_400.0
LIMITS = Limits(disks=Limit(100), copies=Limit(1000), pools=Limit(100))
ALWAYS = Window(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "00:00", "23:59", "UTC", AT)
TEXT = "{disk} {date}"
CORRECTS = DriftPolicy(TARGET, AT, frozenset({Action.REMOVE}), 100, (ALWAYS,))

Place = tuple[str, str]
"""Pool id and disk id."""


@dataclass
class Verdict:
    """What the oracle found in one seed; no complaint is a pass."""

    seed: int
    complaints: list[str] = field(default_factory=list)
    crashes: int = 0
    steps: int = 0
    objections: int = 0
    restores: int = 0
    """Times that a journal was restored whose marks had changed since its backup."""
    deleted: int = 0
    """Disks in removals that the service accepted."""
    told: int = 0
    """Messages that the service took."""
    reminders: int = 0
    """Those among them that named a disk and a date for the second time, or another date than the first."""
    announced: int = 0
    """Disks that went under a policy that demands a message."""


class Story:
    """A world of pools with grace, and everybody in it."""

    def __init__(self, seed: int, journal: Journal, clock: SteppingClock, loop: VirtualLoop) -> None:
        self.rng, self.verdict = random.Random(seed), Verdict(seed)
        self.journal, self.clock, self.loop = journal, clock, loop
        self.graces = {name: self.rng.choice([0.5, 1.0, 2.0, 3.0]) * DAY for name in "abc"}
        # The policy's grace is longer than that of some pools.
        self.least = self.rng.choice([0.0, 0.0, 1.5]) * DAY
        self.notice = self.rng.choice([None, None, 0.0, 0.4 * DAY])
        """For how long people must have known, in seconds; None: nobody need be told."""
        self.policy = self._policy()
        self.names = {name: name for name in self.graces}
        self.since: dict[Place, float] = {}
        """Since when each disk can have been surplus without interruption, in true seconds."""
        self.until: dict[Place, list[tuple[float, float]]] = defaultdict(list)
        """From when and until when a person lets it wait: what went before he said so is none of it."""
        # Dice of its own: the other stories of a seed stay as they are.
        self.fate = random.Random(-seed - 1)
        self.copies: list[tuple[float, bytes]] = []
        """Backups of the journal, with the time that each was made at."""
        self.restored: list[float] = []
        """When one of them was put back."""
        self.serial = 0
        self.service = Service(loop, self.rng, {name: self._pool(name) for name in self.graces})

    def _policy(self) -> Policy | None:
        if not self.least and self.notice is None:
            return None
        least = None if self.notice is None else timedelta(seconds=self.notice)
        demands = () if least is None else (Placed("announce: true", AT),)
        grace = timedelta(seconds=self.least)
        return Policy("policy.yaml", "0" * 64, require=demands, grace=grace, announce=least)

    def _pool(self, name: str) -> TruePool:
        place = TruePool(name, name, {f"{name}-kept": Disk(f"{name}-kept", "SSD", 100)}, 2, [("SSD", 100)])
        for _ in range(self.rng.randint(1, 3)):
            self._add(place)
        return place

    def _add(self, place: TruePool) -> None:
        self.serial += 1
        disk = Disk(f"disk-{self.serial}", "SAS", 50)
        place.disks[disk.id] = disk
        self.since[place.id, disk.id] = self.loop.moment

    async def run(self) -> Verdict:
        """Rounds with faults and everything that people do, then calm ones, then the judgement."""
        events: list[Callable[[], Any]] = [self._want, self._rename, self._object, self._recreate, self._step]
        for _ in range(self.rng.randint(4, 8)):
            self.service.faults = self._faults()
            await asyncio.gather(*(self._somebody(mortal=True) for _ in range(self.rng.randint(1, 3))))
            self.service.faults = Faults()
            self._back_up()
            await self.rng.choice(events)()
            self._restore()
            await asyncio.sleep(self.rng.uniform(0.05, 1.2) * DAY)
        self.clock.ahead = 0.0
        for _ in range(6):
            await asyncio.sleep(DAY)
            await self._somebody(mortal=False)
        self.service.settle()
        self._judge()
        return self.verdict

    # -- what happens ------------------------------------------------------------------------------

    def _manifest(self, wanted: bool = False) -> Manifest:
        def declared(place: TruePool) -> DesiredPool:
            more = [entry("SAS", 50, 20 + each) for each in range(len(place.disks) - 1)] if wanted else []
            grace = timedelta(seconds=self.graces[place.id[0]])
            text = "" if place.id[0] == "c" and self.notice is None else TEXT
            made = pool(entry("SSD", 100), *more, name=self.names[place.id[0]], grace=grace, announce=text)
            return replace(made, at=replace(AT, line=ord(place.id[0])))

        places = [each for each in self.service.pools_.values() if each.id[0] in self.names]
        return Manifest(tuple(map(declared, places)), LIMITS, drift=(CORRECTS,))

    async def _somebody(self, *, mortal: bool, manifest: Manifest | None = None) -> None:
        await asyncio.sleep(self.rng.uniform(0, 90) if mortal else 0)
        dies_at = self.rng.randint(0, 25) if mortal and self.rng.random() < 0.4 else None
        journal: Any = Mortal(self.journal, dies_at, before=self.rng.random() < 0.5)
        connection = Connection(
            Named(TARGET, "simulated"), self.service, clock=self.clock, service_time=self._true_time
        )
        run = RunContext(journal, self.clock, self._id, {TARGET: connection}, policy=self.policy)
        asked = manifest or self._manifest()
        with suppress(ReconcilerError):
            try:
                if self.rng.random() < 0.5:
                    await remediate(asked, LIMITS, run)
                else:
                    await run_apply(ApplyRequest(asked, LIMITS, _yes), run)
            except Killed:
                self.verdict.crashes += 1

    async def _want(self) -> None:
        """For a while every disk is declared; whoever sees that ends the clock of all of them."""
        await asyncio.sleep(120)  # a pool that a dead run seems to be changing is looked at by nobody
        if not self.service.still():
            return
        before = {each.id: each.wanted for each in self.service.pools_.values()}
        for place in self.service.pools_.values():
            place.wanted = [("SSD", 100), *[("SAS", 50)] * (len(place.disks) - 1)]
        await self._somebody(mortal=False, manifest=self._manifest(wanted=True))
        for place in self.service.pools_.values():
            if self.names[place.id[0]] == place.name:  # else it was not found, and nothing was seen of it
                for disk in place.disks:
                    self.since[place.id, disk] = self.loop.moment
                    self._end((place.id, disk))
            place.wanted = before[place.id]

    async def _rename(self) -> None:
        """The pool has a new name before its manifest does."""
        place = self.rng.choice(list(self.service.pools_.values()))
        place.name = f"{place.id[0]}-{self.serial}"
        await self._somebody(mortal=False)
        self.names[place.id[0]] = place.name

    async def _recreate(self) -> None:
        """Somebody deletes a pool and makes it again, under its name and with disks of the same ids."""
        if not self.service.still():
            return
        old = self.rng.choice(list(self.service.pools_.values()))
        del self.service.pools_[old.id]
        self.serial += 1
        made = dataclasses.replace(old, id=f"{old.id[0]}{self.serial}", disks=dict(old.disks), left={})
        self.service.pools_[made.id] = made
        self.since.update({(made.id, disk): self.loop.moment for disk in made.disks})

    async def _object(self) -> None:
        """A person lets a disk wait, or has its grace begin again; somebody adds one."""
        self._add(self.rng.choice(list(self.service.pools_.values())))
        for mark in self.rng.sample(marks := self.journal.marks(), min(2, len(marks))):
            place, now = (mark.key.pool.pool_id, mark.key.disk_id), self.loop.moment
            with suppress(ReconcilerError):
                if self.rng.random() < 0.5:
                    self.journal.clear_mark(mark.key, "person", "amara")
                    self.since[place] = now
                    self._end(place)
                else:
                    until = now + self.rng.uniform(0.5, 3) * DAY
                    self.journal.extend_mark(mark.key, "person", "amara", START + timedelta(seconds=until))
                    self.until[place].append((now, until))
                self.verdict.objections += 1

    def _end(self, place: Place) -> None:
        """Its mark is gone, and with it what anybody said of it."""
        now = self.loop.moment
        self.until[place] = [(said, min(until, now)) for said, until in self.until[place]]

    async def _step(self) -> None:
        """The machine's clock, and so the journal's, is set ahead or back."""
        self.clock.ahead = self.rng.uniform(-3, 3) * DAY
        self.verdict.steps += 1

    def _back_up(self) -> None:
        if isinstance(self.journal, MemoryJournal):
            self.copies.append((self.loop.moment, self.journal.backup()))

    def _restore(self) -> None:
        """Put one of the backups back while nobody runs; nobody knows any more what was said since."""
        if (
            self.fate.random() < 0.7
            or not isinstance(self.journal, MemoryJournal)
            or not self.service.still()
        ):
            return
        made, copy = self.fate.choice(self.copies)
        self.journal.restore(copy)
        now = self.loop.moment
        self.restored.append(now)
        self.verdict.restores += self.journal.doubted_marks() > 0
        for place, said in self.until.items():
            self.until[place] = [
                # What was said at the moment of a backup was said right after it.
                (begun, until if begun < made else min(until, now))
                for begun, until in said
            ]

    def _true_time(self) -> datetime:
        return START + timedelta(seconds=self.loop.moment)

    def _faults(self) -> Faults:
        level = self.rng.choice([0.0, 0.05, 0.2])
        # When a request can no longer arrive is judged by the very clock that steps here, so none is late.
        return Faults(
            read_error=level / 5,
            doubtful=level / 10,
            not_sent=level,
            rejected=level,
            lost_request=level,
            lost_response=level,
            job_fails=level,
        )

    def _id(self) -> str:
        self.serial += 1
        return f"id-{self.serial}"

    # -- the oracle --------------------------------------------------------------------------------

    def _judge(self) -> None:
        for line in self.service.record:
            grace = max(self.graces[line.pool[0]], self.least)
            for disk in line.ids:
                self.verdict.deleted += 1
                self._judge_one(line.at, (line.pool, disk), grace)
            if line.needed or line.twice:
                self._complain(f"deleted twice or although needed: {line}")
        self._judge_messages()

    def _judge_one(self, at: float, place: Place, grace: float) -> None:
        # What happened to a disk after it was deleted is nobody's promise.
        if self.since[place] <= at < self.since[place] + grace:
            self._complain(f"{place} went {self.since[place] + grace - at:.0f} s before it was due")
        if any(said <= at < until for said, until in self.until[place]):
            self._complain(f"{place} went although a person let it wait")

        if self.notice is None:
            return
        heard = [each.at for each in self.service.messages if (each.pool, each.text.split()[0]) == place]
        self.verdict.announced += 1
        if not any(each <= at - self.notice for each in heard):
            self._complain(
                f"{place} went, and of its messages {heard} none was {self.notice:.0f} s old at {at:.0f}"
            )

    def _judge_messages(self) -> None:
        """Of one date of one disk at most two messages: that of its mark, and on the last day the reminder."""
        said: dict[tuple[str, str, int], list[float]] = defaultdict(list)
        for each in self.service.messages:
            self.verdict.told += 1
            # What was sent after a backup is not known to the journal that is restored from it.
            known_by = sum(each.at > restored for restored in self.restored)
            said[each.pool, each.text, known_by].append(each.at)
        disks = {(pool, text.split()[0]) for pool, text, _ in said}
        self.verdict.reminders = self.verdict.told - len(disks)
        for (pool_id, text, _), times in said.items():
            date = datetime.fromisoformat(" ".join(text.split()[1:3]) + "+00:00")
            last_day = (date - START).total_seconds() - DAY
            if len(times) > 2 or any(each < last_day - 60 for each in times[1:]):
                self._complain(f"{pool_id} was told {text!r} at {times}, too often or too early")
            if pool_id.startswith("c") and self.notice is None:
                self._complain(f"{pool_id} was told {text!r} although it has no announce")

    def _complain(self, what: str) -> None:
        self.verdict.complaints.append(what)


async def _yes(_plan: Plan) -> None:
    """A person says yes to everything."""


def run_all(seeds: Iterable[int], open_at: Callable[[Now], Journal] = memory_journal) -> list[Verdict]:
    """Run these seeds, each on a loop and a journal of its own."""
    return [_run_seed(seed, open_at) for seed in seeds]


def _run_seed(seed: int, open_at: Callable[[Now], Journal]) -> Verdict:
    loop = VirtualLoop()
    clock = SteppingClock(loop)
    journal = open_at(clock.now)
    try:
        return loop.run_until_complete(Story(seed, journal, clock, loop).run())
    finally:
        loop.close()
        journal.close()
