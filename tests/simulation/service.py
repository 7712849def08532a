"""The simulated world's service: true state, its own record, and a face that lies, fails and reorders.

Shares nothing with the code under test but the protocol ``Workspace`` and its values.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.errors import CredentialsError, ReadingDoubtful, ServiceError
from reconciler.journal.states import Outcome, State, Step
from reconciler.model import Copy, Desktop, Disk, Pool
from reconciler.workspace import Call, Differing, Job, JobEnd, JobPart, PoolReading
from tests.simulation.virtual import START, VirtualLoop

SIGNATURE_SECONDS = 900.0


@dataclass
class TruePool:
    """What really is."""

    id: str
    name: str
    disks: dict[str, Disk]
    desktops: int
    wanted: list[tuple[str, int]]
    """The declared (type, GB) pairs, known to the oracle alone."""
    busy_until: float = 0.0
    left: dict[int, dict[str, Disk]] = field(default_factory=dict)
    """Copies of disks that the pool no longer has, by number of the desktop: what partial jobs leave."""
    groups: bool = False
    """True: a user group is attached to every desktop."""


@dataclass
class TrueJob:
    """A job as it will go; nobody outside knows the ending before ``ends``."""

    id: str
    pool: str
    step: Step
    begins: float
    ends: float
    ending: JobEnd
    effect: bool
    """False although the ending may say success: the lie the proof exists for."""
    call: Call
    vanishes: bool = False
    done: bool = False
    failing: tuple[int, ...] = ()
    """Numbers of the desktops whose sub-job fails."""


@dataclass(frozen=True)
class Retried:
    """One retry that the service took."""

    at: float
    copies: tuple[tuple[str, str], ...]
    """(desktop id, disk id) of every copy that it destroys."""


@dataclass(frozen=True)
class Accepted:
    """One line of the service's own record."""

    at: float
    pool: str
    step: Step
    ids: tuple[str, ...]
    job: str
    needed: tuple[str, ...]
    """Ids among them without which the pool serves fewer declared disks; must be empty."""
    twice: tuple[str, ...]
    """Ids among them that an earlier accepted call, not failed, named already; must be empty."""


@dataclass(frozen=True)
class Message:
    """One message that the service took, to the people of a pool."""

    at: float
    pool: str
    text: str


@dataclass
class Faults:
    """How badly the world behaves; every number is a probability."""

    read_error: float = 0.0
    doubtful: float = 0.0
    stale_read: float = 0.0
    lost_request: float = 0.0
    lost_response: float = 0.0
    late_request: float = 0.0
    not_sent: float = 0.0
    rejected: float = 0.0
    job_fails: float = 0.0
    job_partial: float = 0.0
    job_lies: float = 0.0
    job_hangs: float = 0.0
    job_vanishes: float = 0.0
    foreign: float = 0.0
    full_budget: float = 0.0
    short_keys: float = 0.0
    not_renewed: float = 0.0
    hidden_desktops: float = 0.0
    """A list of desktops lacks some of them."""
    silent_desktops: float = 0.0
    """A desktop does not say which copies it has."""
    stalled_output: float = 0.0
    """Writing one line stops the whole process for minutes."""


