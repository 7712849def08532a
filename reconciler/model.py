"""The value objects that all layers share: live pools, desired pools, limits.

Only data: other modules read, decide and print. Sizes are in GB; times are timezone-aware UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, NamedTuple

from reconciler.values import Struct, field

MAX_DISK_GB = 32_760
"""GB; the largest data disk that the documents of the disk calls name (contract: ``Volume``, 10 to 32760 in
steps of 10). Others say less (8200 for a pool's disk), so what is larger is no disk but a broken answer."""
MAX_POOL_DISKS = 10
"""Data disks of one pool, and of one call about them (both documented: product constraints, ``batch-delete``)."""
ABSENT_DISKS = "data_volumes is missing"
"""Doubt about a pool of the list that the detail call can settle."""


class Action(StrEnum):
    """What happens to one disk; there are no other actions."""

    KEEP = "keep"
    REMOVE = "remove"
    EXPAND = "expand"
    ADD = "add"
    REPLACE = "replace"


class ApplyTo(StrEnum):
    """Which desktops of the pool a change applies to (the service's ``handle_type``)."""

    NEW = "new"
    IDLE = "idle"
    ALL = "all"


class Notice(StrEnum):
    """Which of the messages about a marked disk."""

    MARKED = "marked"
    """The disk has been marked."""
    REMINDER = "reminder"
    """It is due within a day."""


class OnTie(StrEnum):
    """Which of several equally good disks to remove, where the manifest lets the tool choose."""

    REMOVE_NEWEST = "remove_newest"
    REMOVE_OLDEST = "remove_oldest"


class _PartlyCompared(Struct, frozen=True):
    """A value of which some fields take no part in comparing it: two that differ in these alone are equal."""

    aside: ClassVar[frozenset[str]]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._compared() == other._compared()

    def __ne__(self, other: object) -> bool:
        return not self == other  # a struct's own would compare every field

    def __hash__(self) -> int:
        return hash(self._compared())

    def _compared(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name not in self.aside)


class Position(Struct, frozen=True, order=True):
    """A position in a manifest, 1-based."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Target(Struct, frozen=True, order=True):
    """The project that a manifest manages; must be the project of the credentials (an interlock)."""

    region: str
    """Region id, such as ``ap-southeast-3``."""
    project_id: str
    """Project id: 32 hexadecimal characters."""
    profile: str = ""
    """Section of the credentials file to use; empty: the default credentials."""

    def __str__(self) -> str:
        return f"{self.region}/{self.project_id}"


class Whom(Struct, frozen=True):
    """As whom requests are made, in words that may be shown."""

    kind: str
    """``access key``, ``temporary access key``, ``agency``, ``user``, ``token`` …"""
    source: str
    """Where that was found: a variable, or a file with its section."""
    access_key: str = ""
    """The ends of the access key's id; empty for another kind."""
    user: str = ""
    """The IAM user and its account; empty when not known."""
    agency: str = ""
    """The agency and its account, or its URN; empty for none."""

    def __str__(self) -> str:
        named = self.agency or self.user or self.access_key
        keyed = f" with access key {self.access_key}" if self.agency and self.access_key else ""
        return f"{self.kind}{' ' if named else ''}{named}{keyed}, from {self.source}"


class Shard(Struct, frozen=True):
    """One of several shares of the pools, so that several machines can split a run."""

    number: int = 1
    """1 to ``count``."""
    count: int = 1

    def owns(self, target: Target, pool_id: str) -> bool:
        """True if the pool is in this share; depends on nothing but target and pool id."""
        if self.count == 1:
            return True
        digest = hashlib.sha256(f"{target}/{pool_id}".encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8]) % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


# --- live: what the service reports -------------------------------------------------------------


class Disk(Struct, frozen=True):
    """One entry of a pool's ``data_volumes``: a set with one copy on each desktop of the pool."""

    id: str
    """Id of the set; empty if the service left it out, and then the disk is never removed."""
    type: str
    """Volume type: SAS, SSD, GPSSD or another word of the service."""
    size: int
    """GB."""
    iops: int | None = None
    throughput: int | None = None
    """MiB/s."""
    kms_id: str | None = None


