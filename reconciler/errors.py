"""Owns the error tree and the exit codes; every refusal the user can meet is one of these classes.

Rendering is left to ``reconciler.cli``; foreign exceptions are translated into this tree at the
door where they enter (``manifest``, ``api``, ``journal``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a process of this tool tells its caller; the README lists the same table."""

    DONE = 0
    ERROR = 1
    CHANGES = 2
    REFUSED = 3
    STALE = 4
    HELD = 5
    JOB_FAILED = 6
    UNKNOWN = 7
    RUNNING = 8
    BAD_INPUT = 9
    JOURNAL = 10
    INTERRUPTED = 130
    TERMINATED = 143


class ReconcilerError(Exception):
    """Base of the tree: one sentence on what happened, and one on what to do about it."""

    exit_code: ClassVar[ExitCode] = ExitCode.ERROR

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        """What happened, without a trailing full stop being required."""
        self.hint = hint
        """What the reader can do about it; empty when the message already says so."""


class ServiceError(ReconcilerError):
    """The service, or the way to it, failed; carries HTTP status, service code and request id."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        status: int | None = None,
        code: str = "",
        request_id: str = "",
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        """HTTP status, or None when no answer arrived."""
        self.code = code
        """The service's own code, such as ``WKS.00010032``; empty when it gave none."""
        self.request_id = request_id
        """The service's request id, for a support ticket; empty when it gave none."""


class CredentialsError(ServiceError):
    """The service does not accept these credentials, or there are none."""


class PermissionDenied(ServiceError):
    """The credentials are good but lack the permission for this call."""


class PoolNotFound(ServiceError):
    """The project has no desktop pool with this id."""


class ReadingDoubtful(ServiceError):
    """A reading of the live state was not complete and so counts as no reading at all."""


class Refused(ReconcilerError):
    """A guard or the person said no."""

    exit_code = ExitCode.REFUSED


class StalePlan(ReconcilerError):
    """What was approved is no longer what would be done."""

    exit_code = ExitCode.STALE


class PoolHeld(ReconcilerError):
    """Another run has an unresolved operation on the pool."""

    exit_code = ExitCode.HELD


class JournalError(ReconcilerError):
    """The journal cannot be opened, read or written; nothing is sent without it."""

    exit_code = ExitCode.JOURNAL


class Interrupted(ReconcilerError):
    """SIGINT stopped the run."""

    exit_code = ExitCode.INTERRUPTED


class Terminated(Interrupted):
    """SIGTERM stopped the run."""

    exit_code = ExitCode.TERMINATED


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault of the input, at a place a person can open."""

    file: str
    """Path as the user gave it, or ``<flags>`` / ``<environment>``."""
    line: int
    """1-based line; 0 when the fault is the file as a whole."""
    column: int
    """1-based column in characters; 0 when the fault is the file as a whole."""
    what: str
    """What is wrong, and what to write instead."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.what}"


class BadInput(ReconcilerError):
    """Manifests, flags or settings are wrong; carries every fault found in one run."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, message: str, hint: str = "", faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message, hint)
        self.faults = tuple(sorted(faults))
        """All faults of all files, sorted by place."""
