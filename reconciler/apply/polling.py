"""Reads that many waiters share, and when to look at a job, so that requests do not grow with the number of pools.

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
"""Seconds between polls of what says nothing of how long it takes: 1, 2, 4, 8, then every 15."""
UNHURRIED = 1.0
"""Seconds between two shared reads while nothing is known to be faster."""
CLOSEST = 0.05
"""Fewest seconds between two shared reads on average, however fast jobs are."""
AHEAD = 0.5
"""Seconds by which shared reads may run ahead of that average: pools that begin together also ask together."""
LATE_FOR_KNOWN, LATE = 1 / 40, 1 / 10
"""How late the end of a job is seen at most, as a share of the time that it took: of one that takes as long as
those before it, and of any other."""


class Pace:
    """When to look at a job: waiting follows how long the jobs of this run take, and not the clock.

    Jobs are looked at from the age at which earlier ones were near their end. After that the gaps grow with the
    age, so the number of looks grows with the logarithm of a job's time, and not with the number of pools.
    """

    def __init__(self) -> None:
        self._running = 0.0
        """The highest age at which a job was still seen running, below that at which the fastest one had ended."""
        self._ended: float | None = None
        """The age at which the fastest job was seen to have ended."""

    def learn(self, running: float, ended: float) -> None:
        """A job ran at one age and had ended at another, both in seconds; the first is 0 when it was not seen."""
        # The fastest counts: looking too early costs a shared request, looking too late costs a pool's time.
        known = self._ended is not None and ended > self._running
        if self._ended is None or not known or (not running and ended < self._ended):
            # One that was never seen running may have ended long before it was looked at.
            self._running, self._ended = running or ended * (1 - LATE), ended
            return
        self._ended = min(self._ended, ended)
        if running < self._ended:
            self._running = max(self._running, running)

    def is_due(self, age: float) -> bool:
        """Whether jobs of this age have been seen to end."""
        return self._ended is not None and age >= self._running

    def gap(self, age: float) -> float:
        """Seconds from this age of a job to the next look at it."""
        ended = self._ended
        if ended is None:
            wait = max(FIRST_DELAYS[0] - age, age * LATE)
        else:
            # Halfway between what is known of the fastest one, so that each wave of jobs tells it more exactly.
            halfway = (self._running + ended) / 2
            usual = age < ended * (1 + 2 * LATE)
            late = age * (LATE_FOR_KNOWN if usual else LATE)
            wait = next((aim - age for aim in (halfway, ended) if aim > age), late)
        return min(max(wait, CLOSEST), LONGEST_DELAY)

    def spacing(self) -> float:
        """Fewest seconds between two shared reads: a small part of a job's time, and at most a second."""
        if self._ended is None:
            return UNHURRIED
        return min(max(self._running * LATE_FOR_KNOWN, CLOSEST), UNHURRIED)


class CoalescedRead(Generic[T]):
    """One reading at a time; everyone who waits for it gets the same value (single flight)."""

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        clock: Clock,
        spacing: Callable[[], float] = lambda: UNHURRIED,
        room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._read = read
        self._clock = clock
        self._spacing = spacing
        self._room = room
        self._lock = asyncio.Lock()
        self._began = float("-inf")
        self._booked = float("-inf")
        """When the next reading could begin if all before it had lain apart."""
        self._value: T | None = None

    async def after(self, moment: float, spacing: float = UNHURRIED) -> T:
        """The value of a reading that began at or after ``moment`` (monotonic seconds).

        ``spacing``: seconds from the reading before that are enough for this waiter, where all agree on more.
        """
        await self._clock.sleep(moment - self._clock.monotonic())
        async with self._lock:
            if self._value is None or self._began < moment:
                # Cleared first: after an error or a cancelled waiter, nobody must get the value from before.
                self._value = None
                # Where the budget runs low, the rest of it is for what each pool has to ask.
                apart = min(self._spacing(), spacing) if self._room() else UNHURRIED
                await self._clock.sleep(self._earliest(apart) - self._clock.monotonic())
                self._began = self._clock.monotonic()
                self._booked = max(self._booked, self._began) + apart
                self._value = await self._read()
            return self._value

    def _earliest(self, apart: float) -> float:
        """When the next reading may begin: apart from the one before on average, and strictly where that is long."""
        return self._booked - AHEAD if apart < AHEAD else self._began + apart


def delay(polls: int) -> float:
    """Seconds to wait before poll number ``polls``, counted from 0."""
    return FIRST_DELAYS[polls] if polls < len(FIRST_DELAYS) else LONGEST_DELAY


def delay_at(age: float) -> float:
    """The same by the seconds since the first wait began."""
    return min(age + FIRST_DELAYS[0], LONGEST_DELAY)


def is_transient(error: ServiceError) -> bool:
    """True for an error that a retry may not meet: no answer, 5xx, or a list that changed during paging."""
    # Credentials that were refused stay refused, although such an error has no HTTP status either.
    if isinstance(error, CredentialsError):
        return False
    return isinstance(error, ReadingDoubtful) or error.status is None or error.status >= 500
