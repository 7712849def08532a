"""Values that many tests need and none is about: a target, a place in a manifest, pools, disks and their copies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reconciler.model import Backup, Copy, DesiredDisk, DesiredPool, Disk, Limit, Limits, Position, Target

TARGET = Target("ap-southeast-3", "0123456789abcdef0123456789abcdef")
AT = Position("pools.yaml", 5, 3)
NO_LIMITS = Limits(*(Limit(None) for _ in Limits().items()))


def entry(kind: str, size: int, line: int = 9, *, pin: str = "", replacing: bool = False) -> DesiredDisk:
    """A declared disk, in GB, in that line of the manifest; ``pin`` is the id of the live disk that it names."""
    return DesiredDisk(kind, size, Position("pools.yaml", line, 7), id=pin, replace=replacing)


def pool(*disks: DesiredDisk, name: str = "pool", **more: Any) -> DesiredPool:
    """A declared pool of the target."""
    return DesiredPool(TARGET, AT, disks, name=name, **more)


def copies_of(disks: Sequence[Disk], desktop: int) -> tuple[Copy, ...]:
    """A copy of every disk on the desktop of this number."""
    return tuple(Copy(disk.id, f"v-{desktop}-{disk.id}", disk.type, disk.size) for disk in disks)


def backup_page(backups: Sequence[Backup], **more: Any) -> bytes:
    """The backup service's answer that lists these."""
    rows = [
        {
            "id": each.id,
            "resource_id": each.desktop_id,
            "resource_type": "OS::Workspace::DesktopV2",
            "status": each.status,
            "image_type": "replication" if each.replica else "backup",
            "protected_at": each.made and each.made.replace(tzinfo=None).isoformat(),
            "expired_at": each.expires and each.expires.isoformat(),
            "extend_info": {"supported_restore_mode": "backup" if each.restorable else "na"},
            "children": [
                {
                    "resource_id": child.volume_id,
                    "status": child.status,
                    "expired_at": child.expires and child.expires.isoformat(),
                    "extend_info": {"supported_restore_mode": "backup" if child.restorable else "na"},
                }
                for child in each.volumes
            ],
        }
        for each in backups
    ]
    return json.dumps({"count": len(rows), "backups": rows} | more).encode()
