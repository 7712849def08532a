"""Owns how long a read is insisted on: how often it is tried again, and when it is given up.

Two accounts: trouble (5xx, cuts, garbage, silence) is short, throttling is long. Waiting for a free place
in the budget is on neither. Writes never come here.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from reconciler.clock import Clock
from reconciler.errors import ServiceError

T = TypeVar("T")

_LEAST_THROTTLED = 5.0


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

    def throttled_wait(self, told: float | None) -> float:
        """Wait after one 429: as told, but neither next to nothing, as refused calls count too, nor for ever."""
        wait = told if told is not None else self.throttled * random.uniform(1, 1.1)
        return min(max(wait, _LEAST_THROTTLED), self.most_throttled + 1.0)


DEFAULT_TIMING = Timing()


class Again(Exception):
    """This attempt failed in a way that another one may not."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(error.message)
        self.error = error
        """What to raise when there is no further attempt."""


class Throttled(Again):
    """The service said 429; the budget holds everybody back for ``wait`` seconds."""

    def __init__(self, error: ServiceError, wait: float) -> None:
        super().__init__(error)
        self.wait = wait


class Patience:
    """The two accounts of one read."""

    def __init__(self, clock: Clock, timing: Timing) -> None:
        self._clock = clock
        self._timing = timing
        self._backoff = wait_random_exponential(multiplier=0.5, max=5)
        self._troubled = 0.0
        self._throttled = 0.0

    def left(self) -> float:
        """Seconds the next attempt may take."""
        return max(min(self._timing.read, self._timing.retry - self._troubled), 0.1)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Put the time of an attempt on the account."""
        begun = self._clock.monotonic()
        try:
            yield
        finally:
            self._troubled += self._clock.monotonic() - begun

    async def insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call ``attempt`` until it succeeds, fails for good, or an account is empty; raises ``ServiceError``."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Again),
            wait=self._pause,
            stop=self._exhausted,
            sleep=self._clock.sleep,
            reraise=True,
        )
        try:
            result: T = await retrying(attempt)
        except Again as last:
            raise last.error from None
        return result

    def _pause(self, state: RetryCallState) -> float:
        """Seconds to sleep here; the wait of a 429 is slept through in the budget, by everybody."""
        error = _error(state)
        if isinstance(error, Throttled):
            self._throttled += error.wait
            return 0.0
        pause = self._backoff(state)
        self._troubled += pause
        return pause

    def _exhausted(self, state: RetryCallState) -> bool:
        if isinstance(_error(state), Throttled):
            return self._throttled > self._timing.most_throttled
        return self._troubled >= self._timing.retry


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
