"""The live state: answers of ``api`` as values of ``model``, complete or nothing.

Text from the service is made safe here, once, on entry. Which pools matter is left to ``planner``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from reconciler.api.client import DESKTOP, Verb, WorkspaceClient
from reconciler.api.outcome import JOB_ID
from reconciler.api.paging import MoreThanListed
from reconciler.api.wire import (
    BackupBody,
    CopyBody,
    DesktopBody,
    EntitiesBody,
    ExtendBody,
    JobBody,
    PoolBody,
    SubJobBody,
    VolumeBody,
)
from reconciler.errors import ReadingDoubtful, ServiceError
from reconciler.journal.states import Outcome, Step
from reconciler.model import ABSENT_DISKS, ApplyTo, BackedVolume, Backup, Copy, Desktop, Disk, Pool
from reconciler.planning.readings import pool_doubts
from reconciler.redaction import SHOWN
from reconciler.safe_text import all_safe, safe_text
from reconciler.values import Struct, replace

HANDLE_TYPES = {
    ApplyTo.NEW: "ONLY_FOR_EXPAND",
    ApplyTo.IDLE: "FOR_EXPAND_AND_IDLE",
    ApplyTo.ALL: "FOR_EXPAND_AND_ALL",
}
GROUP = "GROUP"
"""``attach_user_infos[].type`` of a user group; whatever else stands there is somebody."""
_GOOD_ENDS = frozenset({"SUCCESS", "COMPLETE"})
_BAD_ENDS = frozenset({"FAIL", "FAILED"})
_UNFINISHED, _ENDED = ("WAITING", "RUNNING"), ("SUCCESS", "FAILED")
"""The words of sub-jobs that can be asked for (documented)."""
UNLISTED = "(more jobs than the service lists)"
"""Stands for ended jobs that nobody can list; no job has such an id."""


JOB_TYPES = {
    Step.REMOVE: "deleteDesktopPoolVolumes",
    Step.ADD: "addDesktopPoolVolumes",
    # No document names the type of a pool expansion's job; jobs of the pool are asked for without one.
    Step.EXPAND: "",
    Step.RETRY: "deleteDesktopPoolVolumes",
}
BACKUP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
"""A UUID by all documents. Where it is another text nothing is planned, so that it can stand in any sentence."""
_VERBS: dict[Step, Verb] = {
    Step.REMOVE: "batch-delete",
    Step.EXPAND: "batch-expand",
    Step.ADD: "batch-add",
    Step.RETRY: "retry",
}


class Call(Struct, frozen=True):
    """One write to one pool: what is sent, as values."""

    step: Step
    pool_id: str
    disks: tuple[Disk, ...]
    """REMOVE: the live disks. EXPAND: live ids with the new size. ADD: new disks without ids. RETRY: the disks
    of which copies are left."""
    apply_to: ApplyTo | None
    job_id: str = ""
    """RETRY: the job that the service is to finish."""


class JobEnd(StrEnum):
    """How a job stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PARTIAL = "partial"


class JobPart(Struct, frozen=True):
    """How one sub-job ended."""

    desktop_id: str
    """``entities.desktop_id``; empty when the service left it out."""
    desktop_name: str
    done: bool


class Job(Struct, frozen=True):
    """One job of the service with the verdict over its sub-jobs."""

    id: str
    end: JobEnd
    reason: str = ""
    """The service's own words about a failure; empty otherwise."""
    parts: tuple[JobPart, ...] = ()
    """Its sub-jobs once all have ended; empty while it runs."""


class Differing(Struct, frozen=True):
    """The desktops of a pool that the service counts as different from it."""

    by_number: int
    """How many have another number of disks."""
    by_size: int
    """How many have another sum of GB."""
    desktops: tuple[Desktop, ...]
    """All of them, by name."""


class PoolReading(Struct, frozen=True):
    """One pool as read alone, with the raw bytes for the second check."""

    pool: Pool
    raw: bytes


