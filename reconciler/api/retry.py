"""Retries one read: decides how often it is sent again and when to give up.

Two time limits: a short one for failures (5xx, lost connections, undecodable answers, timeouts), a long one for
throttling. Waiting in ``budget`` counts towards neither. Writes are never retried, so they do not come here.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from reconciler.clock import Clock
from reconciler.errors import ServiceError
from reconciler.logs import log
from reconciler.values import Struct

T = TypeVar("T")

# Seconds.
_LEAST_THROTTLED = 5.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0


class Timing(Struct, frozen=True):
    """Time limits, in seconds; tests pass smaller ones than these defaults."""

    read: float = 15.0
    """One attempt of a read, from connecting to the last byte of the answer."""
    write: float = 30.0
    """A write, from connecting to the last byte of the answer."""
    retry: float = 20.0
    """All attempts of one read together, with the pauses between them."""
    throttled: float = 60.0
    """Wait after a 429 without ``Retry-After``; up to a tenth is added at random."""
    most_throttled: float = 300.0
    """All waits of one read after a 429 together."""

    def throttled_wait(self, retry_after: float | None) -> float:
        """Seconds to wait after a 429: the service's ``Retry-After``, else about a minute; clamped to 5–301 s."""
        wait = retry_after if retry_after is not None else self.throttled * random.uniform(1, 1.1)
        # At least 5 s, because refused calls count towards the service's limit too. At most one second more than
        # the limit of all waits, so that a longer ``Retry-After`` makes ``call`` give up at once.
        return min(max(wait, _LEAST_THROTTLED), self.most_throttled + 1.0)


DEFAULT_TIMING = Timing()


class RetryableError(Exception):
    """This attempt failed, but another one may succeed."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(error.message)
        self.error = error
        """The error to raise if there is no further attempt."""


class Throttled(RetryableError):
    """The service answered 429; the budget pauses all callers for ``wait`` seconds."""

    def __init__(self, error: ServiceError, wait: float) -> None:
        super().__init__(error)
        self.wait = wait


class Retries:
    """The attempts of one read and the time they have taken."""

    def __init__(self, clock: Clock, timing: Timing) -> None:
        self._clock = clock
        self._timing = timing
        self._failing = 0.0
        self._throttled = 0.0
        self._attempts = 0

    @property
    def attempts(self) -> int:
        """How often the read was sent so far, the one under way included."""
        return self._attempts

    def left(self) -> float:
        """Seconds the next attempt may take."""
        # Never nothing: with a rest of a few milliseconds the last attempt could not succeed.
        return max(min(self._timing.read, self._timing.retry - self._failing), 0.1)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time of an attempt to the failure limit."""
        begun = self._clock.monotonic()
        self._attempts += 1
        try:
            yield
        finally:
            self._failing += self._clock.monotonic() - begun

    def within(self, seconds: float) -> str:
        """How long nothing came, this attempt of so many seconds included: ``within 20 s, in 4 attempts``."""
        # The last attempt may have had a rest of a tenth of a second only, which would say nothing.
        span = f"within {self._failing + seconds:.3g} s"
        return span if self._attempts == 1 else f"{span}, in {self._attempts} attempts"

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call ``attempt`` until it succeeds, fails permanently or a limit is reached; raises ``ServiceError``."""
        pauses = 0
        while True:
            try:
                return await attempt()
            except Throttled as refusal:
                # No sleep here: the next attempt waits in the budget, like all other callers of this API.
                self._throttled += refusal.wait
                if self._throttled > self._timing.most_throttled:
                    raise refusal.error from None
            except RetryableError as failure:
                # Exponential backoff with full jitter, so that many callers do not retry at the same moment.
                pause = random.uniform(0, min(_FIRST_PAUSE * 2**pauses, _LONGEST_PAUSE))
                pauses += 1
                # Added before the sleep, so that the last failure is raised now and not after a useless pause.
                self._failing += pause
                log(
                    "api", "failed attempt", reason=failure.error.message, pause=pause, attempt=self._attempts
                )
                if self._failing >= self._timing.retry:
                    raise failure.error from None
                await self._clock.sleep(pause)
