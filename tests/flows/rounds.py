"""``watch`` inside this process: rounds that follow each other at once, and things that happen between them."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse

from reconciler import sandbox
from reconciler.sandbox.store import Store
from reconciler.sandbox.world import World
from tests.flows.conftest import bare
from tests.flows.inside import Ran, run_inside
from tests.flows.serving import Served, listening
from tests.flows.skipping import TIME

EVERY = 3600.0
"""Seconds between two rounds; no other wait of a round is as long."""


Between = Callable[[int], Awaitable[None] | None]
"""Called with the number of the round that has ended. What it asserts nobody hears of."""

_TOO_MANY = JSONResponse({"error_code": "APIGW.0308", "error_msg": "throttled"}, 429)


class Rounds:
    """The clock of one watch: each wait for the next round passes at once, and the last one ends the watch."""

    def __init__(self, rounds: int, between: Between = lambda _: None) -> None:
        self._left, self._between, self.ended = rounds, between, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(TIME, name)

    async def sleep(self, seconds: float) -> None:
        if seconds >= EVERY / 2:
            self.ended += 1
            happens = self._between(self.ended)
            if inspect.isawaitable(happens):
                await happens
            if self.ended >= self._left:
                os.kill(os.getpid(), signal.SIGTERM)
        await TIME.sleep(seconds)


def watched(
    folder: Path,
    served: Served,
    *arguments: str,
    rounds: int,
    between: Between = lambda _: None,
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Run a watch for so many rounds, with what happens between them."""
    given = ("watch", *arguments, "--every", f"{EVERY:.0f}s")
    clock: Any = Rounds(rounds, between)
    ran = run_inside(given, bare(folder) | served.env | dict(env or {}), folder, "", clock)
    assert "Traceback" not in ran.err + ran.out, ran.err
    return ran


async def come(what: Callable[[], object]) -> None:
    """Wait between two rounds for something that must come; a minute is far more than it takes."""
    for _ in range(6000):
        if what():
            return
        await asyncio.sleep(0.01)


@contextmanager
def noticing(
    world: World, notice: Callable[[str], None], refuses: Callable[[], bool] = lambda: False
) -> Iterator[Served]:
    """Serve a sandbox that calls ``notice`` with the method of each request before it answers.

    While ``refuses`` holds, it answers each request with "too many requests".
    """
    store, offset = Store.memory(world), [0.0]
    app = sandbox.create_app(store, clock=lambda: TIME.time() + offset[0], job_seconds=0.3)

    async def noticed(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            notice(scope["method"])
            if refuses():
                await _TOO_MANY(scope, receive, send)
                return
        await app(scope, receive, send)

    with listening(noticed) as url:
        yield Served(url, store, app, offset)
