"""The answers as structs: the needed fields only, unknown ones ignored.

The service's schema marks nearly every field optional, so defaults stand for absent and for null. A pool
that does not decode is kept with its doubt instead of spoiling the page. What could fill the memory is
counted on the raw bytes, before anything is made of it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import msgspec

from reconciler.model import MAX_POOL_DISKS

MOST_OBJECTS = 100_000
"""JSON objects in one answer; a page of 1,000 pools has about 10,000."""
MOST_VALUES = 2_000_000
"""JSON values in one answer; a page of 1,000 pools has about 50,000."""
Text = str | None
Id = Annotated[str, msgspec.Meta(min_length=1)]


class VolumeBody(msgspec.Struct, frozen=True):
    """One entry of a pool's ``data_volumes``."""

    type: str
    size: int
    """GB."""
    id: Text = None
    iops: int | None = None
    throughput: int | None = None
    kms_id: Text = None


class PoolBody(msgspec.Struct, frozen=True):
    """One pool, of the list or alone."""

    id: Id
    name: Text = None
    data_volumes: Annotated[list[VolumeBody], msgspec.Meta(max_length=MAX_POOL_DISKS)] | None = None
    """None when absent."""
    status: Text = None
    charging_mode: Text = None
    type: Text = None
    enable_autoscale: bool | None = None
    in_maintenance_mode: bool | None = None
    desktop_count: int | None = None
    desktop_used: int | None = None
    created_time: Text = None
    doubts: list[str] = msgspec.field(default_factory=list, name="(doubts)")
    """Never on the wire: why this pool did not decode."""


class PoolsPage(msgspec.Struct, frozen=True):
    """One page of the list of pools."""

    total_count: int
    desktop_pools: list[PoolBody]


class UserBody(msgspec.Struct, frozen=True):
    """Somebody, or a group, attached to a desktop."""

    user_name: Text = None
    """Of a group: the group's name."""
    type: Text = None
    """USER or GROUP; USER when absent."""


class CopyBody(msgspec.Struct, frozen=True):
    """One data volume of one desktop."""

    type: str
    size: int
    """GB."""
    volume_id: Text = None
    desktop_pool_disk_id: Text = None
    create_time: Text = None


class DesktopBody(msgspec.Struct, frozen=True):
    """One desktop of a pool."""

    desktop_id: Id
    computer_name: Text = None
    status: Text = None
    login_status: Text = None
    user_name: Text = None
    attach_user_infos: list[UserBody] | None = None
    user_list: list[str] | None = None
    in_maintenance_mode: bool | None = None
    isolated: bool | None = None
    is_freeze: bool | None = None
    data_volumes: list[CopyBody] | None = None
    """None when absent."""


class DesktopsPage(msgspec.Struct, frozen=True):
    """One page of a pool's desktops."""

    total_count: int
    pool_desktops: list[DesktopBody]


class InconsistentBody(msgspec.Struct, frozen=True):
    """How many desktops differ from their pool, and in what."""

    disk_num: int | None = None
    disk_size: int | None = None


class EntitiesBody(msgspec.Struct, frozen=True):
    """What a sub-job is about."""

    desktop_id: Text = None
    desktop_name: Text = None


class SubJobBody(msgspec.Struct, frozen=True):
    """One sub-job."""

    id: Id
    job_id: Text = None
    status: Text = None
    entities: EntitiesBody | None = None
    desktop_name: Text = None
    """The published revision has it here, the official SDK in ``entities``."""
    fail_reason: Text = None
    error_code: Text = None


class JobBody(msgspec.Struct, frozen=True):
    """One job with its sub-jobs."""

    id: Text = None
    status: Text = None
    fail_reason: Text = None
    job_error_code: Text = None
    sub_jobs: list[SubJobBody] | None = None
    sub_jobs_total: int | None = None


class SubJobsPage(msgspec.Struct, frozen=True):
    """One page of the list of sub-jobs."""

    total_count: int
    jobs: list[SubJobBody]


class ExtendBody(msgspec.Struct, frozen=True):
    """What else is known of a backup."""

    supported_restore_mode: Text = None
    """``na`` for one that cannot be restored (documented), else ``snapshot`` or ``backup``."""


class ChildBody(msgspec.Struct, frozen=True):
    """The backup of one volume, within that of a desktop."""

    resource_id: Text = None
    """The volume."""
    status: Text = None
    expired_at: Text = None
    extend_info: ExtendBody | None = None


class BackupBody(msgspec.Struct, frozen=True):
    """One backup of the backup service (``BackupResp`` of the official SDK, ``huaweicloudsdkcbr`` v1)."""

    id: Id
    resource_id: Text = None
    """What it is a backup of."""
    resource_type: Text = None
    project_id: Text = None
    image_type: Text = None
    """``backup``, or ``replication`` for the copy of one of another region."""
    status: Text = None
    protected_at: Text = None
    expired_at: Text = None
    children: list[ChildBody] | None = None
    extend_info: ExtendBody | None = None


