"""Computes the checksums of a row of the operations table: one of its intent, one of what followed.

Comparing them is left to ``rows``, writing them to ``fence`` and ``schema``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

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
_ENCODE_QUICKLY = msgspec.json.Encoder().encode


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
    values = [
        value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
        for value in map(row.get, columns)
    ]
    return hashlib.sha256(_encoded(values)).hexdigest()


def _encoded(values: list[Any]) -> bytes:
    """The values as JSON, the same before writing and after reading."""
    try:
        # A row is summed at each look at its pool. Without escapes it is what the json module writes, but for bytes,
        # which are no JSON, and for infinite numbers, which must not count as NULL.
        quick = _ENCODE_QUICKLY(values)
        plain = quick.isascii() and b"\\u" not in quick and b"\x7f" not in quick
        if plain and quick.count(b"null") == values.count(None) and bytes not in map(type, values):
            return quick
    except (UnicodeEncodeError, TypeError):  # a lone surrogate, or a type of text of its own
        pass
    stored = [storable(value) if isinstance(value, str) else value for value in values]
    return _ENCODE(stored).encode("ascii")
