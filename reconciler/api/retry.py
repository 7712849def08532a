"""Retries of one read: how often it is sent again, and when it is given up.

Two accounts: trouble (5xx, cuts, garbage, silence) is short, throttling is long. Waiting for a free place
in the budget is on neither. Writes never come here.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from reconciler.clock import Clock
from reconciler.errors import ServiceError

T = TypeVar("T")

_LEAST_THROTTLED = 5.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; the defaults are what users get, tests pass smaller ones."""

    read: float = 15.0
    """One attempt of a read in all."""
    write: float = 30.0
    """A write in all, from connecting to the last byte of the answer."""
    retry: float = 20.0
    """Attempts of one read with the pauses between them."""
    throttled: float = 60.0
    """Wait after a 429 that does not say how long; up to a tenth is added by chance."""
    most_throttled: float = 300.0
    """Waits after 429 of one read together."""

    def throttled_wait(self, retry_after: float | None) -> float:
        """Seconds to wait after one 429: the service's own word, else about a minute; clamped to 5–301 s."""
        wait = retry_after if retry_after is not None else self.throttled * random.uniform(1, 1.1)
        # Not less, because the service counts refused calls too.
        return min(max(wait, _LEAST_THROTTLED), self.most_throttled + 1.0)


DEFAULT_TIMING = Timing()


class RetryableError(Exception):
    """This attempt failed in a way that another one may not."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(error.message)
        self.error = error
        """What to raise when there is no further attempt."""


class Throttled(RetryableError):
    """The service said 429; the budget holds everybody back for ``wait`` seconds."""

    def __init__(self, error: ServiceError, wait: float) -> None:
        super().__init__(error)
        self.wait = wait


class Retries:
    """The attempts of one read, with the time that they have taken."""

    def __init__(self, clock: Clock, timing: Timing) -> None:
        self._clock = clock
        self._timing = timing
        self._troubled = 0.0
        self._throttled = 0.0

    def left(self) -> float:
        """Seconds the next attempt may take."""
        return max(min(self._timing.read, self._timing.retry - self._troubled), 0.1)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Put the time of an attempt on the account."""
        begun = self._clock.monotonic()
        try:
            yield
        finally:
            self._troubled += self._clock.monotonic() - begun

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call ``attempt`` until it succeeds, fails for good, or an account is empty; raises ``ServiceError``."""
        pauses = 0
        while True:
            try:
                return await attempt()
            except Throttled as refusal:
                # Slept through in the budget, by everybody.
                self._throttled += refusal.wait
                if self._throttled > self._timing.most_throttled:
                    raise refusal.error from None
            except RetryableError as failure:
                # A random share of a growing pause, so that many callers do not come back together.
                pause = random.uniform(0, min(_FIRST_PAUSE * 2**pauses, _LONGEST_PAUSE))
                pauses += 1
                self._troubled += pause
                if self._troubled >= self._timing.retry:
                    raise failure.error from None
                await self._clock.sleep(pause)