@dataclass
class Service:
    """One project of the simulated service."""

    loop: VirtualLoop
    rng: random.Random
    pools_: dict[str, TruePool]
    faults: Faults = field(default_factory=Faults)
    jobs: dict[str, TrueJob] = field(default_factory=dict)
    record: list[Accepted] = field(default_factory=list)
    late: list[tuple[float, Call]] = field(default_factory=list)
    retried: list[Retried] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    late_messages: list[tuple[float, str, str]] = field(default_factory=list)
    snapshots: list[tuple[float, tuple[Pool, ...]]] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    foreign_changes: int = 0
    serial: int = 0
    unknown: int = 0
    keys_end: float | None = None
    """When the keys end that sign the next write; None when they outlast everything."""

    # -- Workspace ------------------------------------------------------------------------------

    async def pools(self) -> tuple[Pool, ...]:
        await self._begin("pools")
        now = self._view()
        self.snapshots.append((self.loop.moment, now))
        if self._chance(self.faults.doubtful):
            raise ReadingDoubtful("the list of pools was not complete")
        # Stale by seconds, as a replica is: never older than half a minute.
        recent = [view for at, view in self.snapshots[-4:] if at > self.loop.moment - 30]
        return self.rng.choice(recent) if self._chance(self.faults.stale_read) else now

    async def pool(self, pool_id: str) -> PoolReading:
        await self._begin("pool")
        pool = next((each for each in self._view() if each.id == pool_id), None)
        if pool is None:
            raise ServiceError(f"no pool {pool_id}", status=400, code="WKS.0001")
        rows = [{"id": disk.id, "type": disk.type, "size": disk.size} for disk in pool.disks]
        raw = {"id": pool.id, "status": pool.status, "charging_mode": "1", "data_volumes": rows}
        return PoolReading(pool, json.dumps(raw).encode())

    async def desktops(self, pool_id: str) -> tuple[Desktop, ...]:
        await self._begin("desktops")
        pool = self.pools_[pool_id]
        found = [self._desktop(pool, number) for number in range(pool.desktops)]
        if found and self._chance(self.faults.hidden_desktops):
            found = self.rng.sample(found, self.rng.randrange(len(found)))
        return tuple(found)

    def _desktop(self, pool: TruePool, number: int) -> Desktop:
        silent = self._chance(self.faults.silent_desktops)
        disks = [*pool.disks.values(), *pool.left.get(number, {}).values()]
        copies = tuple(Copy(disk.id, f"{disk.id}-{number}", disk.type, disk.size) for disk in disks)
        return Desktop(
            id=f"{pool.id}-d{number}",
            name=f"d{number}",
            users=(f"user{number}",),
            copies=() if silent else copies,
            groups=("staff",) if pool.groups else (),
            copies_known=not silent,
        )

    async def differing(self, pool_id: str) -> Differing:
        await self._begin("differing")
        return Differing(0, 0, ())

    async def write_place(self, step: Step) -> None:
        if self._chance(self.faults.full_budget):
            await asyncio.sleep(self.rng.uniform(1, 301))

    async def renew(self) -> datetime | None:
        """As the credentials of a run do: None, or when the keys end, by the service's clock."""
        if self._chance(self.faults.not_renewed):
            raise CredentialsError("the keys could not be renewed")
        short = self._chance(self.faults.short_keys)
        self.keys_end = self.loop.moment + self.rng.uniform(1, 900) if short else None
        return None if self.keys_end is None else START + timedelta(seconds=self.keys_end)

    async def send(self, call: Call, signed_at: datetime) -> Outcome:
        outcome = await self._send(call, signed_at)
        self.unknown += outcome.state is State.UNKNOWN
        return outcome

    async def _turned_away(self) -> Outcome | None:
        """How a write ends that never arrives or is refused; None for one that gets on."""
        self.settle()
        await asyncio.sleep(self.rng.uniform(0.05, 0.4))
        if self._chance(self.faults.not_sent):
            return Outcome(state=State.NOT_SENT, message="connection refused")
        if self._chance(self.faults.rejected):
            status, code = self.rng.choice([(409, "WKS.00010032"), (429, "APIGW.0308"), (403, "WKS.403")])
            return Outcome(state=State.REJECTED, status=status, code=code, message="rejected")
        return None

    async def _send(self, call: Call, signed_at: datetime) -> Outcome:
        self.requests["send"] += 1
        if turned_away := await self._turned_away():
            return turned_away
        if abs(self.loop.moment - (signed_at - START).total_seconds()) > SIGNATURE_SECONDS:
            return Outcome(state=State.REJECTED, status=401, code="APIGW.0303", message="signature too old")
        if self._chance(self.faults.lost_request):
            await asyncio.sleep(30)
            return Outcome(state=State.UNKNOWN, message="timeout")
        if self._chance(self.faults.late_request):
            left = SIGNATURE_SECONDS - (self.loop.moment - (signed_at - START).total_seconds())
            if self.keys_end is not None:
                left = min(left, self.keys_end - self.loop.moment)
            self.late.append((self.loop.moment + self.rng.uniform(1, max(left, 2)), call))
            await asyncio.sleep(30)
            return Outcome(state=State.UNKNOWN, message="timeout")
        outcome = self._accept(call)
        if self._chance(self.faults.lost_response):
            await asyncio.sleep(self.rng.choice([0.1, 30]))
            return Outcome(state=State.UNKNOWN, message="cut")
        return outcome

    async def message_place(self) -> None:
        await self.write_place(Step.REMOVE)

    async def send_message(self, pool_id: str, text: str, signed_at: datetime) -> Outcome:
        outcome = await self._send_message(pool_id, text, signed_at)
        self.unknown += outcome.state is State.UNKNOWN
        return outcome

    async def _send_message(self, pool_id: str, text: str, signed_at: datetime) -> Outcome:
        self.requests["message"] += 1
        if turned_away := await self._turned_away():
            return turned_away
        if self._chance(self.faults.lost_request):
            await asyncio.sleep(30)
            return Outcome(state=State.UNKNOWN, message="timeout")
        if self._chance(self.faults.late_request):
            left = SIGNATURE_SECONDS - (self.loop.moment - (signed_at - START).total_seconds())
            self.late_messages.append((self.loop.moment + self.rng.uniform(1, max(left, 2)), pool_id, text))
            await asyncio.sleep(30)
            return Outcome(state=State.UNKNOWN, message="timeout")
        self.messages.append(Message(self.loop.moment, pool_id, text))
        if self._chance(self.faults.lost_response):
            await asyncio.sleep(self.rng.choice([0.1, 30]))
            return Outcome(state=State.UNKNOWN, message="cut")
        self.serial += 1
        return Outcome(state=State.ACCEPTED, status=200, job_id=f"job-{self.serial}")

    async def job(self, job_id: str) -> Job | None:
        await self._begin("job")
        job = self.jobs.get(job_id)
        if job is None or (job.vanishes and self.loop.moment > job.begins + 5):
            return None
        if self.loop.moment < job.ends:
            return Job(job_id, JobEnd.RUNNING)
        reason = "the disk is busy" if job.ending is not JobEnd.SUCCEEDED else ""
        pool = self.pools_.get(job.pool)  # whoever asks may know a pool that is gone
        desktops = range(pool.desktops if pool else 0)
        parts = (
            JobPart(f"{job.pool}-d{number}", f"d{number}", number not in job.failing) for number in desktops
        )
        return Job(job_id, job.ending, reason, tuple(parts))

    async def running_jobs(self, step: Step) -> frozenset[str]:
        await self._begin("running")
        return frozenset(
            job.id
            for job in self.jobs.values()
            if _kind(job.step) is _kind(step) and self.loop.moment < job.ends and not job.vanishes
        )

    async def pool_jobs(self, pool_id: str, step: Step) -> frozenset[str]:
        await self._begin("pool_jobs")
        return frozenset(
            job.id
            for job in self.jobs.values()
            if job.pool == pool_id
            and _kind(job.step) is _kind(step)
            and not (job.vanishes and self.loop.moment > job.begins + 5)
        )

    # -- the world ------------------------------------------------------------------------------

    def pending(self, pool: TruePool) -> int:
        """Surplus of the true state: live disks that serve no declared disk."""
        return len(pool.disks) - served(pool.wanted, list(pool.disks.values()))

    def still(self) -> bool:
        """True when no job runs and no late request is under way."""
        self.settle()
        return not self.late and all(job.done for job in self.jobs.values())

    def _accept(self, call: Call) -> Outcome:
        pool = self.pools_[call.pool_id]
        if self.loop.moment < pool.busy_until:
            return Outcome(state=State.REJECTED, status=409, code="WKS.00010032", message="busy")
        ids = tuple(disk.id for disk in call.disks)
        if call.step is Step.RETRY:
            return self._retry(pool, call)
        if call.step is not Step.ADD and not set(ids) <= pool.disks.keys():
            return Outcome(state=State.REJECTED, status=404, code="WKS.0001", message="no such disk")
        self.serial += 1
        job_id = f"job-{self.serial}"
        begins = self.loop.moment
        ends = begins + self.rng.uniform(1, 90)
        # Where there are desktops, a part of a removal is some of them: then the pool loses all of the disks.
        leaves = call.step is Step.REMOVE and pool.desktops > 0
        ending, effect = self._fate(1 if leaves else len(ids))
        if ending is JobEnd.RUNNING:
            ends = begins + 7200
            ending = JobEnd.FAILED
        vanishes = self._chance(self.faults.job_vanishes)
        failing = self._failing(pool, ending)
        self.jobs[job_id] = TrueJob(
            job_id, pool.id, call.step, begins, ends, ending, effect, call, vanishes=vanishes, failing=failing
        )
        pool.busy_until = ends + self.rng.uniform(0, 3)
        if call.step is Step.REMOVE:
            self._note(pool, ids, job_id)
        return Outcome(state=State.ACCEPTED, status=200, job_id=job_id, request_id=f"req-{self.serial}")

    def _failing(self, pool: TruePool, ending: JobEnd) -> tuple[int, ...]:
        if ending is JobEnd.FAILED:
            return tuple(range(pool.desktops))
        if ending is not JobEnd.PARTIAL or not pool.desktops:
            return ()
        return tuple(sorted(self.rng.sample(range(pool.desktops), self.rng.randint(1, pool.desktops))))

    def _retry(self, pool: TruePool, call: Call) -> Outcome:
        """Take a retry: the failed desktops once more, as a new job or under the old id."""
        old = self.jobs.get(call.job_id)
        if old is None or not old.done or not old.failing:
            return Outcome(state=State.REJECTED, status=409, code="WKS.00010032", message="nothing to retry")
        self.serial += 1
        job_id = self.rng.choice([old.id, f"job-{self.serial}"])
        begins = self.loop.moment
        ends = begins + self.rng.uniform(1, 90)
        ending, effect = self._fate(1)
        if ending is JobEnd.RUNNING:
            ends, ending, effect = begins + 7200, JobEnd.FAILED, False
        failing = tuple(sorted(set(self._failing(pool, ending)) & set(old.failing)))
        if ending is JobEnd.PARTIAL and not failing:
            ending = JobEnd.SUCCEEDED
        # Its disks are those of the old job, whatever the caller believes.
        again = Call(Step.RETRY, pool.id, old.call.disks, None, old.id)
        self.jobs[job_id] = TrueJob(
            job_id, pool.id, Step.RETRY, begins, ends, ending, effect, again, failing=failing
        )
        ids = {disk.id for disk in old.call.disks}
        copies = [(number, disk) for number, left in pool.left.items() for disk in left if disk in ids]
        # A disk that the pool still has would go as a whole.
        whole = [(number, disk) for number in range(pool.desktops) for disk in ids & pool.disks.keys()]
        named = tuple(sorted((f"{pool.id}-d{number}", disk) for number, disk in [*copies, *whole]))
        self.retried.append(Retried(begins, named))
        pool.busy_until = ends + self.rng.uniform(0, 3)
        return Outcome(state=State.ACCEPTED, status=200, job_id=job_id, request_id=f"req-{self.serial}")

    def _note(self, pool: TruePool, ids: tuple[str, ...], job_id: str) -> None:
        left = [disk for disk in pool.disks.values() if disk.id not in ids]
        fewer = served(pool.wanted, list(pool.disks.values())) > served(pool.wanted, left)
        live_jobs = {
            disk_id
            for line in self.record
            if self.jobs[line.job].effect or not self.jobs[line.job].done
            for disk_id in line.ids
        }
        self.record.append(
            Accepted(
                self.loop.moment,
                pool.id,
                Step.REMOVE,
                ids,
                job_id,
                needed=ids if fewer else (),
                twice=tuple(sorted(live_jobs & set(ids))),
            )
        )

    def _fate(self, size: int) -> tuple[JobEnd, bool]:
        for chance, fate in (
            (self.faults.job_fails, (JobEnd.FAILED, False)),
            (self.faults.job_partial, (JobEnd.PARTIAL, size == 1)),
            (self.faults.job_lies, (JobEnd.SUCCEEDED, False)),
            (self.faults.job_hangs, (JobEnd.RUNNING, False)),
        ):
            if self._chance(chance):
                return fate
        return (JobEnd.SUCCEEDED, True)

    def settle(self) -> None:
        """Let happen what is due: late requests arrive, jobs take effect."""
        for message in list(self.late_messages):
            if message[0] <= self.loop.moment:
                self.late_messages.remove(message)
                self.messages.append(Message(*message))
        for at, call in sorted(self.late, key=lambda each: each[0]):
            if at <= self.loop.moment:
                self.late.remove((at, call))
                self._accept(call)
        for job in self.jobs.values():
            if not job.done and job.ends <= self.loop.moment:
                job.done = True
                if job.effect:
                    self._take_effect(job)

    def _take_effect(self, job: TrueJob) -> None:
        pool = self.pools_[job.pool]
        for number, disk in enumerate(job.call.disks):
            match job.step:
                case Step.REMOVE:
                    gone = pool.disks.pop(disk.id, None)
                    for each in job.failing if gone else ():
                        pool.left.setdefault(each, {})[disk.id] = disk
                case Step.RETRY:
                    pool.disks.pop(disk.id, None)
                    for each, left in pool.left.items():
                        if each not in job.failing:
                            left.pop(disk.id, None)
                case Step.EXPAND:
                    pool.disks[disk.id] = Disk(disk.id, disk.type, disk.size)
                case Step.ADD:
                    new = f"{job.id}-new-{number}"
                    pool.disks[new] = Disk(new, disk.type, disk.size)

    def _view(self) -> tuple[Pool, ...]:
        views = []
        for pool in self.pools_.values():
            disks = list(pool.disks.values())
            self.rng.shuffle(disks)
            status = "TEMPORARY" if self.loop.moment < pool.busy_until else "STEADY"
            views.append(Pool(pool.id, pool.name, tuple(disks), status, "1", pool.desktops, pool.desktops))
        self.rng.shuffle(views)
        return tuple(views)

    async def _begin(self, what: str) -> None:
        self.requests[what] += 1
        await asyncio.sleep(self.rng.uniform(0.01, 0.3))
        self.settle()
        if self._chance(self.faults.foreign):
            self._somebody_else()
        if self._chance(self.faults.read_error):
            raise ServiceError("the service answered 500", status=500)

    def _somebody_else(self) -> None:
        """Another person works in the console: adds a disk, or deletes a surplus one by hand."""
        pool = self.rng.choice(list(self.pools_.values()))
        if self.loop.moment < pool.busy_until:
            return
        self.foreign_changes += 1
        self.serial += 1
        if self.rng.random() < 0.5 and len(pool.disks) < 8:
            new = f"foreign-{self.serial}"
            pool.disks[new] = Disk(new, self.rng.choice(["SAS", "SSD"]), self.rng.choice([10, 50, 100]))
        elif pool.disks:
            surplus = [
                disk
                for disk in pool.disks.values()
                if served(pool.wanted, [each for each in pool.disks.values() if each != disk])
                == served(pool.wanted, list(pool.disks.values()))
            ]
            if surplus:
                pool.disks.pop(self.rng.choice(surplus).id)

    def _chance(self, probability: float) -> bool:
        return probability > 0 and self.rng.random() < probability


def _kind(step: Step) -> Step:
    """The service has one type of job for a removal and for its retry."""
    return Step.REMOVE if step is Step.RETRY else step


def served(wanted: list[tuple[str, int]], disks: list[Disk]) -> int:
    """How many declared disks the given ones can serve, as they are or by growing (independent count)."""
    left = list(disks)
    count = 0
    for kind, size in sorted(wanted, key=lambda each: each[1]):
        fit = next((disk for disk in left if disk.type == kind and disk.size <= size), None)
        if fit:
            left.remove(fit)
            count += 1
    return count
