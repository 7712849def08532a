"""Delivers outcomes to webhooks beside the rounds of a watch: none of them waits for a webhook.

One delivery is left to ``notifications``, what is news to ``cli``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from reconciler.notify.notifications import Letter, Notifications, Warn
from reconciler.notify.webhooks import Webhook
from reconciler.values import Struct, field

MOST_WAITING = 8
"""Outcomes that wait for one webhook; beyond that the oldest is dropped, and a line says so."""


class _Box(Struct):
    """What waits for one webhook."""

    webhook: Webhook
    waiting: deque[Letter] = field(default_factory=deque)
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    failed: bool = False
    """Whether its last delivery failed."""


class Courier:
    """Takes outcomes at once and delivers them one after the other, the newest first, to each webhook alone."""

    def __init__(self, notify: Notifications, warn: Warn) -> None:
        self._warn = warn
        self._notify = notify
        self._boxes = tuple(map(_Box, notify.webhooks))

    def post(self, letter: Letter, news: Callable[[str], bool]) -> None:
        """Take an outcome for every webhook to whose owner it is news, and for those whose last delivery failed."""
        for box in self._boxes:
            if not (news(box.webhook.owner) or (box.failed and not box.waiting)):
                continue
            if len(box.waiting) >= MOST_WAITING:
                old = box.waiting.popleft()
                self._notify.deliveries.dropped += 1
                self._warn(
                    f"Warning: the webhook {box.webhook.shown} is too slow: the outcome of "
                    f"{old.written:%Y-%m-%d %H:%M:%S} UTC was dropped"
                )
            box.waiting.append(letter)
            box.filled.set()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Deliver until the block ends; what is not delivered by then is given up."""
        tasks = [asyncio.create_task(self._work(box)) for box in self._boxes]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, box: _Box) -> None:
        while True:
            await box.filled.wait()
            box.filled.clear()
            while box.waiting:
                letter = box.waiting.pop()
                box.failed = not await self._notify.deliver_to(box.webhook, letter, self._warn)
