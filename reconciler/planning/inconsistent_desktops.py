"""How a desktop differs from its pool: copies left behind, copies missing, copies of another size.

Asking the service which desktops differ is left to ``workspace``; nothing here ever becomes an action.
"""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.model import Copy, Desktop, Disk
from reconciler.values import Struct


class Resized(Struct, frozen=True):
    """A copy whose size is not that of the pool's disk."""

    copy: Copy
    pool_size: int
    """GB of the pool's disk."""


class InconsistentDesktop(Struct, frozen=True):
    """One desktop that the service counts as different from its pool."""

    id: str
    name: str
    users: tuple[str, ...] = ()
    """Names of the users bound to it, sorted."""
    left_behind: tuple[Copy, ...] = ()
    """Copies of disks that the pool does not have (any more): what ``apply_to: new`` leaves."""
    missing: tuple[Disk, ...] = ()
    """Disks of the pool of which this desktop has no copy."""
    resized: tuple[Resized, ...] = ()

    @property
    def explained(self) -> bool:
        """False when its copies are those of the pool, so that only the service's count says it differs."""
        return bool(self.left_behind or self.missing or self.resized)


class InconsistentDesktops(Struct, frozen=True):
    """The desktops of one pool that differ from it, at the time of reading."""

    by_number: int = 0
    """Desktops that the service counts as having more or fewer disks than the pool."""
    by_size: int = 0
    """Desktops that the service counts as having another sum of GB."""
    desktops: tuple[InconsistentDesktop, ...] = ()
    """Those same desktops one by one, by name."""


def inconsistent_desktop(disks: Sequence[Disk], desktop: Desktop) -> InconsistentDesktop:
    """Compare one desktop's copies with its pool's disks, by the link each copy has to its disk."""
    by_id = {disk.id: disk for disk in disks if disk.id}
    linked = {copy.disk_id for copy in desktop.copies}
    copies = sorted(desktop.copies, key=lambda copy: (copy.disk_id, copy.volume_id))
    return InconsistentDesktop(
        id=desktop.id,
        name=desktop.name,
        users=desktop.users,
        left_behind=tuple(copy for copy in copies if copy.disk_id not in by_id),
        missing=tuple(disk for _, disk in sorted(by_id.items()) if disk.id not in linked),
        resized=tuple(
            Resized(copy, disk.size)
            for copy in copies
            if (disk := by_id.get(copy.disk_id)) and disk.size != copy.size
        ),
    )
