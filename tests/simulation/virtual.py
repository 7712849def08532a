"""Virtual time: an event loop that jumps to the next timer, and the clock that the code under test sees."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 3, 1, 8, 0, 0, tzinfo=UTC)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Never waits: when nothing is ready, time moves to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = 0.0

    def time(self) -> float:
        return self.moment

    def _run_once(self) -> None:
        loop: Any = self
        if not loop._ready and loop._scheduled:
            self.moment = max(self.moment, loop._scheduled[0]._when)
        super()._run_once()  # type: ignore[misc]


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
