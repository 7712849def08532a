"""A notification for people and programs; ``notify`` sends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """Title and text for people, and JSON values for programs."""

    title: str
    text: str
    values: Mapping[str, Any]
