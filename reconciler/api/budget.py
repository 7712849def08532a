"""Request budgets, one per API, that keep all tasks together below the service's rate limits.

``retry`` decides how long to wait after a 429; the pause itself happens here, for every caller.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from reconciler.clock import Clock
from reconciler.logs import log

Waits = Callable[[str, str, datetime | None], None]
"""Hears that calls of an API wait: its name, for what, and until when where that is known; for nothing once all
have got on. Decides nothing."""

READS_A_MINUTE = 200
WRITES_A_MINUTE = 100
"""Per user and API. Documented for other calls of the service; assumed for these (inferred)."""

NOTHING = 0.001
"""Seconds that nobody waits for: sums of fractions come out a little off, and clocks have a resolution."""


class Bucket:
    """A leaky bucket of half the allowed size that drains in one minute, in turn.

    A full bucket can be sent at once, and as much again drains within the same minute. With halves the sum
    stays within the documented number.
    """

    def __init__(self, a_minute: int, clock: Clock) -> None:
        self.a_minute = a_minute
        self._clock = clock
        self._size = a_minute / 2
        self._each = 60 / self._size
        """Seconds in which one request drains."""
        self._empty = 0.0
        """When nothing is left in it (monotonic seconds): that moment alone says how full it is."""
        self._turn = asyncio.Lock()  # fair: whoever came first goes first
        self._queue = 0

    def has_room(self, requests: float = 1) -> bool:
        """Whether so many requests fit in at once."""
        return not self._queue and self._until_room(requests) <= NOTHING

    def wait(self) -> float:
        """Seconds until whoever comes last now gets a place."""
        return max(self._until_room(1 + self._queue), 0.0)

    async def take(self) -> None:
        """Wait for a place, and take it."""
        if self.has_room():
            self._fill()
            return
        self._queue += 1
        try:
            async with self._turn:
                await self._clock.sleep(self._until_room(1))
                self._fill()
        finally:
            self._queue -= 1

    def _fill(self) -> None:
        self._empty = max(self._empty, self._clock.monotonic()) + self._each

    def _until_room(self, requests: float) -> float:
        full = max(self._empty - self._clock.monotonic(), 0.0)
        return full + (requests - self._size) * self._each


class Budgets:
    """One bucket per API; a 429 pauses that API for all callers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reads: dict[str, Bucket] = defaultdict(lambda: Bucket(READS_A_MINUTE, clock))
        self._writes: dict[str, Bucket] = defaultdict(lambda: Bucket(WRITES_A_MINUTE, clock))
        self._paused_until: dict[str, float] = {}
        self._waiting = Counter[str]()
        self.waits: Waits = lambda _api, _what, _until: None

    async def read(self, api: str) -> None:
        """Wait until the budget allows one more read of ``api``."""
        await self._place(api, self._reads[api])
        await self._pause(api)

    async def write(self, api: str) -> None:
        """Wait until the budget allows one more write of ``api``."""
        await self._place(api, self._writes[api])
        await self._pause(api)

    def has_room(self, api: str) -> bool:
        """Whether half of what can be read of ``api`` at once is left: only then may anybody ask more than needed."""
        free = self._reads[api].has_room(READS_A_MINUTE / 4)
        return free and self._paused_until.get(api, 0.0) <= self._clock.monotonic()

    async def _place(self, api: str, bucket: Bucket) -> None:
        if bucket.has_room():
            await bucket.take()
            return
        until = self._clock.now() + timedelta(seconds=bucket.wait())
        self._say(api, f"the budget of {bucket.a_minute} requests a minute", until)
        begun = self._clock.monotonic()
        self._waiting[api] += 1
        try:
            await bucket.take()
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
