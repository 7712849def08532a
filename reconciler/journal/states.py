"""What an operation does, how far it has come and what became of its call.

Apart from ``records``, since whoever only reads pools needs no more of the journal than these words.
"""

from __future__ import annotations

from enum import StrEnum

from reconciler.values import Struct


class Step(StrEnum):
    """What one operation does to a pool."""

    EXPAND = "expand"
    REMOVE = "remove"
    ADD = "add"
    RETRY = "retry"
    """Lets the service finish a removal that was done in part: its disks are those of the copies that are left.

    The budgets of a day do not count it: they have counted these disks when they were removed.
    """


class State(StrEnum):
    """How far an operation has come."""

    INTENDED = "intended"
    """Recorded; after a crash it may or may not have been sent, so treat it as UNKNOWN."""
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"
    REJECTED = "rejected"
    DONE = "done"
    FAILED = "failed"
    PARTIAL = "partial"
    NOT_ACCEPTED = "not_accepted"
    """Resolved: the request never took effect and can no longer arrive."""


OUTCOMES = frozenset({State.ACCEPTED, State.UNKNOWN, State.NOT_SENT, State.REJECTED})
"""The outcomes of a call."""
NOT_APPLIED = frozenset({State.NOT_SENT, State.REJECTED, State.NOT_ACCEPTED})
"""Final states in which nothing was changed."""
FINAL = NOT_APPLIED | {State.DONE, State.FAILED, State.PARTIAL}
"""The states in which an operation can be closed."""
NOT_DONE = frozenset(State) - NOT_APPLIED - {State.DONE}
"""States in which something was or may have been changed, and which are not a success."""


class Outcome(Struct, frozen=True):
    """How one write ended, with the service's answer."""

    state: State
    """One of ``OUTCOMES``."""
    job_id: str = ""
    request_id: str = ""
    status: int | None = None
    """HTTP status; None when no answer arrived."""
    code: str = ""
    """The service's error code; empty when it gave none."""
    message: str = ""
    retry_after: float | None = None
    """Seconds the service asks to wait; None when it does not say. Used only at once, so not stored."""
