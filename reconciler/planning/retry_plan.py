"""The plan of a retry: the copies that a partial removal has left, as disks that go, so that every guard judges them.

Reading the pool is left to ``engine.retry``.
"""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.model import Action, ApplyTo, Copy, DesiredPool, Desktop, Disk, LostCopy, Pool
from reconciler.planning.change import Change, Rule
from reconciler.planning.draft import with_loss
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.leftovers import PartialRemoval, remaining
from reconciler.planning.plan import PoolPlan
from reconciler.planning.readings import desktop_doubts, drafted
from reconciler.values import replace


def retry_plan(
    desired: DesiredPool,
    live: Pool,
    desktops: Sequence[Desktop],
    removal: PartialRemoval,
    disks: Sequence[Disk],
) -> PoolPlan:
    """What finishing ``removal`` would destroy: each of its ``disks`` of which a copy is left, on every desktop.

    A disk that the pool still has goes only where the manifest lets it go, as in any plan.
    """
    left = tuple(remaining(removal, desktops))
    going = [disk for disk in disks if any(copy.disk_id == disk.id for copy in left)]
    alive = {disk.id for disk in live.disks}
    manifest = drafted(desired, live)
    changes = tuple(
        Change(Action.REMOVE, Rule.LEFT_BEHIND, live=disk, carried_out=Action.REMOVE in desired.manage)
        for disk in going
    )
    # Whom the service reaches is not said in the request, so everybody who has a copy counts.
    pool = PoolPlan(
        desired=replace(desired, apply_to=ApplyTo.ALL),
        live=replace(live, disks=live.disks + tuple(disk for disk in going if disk.id not in alive)),
        changes=changes,
        findings=tuple(each for each in manifest.findings if each.severity is Severity.BLOCK),
        retry_of=removal.operation_id,
    )
    doubts = tuple(desktop_doubts(pool, desktops))
    if pool.live and doubts:
        pool = replace(pool, live=replace(pool.live, doubts=(*live.doubts, *doubts)))
    # The service may repeat the whole job: a disk that the pool still has must be free to go as well.
    staying = [disk for disk in disks if disk.id in alive and disk not in manifest.removed]
    missing = [each.desired for each in manifest.changes if each.action is Action.ADD and each.desired]
    wanted = [
        disk for disk in going if any((disk.type, disk.size) == (each.type, each.size) for each in missing)
    ]
    findings = (
        *pool.findings,
        *(_stays(pool, disk) for disk in staying),
        *(_wanted_again(pool, disk) for disk in wanted if disk.id not in alive),
    )
    return with_loss(replace(pool, findings=findings), [_holding(each, left, disks) for each in desktops])


def left_of(pool: PoolPlan) -> frozenset[LostCopy]:
    """Every copy that the plan of a retry is about."""
    return frozenset(copy for loss in pool.disk_losses for copy in loss.lost)


def beyond(pool: PoolPlan, approved: PoolPlan) -> frozenset[LostCopy]:
    """The copies that were not approved; which backups there are of one plays no part."""
    return frozenset(_bare(each) for each in left_of(pool)) - {_bare(each) for each in left_of(approved)}


def _bare(copy: LostCopy) -> LostCopy:
    return copy._replace(backups=())


def _holding(desktop: Desktop, left: Sequence[LostCopy], disks: Sequence[Disk]) -> Desktop:
    """The desktop with the copies that are left alone, each linked to its disk."""
    types = {disk.id: disk.type for disk in disks}
    copies = (copy for copy in left if copy.desktop_id == desktop.id)
    return replace(
        desktop,
        copies=tuple(Copy(copy.disk_id, copy.volume_id, types[copy.disk_id], copy.size) for copy in copies),
    )


def _stays(pool: PoolPlan, disk: Disk) -> Finding:
    return Finding(
        rule="retry-needed-disk",
        message=f"disk {disk.id} ({disk.type} {disk.size} GB) is a disk of the pool that the manifest does not let go, "
        "and the service may repeat the whole job",
        pool=pool.label,
        source=str(pool.desired.at),
        allow="delete the copies that are left in the console",
    )


def _wanted_again(pool: PoolPlan, disk: Disk) -> Finding:
    """The manifest has been given back such a disk since: whether it means these copies, nobody but a person knows."""
    return Finding(
        rule="retry-needed-disk",
        message=f"the manifest declares a disk of {disk.type} {disk.size} GB that the pool lacks, and these copies are "
        f"what is left of such a disk, {disk.id}",
        pool=pool.label,
        source=str(pool.desired.at),
        allow="take that entry out if these copies are to go, add the disk first if it means a new one, or "
        "delete the copies in the console",
    )
