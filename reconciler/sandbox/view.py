"""How the simulated service shows its state: field names, types and time formats as the contract has them.

Which part of it is asked for is decided in ``operations``, which also settles the world before it reads here.
"""

from __future__ import annotations

import random
from typing import Final

from .world import JOB_TYPES, Desktop, Job, Pool, World, derived_id, failed_desktops, iso, plain, pool_status

Shown = dict[str, object]

SUB_JOBS_APPEAR = 0.1
"""Share of a job's time before its sub-jobs are listed (observed: the list can be empty after submitting)."""

_ZONE = "ap-southeast-3a"
_ROOT = {"type": "SAS", "size": 80}
_SIZE = "workspace.x86.general.4u8g"
_PRODUCT = {
    "product_id": _SIZE,
    "flavor_id": "c6.xlarge.2",
    "type": "BASE",
    "cpu": "4",
    "memory": "8192",
    "descriptions": "General computing, 4 vCPUs, 8 GB",
    "architecture": "x86",
    "is_gpu": False,
    "package_type": "general",
    "system_disk_type": "SAS",
    "system_disk_size": "80",
    "contain_data_disk": False,
    "resource_type": "hws.resource.type.workspace.desktop",
    "cloud_service_type": "hws.service.type.vdi",
    "volume_product_type": "workspace",
    "status": "normal",
}
_IMAGE = "Windows Server 2019 English"
_IMAGE_FIELDS = {
    "image_id": derived_id("image", _IMAGE),
    "image_name": _IMAGE,
    "image_os_type": "Windows",
    "image_os_version": "Windows Server 2019 Datacenter 64bit",
    "image_os_platform": "Windows",
    "image_product_code": "offering.windows.2019",
    "image_cloud_service_type": "hws.service.type.vdi",
    "image_resource_type": "hws.resource.type.workspace.image",
}
_AUTOSCALE = {
    "autoscale_type": "AUTO_CREATED",
    "max_auto_created": 50,
    "min_idle": 1,
    "once_auto_created": 1,
    "min_retention": 1,
    "idle_retention_duration": 30,
    "auto_isolation_enable": False,
    "auto_isolation_max_num": 1,
}


def pool(world: World, pool: Pool) -> Shown:
    """A pool as listings and the detail call show it, but for its disks."""
    bound = sum(1 for desktop in pool["desktops"] if desktop["users"])
    subnet = derived_id("subnet", pool["id"])
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
        "subnet_id": subnet,
        "subnet_ids": [subnet],
        "product": _product(pool),
        **_IMAGE_FIELDS,
        "root_volume": {"id": derived_id("root", pool["id"])} | _ROOT,
        "security_groups": [{"id": derived_id("group", pool["id"]), "name": "WorkspaceUserSecurityGroup"}],
        "disconnected_retention_period": 60,
        "enable_autoscale": pool.get("enable_autoscale", False),
        "autoscale_policy": _AUTOSCALE,
        "user_reset_policy": {"enable": False, "reset_count_per_day": 1},
        "status": pool_status(world, pool),
        "enterprise_project_id": "0",
        "in_maintenance_mode": pool.get("in_maintenance_mode", False),
        "tags": [],
        "vpc_id": derived_id("vpc", pool["id"]),
        "isolation_num": 0,
    }


def _product(pool: Pool) -> Shown:
    return {**_PRODUCT, "charge_mode": pool["charging_mode"]}


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
    """A desktop with its copies, which ``desktop_pool_disk_id`` links to the pool's disks.

    What has no value is left out, since the contract wants it filled: ``user_name`` while nobody is bound, and
    ``task_status`` and ``process`` while no task runs.
    """
    return {
        "desktop_id": desktop["id"],
        "computer_name": desktop["name"],
        "status": desktop["status"],
        "login_status": desktop["login_status"],
        **_people(desktop),
        "in_maintenance_mode": desktop.get("in_maintenance_mode", False),
        "is_freeze": desktop.get("is_freeze", pool["status"] == "EXIST_FROZEN"),
        "isolated": desktop.get("isolated", False),
        **_machine(pool, desktop),
        **_network(pool, desktop),
        "product_id": _SIZE,
        "product": _product(pool),
        "root_volume": _root_volume(pool, desktop),
        **_volumes(pool, desktop, shuffle),
        "inconsistent_types": inconsistencies(pool, desktop),
    }


def _people(desktop: Desktop) -> Shown:
    """Who may use a desktop; a group, too, is named in ``user_name`` of its entry (documented)."""
    groups = desktop.get("groups", [])
    shown: Shown = {
        "attach_state": "ATTACHED" if desktop["users"] or groups else "UNATTACH",
        "attach_user_infos": [
            {
                "user_id": derived_id(kind.lower(), name),
                "user_name": name,
                "user_group": "users",
                "type": kind,
            }
            for kind, names in (("USER", desktop["users"]), ("GROUP", groups))
            for name in names
        ],
        "user_list": desktop.get("user_list", []),
        "user_group_list": groups,
    }
    if desktop["users"]:
        shown |= {"user_name": desktop["users"][0], "user_group": "users"}
    return shown


