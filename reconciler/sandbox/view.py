"""Owns how the simulated service shows its state: field names, types and time formats as documented.

Which of it is asked for is left to ``operations``. Reads only; the caller has settled the world.
"""

from __future__ import annotations

import random

from .world import (
    JOB_TYPES,
    Desktop,
    Job,
    Pool,
    World,
    derived_id,
    failed_desktops,
    iso,
    plain,
    pool_status,
)

Shown = dict[str, object]

SUB_JOBS_APPEAR = 0.1
"""Share of a job's time before its sub-jobs are listed (observed: the list can be empty after submitting)."""

_ZONE = "ap-southeast-3a"
_ROOT = {"type": "SAS", "size": 80}


def pool(world: World, pool: Pool) -> Shown:
    """A pool as listings and the detail call show it, but for its disks."""
    bound = sum(1 for desktop in pool["desktops"] if desktop["users"])
    return {
        "id": pool["id"],
        "name": pool["name"],
        "type": pool.get("type", "STATIC"),
        "description": "",
        "created_time": iso(pool["created"]),
        "charging_mode": pool["charging_mode"],
        **_count(pool),
        "desktop_used": bound,
        "availability_zone": _ZONE,
        "subnet_ids": [derived_id("subnet", pool["id"])],
        "product": {"product_id": "workspace.x86.general.4u8g", "flavor_id": "c6.xlarge.2", "type": "BASE"}
        | {"cpu": "4", "memory": "8192", "charge_mode": pool["charging_mode"], "architecture": "x86"},
        "image_name": "Windows Server 2019 English",
        "image_os_type": "Windows",
        "root_volume": {"id": derived_id("root", pool["id"])} | _ROOT,
        "security_groups": [{"id": derived_id("group", pool["id"]), "name": "WorkspaceUserSecurityGroup"}],
        "disconnected_retention_period": 60,
        "enable_autoscale": pool.get("enable_autoscale", False),
        "autoscale_policy": {"autoscale_type": "AUTO_CREATED", "max_auto_created": 0, "min_idle": 0},
        "status": pool_status(world, pool),
        "enterprise_project_id": "0",
        "in_maintenance_mode": pool.get("in_maintenance_mode", False),
        "tags": [],
        "vpc_id": derived_id("vpc", pool["id"]),
        "isolation_num": 0,
    }


def _count(pool: Pool) -> Shown:
    count = pool["behaviour"].get("count", len(pool["desktops"]))
    return {} if count == "absent" else {"desktop_count": count}


def disks(pool: Pool) -> list[Shown] | None:
    """The pool's ``data_volumes``; None when the field is left out."""
    if not pool["disks"] and pool["behaviour"].get("empty") == "absent":
        return None
    # An id may be missing (seen in the vendor's own examples).
    return [{key: value for key, value in disk.items() if key != "id" or value} for disk in pool["disks"]]


def desktop(pool: Pool, desktop: Desktop, shuffle: random.Random) -> Shown:
    """A desktop with its copies, which ``desktop_pool_disk_id`` links to the pool's disks."""
    user = desktop["users"][0] if desktop["users"] else ""
    groups = desktop.get("groups", [])
    return {
        "desktop_id": desktop["id"],
        "computer_name": desktop["name"],
        "status": desktop["status"],
        "task_status": "",
        "login_status": desktop["login_status"],
        "attach_state": "ATTACHED" if user or groups else "UNATTACH",
        "user_name": user,
        "attach_user_infos": [
            {"attach_id": "", "user_id": derived_id(kind.lower(), name), "user_name": name, "type": kind}
            for kind, names in (("USER", desktop["users"]), ("GROUP", groups))
            for name in names
        ],
        "user_list": desktop.get("user_list", []),
        "in_maintenance_mode": desktop.get("in_maintenance_mode", False),
        "is_freeze": desktop.get("is_freeze", pool["status"] == "EXIST_FROZEN"),
        "isolated": desktop.get("isolated", False),
        "process": None,
        "order_id": "",
        "product": {"charge_mode": pool["charging_mode"]},
        "root_volume": {"id": derived_id("root", desktop["id"]), "device": "/dev/vda"} | _ROOT,
        **_volumes(pool, desktop, shuffle),
        "inconsistent_types": inconsistencies(pool, desktop),
    }