class Pool(Struct, frozen=True):
    """A live desktop pool with its disks, from one complete reading."""

    id: str
    name: str
    disks: tuple[Disk, ...]
    status: str = "STEADY"
    """STEADY, TEMPORARY, EXIST_FROZEN, UNKNOWN or an undocumented word."""
    charging_mode: str = "1"
    """``0`` prepaid (yearly/monthly), ``1`` pay-per-use; empty if the service left it out."""
    desktop_count: int | None = None
    """Desktops by the pool's own count; None when the service left it out."""
    desktop_used: int = 0
    """Desktops bound to a user."""
    created: str = ""
    """Creation time as the service sends it; distinguishes a pool from a later one with the same name."""
    doubts: tuple[str, ...] = ()
    """Why this reading of the pool is doubtful; any doubt blocks every change."""
    type: str = ""
    """``type``: STATIC, or DYNAMIC, whose desktops are unbound from their users after use; empty when left out."""
    autoscale: bool | None = None
    """``enable_autoscale``: the service makes and deletes desktops by itself; None when left out."""
    in_maintenance_mode: bool | None = None
    """``in_maintenance_mode``: users cannot connect; None when left out."""


class Copy(Struct, frozen=True):
    """The physical volume of one disk on one desktop."""

    disk_id: str
    """``desktop_pool_disk_id``: the pool disk it belongs to; empty if the service left it out."""
    volume_id: str
    type: str
    size: int
    """GB."""
    created: datetime | None = None


class KnownBackup(NamedTuple):
    """A backup of a desktop, as far as it can be named later; what can be restored from it is not documented."""

    id: str
    at: str
    """When it was made (``protected_at``), as ``2026-11-25T22:10:00+00:00``."""


class LostCopy(NamedTuple):
    """One copy that a removal destroys; ids are all that a backup, an audit or a support ticket can go by later."""

    disk_id: str
    """The pool disk that goes; the copy counts for it, with a link or without."""
    desktop_id: str
    desktop_name: str
    volume_id: str
    """Empty when the service left it out."""
    size: int
    """GB."""
    users: tuple[str, ...] = ()
    """Names of the people of that desktop, sorted."""
    backups: tuple[KnownBackup, ...] = ()
    """Usable backups of the desktop that may hold this copy, newest first; empty where nobody asked for them."""


class BackedVolume(Struct, frozen=True):
    """One child of a desktop's backup: the backup of one volume (``children`` of CBR's ``BackupResp``)."""

    volume_id: str
    """``resource_id``; empty when left out."""
    status: str
    expires: datetime | None = None
    """``expired_at``; None: it does not end."""
    restorable: bool = True
    """False when its ``supported_restore_mode`` is ``na``: it cannot be restored (documented)."""


class Backup(Struct, frozen=True):
    """One backup of a desktop in the backup service, CBR (``BackupResp`` of the official SDK)."""

    id: str
    desktop_id: str
    """``resource_id``, taken for the id that Workspace gives the desktop (inferred: no document says so)."""
    status: str
    """``available``, or ``protecting``, ``deleting``, ``restoring``, ``error``, ``waiting_…`` (documented)."""
    made: datetime | None = None
    """``protected_at``; None while nothing has been backed up yet."""
    expires: datetime | None = None
    """``expired_at``; None: it does not end."""
    volumes: tuple[BackedVolume, ...] = ()
    """``children``; empty where the service names none, so that nobody knows which disks it holds."""
    replica: bool = False
    """``image_type`` is not ``backup``: the copy of a backup of another region."""
    restorable: bool = True
    """As above."""


