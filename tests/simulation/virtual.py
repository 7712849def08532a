"""Virtual time: an event loop that jumps to the next timer, and the clock that the code under test sees."""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from types import coroutine
from typing import Any

START = datetime(2026, 3, 1, 8, 0, 0, tzinfo=UTC)
MOST_AT_ONCE = 86_400.0
"""Seconds of one jump at most, as of one wait of asyncio's own loops."""
CLOSE = 1e-9
"""Seconds: what is due so soon is due now."""


class _Timer:
    """A call at some later time, which can be cancelled until it is made."""

    __slots__ = ("_args", "_call", "_when")

    def __init__(self, when: float, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._when = when
        self._call: Callable[..., object] | None = call
        self._args = args

    def cancel(self) -> None:
        self._call = None

    def cancelled(self) -> bool:
        return self._call is None

    done = cancelled

    def when(self) -> float:
        return self._when

    def run(self) -> None:
        if self._call:
            self._call(*self._args)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Never waits: when nothing is ready, time moves to the next timer.

    It keeps the order of asyncio's own loops, without handles that nobody asks for: stories in virtual time do
    little but wait.
    """

    # Of asyncio's own loops, which do not declare them.
    _ready: deque[asyncio.Handle]
    _stopping: bool
    _selector: selectors.BaseSelector
    _process_events: Callable[[object], None]
    _write_to_self: Callable[[], None]

    def __init__(self) -> None:
        super().__init__()
        self.moment = 0.0
        """Seconds since the beginning of the world."""
        self._soon: deque[tuple[Callable[..., object], tuple[Any, ...], Context]] = deque()
        self._timers: list[tuple[float, int, Any, Context | None]] = []
        """A heap by time: timers, and futures of sleepers, which have no context."""
        self._serial = count()
        self._own = copy_context()

    def time(self) -> float:
        return self.moment

    def stand_still(self, seconds: float) -> None:
        """Time passes while this process does nothing at all."""
        self.moment += seconds

    async def sleep(self, seconds: float) -> None:
        """As ``asyncio.sleep`` on this loop."""
        if seconds <= 0:
            await _turn()
            return
        future = self.create_future()
        heappush(self._timers, (self.time() + seconds, next(self._serial), future, None))
        await future

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        self._soon.append((callback, args, copy_context() if context is None else context))

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        self.call_soon(callback, *args, context=context)
        self._write_to_self()

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        timer = _Timer(when, callback, args)
        heappush(
            self._timers, (when, next(self._serial), timer, copy_context() if context is None else context)
        )
        return timer

    def _run_once(self) -> None:
        """All turns until somebody stops the loop."""
        soon, timers = self._soon, self._timers
        while True:
            if not soon:
                self._jump()
            if timers:
                self._fire(self.time() + CLOSE)
            # What they call for is a matter of the next turn.
            for _ in range(len(soon)):
                callback, args, context = soon.popleft()
                context.run(callback, *args)
            if self._stopping:
                return

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][2].done():
            heappop(timers)
        if timers:
            self.moment += min(max(timers[0][0] - self.time(), 0.0), MOST_AT_ONCE)
            return
        # A thread is waited for, or a person; nothing here waits for a person.
        self._process_events(self._selector.select())
        while self._ready:
            self._ready.popleft()._run()

    def _fire(self, end: float) -> None:
        timers = self._timers
        while timers and timers[0][0] < end:
            _, _, waiting, context = heappop(timers)
            if context is not None:  # an empty one is false
                self._soon.append((waiting.run, (), context))
            else:
                self._soon.append((_wake, (waiting,), self._own))


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


@coroutine
def _turn() -> Generator[None]:
    """Let everybody else who is ready go first."""
    yield


class VirtualClock:
    """The clock of one machine; its wall time may be off by ``skew`` seconds."""

    def __init__(self, loop: VirtualLoop, skew: float = 0.0) -> None:
        self._loop = loop
        self._skew = skew
        self.sleep = loop.sleep

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.moment + self._skew)

    def monotonic(self) -> float:
        return self._loop.moment
