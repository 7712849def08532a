"""What a run says of its progress while it works, for whoever shows it; nothing is ever decided by it.

Showing it is left to ``cli``.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from reconciler.planning.plan import PoolPlan
from reconciler.values import Struct


class Phase(StrEnum):
    """How far a pool is; the words are those of a terminal."""

    CHECKING = "checking"
    WAITING = "waiting"
    SENDING = "sending"
    JOB = "job runs"
    PROVING = "proving"
    ENDED = "ended"


class Share(Struct, frozen=True):
    """What a run is to do in one pool."""

    pool_id: str
    pool: str
    disks: int
    """Changes of disks."""
    desktops: int
    """Desktops that these reach, as far as the plan knows."""


class RunBegan(Struct, frozen=True):
    """The approved pools are carried out from now on."""

    shares: tuple[Share, ...]


class PoolMoved(Struct, frozen=True):
    """A pool has come to a phase."""

    pool_id: str
    pool: str
    phase: Phase
    words: str = ""
    """The same for a log that is read later; empty where that would be a line too much."""
    until: datetime | None = None
    """When this ends at the latest."""
    job_id: str = ""
    """The job that is followed."""
    good: bool = True
    """False: it ended, and not well."""
    done: int = 0
    """Changes of disks that are proven, once it has ended."""

    @property
    def ended(self) -> bool:
        """Whether this run does nothing more in the pool."""
        return self.phase is Phase.ENDED


Event = RunBegan | PoolMoved


def share_of(pool: PoolPlan) -> Share:
    """What there is to do in a planned pool."""
    live = pool.live
    named = {each.desktop_id for loss in pool.disk_losses for each in loss.lost}
    desktops = len(named) or (live.desktop_count or 0 if live else 0)
    return Share(live.id if live else "", pool.label, len(pool.pending), desktops)