class BackupReading(Struct, frozen=True):
    """Every backup of a desktop in the project, with the raw pages for the second check."""

    backups: tuple[Backup, ...]
    pages: tuple[bytes, ...]


class Workspace(Protocol):
    """One target of the service as planning and applying see it."""

    async def pools(self) -> tuple[Pool, ...]:
        """Every pool of the project with its disks; raises ``ReadingDoubtful`` rather than guess."""

    async def pool(self, pool_id: str) -> PoolReading:
        """One pool; raises ``PoolNotFound``."""

    async def desktops(self, pool_id: str) -> tuple[Desktop, ...]:
        """Every desktop of the pool with its copies."""

    async def differing(self, pool_id: str) -> Differing:
        """The desktops whose disks are not those of the pool."""

    async def write_place(self, step: Step) -> None:
        """Wait until the budget has room for one write; what is decided before that may be old by then."""

    async def send(self, call: Call, signed_at: datetime) -> Outcome:
        """Send one write at once, once; never raises for what network or service do."""

    async def message_place(self) -> None:
        """Wait until the budget of messages has room for one; no other write takes from it, nor it from others."""

    async def send_message(self, pool_id: str, text: str, signed_at: datetime) -> Outcome:
        """Send a message to the people of a pool, as ``send`` does; the job in the answer is not followed.

        What its end says of the desktops, or of people who are not logged in, is not documented.
        """

    async def job(self, job_id: str) -> Job | None:
        """How the job stands; None when the service does not know it, or cannot be asked for it."""

    async def running_jobs(self, step: Step) -> frozenset[str]:
        """Ids of the jobs of this kind, over all pools, that still have an unfinished sub-job."""

    async def pool_jobs(self, pool_id: str, step: Step) -> frozenset[str]:
        """Ids of all jobs of this kind that the pool ever had, as far as the service remembers.

        ``UNLISTED`` stands among them where it remembers more than it lists: then the unfinished ones are
        complete, and of the ended ones some may be missing.
        """


