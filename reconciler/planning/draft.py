"""Drafts the plan of one pool: the changes, what the removals destroy, and what is known of ties.

Choosing is left to ``matching``, blocking to ``guards``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from reconciler.model import MAX_POOL_DISKS, Action, ApplyTo, DesiredPool, Desktop, Disk, LostCopy, Pool
from reconciler.planning.change import Change, Rule, Tie
from reconciler.planning.marks import Settle, as_it_is
from reconciler.planning.matching import DISTRUSTED, match
from reconciler.planning.plan import Candidate, DiskLoss, Loss, PoolPlan
from reconciler.values import replace


def draft(
    desired: DesiredPool, live: Pool, desktops: Sequence[Desktop] | None = None, settle: Settle = as_it_is
) -> PoolPlan:
    """Match one pool and describe every change; ``desktops`` adds copies, people and ages.

    Without ``desktops`` the loss is empty; see :func:`needs_desktops`. ``settle`` sets apart what is only marked.
    """
    if len(live.disks) > MAX_POOL_DISKS:
        return _too_many(desired, live)
    found = match(desired, live.disks, _ages(desktops) if desktops else None)
    pool = PoolPlan(
        desired=desired,
        live=live,
        changes=found.changes,
        ties=found.ties,
        candidates=tuple(_candidates(found.ties, desktops, _reached(desired, desktops))) if desktops else (),
        # A doubt of the reading says the same of a disk that matching sets aside; once is enough.
        findings=tuple(each for each in found.findings if not (live.doubts and each.rule in DISTRUSTED)),
    )
    pool = settle(pool)
    return with_loss(pool, desktops) if desktops is not None else pool


def needs_desktops(pool: PoolPlan) -> bool:
    """True when the pool loses a disk, or could, so that its desktops must be read."""
    return bool(pool.ties) or any(change.destroys for change in pool.drift)


def _too_many(desired: DesiredPool, live: Pool) -> PoolPlan:
    """The plan of a pool with more disks than the service allows: a doubt, and every disk stays.

    Matching is cubic in the disks, so such an answer is not matched at all, also where nothing judged the reading.
    """
    doubt = f"{len(live.disks)} disks, the service allows {MAX_POOL_DISKS}"
    return PoolPlan(
        desired=desired,
        live=replace(live, doubts=live.doubts or (doubt,)),
        changes=tuple(Change(Action.KEEP, Rule.SET_ASIDE, live=disk) for disk in live.disks),
    )


def _candidates(
    ties: Sequence[Tie], desktops: Sequence[Desktop], reached: Sequence[Desktop]
) -> Iterator[Candidate]:
    ages = _ages(desktops) if ties else {}
    for disk in (disk for tie in ties for disk in tie.candidates):
        having = [each for each in desktops if any(copy.disk_id == disk.id for copy in each.copies)]
        yield Candidate(
            disk_id=disk.id,
            copies=sum(copy.disk_id == disk.id for desktop in having for copy in desktop.copies),
            desktops=len(having),
            users=tuple(sorted({user for desktop in having for user in desktop.people})),
            created=ages.get(disk.id),
            live_sessions=sum(
                each.live_session and any(_belongs(copy.disk_id, copy.type, disk) for copy in each.copies)
                for each in reached
            ),
        )


def _ages(desktops: Sequence[Desktop]) -> dict[str, datetime]:
    """When each disk was created: its oldest copy; a disk with any undated copy has no age."""
    ages: dict[str, datetime] = {}
    undated: set[str] = set()
    for desktop in desktops:
        for copy in desktop.copies:
            if copy.created is None:
                undated.add(copy.disk_id)
            elif copy.disk_id not in ages or copy.created < ages[copy.disk_id]:
                ages[copy.disk_id] = copy.created
    return {disk: age for disk, age in ages.items() if disk not in undated}


def with_loss(pool: PoolPlan, desktops: Sequence[Desktop]) -> PoolPlan:
    """The pool with what its removals destroy on these desktops."""
    removed = pool.removed
    if not removed:
        return pool
    reached = _reached(pool.desired, desktops)
    disk_losses: list[DiskLoss] = []
    hit: dict[str, Desktop] = {}
    for disk in removed:
        lost: list[LostCopy] = []
        for desktop in reached:
            copies = [copy for copy in desktop.copies if _belongs(copy.disk_id, copy.type, disk)]
            if copies:
                hit[desktop.id] = desktop
            lost += (
                LostCopy(disk.id, desktop.id, desktop.name, copy.volume_id, copy.size, desktop.people)
                for copy in copies
            )
        disk_losses.append(DiskLoss(disk.id, len(lost), sum(each.size for each in lost), tuple(lost)))
    loss = Loss(
        disks=len(removed),
        copies=sum(each.copies for each in disk_losses),
        desktops=len(hit),
        gigabytes=sum(each.gigabytes for each in disk_losses),
        users=tuple(sorted({user for desktop in hit.values() for user in desktop.people})),
        groups=tuple(sorted({group for desktop in hit.values() for group in desktop.groups})),
        live_sessions=sum(desktop.live_session for desktop in hit.values()),
        upper_bound=pool.desired.apply_to in (None, ApplyTo.IDLE),
        maintained=sum(desktop.in_maintenance_mode is True for desktop in hit.values()),
        isolated=sum(desktop.isolated is True for desktop in hit.values()),
        frozen=sum(desktop.frozen is True for desktop in hit.values()),
    )
    return replace(pool, loss=loss, disk_losses=tuple(disk_losses))


def _reached(desired: DesiredPool, desktops: Sequence[Desktop]) -> Sequence[Desktop]:
    # NEW reaches only desktops created later; for IDLE and for an unset apply_to the service alone
    # knows which desktops it reaches (its text defines neither), so the plan counts every desktop.
    return () if desired.apply_to is ApplyTo.NEW else desktops


def _belongs(disk_id: str, volume_type: str, disk: Disk) -> bool:
    """A copy without a link could belong to any disk of its type: count it, the worst case."""
    return disk_id == disk.id or (not disk_id and volume_type == disk.type)
