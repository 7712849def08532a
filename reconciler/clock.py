"""The clock of the program; tests and the simulation pass a different one.

Callers decide what to time, and for how long to wait.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The only source of time below ``cli``."""

    def now(self) -> datetime:
        """The current time, timezone-aware UTC."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes backwards, for deadlines."""

    async def sleep(self, seconds: float) -> None:
        """Wait for this many seconds; returns at once for zero or less."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The current time, timezone-aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of a clock that never goes backwards, for deadlines."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for this many seconds; returns at once for zero or less."""
        import asyncio  # noqa: PLC0415 - the help of a command waits for nothing

        await asyncio.sleep(max(seconds, 0.0))


CLOCK: ContextVar[Clock] = ContextVar("clock", default=SystemClock())  # noqa: B039 - it holds no state
"""The clock of a command line; who calls ``reconciler.cli.main.run`` may set another."""
