"""One seed: two watchers and a person's apply on one journal, over days, with a clock that may step.

The oracle knows the budget of a day and the windows by code of its own, and who sent what from the wire.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from reconciler.apply.context import RunContext
from reconciler.apply.stop import Stop
from reconciler.engine.apply import ApplyRequest
from reconciler.engine.apply import apply as run_apply
from reconciler.engine.remediation import remediate
from reconciler.errors import JournalError, ReconcilerError
from reconciler.journal.records import Journal, Now
from reconciler.journal.states import Outcome
from reconciler.model import Action, Disk, DriftPolicy, Limit, Limits, Manifest, Window
from reconciler.planner import Connection
from reconciler.planning.plan import Plan
from reconciler.planning.plan import Service as Named
from reconciler.values import replace
from reconciler.workspace import Call
from tests.builders import AT, TARGET, entry, pool
from tests.memory_journal import memory_journal
from tests.simulation.scenario import Killed, Mortal
from tests.simulation.service import Faults, Service, TruePool
from tests.simulation.virtual import VirtualClock, VirtualLoop

HOUR = 3600.0
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ZONES = ("UTC", "Europe/Berlin", "Asia/Bangkok")
BEGINNINGS = (0.0, 15 * HOUR, 15.98 * HOUR, 15.96 * HOUR, 27 * 24 * HOUR + 16 * HOUR)
"""Seconds after the beginning of the world, a Sunday at 08:00 UTC; the last one is the night before summer time."""
LIMITS = Limits(disks=Limit(100), copies=Limit(1000), pools=Limit(10))
MOST_STEP = 4 * HOUR


@dataclass
class Verdict:
    """What the oracle found in one seed; no complaint is a pass."""

    seed: int
    complaints: list[str] = field(default_factory=list)
    rounds: int = 0
    crashes: int = 0
    steps: int = 0
    corrected: int = 0
    """Disks in removals of the watchers that the service accepted."""
    by_hand: int = 0

    @property
    def deleted(self) -> int:
        """Disks in removals that the service accepted."""
        return self.corrected + self.by_hand


class SteppingClock(VirtualClock):
    """The clock of the one machine, and so of its journal, that somebody sets while it runs."""

    ahead = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)


class Sender:
    """The service as one run sees it; remembers what it sent, and when by the clock of the journal."""

    def __init__(self, service: Service, actor: str, clock: VirtualClock) -> None:
        self._service, self.actor, self._clock = service, actor, clock
        self.asked: list[datetime] = []
        """Every time that the journal has given to this run."""
        self.sent: dict[int, tuple[Call, datetime, int]] = {}
        """By the call's identity: itself, when, and how many times had been asked for by then."""

    async def send(self, call: Call, signed_at: datetime) -> Outcome:
        self.sent[id(call)] = (call, self._clock.now(), len(self.asked))
        return await self._service.send(call, signed_at)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)


class Heard(Mortal):
    """A journal in which a process may die or a write fail, and whose answers to "what time is it" are kept."""

    def __init__(self, journal: Journal, sender: Sender, rng: random.Random, *, calm: bool) -> None:
        dies = rng.randint(0, 25) if not calm and rng.random() < 0.25 else None
        super().__init__(journal, dies, before=rng.random() < 0.5)
        self._sender = sender
        self._fails_at = rng.randint(0, 25) if not calm and rng.random() < 0.25 else None

    def __getattr__(self, name: str) -> Any:
        if name == "now":
            return self._now
        method = super().__getattr__(name)
        return self._failing(method) if name in self.WRITES or name == "reserve_budget" else method

    def _now(self) -> datetime:
        moment = self._journal.now()
        self._sender.asked.append(moment)
        return moment

    def _failing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._fails_at is not None:
                self._fails_at -= 1
                if self._fails_at < 0:
                    self._fails_at = None
                    raise JournalError("the disk is full")
            return method(*args, **kwargs)

        return call


