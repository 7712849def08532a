"""What each operation of the desktop service answers: query rules, paging, filters.

``app`` does authentication, transport and the record; ``changes`` has the rules by which a write is accepted.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from . import backups, changes, errors, view
from .world import JOB_TYPES, Desktop, Job, Pool, Project, VolumeKind, World, pool_status

MAX_TEXT: Final = 255
"""Characters of a parameter (documented)."""
_ENTERPRISE_PROJECT: Final = re.compile(r"[a-zA-Z0-9_-]{1,36}")


class Encoded(Struct, frozen=True):
    """A pool ready for the wire, so that a listing need only order and join."""

    seen: tuple[object, ...]
    """What it was made of: another look at the pool gives the same, or it is void."""
    head: bytes
    disks: tuple[bytes, ...]
    tail: bytes


class Call(Struct, frozen=True):
    """One authenticated request, with the world as it stands."""

    world: World
    project: Project
    query: Mapping[str, list[str]]
    path: Mapping[str, str]
    """``pool_id`` or ``job_id``, where the path has one."""
    body: bytes
    content_type: str
    now: float
    """Seconds since the epoch."""
    count: int
    """Number of the request in this process: drives the unstable order."""
    job_seconds: float
    encoded: dict[str, Encoded]
    """Pools encoded before, by id."""


Handler = Callable[[Call], bytes]


def parse_query(raw: str) -> dict[str, list[str]]:
    """The query's values by name, repeated names in order."""
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return found


def encode(document: object) -> bytes:
    """A document as it goes over the wire."""
    return msgspec.json.encode(document)


# --- reading ------------------------------------------------------------------------------------

_FILTERS: Final[Mapping[str, Callable[[Pool], str]]] = {
    "type": lambda pool: pool.get("type", "STATIC"),
    "enterprise_project_id": lambda _pool: "0",
    "in_maintenance_mode": lambda pool: str(pool.get("in_maintenance_mode", False)).lower(),
}
"""What a list of pools can be filtered by, and what a pool has there."""


def list_pools(call: Call) -> bytes:
    """All pools with their disks, at most 1,000 a page (documented default and maximum); ``name`` is fuzzy."""
    _known(call, "name", "type", "enterprise_project_id", "in_maintenance_mode", "offset", "limit")
    _check_pool_filters(call)
    offset, limit = _page(call, default=1000, least=0, most=1000, furthest=20000)
    pools = list(call.project["pools"].values())
    for filtered, value in _FILTERS.items():
        if wanted := _one(call, filtered):
            pools = [pool for pool in pools if value(pool) == wanted]
    if name := _one(call, "name"):
        pools = [pool for pool in pools if name.lower() in pool["name"].lower()]
    if offset == 0 and len(pools) <= limit:  # several pages must fit together, so they keep their order
        random.Random(f"{call.world['seed']}:{call.count}").shuffle(pools)
    items = [_shown(call, pool) for pool in pools[offset : offset + limit]]
    return b'{"total_count":%d,"desktop_pools":[%b]}' % (len(pools), b",".join(items))


def _check_pool_filters(call: Call) -> None:
    """Refuse values that the contract does not allow, which would otherwise just match no pool."""
    if _one(call, "in_maintenance_mode") not in (None, "true", "false"):
        raise errors.invalid("in_maintenance_mode must be true or false.")
    if _one(call, "type") not in (None, "STATIC", "DYNAMIC"):
        raise errors.invalid("type must be STATIC or DYNAMIC.")
    project = _one(call, "enterprise_project_id")
    if project is not None and not _ENTERPRISE_PROJECT.fullmatch(project):
        raise errors.invalid(
            "enterprise_project_id must be 1 to 36 letters, digits, hyphens and underscores."
        )


def show_pool(call: Call) -> bytes:
    """One pool, the same object as in the list (documented)."""
    _known(call)
    return _shown(call, _pool(call))


