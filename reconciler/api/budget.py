"""Request budgets, one per API, that keep all tasks together below the service's rate limits.

``retry`` decides how long to wait after a 429; the pause itself happens here, for every caller.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from aiolimiter import AsyncLimiter

from reconciler.clock import Clock
from reconciler.logs import log

Waits = Callable[[str, str, datetime | None], None]
"""Hears that calls of an API wait: its name, for what, and until when where that is known; for nothing once all
have got on. Decides nothing."""

READS_A_MINUTE = 200
WRITES_A_MINUTE = 100
"""Per user and API. Documented for other calls of the service; assumed for these (inferred)."""


class Budgets:
    """One limiter per API; a 429 pauses that API for all callers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reads: dict[str, AsyncLimiter] = defaultdict(lambda: _limiter(READS_A_MINUTE))
        self._writes: dict[str, AsyncLimiter] = defaultdict(lambda: _limiter(WRITES_A_MINUTE))
        self._paused_until: dict[str, float] = {}
        self._waiting = Counter[str]()
        self.waits: Waits = lambda _api, _what, _until: None

    async def read(self, api: str) -> None:
        """Wait until the budget allows one more read of ``api``."""
        await self._place(api, self._reads[api], READS_A_MINUTE)
        await self._pause(api)

    async def write(self, api: str) -> None:
        """Wait until the budget allows one more write of ``api``."""
        await self._place(api, self._writes[api], WRITES_A_MINUTE)
        await self._pause(api)

    def has_room(self, api: str) -> bool:
        """Whether half of what can be read of ``api`` at once is left: only then may anybody ask more than needed."""
        free = self._reads[api].has_capacity(READS_A_MINUTE / 4)
        return free and self._paused_until.get(api, 0.0) <= self._clock.monotonic()

    async def _place(self, api: str, limiter: AsyncLimiter, a_minute: int) -> None:
        if limiter.has_capacity():
            await limiter.acquire()
            return
        self._say(api, f"the budget of {a_minute} requests a minute", None)
        begun = self._clock.monotonic()
        self._waiting[api] += 1
        try:
            await limiter.acquire()
        finally:
            self._waiting[api] -= 1
            if not self._waiting[api]:
                self._say(api, "", None)
        log("api", "waited for the budget", call=api, seconds=self._clock.monotonic() - begun)

    def _say(self, api: str, what: str, until: datetime | None) -> None:
        with suppress(Exception):  # of who listens
            self.waits(api, what, until)

    def pause(self, api: str, seconds: float) -> None:
        """Stop all calls of ``api`` for this many seconds, after the service answered 429."""
        until = self._clock.monotonic() + seconds
        self._paused_until[api] = max(until, self._paused_until.get(api, until))
        log("api", "throttled", call=api, seconds=seconds)
        self._say(api, "the service, which answered 429", self._clock.now() + timedelta(seconds=seconds))

    async def _pause(self, api: str) -> None:
        while (left := self._paused_until.get(api, 0.0) - self._clock.monotonic()) > 0:
            # A rest smaller than the resolution of the clock would make this loop spin.
            await self._clock.sleep(max(left, 0.01))


def _limiter(a_minute: int) -> AsyncLimiter:
    """A leaky bucket of half the allowed size that drains in one minute.

    A full bucket can be sent at once, and as much again drains within the same minute. With halves the sum
    stays within the documented number.
    """
    return AsyncLimiter(a_minute / 2, 60)
