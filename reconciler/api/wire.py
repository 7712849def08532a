"""Owns the answers as structs: the needed fields only, unknown ones ignored.

The service's schema marks nearly every field optional, so defaults stand for absent and for null. A pool
that does not decode is kept with its doubt instead of spoiling the page.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

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
    data_volumes: list[VolumeBody] | None = None
    """None when absent."""
    status: Text = None
    charging_mode: Text = None
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
    """Somebody attached to a desktop."""

    user_name: Text = None


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
    data_volumes: list[CopyBody] | None = None


class DesktopsPage(msgspec.Struct, frozen=True):
    """One page of a pool's desktops."""

    total_count: int
    pool_desktops: list[DesktopBody]


class InconsistentBody(msgspec.Struct, frozen=True):
    """How many desktops differ from their pool, and in what."""

    disk_num: int | None = None
    disk_size: int | None = None


class SubJobBody(msgspec.Struct, frozen=True):
    """One sub-job."""

    id: Id
    job_id: Text = None
    status: Text = None
    fail_reason: Text = None
    error_code: Text = None


class JobBody(msgspec.Struct, frozen=True):
    """One job with its sub-jobs."""

    id: Text = None
    status: Text = None
    fail_reason: Text = None
    job_error_code: Text = None
    sub_jobs: list[SubJobBody] | None = None


class SubJobsPage(msgspec.Struct, frozen=True):
    """One page of the list of sub-jobs."""

    total_count: int
    jobs: list[SubJobBody]


class _LoosePage(msgspec.Struct, frozen=True):
    total_count: int
    desktop_pools: list[msgspec.Raw]


class _Named(msgspec.Struct, frozen=True):
    id: Id
    name: msgspec.Raw = msgspec.Raw(b"null")


T = TypeVar("T")
_POOLS = msgspec.json.Decoder(PoolsPage)


class DecodeError(Exception):
    """The body is not what the call answers with."""


def decode(body: bytes, kind: type[T]) -> T:
    """One answer as a struct; raises ``Garbage``."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None


def decode_pools(body: bytes) -> PoolsPage:
    """A page of pools; one that does not decode keeps its id, its name and the reason as a doubt.

    Raises ``Garbage`` when the page is none, or a pool has not even an id.
    """
    try:
        return _POOLS.decode(body)
    except msgspec.ValidationError:
        loose = decode(body, _LoosePage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None
    return PoolsPage(loose.total_count, [decode_pool(bytes(raw)) for raw in loose.desktop_pools])


def decode_pool(raw: bytes) -> PoolBody:
    """One pool; one that does not decode keeps its id, its name and the reason as a doubt."""
    try:
        return msgspec.json.decode(raw, type=PoolBody)
    except msgspec.ValidationError as error:
        named = decode(raw, _Named)
        name = decode(bytes(named.name), msgspec.Raw)
        shown = msgspec.json.decode(name)
        return PoolBody(
            named.id, shown if isinstance(shown, str) else None, data_volumes=[], doubts=[str(error)]
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None
