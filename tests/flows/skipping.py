"""Time that is skipped where the command line only waits; sandboxes of this process skip it as well."""

from __future__ import annotations

import asyncio
import heapq
import time
from datetime import UTC, datetime, timedelta

GLANCE = 0.01
"""Real seconds for which every wait leaves the processor to others: to a sandbox that has to answer, for one."""


class SkippingClock:
    """The machine's clock, put forward to the end of the nearest wait as soon as somebody waits.

    How fast the machine is makes no difference to what a run sees: its time passes by waiting, hardly by working.
    """

    def __init__(self, ahead: float = 0.0) -> None:
        self.skipped = ahead
        """Seconds by which this clock is ahead of the machine's."""
        self._due: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.skipped)

    def time(self) -> float:
        """Seconds since 1970, as sandboxes ask for them."""
        return time.time() + self.skipped

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        due = self.monotonic() + seconds
        heapq.heappush(self._due, due)
        try:
            while (left := due - self.monotonic()) > 0:
                await asyncio.sleep(min(GLANCE, left))
                if due == self._due[0]:  # who wakes later must not be made to miss anything
                    self.skipped += max(due - self.monotonic(), 0.0)
        finally:
            self._due.remove(due)
            heapq.heapify(self._due)

    def reset(self) -> None:
        """Go back to the machine's time."""
        assert not self._due
        self.skipped = 0.0


TIME = SkippingClock()
"""Shared by all that runs in this process, so that a job ends when the one who waits for it thinks so too."""
