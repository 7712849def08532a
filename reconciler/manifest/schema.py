"""Defines the manifest format, version 1: its keys, their types, bounds and meaning.

``rules`` checks between keys, entries and files; ``wording`` writes the messages about faults.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from reconciler.manifest.scalars import duration
from reconciler.model import MAX_DISK_GB, MAX_POOL_DISKS
from reconciler.settings import REGION

MIN_SIZE: Final = 10
"""GB; the smallest data disk (documented)."""
SIZE_STEP: Final = 10
"""GB; every size is a multiple of this (documented)."""
LONGEST_MESSAGE: Final = 500
"""Characters of the text of a message; the service's own bound is not documented."""
LONGEST_GRACE: Final = timedelta(days=365)
"""A longer grace is a slip of the pen: nobody waits for it, and nothing would ever go."""


def _bounded(text: str) -> str:
    if duration(text) > LONGEST_GRACE:
        raise ValueError("longer than 365 days")
    return text


Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=255)]
Identifier: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,255}$")]
TimeOfDay: TypeAlias = Annotated[str, Field(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$")]
Ceiling: TypeAlias = Annotated[int, Field(ge=0)]
Share: TypeAlias = Annotated[str, Field(pattern=r"^(?:100|[1-9]?[0-9])%$")]
"""Percent, written with the sign: ``50%``."""
Grace: TypeAlias = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,7}[smhd]$"), AfterValidator(_bounded)]
"""``90s``, ``15m``, ``24h`` or ``7d``, at most 365 days."""
Owner: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=63)]
"""So narrow that each owner has a variable of its own (``settings.owner_variable``): no two share one."""
Reach: TypeAlias = Literal["new", "idle", "all"]
Tie: TypeAlias = Literal["remove_newest", "remove_oldest"]
ManagedAction: TypeAlias = Literal["remove", "expand", "add"]
Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_REACH: Final = (
    "Which desktops a change reaches: new (only desktops created later), idle (those and the idle ones) or "
    "all. Left out, the service decides and the plan assumes every desktop."
)
_TIE: Final = (
    "Which disk to remove when several would do equally well. Left out, reconciler does not choose and the "
    "pool is blocked."
)
_MANAGE: Final = "Which changes are carried out; the others are only shown. Left out: [remove]."
_COUNT: Final = (
    "true allows removing disks although the service counts other desktops in the pool than it lists. "
    "Left out: false."
)
_GRACE: Final = (
    "How long a disk must have been surplus, without interruption, before it is removed, such as 7d (s, m, h, d). "
    "Left out: it is removed at once."
)
_ANNOUNCE: Final = (
    "Message to the people of the pool when a disk is marked, and again a day before it goes. "
    "Left out: none is sent."
)
_BACKUP: Final = (
    "The backup that each desktop must have in the backup service (CBR) before it loses a copy. "
    "Left out: none is needed."
)
_OWNER: Final = (
    "Who hears of this pool alone: owner finance hears at the webhook in RECONCILER_WEBHOOK_FINANCE. "
    "Lower case letters, digits and '-'. Left out: only the webhook for everything hears of it."
)
_LIVE: Final = "true allows removing disks from desktops with a connected session. Left out: false."