class Desktop(Struct, frozen=True):
    """One desktop of a pool, with its copies and users."""

    id: str
    name: str
    users: tuple[str, ...] = ()
    """Names of the users bound to it, sorted: ``user_name`` and ``attach_user_infos[]``, but no groups."""
    live_session: bool = False
    """True while ``login_status`` is CONNECTED."""
    copies: tuple[Copy, ...] = ()
    status: str = ""
    """ACTIVE, SHUTOFF, ERROR, HIBERNATED, or another word of the service."""
    groups: tuple[str, ...] = ()
    """Names of the user groups attached to it, sorted: ``attach_user_infos[]`` whose ``type`` is GROUP."""
    user_list: tuple[str, ...] = ()
    """``user_list``, sorted: who may use a shared desktop; that these are all of a group is not documented."""
    in_maintenance_mode: bool | None = None
    """``in_maintenance_mode``; None when left out, as below."""
    isolated: bool | None = None
    """``isolated``: taken out of service by the pool's own repair."""
    frozen: bool | None = None
    """``is_freeze``."""
    copies_known: bool = True
    """False when the service left ``data_volumes`` out, so that any disk may have a copy here."""

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody known to use it, sorted: those bound to it, and those who may use a shared desktop."""
        return tuple(sorted({*self.users, *self.user_list}))


# --- desired: what the manifests say ------------------------------------------------------------


class DesiredDisk(Struct, frozen=True):
    """One disk that the manifest declares; ``count: 3`` becomes three of these."""

    type: str
    size: int
    """GB, a positive multiple of 10."""
    at: Position
    id: str = ""
    """A pin: only this live disk matches; empty if not pinned."""
    iops: int | None = None
    throughput: int | None = None
    """MiB/s."""
    kms_id: str | None = None
    replace: bool = False
    """True allows destroying a live disk in order to create this one."""


class BackupRule(_PartlyCompared, frozen=True):
    """A backup without which no desktop may lose a copy."""

    aside = frozenset({"at"})

    within: timedelta
    """How old it may be at most."""
    at: Position
    """Where that is demanded, in a manifest or in the policy."""


class DesiredPool(_PartlyCompared, frozen=True):
    """One pool entry of a manifest."""

    aside = frozenset({"owner", "permitted_at"})

    target: Target
    at: Position
    disks: tuple[DesiredDisk, ...]
    name: str = ""
    id: str = ""
    """Name, id or both; both must match the same live pool."""
    protect: tuple[str, ...] = ()
    """Ids of disks that are never removed, whatever other keys say."""
    apply_to: ApplyTo | None = None
    """None: not sent; the service decides, and the plan assumes every desktop."""
    allow_empty: bool = False
    allow_live_sessions: bool = False
    allow_count_mismatch: bool = False
    """True: desktops read may be others than the pool counts; all else is judged as ever."""
    on_tie: OnTie | None = None
    manage: frozenset[Action] = frozenset({Action.REMOVE})
    """Which of remove, expand and add are carried out; the others are shown as drift."""
    grace: timedelta = timedelta(0)
    """How long a disk must have been surplus, without interruption, before it goes; zero: not at all."""
    announce: str = ""
    """What the people of the pool read of a marked disk, with fields to fill in; empty: nothing."""
    backup: BackupRule | None = None
    """What backup each desktop must have before it loses a copy; None: no backup is asked for."""
    owner: str = ""
    """Who is told of this pool alone; it decides nothing, so two entries that differ in it alone are equal."""
    permitted_at: tuple[tuple[str, Position], ...] = ()
    """Where each key that permits something was set, in this entry or in ``defaults``; for people."""

    @property
    def label(self) -> str:
        """The pool's name in messages before its live pool is known."""
        return self.name or self.id


class Limit(Struct, frozen=True):
    """One limit on what a run may destroy, and where it was set."""

    value: int | None
    """None: no limit."""
    source: str = "default"
    """``default``, ``file:line:column`` or the name of the flag."""
    ceiling: bool = False
    """True: set by the policy, so that no manifest and no flag can raise it."""


SHARES = ("share_of_pool", "share_of_run")
"""The limits in percent; no run adds theirs to those of another."""


class Limits(Struct, frozen=True):
    """The limits of one run, counted over all its pools."""

    disks: Limit = field(default_factory=lambda: Limit(10))
    copies: Limit = field(default_factory=lambda: Limit(100))
    pools: Limit = field(default_factory=lambda: Limit(5))
    gigabytes: Limit = field(default_factory=lambda: Limit(None))
    users: Limit = field(default_factory=lambda: Limit(None))
    share_of_pool: Limit = field(default_factory=lambda: Limit(None))
    """Percent of its live disks that one pool may lose."""
    share_of_run: Limit = field(default_factory=lambda: Limit(None))
    """Percent of the live disks of all pools of the run that may go."""

    def items(self) -> Iterator[tuple[str, Limit]]:
        """Each name with its limit, in the order of plans."""
        for name in self.__struct_fields__:
            yield name, getattr(self, name)


class Window(Struct, frozen=True):
    """A period of the week in which unattended corrections may run."""

    days: tuple[str, ...]
    """``mon`` … ``sun``."""
    start: str
    """``HH:MM``, inclusive, in ``timezone``."""
    end: str
    """``HH:MM``, exclusive; earlier than ``start`` means past midnight."""
    timezone: str
    """IANA name."""
    at: Position


class DriftPolicy(Struct, frozen=True):
    """What ``drift --correct`` may do unattended; without a policy: nothing."""

    target: Target
    at: Position
    correct: frozenset[Action] = frozenset()
    disks_per_day: int = 0
    """Maximum number of disks removed by all runs of one UTC day, counted from the journal."""
    windows: tuple[Window, ...] = ()
    """Empty: corrections never run."""


