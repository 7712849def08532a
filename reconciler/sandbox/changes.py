"""Decides which changes of a pool's disks the simulated service accepts, and makes jobs of them.

``world`` knows what a job does when it ends.

Stricter than the documents where they are silent, so that a sloppy client is found out here: unknown
fields, an empty list, a repeated id, and a type or size that is not the live one are refused. Not simulated
and therefore refused: ``desktop_ids``, repairing by ``id`` in batch-add, and the system disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast, get_args

from . import errors
from .world import (
    Disk,
    HandleType,
    Job,
    Pool,
    VolumeKind,
    World,
    failed_desktops,
    next_id,
    pool_status,
    running_job,
)

MAX_DISKS: Final = 10
"""Data disks of a pool, and items of one request (documented)."""
MAX_SIZE: Final = 8200
"""GB (documented for pools)."""

VOLUME_TYPES: Final = ("SATA", "SAS", "SSD", "GPSSD", "ESSD", "GPSSD2")
"""What the volume products offer; only the last takes iops and throughput (observed)."""

QOS_TYPE: Final = "GPSSD2"
IOPS: Final = range(3000, 12800 + 1)
THROUGHPUT: Final = range(125, 1000 + 1)
"""MiB/s."""

_TOP: Final = {"handle_type", "desktop_ids", "volumes"}
# What an item may carry: for deleting, every field any dated revision of the API knew.
_ITEM: Final[dict[VolumeKind, set[str]]] = {
    "delete": {"id", "type", "size", "resource_spec_code", "iops", "throughput"},
    "add": {"id", "type", "size", "iops", "throughput", "kms_id"},
    "expand": {"id", "type", "size", "resource_spec_code"},
}
_OPERATION: Final[dict[VolumeKind, str]] = {
    "delete": "batch-delete",
    "add": "batch-add",
    "expand": "batch-expand",
}


def submit(world: World, pool: Pool, kind: VolumeKind, body: object, span: tuple[float, float]) -> Job:
    """Accept a request as a job that runs from ``span[0]`` to ``span[1]`` (seconds since the epoch), or refuse."""
    items, handle_type = _read(kind, body)
    project_id = next(each["id"] for each in world["projects"].values() if pool["id"] in each["pools"])
    match kind:
        case "delete":
            disks = [_deleted(pool, item) for item in items]
        case "add":
            disks = [_added(item) for item in items]
        case "expand":
            disks = [_expanded(pool, item) for item in items]
    reached = _reached(pool, handle_type)
    _check_state(world, pool, kind, reached)
    if kind == "add":
        if len(pool["disks"]) + len(disks) > MAX_DISKS:
            raise errors.invalid(f"A desktop pool can have at most {MAX_DISKS} data disks.")
        disks = [disk | {"id": next_id(world, "disk")} for disk in disks]
    start, end = span
    job: Job = {
        "id": next_id(world, "job"),
        "project_id": project_id,
        "pool_id": pool["id"],
        "kind": kind,
        "start": start,
        "end": end,
        "disks": disks,
        "desktops": reached,
        "ending": pool["behaviour"].get(kind, "success"),
        "failing": pool["behaviour"].get("failing", 1),
        "ended": pool["behaviour"].get("ended", "SUCCESS"),
        "applied": False,
    }
    return _begun(world, pool, job)


def notify(world: World, pool: Pool, body: object, span: tuple[float, float]) -> Job:
    """Accept a message to the desktops of a pool as a job, which keeps the pool from nothing else (inferred)."""
    fields = _object(body, "the request body")
    _only(fields, {"notifications"}, "the request body")
    text = fields.get("notifications")
    if not isinstance(text, str) or not text.strip():
        raise errors.invalid("notifications must be a text.")
    project_id = next(each["id"] for each in world["projects"].values() if pool["id"] in each["pools"])
    job: Job = {
        "id": next_id(world, "job"),
        "project_id": project_id,
        "pool_id": pool["id"],
        "kind": "notify",
        "start": span[0],
        "end": span[1],
        "disks": [],
        "desktops": [desktop["id"] for desktop in pool["desktops"]],
        "ending": "success",
        "ended": "SUCCESS",
        "applied": True,
    }
    world["jobs"][job["id"]] = job
    return job


def retry(world: World, pool: Pool, job: Job, body: object, span: tuple[float, float]) -> Job:
    """Let the failed desktops of a job be done once more; refused unless it ended and any of them failed."""
    fields = _object(body, "the request body")
    _only(fields, {"op_type"}, "the request body")
    if fields.get("op_type") != "retry":
        raise errors.invalid("op_type must be retry.")
    status = pool_status(world, pool)
    if status != "STEADY":
        raise errors.conflict(status, "retry", pool["id"])
    failed = failed_desktops(job)
    if not failed or not job["applied"]:
        raise errors.conflict("SUCCESS", "retry", job["id"])
    start, end = span
    ending = pool["behaviour"].get("retry", "success")
    again: Job = job | {
        "start": start,
        "end": end,
        "desktops": failed,
        "ending": ending,
        "failing": pool["behaviour"].get("failing", 1),
        "applied": False,
    }
    if pool["behaviour"].get("retried", "anew") == "anew":
        again["id"] = next_id(world, "job")
    return _begun(world, pool, again)


def _begun(world: World, pool: Pool, job: Job) -> Job:
    world["jobs"][job["id"]] = job
    world["running"].append(job["id"])
    pool["revision"] += 1
    return job


# --- reading the body ---------------------------------------------------------------------------


def _read(kind: VolumeKind, body: object) -> tuple[list[Mapping[str, object]], HandleType]:
    fields = _object(body, "the request body")
    _only(fields, _TOP, "the request body")
    if fields.get("desktop_ids"):
        raise errors.invalid(
            "desktop_ids is not simulated: it is not documented what becomes of the template."
        )
    handle_type = fields.get("handle_type", "FOR_EXPAND_AND_ALL")  # the default is inferred, not documented
    if handle_type not in get_args(HandleType):
        raise errors.invalid(f"handle_type must be one of {', '.join(get_args(HandleType))}.")
    items = _list(fields.get("volumes"), "volumes")
    for item in items:
        _only(item, _ITEM[kind], "an item of volumes")
    ids = [item["id"] for item in items if "id" in item]
    if len({str(each) for each in ids}) != len(ids):
        raise errors.invalid("volumes names the same disk twice.")
    return items, cast("HandleType", handle_type)


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise errors.invalid(f"{what} must be an object.")
    return value


def _list(value: object, what: str) -> list[Mapping[str, object]]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_DISKS:
        raise errors.invalid(f"{what} must be a list of 1 to {MAX_DISKS} items.")
    return [_object(item, f"an item of {what}") for item in value]


def _only(fields: Mapping[str, object], known: set[str], what: str) -> None:
    if unknown := sorted(set(fields) - known):
        raise errors.invalid(f"{what} has unknown fields: {', '.join(unknown)}.")


def _text(item: Mapping[str, object], key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= 255:
        raise errors.invalid(f"{key} must be a string of 1 to 255 characters.")
    return value


def _integer(item: Mapping[str, object], key: str, within: range) -> int:
    value = item.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value not in within:
        raise errors.invalid(f"{key} must be an integer from {within.start} to {within.stop - 1}.")
    return value


def _size(item: Mapping[str, object]) -> int:
    size = _integer(item, "size", range(10, MAX_SIZE + 1))
    if size % 10:
        raise errors.invalid("size must be a multiple of 10.")
    return size


def _performance(item: Mapping[str, object], volume_type: str) -> dict[str, int]:
    given: dict[str, int] = {}
    for key, within in (("iops", IOPS), ("throughput", THROUGHPUT)):
        if key in item:
            if volume_type != QOS_TYPE:
                raise errors.invalid(f"{key} can be set for disks of the type {QOS_TYPE} only.")
            given[key] = _integer(item, key, within)
    return given


# --- what the items ask for ---------------------------------------------------------------------


def _named(pool: Pool, item: Mapping[str, object]) -> Disk:
    disk_id = _text(item, "id")
    for disk in pool["disks"]:
        if disk["id"] == disk_id:
            return disk
    raise errors.invalid(f"The disk {disk_id} is not a data disk of the desktop pool {pool['id']}.")


def _deleted(pool: Pool, item: Mapping[str, object]) -> Disk:
    disk = _named(pool, item)
    # Documented revisions differ: id alone, or id with type and size "the same as provided by the system".
    for key, live in (("type", disk["type"]), ("size", disk["size"])):
        if key in item and (item[key] != live or isinstance(item[key], bool)):
            raise errors.invalid(f"The {key} of the disk {disk['id']} is {live}, not {item[key]}.")
    return disk


def _added(item: Mapping[str, object]) -> Disk:
    if "id" in item:
        raise errors.invalid("Repairing a disk by its id is not simulated; leave id out to add one.")
    volume_type = _text(item, "type")
    if volume_type not in VOLUME_TYPES:
        raise errors.invalid(f"The volume type {volume_type} is not offered.")
    disk: Disk = {"id": "", "type": volume_type, "size": _size(item)}
    if "kms_id" in item:
        disk["kms_id"] = _text(item, "kms_id")
    return cast("Disk", disk | _performance(item, volume_type))


def _expanded(pool: Pool, item: Mapping[str, object]) -> Disk:
    disk = _named(pool, item)
    if item.get("type", disk["type"]) != disk["type"]:
        raise errors.invalid(f"The type of the disk {disk['id']} is {disk['type']}.")
    size = _size(item)
    if size <= disk["size"]:
        raise errors.invalid(f"The disk {disk['id']} has {disk['size']} GB; the new size must be larger.")
    return disk | {"size": size}


def _reached(pool: Pool, handle_type: HandleType) -> list[str]:
    match handle_type:
        case "ONLY_FOR_EXPAND":
            return []
        case "FOR_EXPAND_AND_IDLE":  # "idle" is not documented: desktops without a bound user, inferred
            return [desktop["id"] for desktop in pool["desktops"] if not desktop["users"]]
        case "FOR_EXPAND_AND_ALL":
            return [desktop["id"] for desktop in pool["desktops"]]


def _check_state(world: World, pool: Pool, kind: VolumeKind, reached: list[str]) -> None:
    job = running_job(world, pool["id"])
    if job is not None and job["kind"] == "add" and kind == "add":
        raise errors.adding_disks()
    status = pool_status(world, pool)
    if status != "STEADY":
        raise errors.conflict(status, _OPERATION[kind], pool["id"])
    if pool["charging_mode"] == "0":
        raise errors.invalid("The disks of a yearly/monthly desktop pool are changed through orders.")
    if kind == "add":  # documented for single desktops, observed for pools
        for desktop in pool["desktops"]:
            if desktop["id"] in reached and desktop["status"] != "ACTIVE":
                raise errors.conflict(desktop["status"], _OPERATION[kind], desktop["id"])