class Story:
    """A world, its watchers and its person."""

    def __init__(self, seed: int, journal: Journal, clock: SteppingClock, loop: VirtualLoop) -> None:
        self.rng, self.verdict = random.Random(seed), Verdict(seed)
        self.journal, self.clock, self.loop = journal, clock, loop
        self.steps = self.rng.random() < 0.3
        self.windows = tuple(_window(self.rng) for _ in range(self.rng.randint(1, 2)))
        self.budget = self.rng.randint(1, 8)
        pools = {name: _pool(name, self.rng.randint(1, 4)) for name in "abcde"}
        self.service = Service(loop, self.rng, pools)
        policy = DriftPolicy(TARGET, AT, frozenset({Action.REMOVE}), self.budget, self.windows)
        declared = tuple(pool(entry("SSD", 100), name=name) for name in "abce")
        # No policy lets a watcher touch it: the manifest manages nothing there.
        unmanaged = pool(entry("SSD", 100), name="d", manage=frozenset[Action]())
        self.manifest = Manifest((*declared, unmanaged), LIMITS, drift=(policy,))
        self.senders: list[Sender] = []
        self.serial = 0

    async def run(self) -> Verdict:
        """Some rounds of everybody at once, with faults, then calm ones, then the judgement."""
        await asyncio.sleep(self.rng.choice(BEGINNINGS))
        stepping = asyncio.ensure_future(self._step()) if self.steps else None
        pauses = [self.rng.choice([1.0, 300.0, HOUR, 5 * HOUR]) for _ in range(self.rng.randint(2, 4))]
        await asyncio.gather(
            self._watcher("watch-1", pauses), self._watcher("watch-2", pauses), self._person()
        )
        if stepping:
            stepping.cancel()
        self.service.settle()
        self._judge()
        return self.verdict

    async def _watcher(self, name: str, pauses: Sequence[float]) -> None:
        # Not all of them watch everything, or only one of two would ever get anything to do.
        shares = [frozenset("abcde"), frozenset("abd" if name == "watch-1" else "ced")]
        share = self.rng.choice(shares)
        mine = replace(self.manifest, pools=tuple(each for each in self.manifest.pools if each.name in share))
        for pause in pauses:
            self.service.faults = self._faults()
            with suppress(Killed, ReconcilerError):
                await self._as(name, lambda ctx: remediate(mine, LIMITS, ctx))
            self.verdict.rounds += 1
            self._somebody_adds()
            await asyncio.sleep(pause)

    async def _person(self) -> None:
        async def approve(_plan: Plan) -> None:
            """A person says yes."""

        for _ in range(self.rng.randint(0, 2)):
            await asyncio.sleep(self.rng.uniform(0, 6 * HOUR))
            chosen = self.rng.choice("abce")
            pools = tuple(each for each in self.manifest.pools if each.name == chosen)
            request = ApplyRequest(replace(self.manifest, pools=pools, drift=()), LIMITS, approve)
            with suppress(Killed, ReconcilerError):
                await self._as("person", lambda ctx, asked=request: run_apply(asked, ctx))  # type: ignore[misc]

    async def _as(self, actor: str, work: Callable[[RunContext], Any]) -> None:
        sender = Sender(self.service, actor, self.clock)
        self.senders.append(sender)
        journal: Any = Heard(self.journal, sender, self.rng, calm=False)
        faced: Any = sender
        connections = {TARGET: Connection(Named(TARGET, "simulated"), faced, clock=self.clock)}
        stop = Stop()
        task = asyncio.ensure_future(work(RunContext(journal, self.clock, self._id, connections, stop=stop)))
        if self.rng.random() < 0.1:
            self.loop.call_later(self.rng.uniform(0, 60), _interrupt, task, stop)
        try:
            await task
        except Killed:
            self.verdict.crashes += 1
        except asyncio.CancelledError:
            if not stop.requested:
                raise

    async def _step(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(5, 4 * HOUR))
            self.clock.ahead += self.rng.uniform(-MOST_STEP, MOST_STEP)
            self.verdict.steps += 1

    def _faults(self) -> Faults:
        level = self.rng.choice([0.0, 0.05, 0.2])
        faults = Faults(
            read_error=level / 5,
            not_sent=level,
            rejected=level,
            lost_request=level,
            lost_response=level,
            job_fails=level,
            job_partial=level,
            full_budget=self.rng.choice([0.0, 0.3, 0.9]),
        )
        # When a request can no longer arrive is judged by the very clock that steps here.
        return faults if self.steps else dataclasses.replace(faults, late_request=level)

    def _somebody_adds(self) -> None:
        place = self.rng.choice(list(self.service.pools_.values()))
        if len(place.disks) < 8 and self.loop.moment >= place.busy_until:
            self.serial += 1
            place.disks[f"new-{self.serial}"] = Disk(f"new-{self.serial}", "SAS", 50)

    def _id(self) -> str:
        self.serial += 1
        return f"id-{self.serial}"

    # -- the oracle -------------------------------------------------------------------------------

    def _judge(self) -> None:
        days: Counter[str] = Counter()
        for line in self.service.record:
            call = self.service.jobs[line.job].call
            sender = next(each for each in self.senders if id(call) in each.sent)
            _, at, asked = sender.sent[id(call)]
            if line.twice:
                self._complain(f"deleted twice: {line.twice}")
            if line.needed:
                self._complain(f"deleted although needed: {line.needed}")
            if sender.actor == "person":
                self.verdict.by_hand += len(line.ids)
                continue
            self.verdict.corrected += len(line.ids)
            days[f"{at:%Y-%m-%d}"] += len(line.ids)
            if line.pool == "d":
                self._complain(f"{sender.actor} corrected a pool that nobody lets it manage")
            if not any(_is_open(each, moment) for each in self.windows for moment in sender.asked[:asked]):
                self._complain(f"{sender.actor} corrected outside every window at {at}")
        for day, disks in days.items():
            if disks > self.budget:
                self._complain(f"{disks} disks went on {day}, and the budget is {self.budget}")

    def _complain(self, what: str) -> None:
        self.verdict.complaints.append(what)


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


def _is_open(window: Window, moment: datetime) -> bool:
    """The same as ``planning.drift.opens``, by minutes of the week instead of by text."""
    local = moment.astimezone(ZoneInfo(window.timezone))
    minute = local.weekday() * 1440 + local.hour * 60 + local.minute
    start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (window.start, window.end))
    length = (end - start) % 1440
    return any((minute - DAYS.index(day) * 1440 - start) % 10080 < length for day in window.days)


def _window(rng: random.Random) -> Window:
    start = rng.choice([0, 120, 480, 1320, 1410])
    end = (start + rng.choice([30, 240, 1439, 1439])) % 1440
    days = tuple(rng.sample(DAYS, rng.choice([2, 7, 7, 7])))
    return Window(days, _clock(start), _clock(end), rng.choice(ZONES), AT)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _pool(name: str, surplus: int) -> TruePool:
    live = [Disk(f"{name}-kept", "SSD", 100), *(Disk(f"{name}-{each}", "SAS", 50) for each in range(surplus))]
    return TruePool(name, name, {disk.id: disk for disk in live}, 2, [("SSD", 100)])


def _interrupt(task: asyncio.Future[Any], stop: Stop) -> None:
    if not task.done() and not stop.requested:
        stop.requested = True
        task.cancel()
