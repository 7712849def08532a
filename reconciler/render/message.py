"""A message for people and programs elsewhere; where it goes is left to ``notify``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a sentence for people, and JSON values for programs."""

    title: str
    text: str
    values: Mapping[str, Any]
