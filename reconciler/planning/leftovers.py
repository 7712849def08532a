"""What removals that were done only in part have left on desktops: the journal's record held against one reading.

The pool no longer has those disks, so nothing that compares it with its manifest sees them. Finishing such a
removal is left to ``engine.retry``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from reconciler.model import Copy, Desktop, LostCopy, Pool
from reconciler.values import Struct


class PartialRemoval(Struct, frozen=True):
    """A removal that the journal closed as done in part."""

    operation_id: str
    opened: datetime
    disks: tuple[str, ...]
    """Ids of the disks that it was to remove."""
    copies: tuple[LostCopy, ...] = ()
    """Every copy of them before the call; empty when that is not known, as in older journals."""


class Leftovers(Struct, frozen=True):
    """What one reading shows of one partial removal."""

    operation_id: str
    opened: datetime
    copies: tuple[LostCopy, ...] = ()
    """The copies that are still there, by desktop."""
    unread: str = ""
    """Why the reading may not show all of them; empty when it does."""


def leftovers(
    live: Pool, desktops: Sequence[Desktop], removals: Sequence[PartialRemoval], unread: str = ""
) -> tuple[Leftovers, ...]:
    """The removals of which copies are left, or may be, the latest first.

    A copy belongs to the latest removal that was to destroy it. One whose disk the pool has (again) is no
    leftover: matching decides about that disk. ``unread``: why the reading of the desktops is not complete.
    """
    found: list[Leftovers] = []
    taken: set[LostCopy] = set()
    alive = {disk.id for disk in live.disks}
    for each in sorted(removals, key=lambda one: (one.opened, one.operation_id), reverse=True):
        copies = [
            copy for copy in remaining(each, desktops) if copy.disk_id not in alive and copy not in taken
        ]
        taken.update(copies)
        # A removal all of whose disks are back has left nothing that a reading could fail to show.
        gap = unread if set(each.disks) - alive else ""
        if copies or gap:
            found.append(Leftovers(each.operation_id, each.opened, tuple(copies), gap))
    return tuple(found)


def count_of(found: Sequence[Leftovers]) -> int:
    """Copies over all of them."""
    return sum(len(each.copies) for each in found)


def remaining(removal: PartialRemoval, desktops: Sequence[Desktop]) -> Iterator[LostCopy]:
    """Every copy of a removal's disks that is, or may be, still there; also of disks that the pool has."""
    by_volume = {copy.volume_id: copy.disk_id for copy in removal.copies if copy.volume_id}
    disks = set(removal.disks)
    for desktop in sorted(desktops, key=lambda each: (each.name, each.id)):
        if not desktop.copies_known:
            # What is not said to be gone may be there.
            yield from (
                copy._replace(desktop_name=desktop.name, users=desktop.people)
                for copy in removal.copies
                if copy.desktop_id == desktop.id
            )
        for copy in desktop.copies:
            disk_id = copy.disk_id if copy.disk_id in disks else by_volume.get(copy.volume_id, "")
            if disk_id:
                yield _lost(disk_id, copy, desktop)


def _lost(disk_id: str, copy: Copy, desktop: Desktop) -> LostCopy:
    return LostCopy(disk_id, desktop.id, desktop.name, copy.volume_id, copy.size, desktop.people)
