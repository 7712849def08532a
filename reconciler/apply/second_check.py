"""Owns the second, independently written check right before a write; it cannot be switched off.

It derives from the raw answer of the service, the manifest entry and the limits that each disk may
go, without using the matching, the plan or the client. A disagreement stops the run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NewType

from reconciler.errors import Refused
from reconciler.model import DesiredDisk, DesiredPool, Limits

DiskId = NewType("DiskId", str)
"""The id of an entry of a pool's ``data_volumes``; never a volume id, never the root disk's."""


class SecondCheckFailed(Refused):
    """Plan and second check disagree: a defect of this tool or of the reading, so nothing is sent."""


def check_removal(
    raw: bytes, pool_id: str, sent: Sequence[tuple[str, str, int]], desired: DesiredPool, limits: Limits
) -> tuple[DiskId, ...]:
    """Return the ids that may be removed; raises ``SecondCheckFailed`` unless that is all of ``sent``.

    ``raw`` is the detail answer of the pool read just now; ``sent`` holds (id, type, GB) as the body
    will say them.
    """
    rows = _rows(raw, pool_id)
    by_id = {row[0]: row for row in rows}
    if not sent or len(sent) > 10 or len({each[0] for each in sent}) != len(sent):
        raise _no("the call names no disk, more than ten, or one twice")
    if len(by_id) != len(rows) or "" in by_id:
        raise _no("the pool's disks do not all have ids of their own")
    for each in sent:
        if by_id.get(each[0]) != each:
            raise _no(f"disk {each[0]} is not, with this type and size, a data disk of the pool")
    going = {each[0] for each in sent}
    for disk_id in going.intersection(desired.protect):
        raise _no(f"disk {disk_id} is protected")
    for pin in desired.disks:
        if pin.id in going:
            raise _no(f"disk {pin.id} is pinned at {pin.at}")
    if limits.disks.value is not None and len(sent) > limits.disks.value:
        raise _no(f"{len(sent)} disks exceed the limit {limits.disks.value} ({limits.disks.source})")
    served_before = _served(desired.disks, [(row[1], row[2]) for row in rows])
    served_after = _served(desired.disks, [(row[1], row[2]) for row in rows if row[0] not in going])
    if served_after != served_before:
        raise _no("a declared disk that the pool has would be lost")
    idle = len(rows) - served_before
    if len(sent) > idle:
        raise _no(f"{len(sent)} disks would go, but only {idle} are not needed")
    missing = len(desired.disks) - served_before
    replacing = sum(entry.replace for entry in desired.disks)
    if len(sent) > idle - min(idle, missing) + replacing:
        raise _no("disks would go while declared ones are missing, and no entry says replace: true")
    if len(going) == len(rows) and not desired.allow_empty and missing == 0:
        raise _no("the pool would be left without any disk")
    return tuple(DiskId(each[0]) for each in sent)


def _rows(raw: bytes, pool_id: str) -> list[tuple[str, str, int]]:
    """(id, type, GB) of each entry of ``data_volumes``."""
    try:
        body = json.loads(raw)
        if body["id"] != pool_id:
            raise _no(f"the answer is about pool {body['id']}, not {pool_id}")
        if body.get("status") != "STEADY" or body.get("charging_mode") != "1":
            raise _no("the pool is not STEADY and pay-per-use")
        root = (body.get("root_volume") or {}).get("id")
        rows = [(row["id"], row["type"], row["size"]) for row in body["data_volumes"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _no("the pool's answer does not hold what the check needs") from None
    if root and any(row[0] == root for row in rows):
        raise _no("the root disk stands among the data disks")
    return rows


def _served(wanted: Sequence[DesiredDisk], have: list[tuple[str, int]]) -> int:
    """How many declared disks the given (type, GB) disks can serve, each as it is or by growing.

    Smallest declared first: whatever fits it fits every larger one too, so no choice is ever wrong.
    """
    left = list(have)
    served = 0
    for entry in sorted(wanted, key=lambda each: each.size):
        fitting = [
            index for index, each in enumerate(left) if each[0] == entry.type and each[1] <= entry.size
        ]
        if fitting:
            del left[fitting[0]]
            served += 1
    return served


def _no(reason: str) -> SecondCheckFailed:
    return SecondCheckFailed(
        f"the check before sending disagrees with the plan: {reason}",
        "nothing was sent; plan again, and report this if it happens again",
    )