class Grant(StrEnum):
    """What a policy can forbid: permissions of a manifest, and ways to act without a person."""

    ALLOW_EMPTY = "allow_empty"
    ALLOW_LIVE_SESSIONS = "allow_live_sessions"
    ON_TIE = "on_tie"
    REPLACE = "replace"
    REMEDIATION = "remediation"
    """``drift --correct`` and ``watch --correct``."""
    RETRY = "retry"
    """``retry``: having the service continue a job that ended in part."""


class Placed(NamedTuple):
    """One word of a policy, and where it stands."""

    value: str
    at: Position


class ApprovalRule(Struct, frozen=True):
    """How many people must have signed before a run may remove anything."""

    required: int
    """Distinct people, 1 or more."""
    signers: str
    """Path of the ``allowed_signers`` file, relative to the working folder or absolute."""
    max_age: timedelta | None
    """How long an approval counts; None: as long as it says itself."""
    at: Position


class Policy(Struct, frozen=True):
    """What manifests and flags cannot lift; meant to live where a pull request cannot change it."""

    file: str
    """The path as shown in messages."""
    digest: str
    """Hexadecimal sha256 of the file's content."""
    targets: tuple[Placed, ...] | None = None
    """``region/project_id`` of those that may be worked on; None: any."""
    ceilings: Limits = field(default_factory=lambda: Limits(*(Limit(None) for _ in Limits.__struct_fields__)))
    """The most that a manifest or a flag can allow."""
    forbid: tuple[Placed, ...] = ()
    """Values of ``Grant``."""
    require: tuple[Placed, ...] = ()
    """What must have been done before a removal, each as ``name: duration``."""
    grace: timedelta = timedelta(0)
    """The grace among these: the least that every pool has, whatever its manifest says."""
    announce: timedelta | None = None
    """How long before a removal the message about it must have been accepted; None: none is demanded."""
    backup: BackupRule | None = None
    """The backup among these."""
    windows: tuple[Window, ...] = ()
    """When an apply may begin; empty: at any time."""
    approvals: ApprovalRule | None = None
    protect_pools: tuple[Placed, ...] = ()
    """Patterns of shell characters: pools of such a name or id lose no disk."""
    protect_disks: tuple[Placed, ...] = ()

    def forbids(self, grant: Grant) -> Placed | None:
        """Where the policy forbids it, or None."""
        return next((each for each in self.forbid if each.value == grant.value), None)


class Selection(Struct, frozen=True):
    """Which of the declared pools a run is about, as ``--pool`` and ``--exclude`` name them."""

    pools: tuple[str, ...] = ()
    """Names, ids or shell patterns of them; empty: every pool."""
    exclude: tuple[str, ...] = ()
    """The same of pools that are left out, also of those named above."""
    left_out: int = 0
    """How many declared pools that leaves out."""


class Manifest(_PartlyCompared, frozen=True):
    """Everything that the given files declare."""

    aside = frozenset({"places", "seen", "notes"})

    pools: tuple[DesiredPool, ...]
    """Sorted by target, then label; without duplicates; those selected where only some are."""
    limits: Limits = field(default_factory=Limits)
    drift: tuple[DriftPolicy, ...] = ()
    """At most one per target."""
    sources: tuple[tuple[str, str], ...] = ()
    """``(path, sha256 of the content)`` of every file read, sorted by path."""
    places: tuple[tuple[Target, Position], ...] = ()
    """Where each target is declared first."""
    seen: tuple[tuple[str, str], ...] = ()
    """The same of every file that was looked at, also of those that are no manifests."""
    notes: tuple[str, ...] = ()
    """For people, one line each: how much was read and from where, and what was left out."""
    selection: Selection | None = None
    """What ``pools`` was narrowed by; None: these are all declared pools."""
    others: tuple[DesiredPool, ...] = ()
    """The declared pools that were not selected: managed all the same, and none of them may be declared twice."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """The distinct targets, sorted."""
        return tuple(sorted({pool.target for pool in self.pools}))

    def place(self, target: Target) -> str:
        """Where a target is declared, as ``file:line:column``; without that, as in a saved plan, its first pool."""
        pools = ((pool.target, pool.at) for pool in self.pools)
        return next((str(at) for each, at in (*self.places, *pools) if each == target), "")
