"""The state of the simulated service, and the pure rules by which it changes as time passes.

``changes`` decides which requests are let in, and ``view`` how things look from outside.

Everything is plain JSON data, so a world can be written by hand. Nothing runs in the background: ``settle``
derives from the clock what has happened meanwhile, so a killed process changes nothing. Knobs for
demonstrations and tests:

* ``pool["behaviour"]``: see ``Behaviour``;
* ``pool["status"] = "EXIST_FROZEN"``, ``pool["charging_mode"] = "0"`` (prepaid);
* ``desktop["login_status"] = "CONNECTED"``, ``desktop["status"] = "SHUTOFF"``;
* ``disk["id"] = ""``: the service leaves this disk's id out;
* two pools may share a name: pools are keyed by id;
* ``account["denied"] = ["batch-delete"]``: 403 for the operations of that name.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Literal, NotRequired, TypedDict, cast

FORMAT = 1
"""Version of the state file."""

LAG = 0.3
"""Seconds for which a pool stays TEMPORARY after its job ended (observed: desktops lag behind the job)."""

VolumeKind = Literal["delete", "add", "expand"]
"""What changes the disks of a pool."""
Kind = VolumeKind | Literal["notify"]
Ending = Literal["success", "fail", "partial"]
HandleType = Literal["ONLY_FOR_EXPAND", "FOR_EXPAND_AND_IDLE", "FOR_EXPAND_AND_ALL"]

JOB_TYPES: dict[Kind, str] = {
    "delete": "deleteDesktopPoolVolumes",
    "add": "addDesktopPoolVolumes",
    "expand": "expandVolumes",
    "notify": "sendNotifications",
}
"""Documented names, except those of expanding and of messages, which no source gives."""


class Shape(TypedDict):
    """What a disk and its copies have in common."""

    type: str
    size: int
    """GB."""
    iops: NotRequired[int]
    throughput: NotRequired[int]
    """MiB/s."""
    kms_id: NotRequired[str]


class Disk(Shape):
    """One entry of a pool's ``data_volumes``."""

    id: str


class Copy(Shape):
    """The physical volume of one disk on one desktop."""

    disk: str
    """Id of the pool's disk, which may be gone by now."""
    created: float
    """Seconds since the epoch."""


class Desktop(TypedDict):
    """One desktop of a pool."""

    id: str
    name: str
    users: list[str]
    login_status: str
    """UNREGISTER, REGISTERED, CONNECTED, DISCONNECTED."""
    status: str
    """ACTIVE, SHUTOFF, ERROR, HIBERNATED."""
    copies: list[Copy]
    groups: NotRequired[list[str]]
    """User groups attached to it."""
    user_list: NotRequired[list[str]]
    """Names of all who may use it, of a shared desktop or through a group."""
    in_maintenance_mode: NotRequired[bool]
    isolated: NotRequired[bool]
    is_freeze: NotRequired[bool]


class Behaviour(TypedDict, total=False):
    """How a pool departs from the ordinary."""

    delete: Ending
    """``fail``: the job ends FAIL and nothing changes; ``partial``: it ends well but the sub-jobs of the last
    desktops fail, and those keep their copies."""
    failing: int
    """How many desktops that is; default 1."""
    add: Ending
    expand: Ending
    retry: Ending
    """How a retried job ends; its desktops are those that failed."""
    retried: Literal["anew", "again"]
    """``anew`` (the default): a retry begins a new job; ``again``: the old one runs once more, under its id. Which
    of them the service does is not documented."""
    seconds: float
    """How long this pool's jobs take."""
    ended: str
    """Status of the job once it ended well; default SUCCESS, COMPLETE is seen too."""
    empty: Literal["absent"]
    """Once the pool has no data disk, ``data_volumes`` is left out instead of being an empty list."""
    count: int | Literal["absent"]
    """What ``desktop_count`` says instead of the truth; ``absent`` leaves it out."""
    desktops: Literal["hidden", "stripped", "absent", "negative"]
    """How the list of desktops lies: ``hidden`` shows none of them, ``stripped`` shows them without any copy,
    ``absent`` leaves their ``data_volumes`` out, ``negative`` gives every copy -10 GB."""


class Pool(TypedDict):
    """One desktop pool."""

    id: str
    name: str
    created: float
    charging_mode: str
    """``0`` prepaid, ``1`` pay-per-use."""
    status: str
    """What it is while no job runs: STEADY, EXIST_FROZEN, UNKNOWN."""
    disks: list[Disk]
    desktops: list[Desktop]
    type: NotRequired[Literal["STATIC", "DYNAMIC"]]
    """Default STATIC. A DYNAMIC pool unbinds a user from the desktop after use."""
    enable_autoscale: NotRequired[bool]
    in_maintenance_mode: NotRequired[bool]
    behaviour: Behaviour
    revision: int
    """Grows with each change."""


class Job(TypedDict):
    """One accepted change and what becomes of it."""

    id: str
    project_id: str
    pool_id: str
    kind: Kind
    start: float
    end: float
    """Seconds since the epoch; both are known from the beginning."""
    disks: list[Disk]
    """What is removed, what is added, or the disks as they are after expanding."""
    desktops: list[str]
    """Ids of the desktops it reaches: one sub-job each."""
    ending: Ending
    failing: NotRequired[int]
    """How many of the last desktops fail when it ends ``partial``; default 1."""
    ended: str
    applied: bool


