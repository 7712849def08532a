"""How the simulated backup service (CBR) shows a desktop's backups, and backups for worlds that have some.

Written from the official SDK (``huaweicloudsdkcbr`` v1, ``BackupResp``). Which of them are asked for is decided in
``operations``; making, restoring and deleting is not simulated, as nothing here asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .view import Shown
from .world import Backup, Desktop, Pool, Project, derived_id, iso

DESKTOP: Final = "OS::Workspace::DesktopV2"
_VAULT: Final = derived_id("vault", "desktops")


def shown(project: Project, backup: Backup, now: float) -> Shown:
    """One backup as the service shows it; times without a zone, as in the vendor's examples."""
    made = now - backup["age"] if "age" in backup else backup.get("made")
    name = _desktop_name(project, backup["desktop"])
    fields: Shown = {
        "id": backup["id"],
        "name": f"autobk_{backup['id'][:4]}",
        "project_id": project["id"],
        "vault_id": _VAULT,
        "checkpoint_id": derived_id("checkpoint", backup["id"]),
        "resource_id": backup["desktop"],
        "resource_name": name,
        "resource_type": DESKTOP,
        "resource_size": 180,
        "resource_az": "ap-southeast-3a",
        "status": backup.get("status", "available"),
        "image_type": backup.get("image_type", "backup"),
        "created_at": _time(made),
        "updated_at": _time(made),
        "protected_at": _time(made),
        "expired_at": _time(backup.get("expires")),
        "description": "",
        "parent_id": None,
        "enterprise_project_id": "0",
        "provider_id": derived_id("provider", "desktops"),
        "incremental": True,
        "extend_info": {
            "auto_trigger": True,
            "supported_restore_mode": backup.get("restore_mode", "backup"),
            "contain_system_disk": True,
        },
    }
    return fields | {"children": [_child(backup, fields, each) for each in backup.get("volumes", [])]}


def _child(backup: Backup, parent: Shown, volume_id: str) -> Shown:
    return parent | {
        "id": derived_id("child", backup["id"], volume_id),
        "name": f"{parent['name']}_{volume_id[:4]}",
        "parent_id": backup["id"],
        "resource_id": volume_id,
        "resource_name": f"{parent['resource_name']}-volume",
        "resource_type": "OS::Cinder::Volume",
        "status": backup.get("volume_status", parent["status"]),
    }


def _time(moment: float | None) -> str | None:
    return None if moment is None else iso(moment).removesuffix("Z")


def _desktop_name(project: Project, desktop_id: str) -> str:
    desktops = (each for pool in project["pools"].values() for each in pool["desktops"])
    return next((each["name"] for each in desktops if each["id"] == desktop_id), "")


def volumes_of(desktop: Desktop) -> list[str]:
    """The ids of a desktop's data volumes, as its list of desktops shows them."""
    return [
        derived_id("volume", desktop["id"], copy["disk"] or index)
        for index, copy in enumerate(desktop["copies"])
    ]


def backed_up(pool: Pool, *, age: float, without: Sequence[str] = (), named: bool = True) -> list[Backup]:
    """A backup of each desktop of a pool, always so many seconds old; not of those whose names are left out.

    ``named``: each says which volumes it holds.
    """
    found: list[Backup] = []
    for desktop in pool["desktops"]:
        if desktop["name"] in without:
            continue
        backup: Backup = {"id": derived_id("backup", desktop["id"]), "desktop": desktop["id"], "age": age}
        if named:
            backup["volumes"] = volumes_of(desktop)
        found.append(backup)
    return found
