"""The error tree and the exit codes; every error that a user can see is one of these classes.

``manifest``, ``api`` and ``journal`` translate exceptions of libraries into this tree; ``cli`` prints them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from reconciler.values import Struct


class ExitCode(IntEnum):
    """Exit codes of the process; the README has the same table."""

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
    """Base class: one sentence about what happened and one about what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.ERROR

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        """What happened; a full stop at the end is optional."""
        self.hint = hint
        """What the user can do about it; empty if the message already says so."""


class ServiceError(ReconcilerError):
    """The service or the connection to it failed; has the HTTP status, the service's code and the request id."""

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
        """HTTP status; None if no answer arrived."""
        self.code = code
        """The service's own code, such as ``WKS.00010032``; empty if it sent none."""
        self.request_id = request_id
        """The service's request id, for a support ticket; empty if it sent none."""


class CredentialsError(ServiceError):
    """There are no credentials, or the service does not accept them."""


class PermissionDenied(ServiceError):
    """The credentials are valid but lack the permission for this call."""


class PoolNotFound(ServiceError):
    """The project has no desktop pool with this id."""


class ReadingDoubtful(ServiceError):
    """The live state could not be read completely, so nothing of it is used."""


class Refused(ReconcilerError):
    """A guard blocked the plan, or a person did not approve it."""

    exit_code = ExitCode.REFUSED


class StalePlan(ReconcilerError):
    """The plan that was approved is not the plan that would be carried out now."""

    exit_code = ExitCode.STALE


class PoolHeld(ReconcilerError):
    """Another run has an unresolved operation on this pool."""

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


class Fault(Struct, frozen=True, order=True):
    """One fault in the input, with its position."""

    file: str
    """Path as the user gave it, or ``<flags>`` / ``<environment>``."""
    line: int
    """1-based line; 0 if the fault concerns the whole file."""
    column: int
    """1-based column in characters; 0 if the fault concerns the whole file."""
    what: str
    """What is wrong, and what to write instead."""

    @property
    def place(self) -> str:
        """``file:line:column``, or the file alone."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


class BadInput(ReconcilerError):
    """Manifests, flags or settings are wrong; has every fault found in one run."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, message: str, hint: str = "", faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message, hint)
        self.faults = tuple(sorted(faults))
        """All faults of all files, sorted by position."""
