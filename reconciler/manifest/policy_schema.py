"""Defines the format of a policy file, version 1: its keys, their types, bounds and meaning.

``policy`` reads the file and checks between keys; what a policy does is left to ``planning.policy``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from reconciler.manifest.scalars import duration
from reconciler.manifest.schema import (
    LONGEST_GRACE,
    Ceiling,
    Entry,
    Grace,
    Identifier,
    Share,
    Text,
    WindowEntry,
    json_schema,
)
from reconciler.manifest.wording import CEILING, GRACE, SHARE, WINDOW, Vocabulary

_LENGTH: Final = r"^[1-9][0-9]{0,5}[smhd]$"
Duration: TypeAlias = Annotated[str, Field(pattern=_LENGTH)]
"""``90s``, ``15m``, ``24h`` or ``3d``."""


def _notified(value: object) -> object:
    if value is True or (
        isinstance(value, str) and re.fullmatch(_LENGTH, value) and duration(value) <= LONGEST_GRACE
    ):
        return value
    raise ValueError("neither true nor a duration of at most 365 days")


Notified: TypeAlias = Annotated[
    Any,
    PlainValidator(_notified),
    WithJsonSchema({"anyOf": [{"const": True}, {"type": "string", "pattern": _LENGTH}]}),
]
"""``true``, or ``24h``."""
TargetName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(?:-[a-z0-9]+)*/[0-9a-f]{32}$")]
"""``region/project_id``."""
Forbidden: TypeAlias = Literal[
    "allow_empty", "allow_live_sessions", "on_tie", "replace", "remediation", "retry"
]


class CeilingsEntry(Entry):
    """The most that the limits of manifests and flags can allow. Left out: as those say."""

    disks: Ceiling | None = Field(default=None, description="Disks removed per run.")
    copies: Ceiling | None = Field(default=None, description="Copies destroyed per run: disks × desktops.")
    pools: Ceiling | None = Field(default=None, description="Pools that lose a disk per run.")
    gigabytes: Ceiling | None = Field(default=None, description="GB destroyed per run.")
    users: Ceiling | None = Field(default=None, description="Users who lose data per run.")
    share_of_pool: Share | None = Field(
        default=None, description="Disks that one pool loses, in percent of its live disks, such as 50%."
    )
    share_of_run: Share | None = Field(
        default=None, description="Disks removed per run, in percent of the live disks of its pools."
    )


class RequireEntry(Entry):
    """What must have been done before a removal."""

    grace: Grace | None = Field(
        default=None,
        description="The least grace of every pool, such as 3d; a longer one of a manifest holds.",
    )
    backup: Grace | None = Field(
        default=None,
        description="How old the backup of each desktop may be that loses a copy, such as 24h; a shorter time of a "
        "manifest holds.",
    )
    announce: Notified | None = Field(
        default=None,
        description="true: nothing is removed before the service has accepted the message about it (announce in a "
        "manifest); a duration, such as 24h: accepted so long before.",
    )


class ApprovalsEntry(Entry):
    """Signed approvals without which a run removes nothing."""

    required: int = Field(ge=1, le=100, description="How many people must have signed.")
    signers: Text = Field(
        description="allowed_signers file with the people and their keys; relative to the policy file."
    )
    max_age: Duration | None = Field(
        default=None, description="How long an approval counts. Left out: as long as it says itself."
    )


class ProtectEntry(Entry):
    """What is never removed."""

    pools: list[Text] = Field(
        default=[], description="Names or ids of pools that lose no disk; *, ? and […] stand for others."
    )
    disks: list[Identifier] = Field(default=[], description="Ids of disks that are never removed.")


class PolicyEntry(Entry):
    """What no manifest and no flag can lift; meant to live where a pull request cannot change it."""

    version: int = Field(ge=1, le=1, description="Version of the policy format: 1.")
    targets: list[TargetName] | None = Field(
        default=None,
        min_length=1,
        description="The targets that may be worked on, as region/project_id. Left out: any.",
    )
    ceilings: CeilingsEntry = CeilingsEntry.model_construct()
    forbid: list[Forbidden] = Field(default=[], description="Permissions that a manifest must not give.")
    require: RequireEntry = RequireEntry.model_construct()
    windows: list[WindowEntry] | None = Field(
        default=None, min_length=1, description="When an apply may begin. Left out: at any time."
    )
    approvals: ApprovalsEntry | None = None
    protect: ProtectEntry = ProtectEntry.model_construct()


def policy_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a policy file, for editors."""
    return json_schema(PolicyEntry, "reconciler policy, version 1")


_DURATION: Final = "write a number with s, m, h or d, such as 24h"
_WINDOWS: Final = "write a list such as [{days: [tue], start: '20:00', end: '23:00', timezone: Asia/Bangkok}]"

POLICY: Final = Vocabulary(
    places={
        (): (PolicyEntry, "at the top of the document"),
        ("ceilings",): (CeilingsEntry, "under ceilings"),
        ("require",): (RequireEntry, "under require"),
        ("windows",): (WindowEntry, "in a window"),
        ("approvals",): (ApprovalsEntry, "under approvals"),
        ("protect",): (ProtectEntry, "under protect"),
    },
    advice={
        "version": "write version: 1",
        "targets": "write a list such as [ap-southeast-3/0123456789abcdef0123456789abcdef]",
        "targets entry": "write the region and the project's id, such as "
        "ap-southeast-3/0123456789abcdef0123456789abcdef",
        "ceilings": "write a mapping such as {disks: 20, share_of_pool: 50%}",
        **{f"ceilings.{name}": CEILING for name in ("disks", "copies", "pools", "gigabytes", "users")},
        "share_of_pool": SHARE,
        "share_of_run": SHARE,
        "forbid": "write a list such as [allow_empty, on_tie]",
        "forbid entry": "write allow_empty, allow_live_sessions, on_tie, replace, remediation or retry",
        "require": "write a mapping such as {grace: 3d, backup: 24h}",
        "grace": GRACE,
        "backup": GRACE,
        "announce": "write true, or how long before a removal, from 1s to 365d, such as 24h",
        "windows": _WINDOWS,
        **WINDOW,
        "approvals": "write a mapping such as {required: 2, signers: allowed_signers, max_age: 24h}",
        "required": "write how many people must sign: 1 to 100",
        "signers": "write the path of an allowed_signers file, relative to this file",
        "max_age": _DURATION,
        "protect": "write a mapping such as {pools: ['finance-*'], disks: [305d3c76-199f-4407-8d82-2a42d970595e]}",
        "pools": "write a list of names, such as ['finance-*']",
        "pools entry": "write a pool's name or id in quotes: 1 to 255 characters",
        "disks": "write a list of disk ids, such as [305d3c76-199f-4407-8d82-2a42d970595e]",
        "disks entry": "write a disk's id: letters, digits, '.', '_' and '-'",
    },
    kind="a policy",
    root="write a mapping with version: 1 and what it demands",
)
"""The words of a policy."""
