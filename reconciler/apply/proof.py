"""Proves what became of the disks: reads until two readings in a row show the effect, or time is up.

A job's own report is not enough, the disks decide; nor is one reading, which may come from a stale replica.
What follows from it is left to ``operation`` and ``resolve``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

from reconciler.apply.context import RunContext, TargetContext, nothing_shown
from reconciler.apply.events import Phase, PoolMoved
from reconciler.apply.following import Hold
from reconciler.apply.polling import delay, is_transient
from reconciler.errors import ServiceError
from reconciler.journal.records import Intent
from reconciler.journal.states import Step
from reconciler.model import ABSENT_DISKS, Desktop, Disk, LostCopy, Pool
from reconciler.values import Struct, replace

VERBS = {Step.REMOVE: "gone", Step.EXPAND: "expanded", Step.ADD: "created", Step.RETRY: "gone"}
"""What became of a disk, or of a copy, once a step is done."""
NEEDED = 2
"""Complete readings in a row that must agree."""
CONTRADICTING = 60.0
"""Seconds beyond the deadline after which to stop reading although the readings still contradict each other."""


class Observation(Struct, frozen=True):
    """How much of an operation the disks show."""

    done: int
    total: int
    lost: tuple[str, ...] = ()
    """Ids that had to stay and are gone: an alarm."""
    pool_gone: bool = False
    contradictory: bool = False
    """True when no two readings in a row agreed, so nothing is known."""

    @property
    def complete(self) -> bool:
        """True when all of it is done and nothing else is missing."""
        return self.done == self.total and not self.alarming

    @property
    def alarming(self) -> bool:
        """True when something is gone that nobody planned to remove."""
        return bool(self.lost) or self.pool_gone


def observed(intent: Intent, disks: Sequence[Disk]) -> Observation:
    """Compare what an operation was to do with the disks of one reading; pure."""
    live = {disk.id: disk for disk in disks}
    lost = tuple(sorted(set(intent.keep) - live.keys()))
    total = len(intent.disks)
    match intent.step:
        case Step.REMOVE:
            done = sum(disk_id not in live for disk_id, _, _ in intent.disks)
        case Step.EXPAND:
            done = sum(disk_id in live and live[disk_id].size >= size for disk_id, _, size in intent.disks)
            lost += tuple(sorted(disk_id for disk_id, _, _ in intent.disks if disk_id not in live))
        case Step.ADD:
            # The service chooses the new ids, so new disks are recognised by type and size.
            new = Counter((disk.type, disk.size) for disk in disks if disk.id not in intent.keep)
            wanted = Counter((kind, size) for _, kind, size in intent.disks)
            done = (new & wanted).total()
        case Step.RETRY:
            # As long as the pool has the disk, every copy of it counts as left: ``copies_seen`` looks at the others.
            done = total = len(intent.copies)
            done -= sum(copy.disk_id in live for copy in intent.copies)
    return Observation(done, total, lost)


def copies_seen(intent: Intent, disks: Sequence[Disk], desktops: Sequence[Desktop]) -> Observation:
    """Compare what a retry was to remove with the copies of one reading; pure.

    A copy is gone when its desktop says what it has, and neither its volume nor a copy of its disk is there.
    """
    found = observed(intent, disks)
    alive = {disk.id for disk in disks}
    here = {desktop.id: desktop for desktop in desktops}
    left = sum(copy.disk_id in alive or _holds(here.get(copy.desktop_id), copy) for copy in intent.copies)
    return replace(found, done=found.total - left)


def _holds(desktop: Desktop | None, lost: LostCopy) -> bool:
    if desktop is None:
        return False
    return not desktop.copies_known or any(
        copy.disk_id == lost.disk_id or (copy.volume_id and copy.volume_id == lost.volume_id)
        for copy in desktop.copies
    )


async def observe(
    intent: Intent,
    site: TargetContext,
    ctx: RunContext,
    seconds: float,
    shown: Callable[[], None] = nothing_shown,
) -> Observation:
    """Read until two readings in a row show the whole effect, or an alarm, or for ``seconds``.

    ``shown`` is called when a reading shows the whole effect and nothing else missing, which proves nothing yet.
    Returns what two readings in a row agreed on; renews the lease. Raises ``ServiceError`` when the
    service cannot be read, and ``PoolHeld`` when another run has taken the operation over.
    """
    deadline = ctx.clock.monotonic() + seconds
    hold = Hold(intent, ctx)
    seen: Observation | None = None
    agreeing = 0
    due = ctx.clock.monotonic()
    polls = 0
    said = False
    while True:
        now_seen = await _seen(intent, site, due, retry=ctx.clock.monotonic() < deadline)
        hold.keep()
        # A doubtful reading counts neither for nor against: it leaves the row of agreeing ones as it is.
        if now_seen is not None:
            agreeing = agreeing + 1 if now_seen == seen else 1
            seen = now_seen
            if agreeing >= NEEDED and (seen.complete or seen.alarming):
                return seen
            if seen.complete:
                shown()
        moment = ctx.clock.monotonic()
        # Also where the first reading showed it and the next one contradicts.
        if not said and moment < deadline and not (seen and seen.complete):
            said = True
            words = f"waiting up to {_span(seconds)} until the readings show {_aim(intent)}"
            until = ctx.clock.now() + timedelta(seconds=deadline - moment)
            ctx.tell(PoolMoved(intent.pool.pool_id, intent.pool_name, Phase.PROVING, words, until))
        # Past the deadline a partial effect will do, but it needs the same two readings: it closes an operation.
        if moment >= deadline and seen is not None and agreeing >= NEEDED:
            return seen
        if moment >= deadline + CONTRADICTING:
            return Observation(0, _total(intent), contradictory=True)
        due = moment + delay(polls)
        polls += 1


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds:.0f} s"


def _aim(intent: Intent) -> str:
    """What an operation was to achieve."""
    disks = ", ".join(disk_id or f"{kind} {size} GB" for disk_id, kind, size in intent.disks)
    if intent.step is Step.RETRY:
        return f"the copies of {disks} gone"
    return f"{disks} {VERBS[intent.step]}"


def _total(intent: Intent) -> int:
    """What an operation is about: disks, or copies that are left of them."""
    return len(intent.copies if intent.step is Step.RETRY else intent.disks)


async def _seen(intent: Intent, site: TargetContext, due: float, *, retry: bool) -> Observation | None:
    """What one reading shows; None when it is doubtful, or failed while there is time for another."""
    try:
        return await _read(intent, site, due)
    except ServiceError as error:
        if retry and is_transient(error):
            return None
        raise


async def _read(intent: Intent, site: TargetContext, due: float) -> Observation | None:
    """What one complete reading shows; None when it is doubtful."""
    pools = await site.pools.after(due)
    pool = next((each for each in pools if each.id == intent.pool.pool_id), None)
    if pool is None:
        return Observation(0, _total(intent), pool_gone=True)
    if ABSENT_DISKS in pool.doubts:
        pool = await _settled(site, pool)
    # A doubtful reading must not prove anything: disks that it only left out would look removed.
    if pool.doubts:
        return None
    if intent.step is not Step.RETRY:
        return observed(intent, pool.disks)
    desktops = await site.workspace.desktops(pool.id)
    # Desktops that are not listed would make their copies look gone.
    complete = pool.desktop_count in (None, len(desktops))
    return copies_seen(intent, pool.disks, desktops) if complete else None


async def _settled(site: TargetContext, pool: Pool) -> Pool:
    """Read the pool's detail: only it shows whether a list entry without disks means that there are none."""
    return (await site.workspace.pool(pool.id)).pool
