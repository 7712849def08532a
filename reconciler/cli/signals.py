"""Runs one command's coroutine under SIGINT, SIGTERM and SIGHUP, which ask it to stop and then to end within seconds.

What stopping means is left to the coroutine, errors and exit codes to ``main``.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from reconciler.apply.context import Stop
from reconciler.cli.stdio import hurry
from reconciler.errors import Interrupted, Terminated

T = TypeVar("T")


def run_async(work: Callable[[Stop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine; a signal asks it to stop, once, and it ends within seconds.

    Raises ``Interrupted`` or ``Terminated`` when the coroutine returns no result of its own after that.
    """
    stop = Stop()

    async def under_signals() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        def on_signal(number: signal.Signals) -> None:
            # Only once: a second signal must not cancel what the first one started, such as a journal write.
            if not stop.requested and task:
                hurry()
                stop.requested = True
                stop.terminated = number is not signal.SIGINT
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup a hang-up is ignored, and stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, on_signal, number)
        return await work(stop)

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(under_signals())
    except asyncio.CancelledError:
        kind = Terminated if stop.terminated else Interrupted
        raise kind("interrupted; nothing was sent by this run", "run the command again") from None
    finally:
        _wind_up(loop, at_once=stop.requested)


def _wind_up(loop: asyncio.AbstractEventLoop, *, at_once: bool) -> None:
    """Close the loop; with ``at_once``, do not wait for a thread that resolves a host name."""

    async def end() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await loop.shutdown_asyncgens()
        if not at_once:
            await loop.shutdown_default_executor()

    loop.run_until_complete(end())
    loop.close()
