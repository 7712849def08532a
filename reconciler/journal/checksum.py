"""Computes the checksums of a row of the operations table: one of its intent, one of what followed.

Comparing them is left to ``rows``, writing them to ``fence`` and ``schema``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

INTENT = (
    "id",
    "run_id",
    "target",
    "service",
    "pool_id",
    "pool_name",
    "step",
    "handle_type",
    "disks",
    "disk_count",
    "keep",
    "baseline_jobs",
    "generation",
    "signed_at",
    "not_after",
    "plan_digest",
    "opened",
    "copies",
)
"""The columns that are written once."""
STATE = (
    "id",  # without it the states of two rows could be exchanged unnoticed
    "state",
    "outcome",
    "job_id",
    "request_id",
    "status",
    "code",
    "message",
    "owner",
    "lease_until",
    "closed",
    "verdict",
    "closed_by",
)
"""The columns that change with what happens."""


_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


def intent_sum(row: Mapping[str, Any]) -> str:
    """The checksum of what is written once; values as given to the database, or as they come back from it."""
    return _sum(row, INTENT)


def state_sum(row: Mapping[str, Any]) -> str:
    """The checksum of what changes; a column that is not in the mapping counts as NULL."""
    return _sum(row, STATE)


def storable(value: str) -> str:
    """The text as it comes back from the database."""
    if value.isascii() and "\0" not in value:
        return value
    return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _sum(row: Mapping[str, Any], columns: tuple[str, ...]) -> str:
    # A list, not an object: names of columns may change in a later version, their order here may not.
    text = _ENCODE([_plain(row.get(name)) for name in columns])
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    """The value as JSON has it, the same before writing and after reading."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat()
        case str():
            return storable(value)
        case _:
            return value