class LiveWorkspace:
    """The real service, through ``api``."""

    def __init__(self, client: WorkspaceClient) -> None:
        self._client = client
        self.jobs_seen: Callable[[Mapping[str, int]], None] = lambda _left: None
        """Is given, whenever jobs are asked for, how many sub-jobs of each are unfinished; decides nothing."""

    @property
    def client(self) -> WorkspaceClient:
        """What makes its calls, for who asks about the calls themselves."""
        return self._client

    async def pools(self) -> tuple[Pool, ...]:
        """Every pool of the project with its disks."""
        return tuple(_pool(body) for body in await self._client.pools())

    async def pool(self, pool_id: str) -> PoolReading:
        """One pool with the raw bytes of the answer."""
        body, raw = await self._client.pool(pool_id)
        pool = _pool(body)
        # The detail call is what settles whether an absent list of disks means none.
        doubts = tuple(doubt for doubt in pool.doubts if doubt != ABSENT_DISKS)
        return PoolReading(replace(pool, doubts=doubts), raw)

    async def desktops(self, pool_id: str) -> tuple[Desktop, ...]:
        """Every desktop of the pool with its copies."""
        return tuple(_desktop(body) for body in await self._client.desktops(pool_id))

    async def backups(self) -> BackupReading:
        """Every backup of a desktop, from the backup service; raises ``ServiceError`` rather than guess."""
        if self._client.backup_service is None:
            raise ServiceError("no backup service is connected here")
        async with self._client.backup_service() as service:
            bodies, pages = await service.backups()
        return BackupReading(tuple(_backup(body, self._client.project_id) for body in bodies), pages)

    async def differing(self, pool_id: str) -> Differing:
        """The desktops whose disks are not those of the pool: counted first, read only where there are any."""
        counts = await self._client.inconsistent_statics(pool_id)
        number = await self._differing(pool_id, "DISK_NUM", counts.disk_num)
        size = await self._differing(pool_id, "DISK_SIZE", counts.disk_size)
        found = sorted({**number, **size}.values(), key=lambda each: (each.name, each.id))
        return Differing(len(number), len(size), tuple(found))

    async def _differing(self, pool_id: str, kind: str, count: int | None) -> dict[str, Desktop]:
        """The desktops that differ in one respect; a count that the service left out is no zero."""
        if count == 0:
            return {}
        return {body.desktop_id: _desktop(body) for body in await self._client.desktops(pool_id, kind)}

    async def write_place(self, step: Step) -> None:
        """Wait until the budget has room for one write."""
        await self._client.write_place(_VERBS[step])

    async def send(self, call: Call, signed_at: datetime) -> Outcome:
        """Send one write at once, once."""
        if call.step is Step.RETRY:
            return await self._client.post_retry(call.job_id, signed_at)
        return await self._client.post_volumes(_VERBS[call.step], call.pool_id, body_of(call), signed_at)

    async def message_place(self) -> None:
        """Wait until the budget of messages has room for one."""
        await self._client.write_place("notifications")

    async def send_message(self, pool_id: str, text: str, signed_at: datetime) -> Outcome:
        """Send a message to the people of a pool, at once, once."""
        return await self._client.post_message(pool_id, text, signed_at)

    async def job(self, job_id: str) -> Job | None:
        """How the job stands; one that cannot be asked for is one that the service does not know."""
        # Its id would change which call is made. Asking again would never help: the disks decide.
        if not JOB_ID.fullmatch(job_id):
            return None
        body = await self._client.job(job_id)
        return None if body is None else _job(body)

    async def running_jobs(self, step: Step) -> frozenset[str]:
        """Ids of the jobs of this kind that still have an unfinished sub-job."""
        bodies = await self._client.sub_jobs(job_type=JOB_TYPES[step] or None, statuses=_UNFINISHED)
        left = Counter(body.job_id for body in bodies if body.job_id)
        with suppress(Exception):  # who listens must not fail a reading
            self.jobs_seen(left)
        return frozenset(left)

    async def pool_jobs(self, pool_id: str, step: Step) -> frozenset[str]:
        """Ids of all jobs of this kind that the pool ever had."""
        job_type = JOB_TYPES[step] or None
        try:
            bodies = await self._client.sub_jobs(pool_id=pool_id, job_type=job_type)
        except MoreThanListed as most:
            return await self._unfinished_jobs(pool_id, job_type, most)
        return frozenset(body.job_id for body in bodies if body.job_id)

    async def _unfinished_jobs(
        self, pool_id: str, job_type: str | None, all_of_them: MoreThanListed
    ) -> frozenset[str]:
        """The pool's unfinished jobs, asked for by their status where the list of all cannot be had.

        Those that ended are left out altogether: there is no sorting, so which of them would be listed is
        the service's choice, and one that is seen today for the first time may be years old. The four
        statuses must add up to all sub-jobs, or one with another word could be the very job looked for.
        """
        found: set[str] = set()
        counted = 0
        for status in (*_UNFINISHED, *_ENDED):
            try:
                bodies = await self._client.sub_jobs(pool_id=pool_id, job_type=job_type, statuses=(status,))
                counted += len(bodies)
            except MoreThanListed as most:
                if status in _UNFINISHED:
                    raise
                counted += most.total
            else:
                found |= {body.job_id for body in bodies if body.job_id and status in _UNFINISHED}
        if counted != all_of_them.total:
            raise ReadingDoubtful(
                f"the service counts {all_of_them.total} sub-jobs of the pool, and {counted} by their status",
                "jobs may be changing right now; run again in a minute",
            )
        return frozenset(found | {UNLISTED})