class BackupsPage(msgspec.Struct, frozen=True):
    """One page of the list of backups."""

    count: int
    backups: list[BackupBody]


class _LoosePage(msgspec.Struct, frozen=True):
    total_count: int
    desktop_pools: list[msgspec.Raw]


class _Named(msgspec.Struct, frozen=True):
    id: Id
    name: msgspec.Raw = msgspec.Raw(b"null")


class _Disks(msgspec.Struct, frozen=True):
    data_volumes: list[msgspec.Raw] = []


class _Error(msgspec.Struct, frozen=True):
    error_code: msgspec.Raw = msgspec.Raw(b"null")


T = TypeVar("T")
_POOLS = msgspec.json.Decoder(PoolsPage)
_NO_ERROR = re.compile(rb'null|false|""|\[\s*\]|\{\s*\}|-?0+(\.0*)?([eE][+-]?[0-9]+)?')


class DecodeError(Exception):
    """The body is not what the call answers with."""


def decode(body: bytes, kind: type[T]) -> T:
    """One answer as a struct; raises ``DecodeError``."""
    _bound(body, MOST_OBJECTS)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None


def decode_pools(body: bytes) -> PoolsPage:
    """A page of pools; one that does not decode keeps its id, its name and the reason as a doubt.

    Raises ``DecodeError`` when the page is none, or a pool has not even an id.
    """
    if body.count(b"{") <= MOST_OBJECTS:
        try:
            return _POOLS.decode(body)
        except (msgspec.ValidationError, UnicodeDecodeError):
            pass  # one pool must not spoil the page: each is looked at alone
        except (msgspec.DecodeError, RecursionError) as error:
            raise DecodeError(str(error)) from None
    _bound(body, MOST_VALUES)
    try:
        loose = msgspec.json.decode(body, type=_LoosePage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None
    return PoolsPage(loose.total_count, [decode_pool(bytes(raw)) for raw in loose.desktop_pools])


def decode_pool(raw: bytes) -> PoolBody:
    """One pool; one that does not decode keeps its id, its name and the reason as a doubt."""
    _bound(raw, MOST_VALUES)
    try:
        return _one_pool(raw)
    except msgspec.ValidationError as error:
        return _doubtful(raw, str(error))
    except UnicodeDecodeError:
        # Only what is shown of it is mended; an id that came out of this would be an invented one.
        mended = raw.decode("utf-8", "replace").encode()
        return _doubtful(mended, "the answer about it is not UTF-8")
    except (msgspec.DecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None


def carries_error(body: bytes) -> bool:
    """True when an answer has an ``error_code`` that says anything, whatever else stands in it."""
    if b'"error_code"' not in body:
        return False
    try:
        found = msgspec.json.decode(body, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return not _NO_ERROR.fullmatch(bytes(found.error_code).strip())


def _one_pool(raw: bytes) -> PoolBody:
    # More objects than any pool has: they are not made at all, only counted.
    if raw.count(b"{") <= MOST_OBJECTS:
        try:
            return msgspec.json.decode(raw, type=PoolBody)
        except msgspec.ValidationError:
            if _disks_of(raw) <= MAX_POOL_DISKS:
                raise
    number = _disks_of(raw)
    if number > MAX_POOL_DISKS:
        raise msgspec.ValidationError(f"{number} disks, and no pool can have more than {MAX_POOL_DISKS}")
    raise msgspec.ValidationError("the answer about it is larger than that about any pool")


def _disks_of(raw: bytes) -> int:
    """How many entries ``data_volumes`` has; 0 when it is no list."""
    try:
        return len(msgspec.json.decode(raw, type=_Disks).data_volumes)
    except msgspec.ValidationError:
        return 0


def _doubtful(raw: bytes, doubt: str) -> PoolBody:
    """What can be said of a pool that does not decode: its id, its name where that is a text, and why."""
    try:
        named = msgspec.json.decode(raw, type=_Named)
        name: Any = msgspec.json.decode(named.name) if bytes(named.name).startswith(b'"') else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None
    if "\ufffd" in named.id:
        raise DecodeError("the id of a pool is not UTF-8")
    return PoolBody(named.id, name, data_volumes=[], doubts=[doubt])


def _bound(body: bytes, most: int) -> None:
    """Refuse what would fill the memory, by the characters that no list of so many values can do without."""
    if body.count(b"{") > most or body.count(b",") > MOST_VALUES:
        raise DecodeError("it has more values than any answer of the service")