def _volumes(pool: Pool, desktop: Desktop, shuffle: random.Random) -> Shown:
    copies = shuffle.sample(_copies(desktop), len(desktop["copies"]))
    match pool["behaviour"].get("desktops"):
        case "stripped":
            return {"data_volumes": []}
        case "absent":
            return {}
        case "negative":
            return {"data_volumes": [each | {"size": -10} for each in copies]}
        case _:
            return {"data_volumes": copies}


def _copies(desktop: Desktop) -> list[Shown]:
    shown: list[Shown] = []
    for index, copy in enumerate(desktop["copies"]):
        key = (desktop["id"], copy["disk"] or index)
        fields: Shown = {
            "id": derived_id("row", *key),
            "volume_id": derived_id("volume", *key),
            "desktop_pool_disk_id": copy["disk"],
            "type": copy["type"],
            "size": copy["size"],
            "device": f"/dev/vd{chr(ord('b') + index)}",
            "create_time": iso(copy["created"]),
            "display_name": f"{desktop['name']}-data-{index + 1}",
        }
        if not copy["disk"]:
            del fields["desktop_pool_disk_id"]
        shown.append(fields)
    return shown


def inconsistencies(pool: Pool, desktop: Desktop) -> list[str]:
    """How a desktop's copies differ from its pool: ``disk_num`` by count, ``disk_size`` by summed GB (documented)."""
    found = []
    if len(desktop["copies"]) != len(pool["disks"]):
        found.append("disk_num")
    if sum(copy["size"] for copy in desktop["copies"]) != sum(disk["size"] for disk in pool["disks"]):
        found.append("disk_size")
    return found


def job(world: World, job: Job, now: float) -> Shown:
    """A job with its sub-jobs; ``status`` is RUNNING, then SUCCESS, COMPLETE or FAIL (observed words)."""
    ended = now >= job["end"]
    failed = ended and job["ending"] == "fail"
    word = "FAIL" if failed else job["ended"]
    subs = sub_jobs(world, job, now)
    return {
        "id": job["id"],
        "job_type": JOB_TYPES[job["kind"]],
        "begin_time": plain(job["start"]),
        "end_time": plain(job["end"]) if ended else None,
        "status": word if ended else "RUNNING",
        "job_error_code": "WKS.0500" if failed else None,
        "fail_reason": "The simulated job failed." if failed else None,
        "sub_jobs_total": len(subs),
        "sub_jobs": subs,
    }


def sub_jobs(world: World, job: Job, now: float) -> list[Shown]:
    """One sub-job per desktop, finishing one after the other: WAITING, RUNNING, then SUCCESS or FAILED."""
    first = job["start"] + SUB_JOBS_APPEAR * (job["end"] - job["start"])
    if now < first:
        return []
    failed = set(failed_desktops(job))
    pool = world["projects"][job["project_id"]]["pools"][job["pool_id"]]
    names = {each["id"]: each for each in pool["desktops"]}
    count = len(job["desktops"])
    shown: list[Shown] = []
    for index, desktop_id in enumerate(job["desktops"]):
        begin = first + (job["end"] - first) * index / count
        # The last one ends with its job exactly, which rounding would not grant.
        end = job["end"] if index == count - 1 else first + (job["end"] - first) * (index + 1) / count
        word, process = "WAITING", 0
        if now >= begin:
            word, process = "RUNNING", 50
        if now >= end:
            word, process = ("FAILED" if desktop_id in failed else "SUCCESS"), 100
        fault = word == "FAILED"
        machine = names[desktop_id]
        shown.append(
            {
                "id": derived_id("sub-job", job["id"], index),
                "job_id": job["id"],
                "job_type": JOB_TYPES[job["kind"]],
                "project_id": job["project_id"],
                "entities": {
                    "desktop_id": desktop_id,
                    "desktop_name": machine["name"],
                    "user_name": machine["users"][0] if machine["users"] else "",
                },
                "begin_time": plain(begin) if now >= begin else None,
                "end_time": plain(end) if now >= end else None,
                "status": word,
                "process": process,
                "error_code": "WKS.0500" if fault else None,
                "fail_reason": "The simulated operation on this desktop failed." if fault else None,
            }
        )
    return shown