def body_of(call: Call) -> dict[str, Any]:
    """The JSON body of a call, valid under every dated revision of the service: older ones require the type."""
    match call.step:
        case Step.REMOVE | Step.EXPAND:
            volumes = [{"id": disk.id, "type": disk.type, "size": disk.size} for disk in call.disks]
        case Step.ADD:
            volumes = [_new_volume(disk) for disk in call.disks]
        case Step.RETRY:
            return {"op_type": "retry"}
    body: dict[str, Any] = {"volumes": volumes}
    if call.apply_to is not None:
        body["handle_type"] = HANDLE_TYPES[call.apply_to]
    return body


def _new_volume(disk: Disk) -> dict[str, Any]:
    attributes = {"iops": disk.iops, "throughput": disk.throughput, "kms_id": disk.kms_id}
    declared = {name: value for name, value in attributes.items() if value is not None}
    return {"type": disk.type, "size": disk.size, **declared}


def _pool(body: PoolBody) -> Pool:
    volumes = body.data_volumes or ()
    text = _as_it_is if all_safe(_texts_of(body)) else _text
    disks = tuple(_disk(volume, text) for volume in volumes)
    doubts = [safe_text(doubt) for doubt in body.doubts]
    if body.data_volumes is None:
        doubts.append(ABSENT_DISKS)
    doubts.extend(pool_doubts(disks, body.desktop_count))
    if text is _text:
        doubts.extend(_hidden(volumes, disks))
    return Pool(
        id=body.id,
        name=text(body.name),
        disks=disks,
        status=text(body.status),
        charging_mode=text(body.charging_mode),
        desktop_count=body.desktop_count,
        desktop_used=body.desktop_used or 0,
        created=text(body.created_time),
        doubts=tuple(doubts),
        type=text(body.type),
        autoscale=body.enable_autoscale,
        in_maintenance_mode=body.in_maintenance_mode,
    )


def _texts_of(body: PoolBody) -> list[str]:
    found = [body.name, body.status, body.charging_mode, body.created_time, body.type]
    for volume in body.data_volumes or ():
        found += volume.id, volume.type, volume.kms_id
    return [each for each in found if each]


def _disk(volume: VolumeBody, text: Callable[[str | None], str]) -> Disk:
    return Disk(
        id=text(volume.id),
        type=text(volume.type),
        size=volume.size,
        iops=volume.iops,
        throughput=volume.throughput,
        kms_id=text(volume.kms_id) if volume.kms_id else None,
    )


def _hidden(volumes: Sequence[VolumeBody], disks: Sequence[Disk]) -> Iterator[str]:
    """A doubt for each disk of which a secret was taken out: what is left names no disk, and perhaps several."""
    for volume, disk in zip(volumes, disks, strict=True):
        if any(
            SHOWN in now and SHOWN not in (was or "")
            for was, now in ((volume.id, disk.id), (volume.type, disk.type))
        ):
            yield (
                f"disk {disk.id} ({disk.type}) has a part that is the value of a variable here that counts as a "
                "secret (such as …_TOKEN or …_PASSWORD)"
            )


def _desktop(body: DesktopBody) -> Desktop:
    attached = [(_text(each.user_name), each.type == GROUP) for each in body.attach_user_infos or ()]
    groups = {name for name, is_group in attached if is_group and name}
    users = {name for name, is_group in attached if not is_group}
    # The desktop's own user_name repeats the first of those attached, which may be a group.
    if (own := _text(body.user_name)) not in groups:
        users.add(own)
    return Desktop(
        id=body.desktop_id,
        name=_text(body.computer_name),
        users=tuple(sorted(user for user in users if user)),
        live_session=body.login_status == "CONNECTED",
        copies=tuple(_copy(volume) for volume in body.data_volumes or ()),
        status=_text(body.status),
        groups=tuple(sorted(groups)),
        user_list=tuple(sorted({_text(name) for name in body.user_list or ()} - {""})),
        in_maintenance_mode=body.in_maintenance_mode,
        isolated=body.isolated,
        frozen=body.is_freeze,
        copies_known=body.data_volumes is not None,
    )


