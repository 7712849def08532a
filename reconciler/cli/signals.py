"""Runs a command's coroutine so that SIGINT, SIGTERM and SIGHUP end it in order, and at the latest after seconds.

What stopping means is left to the coroutine, errors and exit codes to ``main``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from reconciler.apply.stop import Stop
from reconciler.cli.stdio import leave_by, written
from reconciler.errors import ExitCode, Interrupted, Terminated

T = TypeVar("T")

LONGEST_STOP = 4.5
"""Seconds from a signal to the end of the process, whatever holds it up; less than what CI runners grant."""
_HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_async(
    work: Callable[[Stop], Coroutine[Any, Any, T]],
    *,
    longest_stop: float = LONGEST_STOP,
    hung_up: Callable[[], None] | None = None,
    end: Callable[[int], None] = os._exit,
) -> T:
    """Run a coroutine; a signal asks it to stop, once, and it ends within seconds.

    Raises ``Interrupted`` or ``Terminated`` when the coroutine returns no result of its own after that.
    Where it does not return in ``longest_stop`` seconds, ``end`` is called with the exit code, from a thread:
    a journal that another process holds, or a slow disk, may block the event loop itself.
    ``hung_up``: called in the loop for each SIGHUP, which then does not ask to stop.
    """
    leave_by(None)
    stop = Stop()
    loop = asyncio.new_event_loop()
    task = loop.create_task(_begun(work, stop))
    over = threading.Event()

    def ask(number: int) -> None:
        # Only once: a second signal must not cancel what the first one started, such as a journal write.
        if not stop.requested:
            stop.requested = True
            stop.terminated = number != signal.SIGINT
            task.cancel()

    def handle(number: int, _frame: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(ask, number)

    def count_down(number: int) -> None:
        leave_by(time.monotonic() + longest_stop)
        if not over.wait(longest_stop):
            _give_up(number, end)

    def reload(_number: int, _frame: object) -> None:
        if hung_up and not loop.is_closed():
            loop.call_soon_threadsafe(hung_up)

    with _handling(handle, count_down, reload if hung_up else None):
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            kind = Terminated if stop.terminated else Interrupted
            raise kind("interrupted; nothing was sent by this run", "run the command again") from None
        finally:
            _wind_up(loop, at_once=stop.requested)
            over.set()


async def _begun(work: Callable[[Stop], Coroutine[Any, Any, T]], stop: Stop) -> T:
    return await work(stop)


@contextmanager
def _handling(
    handle: Callable[[int, object], None],
    count_down: Callable[[int], None],
    reload: Callable[[int, object], None] | None,
) -> Iterator[None]:
    """Handle signals in this thread, and call ``count_down`` in another one as soon as the first one arrives.

    SIGHUP goes to ``reload`` where that is given, and then counts for nothing else.

    A handler runs between two steps of the program, so not while the main thread is inside a blocking call.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    heard = [each for each in _HEARD if signal.getsignal(each) is not signal.SIG_IGN]
    numbers = [each for each in heard if not (reload and each is signal.SIGHUP)]

    def listen() -> None:
        with reading:
            while got := reading.recv(1):
                if got[0] in numbers:
                    count_down(got[0])
                    return

    before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    for number in heard:  # under nohup a hang-up is ignored, and stays so
        signal.signal(number, handle if number in numbers or reload is None else reload)
        signal.siginterrupt(number, False)
    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        for number in heard:
            default = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
        signal.set_wakeup_fd(before)
        writing.close()  # ends the thread, unless it counts the seconds of a stop


def _give_up(number: int, end: Callable[[int], None]) -> None:
    """End the process as a kill would: what is in flight is in the journal, and the next run resolves it."""
    sys.stderr.write("Stopped before everything was in order; the next apply resolves what is in flight.\n")
    written(0.2)
    end(int(ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED))


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
