"""Reads that many waiters share, and how often to poll, so that requests do not grow with the number of pools.

What is read is left to the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from reconciler.clock import Clock
from reconciler.errors import CredentialsError, ReadingDoubtful, ServiceError

T = TypeVar("T")

FIRST_DELAYS = (1.0, 2.0, 4.0, 8.0)
LONGEST_DELAY = 15.0
"""Seconds between polls: 1, 2, 4, 8, then every 15."""


class CoalescedRead(Generic[T]):
    """One reading at a time; everyone who waits for it gets the same value (single flight)."""

    def __init__(self, read: Callable[[], Awaitable[T]], clock: Clock, spacing: float = 1.0) -> None:
        self._read = read
        self._clock = clock
        self._spacing = spacing
        self._lock = asyncio.Lock()
        self._began = float("-inf")
        self._value: T | None = None

    async def after(self, moment: float) -> T:
        """The value of a reading that began at or after ``moment`` (monotonic seconds)."""
        await self._clock.sleep(moment - self._clock.monotonic())
        async with self._lock:
            if self._value is None or self._began < moment:
                # Cleared first: after an error or a cancelled waiter, nobody must get the value from before.
                self._value = None
                await self._clock.sleep(self._began + self._spacing - self._clock.monotonic())
                self._began = self._clock.monotonic()
                self._value = await self._read()
            return self._value


def delay(polls: int) -> float:
    """Seconds to wait before poll number ``polls``, counted from 0."""
    return FIRST_DELAYS[polls] if polls < len(FIRST_DELAYS) else LONGEST_DELAY


def is_transient(error: ServiceError) -> bool:
    """True for an error that a retry may not meet: no answer, 5xx, or a list that changed during paging."""
    # Credentials that were refused stay refused, although such an error has no HTTP status either.
    if isinstance(error, CredentialsError):
        return False
    return isinstance(error, ReadingDoubtful) or error.status is None or error.status >= 500
