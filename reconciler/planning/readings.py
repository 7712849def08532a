"""Judges a reading: what of pools, disks, desktops and copies cannot be true.

Each doubt is one sentence, and a pool with any doubt is neither matched nor changed. What an answer must
look like to be read at all is left to ``api``, reading again in time to ``planner``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from reconciler.model import (
    MAX_DISK_GB,
    MAX_POOL_DISKS,
    Action,
    ApplyTo,
    Copy,
    DesiredPool,
    Desktop,
    Disk,
    Pool,
)
from reconciler.planning.change import Change, Rule
from reconciler.planning.draft import draft
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.marks import Settle, as_it_is
from reconciler.planning.plan import PoolPlan
from reconciler.values import Struct, replace

SHOWN = 3
"""Copies named in one doubt before ``and N more``."""


class Counts(Struct, frozen=True):
    """How many desktops a pool has, by everything that counts them."""

    read: int
    """Desktops in the list of the pool's desktops."""
    reported: tuple[int | None, ...]
    """``desktop_count`` of the pool before and after that list was read; None where it was left out."""

    @property
    def agree(self) -> bool:
        """True when no count contradicts the list; one that was left out contradicts nothing."""
        return all(each in (None, self.read) for each in self.reported)

    @property
    def known(self) -> bool:
        """False when every count was left out."""
        return any(each is not None for each in self.reported)


def pool_doubts(disks: Sequence[Disk], desktop_count: int | None) -> Iterator[str]:
    """What cannot be true of one pool's own answer."""
    if desktop_count is not None and desktop_count < 0:
        yield f"it counts {desktop_count} desktops"
    if len(disks) > MAX_POOL_DISKS:
        yield f"{len(disks)} disks, and no pool can have more than {MAX_POOL_DISKS}"
        return
    if len({disk.id for disk in disks}) != len(disks):
        repeated = Counter(disk.id for disk in disks if disk.id)
        for disk_id in sorted(each for each, times in repeated.items() if times > 1):
            yield f"disk {disk_id} is listed {repeated[disk_id]} times"
    for disk in disks:
        if not disk.id:
            yield f"a disk ({disk.type}, {disk.size} GB) has no id"
        if not disk.type:
            yield f"disk {disk.id} has no type"
        if not _possible(disk.size):
            yield f"disk {disk.id} has the size {disk.size} GB"


def desktop_doubts(pool: PoolPlan, desktops: Sequence[Desktop]) -> Iterator[str]:
    """What contradicts the pool in a reading of its desktops; ``pool`` is what is planned from that reading."""
    wrong = [(copy, each) for each in desktops for copy in each.copies if not _possible(copy.size)]
    for copy, desktop in wrong[:SHOWN]:
        # By its id: it is often called after its user, and a finding is shown where nobody may be named.
        yield f"copy {copy.volume_id or '(no id)'} on desktop {desktop.id} has the size {copy.size} GB"
    if len(wrong) > SHOWN:
        yield f"{len(wrong) - SHOWN} more copies have such a size"
    # With apply_to: new the desktops that exist keep their copies, so what they have decides nothing. Copies
    # of disks that the pool no longer has are what idle, new and partial jobs leave behind: no doubt at all.
    if pool.desired.apply_to is ApplyTo.NEW or not (desktops or _has_desktops(pool.live)):
        return
    for disk in pool.removed:
        if not any(_may_hold(copy, disk) for each in desktops for copy in each.copies):
            yield f"no desktop has a copy of disk {disk.id} ({disk.type}, {disk.size} GB)"


def assumed(live: Pool, desktops: Sequence[Desktop]) -> tuple[Desktop, ...]:
    """The desktops, each of which has a copy of every disk of the pool where its copies are not known.

    Such a copy has no time of creation, so that no tie is decided by what nobody knows.
    """
    worst = tuple(Copy(disk.id, "", disk.type, disk.size) for disk in live.disks)
    return tuple(each if each.copies_known else replace(each, copies=worst) for each in desktops)


def drafted(
    desired: DesiredPool, live: Pool, desktops: Sequence[Desktop] | None = None, settle: Settle = as_it_is
) -> PoolPlan:
    """The plan of one pool, unless its reading is doubtful: then nothing is matched and every disk is set aside."""
    if live.doubts:
        shown = live.disks[:MAX_POOL_DISKS]
        return PoolPlan(
            desired, live, tuple(Change(Action.KEEP, Rule.SET_ASIDE, live=disk) for disk in shown)
        )
    return draft(desired, live, desktops, settle)


def looked_into(pool: PoolPlan, desktops: Sequence[Desktop], settle: Settle = as_it_is) -> PoolPlan:
    """The pool planned again with its desktops; nothing of it where they contradict it."""
    if pool.live is None:
        return pool
    known = assumed(pool.live, desktops)
    found = drafted(pool.desired, pool.live, known, settle)
    doubts = tuple(desktop_doubts(found, known))
    return doubted(found, *doubts) if doubts else found


def counted(pool: PoolPlan, counts: Counts) -> PoolPlan:
    """The pool with what its counts of desktops say: a doubt, a notice, or nothing."""
    if not (counts.agree or pool.desired.allow_count_mismatch):
        return doubted(pool, _miscounted(counts))
    if not pool.removed or (counts.agree and counts.known):
        return pool
    allowed = f"{_miscounted(counts)}, which allow_count_mismatch lets pass"
    silent = "the service does not say how many desktops the pool has"
    notice = Finding(
        rule="desktops-not-counted",
        message=f"{silent if counts.agree else allowed}, so nothing tells whether it listed all of them",
        severity=Severity.WARN,
        pool=pool.label,
        measured=counts.read,
        source=str(pool.desired.at),
    )
    return replace(pool, findings=(*pool.findings, notice))


def doubted(pool: PoolPlan, *doubts: str) -> PoolPlan:
    """The plan of a pool with further doubts: nothing of it is planned any more."""
    if pool.live is None:
        return pool
    return drafted(pool.desired, replace(pool.live, doubts=(*pool.live.doubts, *doubts)))


def _miscounted(counts: Counts) -> str:
    values = dict.fromkeys(each for each in counts.reported if each is not None)
    return f"{read_words(counts.read)} read, and the pool counts {', then '.join(map(str, values))}"


def _has_desktops(live: Pool | None) -> bool:
    """By the pool's own word."""
    return bool(live and (live.desktop_count or live.desktop_used))


def _may_hold(copy: Copy, disk: Disk) -> bool:
    """A copy without a link may be of any disk of its type."""
    return copy.disk_id == disk.id or (not copy.disk_id and copy.type == disk.type)


def _possible(size: int) -> bool:
    return 0 < size <= MAX_DISK_GB


def read_words(desktops: int) -> str:
    """``3 desktops were``, for a sentence on what was read."""
    return f"{desktops} {'desktop was' if desktops == 1 else 'desktops were'}"
