"""One seed: a world, faults, some runs of the real apply with crashes and rivals, then the oracle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from reconciler.apply.context import Options, RunContext
from reconciler.apply.events import Event, PoolMoved
from reconciler.apply.results import ApplyReport
from reconciler.apply.stop import Stop
from reconciler.engine.apply import ApplyRequest
from reconciler.engine.apply import apply as run_apply
from reconciler.engine.known import known_of
from reconciler.engine.retry import RetryRequest
from reconciler.engine.retry import retry as run_retry
from reconciler.errors import ExitCode, ReconcilerError
from reconciler.journal.records import Journal
from reconciler.model import Action, DesiredDisk, DesiredPool, Disk, Limit, Limits, Manifest
from reconciler.planner import Connection
from reconciler.planning.leftovers import PartialRemoval
from reconciler.planning.plan import Plan
from reconciler.planning.plan import Service as Named
from reconciler.planning.retry_plan import left_of
from tests.builders import AT, TARGET
from tests.memory_journal import memory_journal
from tests.simulation.service import Faults, Service, TruePool
from tests.simulation.virtual import VirtualClock, VirtualLoop

BETWEEN_RUNS = 3600.0
"""Seconds between runs: longer than a lease, longer than a request can live."""


RARE = frozenset(
    {"read_error", "doubtful", "foreign", "hidden_desktops", "silent_desktops", "stalled_output"}
)
"""Faults that hit at every reading or line, so that a tenth of them is as much as of the others."""


class Killed(BaseException):
    """The process died here: nothing after this line runs."""


@dataclass
class Result:
    """What the oracle found in one seed; no complaint is a pass."""

    seed: int
    complaints: list[str] = field(default_factory=list)
    runs: int = 0
    crashes: int = 0
    posts: int = 0
    unknown: int = 0
    retries: int = 0
    left: int = 0
    """Copies that a last plan shows as left by partial jobs."""
    deleted: int = 0
    """Disks in removals that the service accepted."""


class Mortal:
    """A journal through which the process dies before or after its n-th durable write."""

    WRITES = frozenset(
        {"open_run", "close_run", "record_event", "open_operation", "renew_lease", "record_outcome"}
        | {"close_operation", "take_over", "claim_plan", "keep_marks", "begin_marks_anew"}
        | {"open_announcement", "record_announcement"}
    )

    def __init__(self, journal: Journal, dies_at: int | None, *, before: bool) -> None:
        self._journal = journal
        self._left = dies_at
        self._before = before
        self.dead = False

    def die(self) -> None:
        """End this process's life."""
        self.dead = True
        raise Killed

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        return self._mortal(method) if name in self.WRITES else method

    def _mortal(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.dead:
                raise Killed
            dying = self._left == 0
            if self._left is not None:
                self._left -= 1
            if dying and self._before:
                self.die()
            result = method(*args, **kwargs)
            if dying:
                self.die()
            return result

        return call


class Scenario:
    """A world and the runs in it."""

    def __init__(self, seed: int, journal: Journal, loop: VirtualLoop) -> None:
        self.rng = random.Random(seed)
        self.verdict = Result(seed)
        self.journal = journal
        self.loop = loop
        self.service, self.manifest = _world(self.rng, loop)
        self.approved: set[str] = set()
        self.agreed: set[tuple[str, str]] = set()
        """(desktop id, disk id) of every copy that an approved retry was about."""
        self.serial = 0

    async def run(self) -> Result:
        """Runs with faults, then without, then the judgement."""
        calm = Faults()
        for _ in range(self.rng.randint(1, 3)):
            self.service.faults = _faults(self.rng)
            rivals = 2 if self.rng.random() < 0.3 else 1
            await asyncio.gather(*(self._run(mortal=True) for _ in range(rivals)))
            await self._retry(mortal=True)
            await asyncio.sleep(self.rng.choice([1.0, 30.0, 90.0, BETWEEN_RUNS]))
        self.service.faults = calm
        await asyncio.sleep(BETWEEN_RUNS * 3)
        ends = []
        for _ in range(3):
            before = self.service.requests["send"]
            report = await self._run(mortal=False)
            ends.append((report, self.service.requests["send"] - before))
            await asyncio.sleep(BETWEEN_RUNS)
        self._judge_end(ends)
        self._judge_leftovers(ends[-1][0])
        await self._retry(mortal=False)
        self._judge_record()
        self.verdict.posts = self.service.requests["send"]
        self.verdict.unknown = self.service.unknown
        self.verdict.deleted = sum(len(line.ids) for line in self.service.record)
        return self.verdict

    async def _run(self, *, mortal: bool) -> ApplyReport | ReconcilerError | None:
        journal = Mortal(self.journal, self._dying(mortal=mortal), before=self.rng.random() < 0.5)
        clock = VirtualClock(self.loop, self.rng.uniform(-300, 300) if mortal else 0.0)
        self.verdict.runs += 1
        stop = Stop()
        task = asyncio.ensure_future(self._apply(journal, clock, stop))
        if mortal and self.rng.random() < 0.15:
            self.loop.call_later(self.rng.uniform(0, 60), _interrupt, task, stop)
        try:
            report = await task
        except Killed:
            self.verdict.crashes += 1
            return None
        except ReconcilerError as error:
            return error
        except asyncio.CancelledError:
            if not stop.requested:
                raise
            return None
        self._judge_exit(report)
        return report

    async def _retry(self, *, mortal: bool) -> None:
        """A person lets the service finish whatever the journal knows as done in part."""
        for known in known_of(self.journal, [Named(TARGET, "simulated")], {}).partial.values():
            latest = max(known, key=lambda each: each.opened)
            journal = Mortal(self.journal, self._dying(mortal=mortal), before=self.rng.random() < 0.5)
            clock = VirtualClock(self.loop, self.rng.uniform(-300, 300) if mortal else 0.0)
            self.verdict.retries += 1

            async def approve(plan: Plan) -> None:
                self.agreed.update((copy.desktop_id, copy.disk_id) for copy in left_of(plan.pools[0]))

            request = RetryRequest(
                latest.operation_id, self.manifest, self.manifest.limits, approve, Options(wait_timeout=300)
            )
            try:
                report = await run_retry(request, self._context(journal, clock, Stop()))
            except Killed:
                self.verdict.crashes += 1
            except ReconcilerError:
                pass  # refused, or the service could not be read
            else:
                self._judge_retry(latest, report)

    def _judge_retry(self, removal: PartialRemoval, report: ApplyReport) -> None:
        """What exit 0 says of a retry must be true, whoever else was there."""
        self.service.settle()
        for pool in self.service.pools_.values():
            left = {disk for found in pool.left.values() for disk in found} & set(removal.disks)
            if report.exit_code is ExitCode.DONE and left:
                self.verdict.complaints.append(f"a retry with exit 0, but copies are left of {sorted(left)}")

    def _judge_leftovers(self, report: ApplyReport | ReconcilerError | None) -> None:
        """What a plan in quiet times shows as left is left."""
        if not isinstance(report, ApplyReport) or report.plan is None:
            return
        shown = {
            (copy.desktop_id, copy.disk_id)
            for pool in report.plan.pools
            for each in pool.leftovers
            for copy in each.copies
        }
        true = {
            (f"{pool.id}-d{number}", disk)
            for pool in self.service.pools_.values()
            for number, left in pool.left.items()
            for disk in left
        }
        if untrue := shown - true:
            self.verdict.complaints.append(f"shown as left, but gone: {sorted(untrue)}")
        self.verdict.left += len(shown)

    def _dying(self, *, mortal: bool) -> int | None:
        return self.rng.randint(0, 14) if mortal and self.rng.random() < 0.4 else None

    def _context(self, journal: Any, clock: VirtualClock, stop: Stop) -> RunContext:
        connections = {
            TARGET: Connection(
                Named(TARGET, "simulated"), self.service, clock=clock, renew=self.service.renew
            )
        }
        return RunContext(
            journal, clock, self._id, connections, stop=stop, log=self._stalling, observer=self._failing
        )

    def _failing(self, event: Event) -> None:
        """Who shows the progress may hold up the process as well, and fail: neither decides anything."""
        if isinstance(event, PoolMoved) and event.words:
            self._stalling(event.words)
        raise RuntimeError("nobody can show that")

    def _stalling(self, _message: str) -> None:
        """Output that nobody reads may stop the process, for longer than a lease or a request lives."""
        if self.rng.random() < self.service.faults.stalled_output:
            self.loop.stand_still(self.rng.choice([5.0, 90.0, 1000.0, 2400.0]))

    async def _apply(self, journal: Any, clock: VirtualClock, stop: Stop) -> ApplyReport:
        async def approve(plan: Plan) -> None:
            for pool in plan.pools:
                if not pool.blocked and not plan.run_blocked:
                    self.approved.update(disk.id for disk in pool.removed)

        request = ApplyRequest(
            self.manifest,
            self.manifest.limits,
            approve,
            Options(
                wait_timeout=300, keep_going=self.rng.random() < 0.5, parallelism=self.rng.choice([1, 4])
            ),
        )
        return await run_apply(request, self._context(journal, clock, stop))

    def _id(self) -> str:
        self.serial += 1
        return f"id-{self.serial}"

    # -- the oracle: what the service itself recorded, and what the tool said about it ------------

    def _judge_exit(self, report: ApplyReport) -> None:
        if report.exit_code is not ExitCode.DONE or self.service.foreign_changes:
            return
        self.service.settle()
        left = {pool.name: self.service.pending(pool) for pool in self.service.pools_.values()}
        if any(left.values()):
            self.verdict.complaints.append(f"exit 0, but surplus is left: {left}")

    def _judge_end(self, ends: list[tuple[ApplyReport | ReconcilerError | None, int]]) -> None:
        summaries = [_brief(report) for report, _ in ends]
        quiet = summaries[-1] == "0: "
        stable = summaries[-1] == summaries[-2] and ends[-1][1] == 0 and summaries[-1].partition(": ")[2]
        if not quiet and not stable:
            self.verdict.complaints.append(f"no quiet end and no stable request for a person: {summaries}")

    def _judge_record(self) -> None:
        for again in self.service.retried:
            if stray := set(again.copies) - self.agreed:
                self.verdict.complaints.append(f"retried without approval: {sorted(stray)} at {again.at}")
        for line in self.service.record:
            unplanned = [disk for disk in line.ids if disk not in self.approved]
            if unplanned:
                self.verdict.complaints.append(f"deleted without approval: {unplanned} at {line.at}")
            if line.twice:
                self.verdict.complaints.append(f"deleted twice: {line.twice} at {line.at}")
            if line.needed and not self.service.foreign_changes:
                self.verdict.complaints.append(f"deleted although needed: {line.needed} at {line.at}")


def run_all(seeds: Iterable[int]) -> list[Result]:
    """Run these seeds, each on a loop and a journal of its own."""
    return [_run_seed(seed) for seed in seeds]


def _run_seed(seed: int) -> Result:
    loop = VirtualLoop()
    journal = memory_journal(VirtualClock(loop).now)
    try:
        return loop.run_until_complete(Scenario(seed, journal, loop).run())
    finally:
        loop.close()
        journal.close()


def _interrupt(task: asyncio.Task[Any], stop: Stop) -> None:
    if not task.done() and not stop.requested:
        stop.requested = True
        task.cancel()


def _brief(report: ApplyReport | ReconcilerError | None) -> str:
    """Exit code and what a person is asked for; equal for equal requests."""
    if not isinstance(report, ApplyReport):
        return f"{getattr(report, 'exit_code', '-')}: {report}"
    asked = sorted(
        {f"{each.rule}@{each.pool}" for each in (report.plan.all_findings if report.plan else ())}
        | {each.operation.id for each in report.resolutions if not each.resolved}
    )
    return f"{int(report.exit_code)}: {' '.join(asked)}"


def _silent(_message: str) -> None:
    """Say nothing."""


def _world(rng: random.Random, loop: VirtualLoop) -> tuple[Service, Manifest]:
    pools: dict[str, TruePool] = {}
    desired: list[DesiredPool] = []
    manage = rng.choice([frozenset({Action.REMOVE}), frozenset({Action.REMOVE, Action.EXPAND, Action.ADD})])
    for number in range(rng.randint(1, 4)):
        pool_id = f"pool-{number}"
        live = [
            Disk(f"{pool_id}-disk-{index}", rng.choice(["SAS", "SSD"]), rng.choice([10, 50, 100]))
            for index in range(rng.randint(1, 6))
        ]
        kept = rng.sample(live, rng.randint(0, len(live)))
        wanted = [(disk.type, disk.size + rng.choice([0, 0, 0, 20])) for disk in kept]
        pools[pool_id] = TruePool(
            pool_id,
            f"name-{number}",
            {disk.id: disk for disk in live},
            rng.randint(0, 4),
            wanted,
            groups=rng.random() < 0.3,
        )
        desired.append(
            DesiredPool(
                target=TARGET,
                at=AT,
                name=f"name-{number}",
                disks=tuple(
                    DesiredDisk(disk.type, size, AT, id=disk.id if rng.random() < 0.5 else "")
                    for disk, (_, size) in zip(kept, wanted, strict=True)
                ),
                allow_empty=not kept,
                manage=manage,
            )
        )
    limits = Limits(disks=Limit(100), copies=Limit(1000), pools=Limit(10))
    return Service(loop, rng, pools), Manifest(tuple(desired), limits)


def _faults(rng: random.Random) -> Faults:
    """Few faults at once, so that runs get far, or many, so that they do not."""
    level = rng.choice([0.02, 0.1, 0.3])
    chosen = Faults()
    for name in vars(chosen):
        if rng.random() < 0.5:
            setattr(chosen, name, level * (0.1 if name in RARE else 3.0 if name == "job_partial" else 1.0))
    return chosen