def _machine(pool: Pool, desktop: Desktop) -> Shown:
    shown: Shown = {
        "os_host_name": desktop["name"],
        "os_version": _IMAGE_FIELDS["image_os_version"],
        "desktop_type": "POOLED",
        "metadata": {"image_name": _IMAGE, "os_type": "Windows", "os_bit": "64"},
        "flavor": {
            "id": _PRODUCT["flavor_id"],
            "links": [{"rel": "bookmark", "hrel": f"/flavors/{_PRODUCT['flavor_id']}"}],
        },
        "domain_status": 1,
        "created": iso(pool["created"]),
        "availability_zone": _ZONE,
        "tags": [],
        "enterprise_project_id": "0",
        "bill_resource_id": derived_id("bill", desktop["id"]),
        "agent_version": "24.5.0",
    }
    if pool["charging_mode"] == "0":
        shown["order_id"] = derived_id("order", pool["id"])
    return shown


def _network(pool: Pool, desktop: Desktop) -> Shown:
    digest = derived_id("address", desktop["id"])
    address = ".".join(["10", *(str(int(digest[at : at + 2], 16)) for at in (0, 2, 4))])
    port = {
        "addr": address,
        "version": "4",
        "OS-EXT-IPS-MAC:mac_addr": ":".join(["fa:16:3e", *(digest[at : at + 2] for at in (0, 2, 4))]),
        "OS-EXT-IPS:type": "fixed",
    }
    return {
        "addresses": {derived_id("vpc", pool["id"]): [port]},
        "ip_addresses": [address],
        "ipv4": address,
        "subnet_id": derived_id("subnet", pool["id"]),
        "is_support_internet": False,
        "is_attaching_eip": False,
    }


def _root_volume(pool: Pool, desktop: Desktop) -> Shown:
    return _ROOT | {
        "id": derived_id("root", desktop["id"]),
        "volume_id": derived_id("root-volume", desktop["id"]),
        "device": "/dev/vda",
        "bill_resource_id": derived_id("bill", "root", desktop["id"]),
        "create_time": iso(pool["created"]),
        "display_name": f"{desktop['name']}-root",
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


_TUNING: Final = ("iops", "throughput", "kms_id")
"""What a copy has from its disk, where the disk has it."""


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
            "bill_resource_id": derived_id("bill", *key),
            **{name: copy[name] for name in _TUNING if name in copy},
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
    subs = sub_jobs(world, job, now)
    shown: Shown = {
        "id": job["id"],
        "job_type": JOB_TYPES[job["kind"]],
        "begin_time": plain(job["start"]),
        "status": "RUNNING",
        "sub_jobs_total": len(subs),
        "sub_jobs": subs,
    }
    if now >= job["end"]:
        shown |= {"status": job["ended"], "end_time": plain(job["end"])}
        if job["ending"] == "fail":
            shown |= {"status": "FAIL", "job_error_code": "WKS.0500"}
            shown["fail_reason"] = "The simulated job failed."
    return shown


def sub_jobs(world: World, job: Job, now: float) -> list[Shown]:
    """One sub-job per desktop, finishing one after the other: WAITING, RUNNING, then SUCCESS or FAILED."""
    first = job["start"] + SUB_JOBS_APPEAR * (job["end"] - job["start"])
    if now < first:
        return []
    failed = set(failed_desktops(job))
    pool = world["projects"][job["project_id"]]["pools"][job["pool_id"]]
    machines = {each["id"]: each for each in pool["desktops"]}
    count = len(job["desktops"])
    shown: list[Shown] = []
    for index, desktop_id in enumerate(job["desktops"]):
        begin = first + (job["end"] - first) * index / count
        # The last one ends with its job exactly, which rounding would not grant.
        end = job["end"] if index == count - 1 else first + (job["end"] - first) * (index + 1) / count
        shown.append(
            {
                "id": derived_id("sub-job", job["id"], index),
                "job_id": job["id"],
                "job_type": JOB_TYPES[job["kind"]],
                "project_id": job["project_id"],
                "entities": _entities(machines[desktop_id]),
                **_progress(begin, end, now, fails=desktop_id in failed),
            }
        )
    return shown


def _entities(machine: Desktop) -> Shown:
    shown: Shown = {"desktop_id": machine["id"], "desktop_name": machine["name"], "product_id": _SIZE}
    # The contract wants a name where there is this field: it is left out while nobody is bound.
    return shown | ({"user_name": machine["users"][0]} if machine["users"] else {})


def _progress(begin: float, end: float, now: float, *, fails: bool) -> Shown:
    """How far a sub-job is at ``now`` (all in seconds since the epoch); times not reached yet are left out."""
    if now < begin:
        return {"status": "WAITING", "process": 0}
    if now < end:
        return {"status": "RUNNING", "process": 50, "begin_time": plain(begin)}
    times: Shown = {"process": 100, "begin_time": plain(begin), "end_time": plain(end)}
    if not fails:
        return {"status": "SUCCESS"} | times
    reason = "The simulated operation on this desktop failed."
    return {"status": "FAILED", "error_code": "WKS.0500", "fail_reason": reason} | times
