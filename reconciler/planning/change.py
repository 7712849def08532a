"""What happens to the disks of a pool, as values: changes and ties.

Choosing is left to ``matching``, what a change destroys to ``draft``, whether it may happen to ``guards``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from reconciler.model import Action, DesiredDisk, Disk, Notice
from reconciler.values import Struct

DESTROYING = frozenset({Action.REMOVE, Action.REPLACE})


class Rule(StrEnum):
    """Why a disk gets its action."""

    PINNED = "pinned"
    EQUAL = "equal"
    GROWN = "grown"
    SWAPPED = "swapped"
    SURPLUS = "surplus"
    MISSING = "missing"
    SET_ASIDE = "set-aside"
    """A live disk that cannot be trusted and therefore is neither matched nor changed."""
    LEFT_BEHIND = "left-behind"
    """A disk of which a removal, done only in part, has left copies."""


class Waits(Struct, frozen=True):
    """Why a removal is only marked: its grace has not ended."""

    grace: timedelta
    since: datetime | None = None
    """Since when the disk is surplus; None: no run has marked it in a journal yet."""
    due: datetime | None = None
    """From when on it goes; None while it is not marked."""
    extended_by: str = ""
    """Who let it wait longer than its grace; empty when nobody did."""


class Heard(StrEnum):
    """What became of one message to the people of a pool."""

    ACCEPTED = "accepted"
    """The service took it; on which desktops it was shown is not known."""
    REFUSED = "refused"
    """Nobody got it: it was never sent, or the service rejected it."""
    UNKNOWN = "unknown"
    """Nobody knows whether it arrived, so it is not repeated."""


class Told(Struct, frozen=True):
    """One message to the people of a pool about one of its disks."""

    notice: Notice
    heard: Heard
    at: datetime
    """When it was sent, by the journal's clock."""
    due: datetime
    """The time that it named."""
    why: str = ""
    """The answer, where it was not accepted."""


class Change(Struct, frozen=True):
    """What happens to one disk of a pool, and why."""

    action: Action
    rule: Rule
    desired: DesiredDisk | None = None
    live: Disk | None = None
    differs: tuple[str, ...] = ()
    """Declared attributes that differ while type and size fit; shown, never corrected by removal."""
    carried_out: bool = False
    """False: drift that is shown but that ``manage`` does not include, or a removal that waits."""
    waits: Waits | None = None
    """Set when the removal is only marked, because it is not due yet."""
    told: tuple[Told, ...] = ()
    """The messages about this disk since it was marked, oldest first."""
    heard_for: timedelta | None = None
    """For how long its people can have known, since the first message that was accepted; None: not at all."""

    @property
    def destroys(self) -> bool:
        """True when applying this change destroys data."""
        return self.carried_out and self.action in DESTROYING


class Tie(Struct, frozen=True):
    """Equally good disks of which some must go, and nothing says which."""

    remove: int
    """How many of the candidates must go."""
    candidates: tuple[Disk, ...]
    desired: tuple[DesiredDisk, ...] = ()
    """The entries they compete for."""


def is_carried_out(action: Action, manage: frozenset[Action]) -> bool:
    """Whether a pool that manages these actions has this one carried out."""
    if action is Action.REPLACE:  # remove, then add: both must be managed
        return Action.REMOVE in manage and Action.ADD in manage
    return action in manage