def _copy(volume: CopyBody) -> Copy:
    return Copy(
        disk_id=_text(volume.desktop_pool_disk_id),
        volume_id=_text(volume.volume_id),
        type=safe_text(volume.type),
        size=volume.size,
        created=_time(volume.create_time or ""),
    )


def _backup(body: BackupBody, project_id: str) -> Backup:
    """One backup; raises ``ReadingDoubtful`` for what contradicts itself or what was asked for."""
    if not BACKUP_ID.fullmatch(body.id):
        raise _no_backup("one has an id that is none", body.id)
    if body.resource_type != DESKTOP or body.project_id not in (None, project_id):
        raise _no_backup("it is not of a desktop of this project", body.id)
    made, expires = _moment(body.protected_at, body.id), _moment(body.expired_at, body.id)
    if made and expires and expires < made:
        raise _no_backup("it ended before it was made", body.id)
    return Backup(
        id=body.id,
        desktop_id=_text(body.resource_id),
        status=_text(body.status),
        made=made,
        expires=expires,
        volumes=tuple(
            BackedVolume(
                _text(each.resource_id),
                _text(each.status),
                _moment(each.expired_at, body.id),
                _restorable(each.extend_info),
            )
            for each in body.children or ()
        ),
        replica=body.image_type not in (None, "backup"),
        restorable=_restorable(body.extend_info),
    )


def _restorable(info: ExtendBody | None) -> bool:
    return info is None or info.supported_restore_mode != "na"


def _moment(text: str | None, backup_id: str) -> datetime | None:
    """A time that may be left out, but that must be one where it is there: without it nothing would ever end."""
    if not text:
        return None
    if (moment := _time(text)) is None:
        raise _no_backup("one of its times is none", backup_id)
    return moment


def _no_backup(why: str, backup_id: str) -> ReadingDoubtful:
    return ReadingDoubtful(
        f"the list of backups contradicts itself: backup {safe_text(backup_id)[:64]}: {why}",
        "plan again; if it stays so, ask the vendor's support",
    )


def _job(body: JobBody) -> Job:
    subs = body.sub_jobs or ()
    good = sum(sub.status in _GOOD_ENDS for sub in subs)
    bad = sum(sub.status in _BAD_ENDS for sub in subs)
    reasons = [body.fail_reason, *(sub.fail_reason for sub in subs)]
    reason = safe_text("; ".join(sorted({each for each in reasons if each})))
    ended_badly = body.status in _BAD_ENDS
    # An unknown word of a parent or of a sub-job is "not ended", and so is a list that lacks some of them;
    # the caller's deadline bounds it.
    lacking = len(subs) < (body.sub_jobs_total or 0)
    if lacking or (not ended_badly and (body.status not in _GOOD_ENDS or good + bad < len(subs))):
        return Job(body.id or "", JobEnd.RUNNING)
    parts = tuple(_part(sub) for sub in subs)
    if ended_badly or bad:
        end = JobEnd.PARTIAL if good else JobEnd.FAILED
        return Job(body.id or "", end, reason or "no reason given", parts)
    return Job(body.id or "", JobEnd.SUCCEEDED, parts=parts)


def _part(body: SubJobBody) -> JobPart:
    about = body.entities or EntitiesBody()
    # A sub-job of a job that ended is done only when it says so: any other word leaves its copies in doubt.
    name = _text(about.desktop_name) or _text(body.desktop_name)
    return JobPart(_text(about.desktop_id), name, body.status in _GOOD_ENDS)


def _text(text: str | None) -> str:
    return safe_text(text) if text else ""


def _as_it_is(text: str | None) -> str:
    """The same for a text that is known to be safe."""
    return text or ""


def _time(text: str) -> datetime | None:
    """The service writes ISO-8601 with Z for pools and a bare UTC time for jobs and volumes."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
