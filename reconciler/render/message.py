"""A notification for people and programs; ``notify`` sends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from reconciler.values import Struct, field


class Level(StrEnum):
    """How bad it is, best first, by the words of apprise: ``worst_of`` depends on this order."""

    SUCCESS = "success"
    INFO = "info"
    WARNING = "warning"
    FAILURE = "failure"


class Message(Struct, frozen=True):
    """Title and text for people, the same as Markdown, and JSON values for programs."""

    title: str
    text: str
    markdown: str
    values: Mapping[str, Any]
    level: Level = Level.INFO


Compose = Callable[[str], Message | None]
"""Makes the message for an owner of pools, or for everybody (empty); None: it has nothing to say to them."""
EVERYBODY = ""
"""The owner of webhooks that hear of everything."""


class Deliveries(Struct):
    """What became of the messages of this process so far."""

    delivered: int = 0
    failed: int = 0
    """Given up after the last try."""
    dropped: int = 0
    """Never tried, because too many waited."""
    failing: set[str] = field(default_factory=set)
    """Webhooks that did not take the last message to them, by a name that tells nothing of the address."""
