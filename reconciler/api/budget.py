"""Owns request budgets: one per API, so that many tasks together stay below what the service allows."""

from __future__ import annotations

from collections import defaultdict

from aiolimiter import AsyncLimiter

from reconciler.clock import Clock

READS_A_MINUTE = 200
WRITES_A_MINUTE = 100
"""Documented for neighbouring calls, per user and API; assumed for these (inferred)."""


class Budgets:
    """One limiter per API; a 429 pauses that API for everybody."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reads: dict[str, AsyncLimiter] = defaultdict(lambda: _limiter(READS_A_MINUTE))
        self._writes: dict[str, AsyncLimiter] = defaultdict(lambda: _limiter(WRITES_A_MINUTE))
        self._paused_until: dict[str, float] = {}

    async def read(self, api: str) -> None:
        """Wait for a place among the reads of ``api``."""
        await self._reads[api].acquire()
        await self._pause(api)

    async def write(self, api: str) -> None:
        """Wait for a place among the writes of ``api``."""
        await self._writes[api].acquire()
        await self._pause(api)

    def pause(self, api: str, seconds: float) -> None:
        """Let nobody call ``api`` for so many seconds: the service has said 429."""
        until = self._clock.monotonic() + seconds
        self._paused_until[api] = max(until, self._paused_until.get(api, until))

    async def _pause(self, api: str) -> None:
        while (left := self._paused_until.get(api, 0.0) - self._clock.monotonic()) > 0:
            # A fraction too small to move the clock would be waited for again and again.
            await self._clock.sleep(max(left, 0.01))


def _limiter(a_minute: int) -> AsyncLimiter:
    """A leaky bucket of half the size that drains in a minute.

    A full bucket and what drains meanwhile pass within the same minute; only halves keep the sum within
    the documented number.
    """
    return AsyncLimiter(a_minute / 2, 60)