class Account(TypedDict):
    """One set of credentials."""

    access_key: str
    secret_key: str
    security_token: str
    """Empty for permanent keys; temporary ones are refused without it."""
    token: str
    """A token that never expires; empty for none."""
    user: str
    password: str
    domain: str
    projects: list[str]
    denied: list[str]
    """Names of operations this account may not call; ``list-projects`` for IAM's list of projects."""
    agency: NotRequired[str]
    """Name of an agency that acts as this account; temporary keys of it can be had."""


class Backup(TypedDict):
    """One backup of a desktop in the backup service."""

    id: str
    desktop: str
    """The desktop's id; it may be gone by now."""
    made: NotRequired[float]
    """Seconds since the epoch; left out while nothing has been backed up yet."""
    age: NotRequired[float]
    """Instead of ``made``: it always is so many seconds old, so that a demonstration never grows stale."""
    expires: NotRequired[float]
    """Seconds since the epoch; left out: never."""
    status: NotRequired[str]
    """Default ``available``; ``protecting``, ``error``, ``deleting`` and others (documented)."""
    volumes: NotRequired[list[str]]
    """Ids of the volumes that it says it holds; left out: it names none."""
    volume_status: NotRequired[str]
    """Status of the backups of these volumes; default that of the whole."""
    image_type: NotRequired[str]
    """Default ``backup``; ``replication`` for the copy of one of another region."""
    restore_mode: NotRequired[str]
    """``supported_restore_mode``; default ``backup``, ``na`` for one that cannot be restored (documented)."""


class Project(TypedDict):
    """One project of one region."""

    id: str
    region: str
    pools: dict[str, Pool]
    backups: NotRequired[list[Backup]]


class Entry(TypedDict):
    """One mutating request as the service saw it."""

    time: float
    request_id: str
    method: str
    path: str
    body: object
    """The parsed document, or the text when it was none."""
    status: int
    answer: object
    user: str
    """Empty when the request was not authenticated."""


class World(TypedDict):
    """Everything the service knows."""

    format: int
    name: str
    """Sent with every answer as ``X-Reconciler-Sandbox``."""
    seed: int
    serial: int
    """Counts made ids, so that a world replays identically."""
    accounts: list[Account]
    projects: dict[str, Project]
    jobs: dict[str, Job]
    running: list[str]
    """Ids of the jobs whose pool is still TEMPORARY."""
    record: list[Entry]
    """Every mutating request, in the order of arrival."""


def derived_id(*parts: object) -> str:
    """A UUID that depends on nothing but the parts."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()
    variant = "89ab"[int(digest[16], 16) % 4]  # as any random UUID has it, like the 4 before
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def next_id(world: World, what: str) -> str:
    """A new UUID of this world."""
    world["serial"] += 1
    return derived_id(world["name"], world["seed"], what, world["serial"])


def iso(moment: float) -> str:
    """Time as pools and volumes show it, UTC, such as ``2022-05-11T11:45:42.000Z`` (documented)."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(moment: float) -> str:
    """Time as jobs show it, such as ``2020-04-10 06:45:14`` (documented; UTC inferred)."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def running_job(world: World, pool_id: str) -> Job | None:
    """The job that keeps this pool TEMPORARY, if any; a pool has one at most."""
    jobs = (world["jobs"][job_id] for job_id in world["running"])
    return next((job for job in jobs if job["pool_id"] == pool_id), None)


def pool_status(world: World, pool: Pool) -> str:
    """The pool's status word; TEMPORARY while a job runs and shortly after (inferred)."""
    return "TEMPORARY" if running_job(world, pool["id"]) else pool["status"]


def settle(world: World, now: float) -> None:
    """Let everything happen that is due at ``now`` (seconds since the epoch)."""
    for job_id in list(world["running"]):
        job = world["jobs"][job_id]
        if not _passed(job, now):
            continue
        pool = world["projects"][job["project_id"]]["pools"][job["pool_id"]]
        if not job["applied"]:
            _apply(job, pool)
            job["applied"] = True
        if now >= job["end"] + LAG:
            world["running"].remove(job_id)
        pool["revision"] += 1


def _passed(job: Job, now: float) -> bool:
    return now >= job["end"] + (LAG if job["applied"] else 0.0)


def failed_desktops(job: Job) -> list[str]:
    """Ids of the desktops whose sub-job fails."""
    match job["ending"]:
        case "success":
            return []
        case "partial":
            return job["desktops"][-job.get("failing", 1) :]
        case "fail":
            return job["desktops"]


def _apply(job: Job, pool: Pool) -> None:
    if job["ending"] == "fail":
        return
    changed = {disk["id"]: disk for disk in job["disks"]}
    reached = set(job["desktops"]) - set(failed_desktops(job))
    desktops = [desktop for desktop in pool["desktops"] if desktop["id"] in reached]
    match job["kind"]:
        case "delete":
            pool["disks"] = [disk for disk in pool["disks"] if disk["id"] not in changed]
            for desktop in desktops:
                desktop["copies"] = [copy for copy in desktop["copies"] if copy["disk"] not in changed]
        case "expand":
            pool["disks"] = [changed.get(disk["id"], disk) for disk in pool["disks"]]
            for copy in (copy for desktop in desktops for copy in desktop["copies"]):
                if copy["disk"] in changed:
                    copy["size"] = changed[copy["disk"]]["size"]
        case "add":
            pool["disks"] = pool["disks"] + job["disks"]
            for desktop in desktops:
                desktop["copies"] += [copy_of(disk, job["end"]) for disk in job["disks"]]


def copy_of(disk: Disk, created: float) -> Copy:
    """The copy of a disk as it is put on a desktop."""
    shape = cast("Shape", {key: value for key, value in disk.items() if key != "id"})
    return {**shape, "disk": disk["id"], "created": created}
