"""Virtual time: an event loop that jumps to the next timer, and the clock that the code under test sees."""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 8, 0, 0, tzinfo=UTC)


class _Jumping(selectors.DefaultSelector):
    """Where the loop would wait, time moves on instead."""

    moment = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # a thread or a person is waited for: nothing here does so
            return super().select()
        self.moment += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Never waits: when nothing is ready, time moves to the next timer."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    @property
    def moment(self) -> float:
        """Seconds since the beginning of the world."""
        return self._jumping.moment

    def time(self) -> float:
        return self.moment

    def stand_still(self, seconds: float) -> None:
        """Time passes while this process does nothing at all."""
        self._jumping.moment += seconds


class VirtualClock:
    """The clock of one machine; its wall time may be off by ``skew`` seconds."""

    def __init__(self, loop: VirtualLoop, skew: float = 0.0) -> None:
        self._loop = loop
        self._skew = skew

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.moment + self._skew)

    def monotonic(self) -> float:
        return self._loop.moment

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))