class Entry(BaseModel):
    """Base of all parts of a manifest: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class TargetEntry(Entry):
    """The project that the document manages; must be the project of the credentials."""

    region: str = Field(
        pattern=rf"^{REGION.pattern}$",
        max_length=64,
        description="Region id, such as ap-southeast-3.",
    )
    project_id: str = Field(pattern=r"^[0-9a-f]{32}$", description="Project id: 32 hexadecimal characters.")
    profile: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="Section of the credentials file to use. Left out, the default credentials.",
    )


class AnnounceEntry(Entry):
    """A message of the service to the people of a pool about a disk that waits for the end of its grace."""

    text: str = Field(
        min_length=1,
        max_length=LONGEST_MESSAGE,
        description="The text; {disk}, {size}, {date} and {pool} are filled in.",
    )


class BackupEntry(Entry):
    """The backup without which no desktop loses a copy."""

    within: Grace = Field(description="How old it may be at most, such as 24h (s, m, h, d).")


class DefaultsEntry(Entry):
    """Values for every pool of this document that does not set its own."""

    apply_to: Reach | None = Field(default=None, description=_REACH)
    on_tie: Tie | None = Field(default=None, description=_TIE)
    manage: list[ManagedAction] | None = Field(default=None, description=_MANAGE)
    grace: Grace | None = Field(default=None, description=_GRACE)
    announce: AnnounceEntry | None = Field(default=None, description=_ANNOUNCE)
    backup: BackupEntry | None = Field(default=None, description=_BACKUP)
    allow_live_sessions: bool | None = Field(default=None, description=_LIVE)
    owner: Owner | None = Field(default=None, description=_OWNER)


class LimitsEntry(Entry):
    """The most that one run may destroy, counted over all its pools."""

    disks: Ceiling | None = Field(default=None, description="Disks removed per run. Left out: 10.")
    copies: Ceiling | None = Field(
        default=None, description="Copies destroyed per run: disks × desktops. Left out: 100."
    )
    pools: Ceiling | None = Field(default=None, description="Pools that lose a disk per run. Left out: 5.")
    gigabytes: Ceiling | None = Field(default=None, description="GB destroyed per run. Left out: no limit.")
    users: Ceiling | None = Field(
        default=None, description="Users who lose data per run. Left out: no limit."
    )
    share_of_pool: Share | None = Field(
        default=None,
        description="Disks that one pool loses, in percent of its live disks, such as 50%. Left out: no limit.",
    )
    share_of_run: Share | None = Field(
        default=None,
        description="Disks removed per run, in percent of the live disks of its pools. Left out: no limit.",
    )


class DiskEntry(Entry):
    """A data disk that every desktop of the pool should have."""

    type: str = Field(
        pattern=r"^[A-Za-z0-9_.-]{1,255}$", description="Volume type as the service spells it: SAS, SSD, …"
    )
    size: int = Field(ge=MIN_SIZE, le=MAX_DISK_GB, multiple_of=SIZE_STEP, description="GB; a multiple of 10.")
    count: int = Field(default=1, ge=1, le=MAX_POOL_DISKS, description="Number of such disks. Left out: 1.")
    id: Identifier | None = Field(default=None, description="Pins this entry to one live disk.")
    iops: int | None = Field(default=None, ge=1, le=16380000, description="IOPS. Left out: not compared.")
    throughput: int | None = Field(
        default=None, ge=1, le=4095000, description="MiB/s. Left out: not compared."
    )
    kms_id: Identifier | None = Field(
        default=None, description="Id of the key that encrypts the disk. Left out: not compared."
    )
    replace: bool = Field(
        default=False,
        description="true allows destroying a live disk, with its data, to create this one.",
    )


class PoolEntry(Entry):
    """A desktop pool and the data disks it should have."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["name"]}, {"required": ["id"]}]})

    name: Text | None = Field(
        default=None, description="The pool's name. With id, both must match the same pool."
    )
    id: Identifier | None = Field(default=None, description="The pool's id.")
    disks: list[DiskEntry] = Field(
        max_length=MAX_POOL_DISKS,
        description="All data disks of the pool, in any order. [] needs allow_empty: true.",
    )
    protect: list[Identifier] = Field(
        default=[], description="Ids of disks that are never removed, whatever other keys say."
    )
    apply_to: Reach | None = Field(default=None, description=_REACH)
    allow_empty: bool = Field(default=False, description="true allows disks: [] (no data disks).")
    allow_live_sessions: bool | None = Field(default=None, description=_LIVE)
    allow_count_mismatch: bool = Field(default=False, description=_COUNT)
    on_tie: Tie | None = Field(default=None, description=_TIE)
    manage: list[ManagedAction] | None = Field(default=None, description=_MANAGE)
    grace: Grace | None = Field(default=None, description=_GRACE)
    announce: AnnounceEntry | None = Field(default=None, description=_ANNOUNCE)
    backup: BackupEntry | None = Field(default=None, description=_BACKUP)
    owner: Owner | None = Field(default=None, description=_OWNER)


class WindowEntry(Entry):
    """A period of the week in which drift may be corrected unattended."""

    days: list[Day] = Field(min_length=1, description="Days on which the window starts.")
    start: TimeOfDay = Field(description='"HH:MM", inclusive.')
    end: TimeOfDay = Field(description='"HH:MM", exclusive; earlier than start means the next day.')
    timezone: Text = Field(description="IANA name, such as Asia/Bangkok.")


class DriftEntry(Entry):
    """What a scheduled run may correct unattended. Left out: nothing."""

    correct: list[ManagedAction] = Field(description="Changes that may be corrected.")
    disks_per_day: Ceiling = Field(
        default=0, description="Disks removed over all runs of one UTC day. Left out: 0."
    )
    windows: list[WindowEntry] = Field(default=[], description="When corrections may run. Left out: never.")


class DocumentEntry(Entry):
    """The desired data disks of the desktop pools of one project."""

    # Not Literal[1], which accepts true.
    version: int = Field(ge=1, le=1, description="Version of the manifest format: 1.")
    target: TargetEntry
    defaults: DefaultsEntry = DefaultsEntry.model_construct()
    limits: LimitsEntry = LimitsEntry.model_construct()
    pools: list[PoolEntry] = Field(
        default=[], description="The pools to manage. A pool that is not listed is never touched."
    )
    drift: DriftEntry | None = None


class _ForEditors(GenerateJsonSchema):
    """Leaves out null, which the reader refuses, and titles, which only repeat the keys."""

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        if schema.get("default") in (None, "", []) or isinstance(schema["default"], BaseModel):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the signature is pydantic's
        return False


def json_schema(
    document: type[Entry] = DocumentEntry, title: str = "reconciler manifest, version 1"
) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one document, for editors."""
    schema = document.model_json_schema(schema_generator=_ForEditors)
    for part in schema["$defs"].values():
        del part["title"]
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": title}