def _shown(call: Call, pool: Pool) -> bytes:
    seen = _seen(call.world, pool)
    known = call.encoded.get(pool["id"])
    if known is None or known.seen != seen:
        known = call.encoded[pool["id"]] = _encoded(call.world, pool, seen)
    disks = known.disks
    if len(disks) > 1:  # the service returns disks in no stable order (observed)
        turn = call.count + call.world["seed"]
        start = turn % len(disks)
        disks = (disks[start:] + disks[:start])[:: -1 if turn // len(disks) % 2 else 1]
    return b"".join((known.head, b",".join(disks), known.tail))


def _seen(world: World, pool: Pool) -> tuple[object, ...]:
    bound = sum(1 for desktop in pool["desktops"] if desktop["users"])
    fixed = ("name", "created", "charging_mode", "type", "enable_autoscale", "in_maintenance_mode")
    return (
        *(pool.get(name) for name in fixed),
        *(pool["behaviour"].get(name) for name in ("empty", "count")),
        pool_status(world, pool),
        len(pool["desktops"]),
        bound,
        tuple(tuple(disk.items()) for disk in pool["disks"]),
    )


def _encoded(world: World, pool: Pool, seen: tuple[object, ...]) -> Encoded:
    plain = encode(view.pool(world, pool))
    disks = view.disks(pool)
    if disks is None:
        return Encoded(seen, plain, (), b"")
    head = plain[:-1] + b',"data_volumes":['
    return Encoded(seen, head, tuple(encode(disk) for disk in disks), b"]}")


def list_desktops(call: Call) -> bytes:
    """The desktops of a pool with their copies; 10 a page by default, 100 at most (documented)."""
    pool = _pool(call)
    filters = ("status", "user_name", "user_attached", "computer_name", "desktop_id", "inconsistent_type")
    _known(call, *filters, "offset", "limit")
    offset, limit = _page(call, default=10, least=1, most=100, furthest=10000)
    hidden = pool["behaviour"].get("desktops") == "hidden"
    found = [each for each in pool["desktops"] if not hidden and _wanted(call, pool, each)]
    found.sort(key=lambda desktop: desktop["name"])
    shuffle = random.Random(f"{call.world['seed']}:{call.count}")
    page = [view.desktop(pool, each, shuffle) for each in found[offset : offset + limit]]
    numbers = _numbers(pool)
    return encode({"pool_desktops": page, "total_count": len(found), **numbers, **_inconsistent(call, pool)})


def _numbers(pool: Pool) -> dict[str, int]:
    """How many desktops are paid for in which way; the simulated image costs nothing."""
    paid, other = ("period", "on_demand") if pool["charging_mode"] == "0" else ("on_demand", "period")
    count = len(pool["desktops"])
    return {
        f"{paid}_desktops_num": count,
        f"{paid}_free_image_desktops_num": count,
        f"{paid}_charge_image_desktops_num": 0,
        f"{other}_desktops_num": 0,
        f"{other}_free_image_desktops_num": 0,
        f"{other}_charge_image_desktops_num": 0,
    }


def _inconsistent(call: Call, pool: Pool) -> dict[str, str]:
    """``inconsistent_type`` has room for one word: the kind asked for, or the first that is found (inferred)."""
    kinds = {kind for each in pool["desktops"] for kind in view.inconsistencies(pool, each)}
    if asked := _one(call, "inconsistent_type"):
        kinds &= {asked.lower()}
    return {"inconsistent_type": min(kinds)} if kinds else {}


def _wanted(call: Call, pool: Pool, desktop: Desktop) -> bool:
    attached = _one(call, "user_attached")
    if attached not in (None, "true", "false"):
        raise errors.invalid("user_attached must be true or false.")
    kind = _one(call, "inconsistent_type")
    if kind not in (None, "PRODUCT_ID", "IMAGE_ID", "DISK_NUM", "DISK_SIZE"):
        raise errors.invalid("inconsistent_type must be PRODUCT_ID, IMAGE_ID, DISK_NUM or DISK_SIZE.")
    return (
        (attached is None or (attached == "true") == bool(desktop["users"]))
        and (kind is None or kind.lower() in view.inconsistencies(pool, desktop))
        and (_one(call, "status") in (None, desktop["status"]))
        and (_one(call, "user_name") in (None, *desktop["users"]))
        and (_one(call, "computer_name") in (None, desktop["name"]))
        and ("desktop_id" not in call.query or desktop["id"] in call.query["desktop_id"])
    )


def inconsistent_statics(call: Call) -> bytes:
    """How many desktops differ from their pool's template, by what (documented)."""
    _known(call)
    pool = _pool(call)
    words = [word for desktop in pool["desktops"] for word in view.inconsistencies(pool, desktop)]
    names = ("product_id", "image_id", "disk_num", "disk_size")
    return encode({name: words.count(name) for name in names})


def show_job(call: Call) -> bytes:
    """One job with its sub-jobs; 404 when unknown (documented)."""
    _known(call)
    job = call.world["jobs"].get(call.path["job_id"])
    if job is None or job["project_id"] != call.project["id"]:
        raise errors.unknown_job(call.path["job_id"])
    return encode(view.job(call.world, job, call.now))


def list_sub_jobs(call: Call) -> bytes:
    """The sub-jobs of all jobs of the project, newest job first; 1,000 a page (documented default and maximum)."""
    _known(call, "status", "job_id", "job_type", "desktop_pool_id", "limit", "offset")
    offset, limit = _page(call, default=1000, least=0, most=1000, furthest=10000)
    statuses = call.query.get("status", [])
    if unknown := sorted(set(statuses) - {"WAITING", "RUNNING", "SUCCESS", "FAILED"}):
        raise errors.invalid(f"status cannot be {', '.join(unknown)}.")
    jobs = [job for job in reversed(call.world["jobs"].values()) if _wanted_job(call, job)]
    found = [sub for job in jobs for sub in view.sub_jobs(call.world, job, call.now)]
    found = [sub for sub in found if not statuses or sub["status"] in statuses]
    return encode({"total_count": len(found), "jobs": found[offset : offset + limit]})


def _wanted_job(call: Call, job: Job) -> bool:
    return (
        job["project_id"] == call.project["id"]
        and _one(call, "job_id") in (None, job["id"])
        and _one(call, "job_type") in (None, JOB_TYPES[job["kind"]])
        and _one(call, "desktop_pool_id") in (None, job["pool_id"])
    )


_SORTED_BY: Final = ("created_at", "updated_at", "name", "status", "protected_at", "id")
"""What the list of backups can be sorted by (documented)."""


def list_backups(call: Call) -> bytes:
    """The project's backups of desktops, at most 1,000 a page (documented); newest first unless sorted otherwise.

    That ``count`` counts all that fit, not the page, is inferred.
    """
    _known(call, "resource_type", "resource_id", "status", "sort", "limit", "offset")
    offset, limit = _page(call, default=1000, least=1, most=1000, furthest=999_999_999)
    kept = call.project.get("backups", []) if _one(call, "resource_type") in (None, backups.DESKTOP) else []
    found = [backups.shown(call.project, each, call.now) for each in kept]
    resource, statuses = _one(call, "resource_id"), call.query.get("status")
    found = [each for each in found if resource in (None, each["resource_id"])]
    found = [each for each in found if not statuses or each["status"] in statuses]
    name, _, order = (_one(call, "sort") or "created_at").partition(":")
    if name not in _SORTED_BY or order not in ("", "asc", "desc"):
        raise errors.backup_invalid(f"The list cannot be sorted by {name}:{order}.")
    found.sort(key=lambda each: str(each[name] or ""), reverse=order != "asc")
    shown = found[offset : offset + limit]
    return encode({"backups": shown, "count": len(found), "offset": offset, "limit": limit})


# --- changing -----------------------------------------------------------------------------------


def retry_job(call: Call) -> bytes:
    """``actions`` of a job with ``op_type`` retry: its failed desktops once more (what is repeated is inferred)."""
    _known(call)
    job = call.world["jobs"].get(call.path["job_id"])
    if job is None or job["project_id"] != call.project["id"]:
        raise errors.unknown_job(call.path["job_id"])
    pool = call.project["pools"][job["pool_id"]]
    end = call.now + pool["behaviour"].get("seconds", call.job_seconds)
    again = changes.retry(call.world, pool, job, _document(call), (call.now, end))
    return encode({"job_id": again["id"]})


def send_notifications(call: Call) -> bytes:
    """``notifications`` of a pool: a text to its desktops, as a job (documented); what its end means is inferred."""
    _known(call)
    pool = _pool(call)
    end = call.now + call.job_seconds
    job = changes.notify(call.world, pool, _document(call), (call.now, end))
    return encode({"job_id": job["id"]})


def changing(kind: VolumeKind) -> Handler:
    """Delete, add or expand data disks."""

    def submit(call: Call) -> bytes:
        _known(call)
        pool = _pool(call)
        end = call.now + pool["behaviour"].get("seconds", call.job_seconds)
        job = changes.submit(call.world, pool, kind, _document(call), (call.now, end))
        return encode({"job_id": job["id"]})

    return submit


def parse_document(body: bytes) -> object:
    """The JSON value of a body; raises ValueError when it is none, or when a key stands twice in an object."""
    return json.loads(body, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document


def _document(call: Call) -> object:
    if call.content_type.split(";")[0].strip().lower() != "application/json":
        raise errors.invalid("Content-Type must be application/json.")
    try:
        return parse_document(call.body)
    except (ValueError, RecursionError):
        raise errors.invalid("The request body is no JSON document.") from None


# --- path and query -----------------------------------------------------------------------------


def _pool(call: Call) -> Pool:
    pool = call.project["pools"].get(call.path["pool_id"])
    if pool is None:
        raise errors.unknown_pool(call.path["pool_id"])
    return pool


def _known(call: Call, *names: str) -> None:
    """Refuse other parameters: ignoring a documented filter would answer something else than was asked."""
    if unknown := sorted(set(call.query) - set(names)):
        raise errors.invalid(f"The parameters {', '.join(unknown)} are not simulated.")
    if long := sorted(name for name, values in call.query.items() if max(map(len, values)) > MAX_TEXT):
        raise errors.invalid(f"{', '.join(long)} must have at most {MAX_TEXT} characters.")


def _one(call: Call, name: str) -> str | None:
    return call.query[name][-1] if name in call.query else None


def _page(call: Call, *, default: int, least: int, most: int, furthest: int) -> tuple[int, int]:
    return _integer(call, "offset", 0, range(furthest + 1)), _integer(
        call, "limit", default, range(least, most + 1)
    )


def _integer(call: Call, name: str, default: int, within: range) -> int:
    text = _one(call, name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) in within):
        raise errors.invalid(f"{name} must be an integer from {within.start} to {within.stop - 1}.")
    return int(text)
