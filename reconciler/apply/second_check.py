"""The second, independently written check right before a removal; it cannot be switched off.

From the service's raw answer, the manifest entry and the limits it derives that each disk may go. It uses
neither the matching nor the plan nor the client, so a defect in them cannot hide here. What to send is left
to ``calls``; a disagreement stops the run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NewType

from reconciler.errors import Refused
from reconciler.model import Action, DesiredDisk, DesiredPool, Limits, LostCopy

DiskId = NewType("DiskId", str)
"""The id of an entry of a pool's ``data_volumes``; never a volume id, never the root disk's."""


Row = tuple[str, str, int]
"""Id, type and GB of a live disk."""


class SecondCheckFailed(Refused):
    """Plan and second check disagree: a bug in this program or a wrong reading, so nothing is sent."""


def check_removal(
    raw: bytes, pool_id: str, sent: Sequence[Row], desired: DesiredPool, limits: Limits
) -> tuple[DiskId, ...]:
    """Return the ids that may be removed; raises ``SecondCheckFailed`` unless that is all of ``sent``.

    ``raw`` is the detail answer of the pool read just now; ``sent`` holds (id, type, GB) as in the request.
    """
    rows = _rows(raw, pool_id)
    by_id = {row[0]: row for row in rows}
    going = {each[0] for each in sent}
    # Numbers and rules stand here once more, not as names from elsewhere: independent on purpose.
    if not sent or len(sent) > 10 or len(going) != len(sent):
        raise _no("the call names no disk, more than ten, or one twice")
    if len(by_id) != len(rows) or "" in by_id:
        raise _no("the pool's disks do not all have ids of their own")
    # The whole row must agree, not the id alone: an id that now has another size is no longer the disk reviewed.
    for each in sent:
        if by_id.get(each[0]) != each:
            raise _no(f"disk {each[0]} is not, with this type and size, a data disk of the pool")
    _spared(going, set(by_id), desired)
    if Action.REMOVE not in desired.manage:
        raise _no("the pool's entry does not let disks be removed")
    if limits.disks.value is not None and len(sent) > limits.disks.value:
        disks = "1 disk exceeds" if len(sent) == 1 else f"{len(sent)} disks exceed"
        raise _no(f"{disks} the limit {limits.disks.value} ({limits.disks.source})")
    share = limits.share_of_pool
    if share.value is not None and 100 * len(sent) > share.value * len(rows):
        raise _no(f"removing {len(sent)} of {len(rows)} exceeds the limit {share.value} % ({share.source})")
    _surplus(rows, going, desired)
    return tuple(DiskId(each[0]) for each in sent)


def check_retry(
    raw: bytes, pool_id: str, left: Sequence[LostCopy], approved: Sequence[Row], desired: DesiredPool
) -> None:
    """Raise ``SecondCheckFailed`` unless each copy that is left may go, as part of the removal that was approved.

    ``raw`` is the detail answer of the pool read just now; ``approved`` has (id, type, GB) of the disks that the
    journal says a person let the operation remove.
    """
    rows = _rows(raw, pool_id)
    disks = {each[0]: each for each in approved}
    going = {copy.disk_id for copy in left}
    if not left or not all(going) or len(disks) != len(approved) or len(disks) > 10:
        raise _no("the retry names no copy, a copy of no disk, or more than ten disks")
    if stray := sorted(going - disks.keys()):
        raise _no(f"disk {', '.join(stray)} was not approved to be removed by this operation")
    if len({(copy.desktop_id, copy.volume_id or copy.disk_id) for copy in left}) != len(left):
        raise _no("a copy is named twice")
    for copy in left:
        if not copy.desktop_id:
            raise _no(f"a copy of disk {copy.disk_id} is on no desktop")
    for disk_id in going.intersection(desired.protect):
        raise _no(f"disk {disk_id} is protected")
    for pin in desired.disks:
        if pin.id in disks:
            raise _no(f"disk {pin.id} is pinned at {pin.at}")
    if Action.REMOVE not in desired.manage:
        raise _no("the pool's entry does not let disks be removed")
    # The service may repeat the whole job, so every disk of it that the pool still has must be free to go.
    still = {row[0] for row in rows} & disks.keys()
    for row in rows:
        if row[0] in still and disks[row[0]] != row:
            raise _no(f"disk {row[0]} is not, with this type and size, what was approved")
    if still:
        _spared(still, {row[0] for row in rows}, desired)
        _surplus(rows, still, desired)


def check_backups(
    pages: Sequence[bytes], copies: Sequence[LostCopy], within: timedelta, now: datetime
) -> None:
    """Raise ``SecondCheckFailed`` unless each copy that goes is in a backup that is younger than ``within``.

    ``pages`` are the backup service's raw answers, read just now. A backup that names no volumes counts for every
    copy of its desktop, as nobody can know which disks it holds.
    """
    young: dict[str, list[set[str]]] = {}
    for row in _backup_rows(pages):
        at = _time_of(row.get("protected_at"))
        # Fifteen minutes, once more as a number of its own: what is further in the future has no age.
        if at and now - within < at <= now + timedelta(minutes=15) and _usable(row, now):
            volumes = {child["resource_id"] for child in row.get("children") or () if _usable(child, now)}
            named = bool(row.get("children"))
            young.setdefault(row["resource_id"], []).append(volumes - {None, ""} if named else {_ANY})
    for copy in copies:
        if not any(held & {_ANY, copy.volume_id} for held in young.get(copy.desktop_id, ())):
            raise _no(
                f"desktop {copy.desktop_id} has no backup that may hold its copy of disk {copy.disk_id}"
            )


_ANY = "(any volume)"
"""Stands for the volumes of a backup that names none; no volume has such an id."""


def _backup_rows(pages: Sequence[bytes]) -> list[dict[str, Any]]:
    """The backups of all pages: as many as the service counts, all of desktops, none of them twice."""
    try:
        documents = [json.loads(page) for page in pages]
        rows = [row for document in documents for row in document["backups"]]
        if any(document["count"] != len(rows) for document in documents if document["backups"]):
            raise _no("the list of backups is not complete")
        if len({row["id"] for row in rows}) != len(rows):
            raise _no("the list of backups names one twice")
        if any(row["resource_type"] != "OS::Workspace::DesktopV2" for row in rows):
            raise _no("the list of backups has one that is not of a desktop")
        return [row for row in rows if row.get("resource_id") and row.get("image_type") in (None, "backup")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _no("the list of backups does not hold what the check needs") from None


def _usable(row: dict[str, Any], now: datetime) -> bool:
    """Ended well, not said to be beyond restoring, and not gone by now; what has no end lasts."""
    if (row.get("extend_info") or {}).get("supported_restore_mode") == "na":
        return False
    ends = row.get("expired_at")
    until = _time_of(ends)
    return row.get("status") == "available" and (not ends or (until is not None and until > now))


def _time_of(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _spared(going: set[str], live: set[str], desired: DesiredPool) -> None:
    """Raise when a protected or pinned disk would go, or when a pinned one is missing.

    A pin that is not live means that manifest and pool do not fit together, and so nothing else can be trusted.
    """
    for disk_id in going.intersection(desired.protect):
        raise _no(f"disk {disk_id} is protected")
    for pin in desired.disks:
        if pin.id in going:
            raise _no(f"disk {pin.id} is pinned at {pin.at}")
        if pin.id and pin.id not in live:
            raise _no(f"disk {pin.id}, pinned at {pin.at}, is not a data disk of the pool")


def _surplus(rows: Sequence[Row], going: set[str], desired: DesiredPool) -> None:
    """What goes is needed for no declared disk, and rests on nothing that will not be carried out."""
    pins = {entry.id for entry in desired.disks if entry.id}
    free = [row for row in rows if row[0] not in pins]
    wanted = [entry for entry in desired.disks if not entry.id]
    _equals_stay(free, wanted, going)
    allowed = idle = missing = 0
    for kind in {row[1] for row in free} | {entry.type for entry in wanted}:
        entries = [entry for entry in wanted if entry.type == kind]
        disks = [row for row in free if row[1] == kind]
        needed = _needed(disks, [entry.size for entry in entries], going)
        for disk_id in going & needed:
            raise _no(f"disk {disk_id} is needed for a declared one, whose data would be lost")
        idle += len(disks) - len(needed)
        missing += len(entries) - len(needed)
        allowed += min(len(entries) - len(needed), sum(entry.replace for entry in entries))
    if Action.EXPAND not in desired.manage:
        _nothing_displaced(rows, going, desired)
    if Action.ADD not in desired.manage:
        allowed = 0  # nothing would come in the place of what goes
    if min(idle, missing) > allowed:
        raise _no("disks would go while declared ones are missing, and no entry says replace: true")
    if len(going) == len(rows) and not desired.allow_empty and not missing:
        raise _no("the pool would be left without any disk")


def _equals_stay(free: Sequence[Row], wanted: Sequence[DesiredDisk], going: set[str]) -> None:
    """A disk that equals a declared one goes only where enough others like it stay."""
    for kind, size in {(row[1], row[2]) for row in free if row[0] in going}:
        alike = [row for row in free if row[1:] == (kind, size)]
        declared = sum((entry.type, entry.size) == (kind, size) for entry in wanted)
        if sum(row[0] not in going for row in alike) < min(declared, len(alike)):
            raise _no(
                f"a {kind} disk of {size} GB is declared, but too few would stay and data would be lost"
            )


def _nothing_displaced(rows: Sequence[Row], going: set[str], desired: DesiredPool) -> None:
    """Where disks do not grow, none goes that could itself be a declared one that is not there yet.

    A pin names its disk, so only a disk that equals what is pinned stands in the place of that one.
    """
    sizes = {row[0]: row[2] for row in rows}
    left = [(entry.type, entry.size) for entry in desired.disks if not entry.id]
    for row in rows:
        if row[1:] in left and row[0] not in {entry.id for entry in desired.disks}:
            left.remove((row[1], row[2]))
    unlike = [
        (entry.type, entry.size) for entry in desired.disks if sizes.get(entry.id, entry.size) < entry.size
    ]
    for disk_id, kind, size in rows:
        grows = any(entry[0] == kind and entry[1] > size for entry in left)
        if disk_id in going and (grows or (kind, size) in unlike):
            raise _no(f"disk {disk_id} could be a declared one, and the entry does not let disks be expanded")


def _needed(disks: Sequence[Row], wanted: Sequence[int], going: set[str]) -> set[str]:
    """The disks of one type that the declared sizes (GB) have use for, as they are or by growing.

    The largest first; among equals those that stay. Taking each that still fits beside those taken before
    keeps as many disks, and as many GB, as any choice could. Protection has no say in it: a protected disk
    that nothing needs stops the call, and makes no other one go in its place.
    """
    # A set of disks fits when, both sorted, each disk is at most as large as its declared size. Such sets form a
    # matroid, for which the greedy choice is the best one: no search, and nothing shared with the matching.
    room = sorted(wanted, reverse=True)
    taken: list[int] = []
    needed: set[str] = set()
    for disk_id, _, size in sorted(disks, key=lambda row: (-row[2], row[0] in going)):
        together = sorted([*taken, size], reverse=True)
        if len(together) <= len(room) and all(map(int.__le__, together, room)):
            taken = together
            needed.add(disk_id)
    return needed


def _rows(raw: bytes, pool_id: str) -> list[Row]:
    """(id, type, GB) of each entry of ``data_volumes``."""
    try:
        body = json.loads(raw)
        if body["id"] != pool_id:
            raise _no(f"the answer is about pool {body['id']}, not {pool_id}")
        if body.get("status") != "STEADY" or body.get("charging_mode") != "1":
            raise _no("the pool is not STEADY and pay-per-use")
        root = (body.get("root_volume") or {}).get("id")
        rows = [(row["id"], row["type"], row["size"]) for row in body["data_volumes"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _no("the pool's answer does not hold what the check needs") from None
    if not all(type(row[0]) is type(row[1]) is str and type(row[2]) is int for row in rows):
        raise _no("the pool's answer does not hold what the check needs")
    if root and any(row[0] == root for row in rows):
        raise _no("the root disk is among the data disks")
    return rows


def _no(reason: str) -> SecondCheckFailed:
    return SecondCheckFailed(
        f"the second check disagrees with the plan: {reason}",
        "nothing was sent; plan again, and report this if it happens again",
    )
