"""Owns running a command: signals, the event loop, and every error as a sentence and an exit code."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from typer.exceptions import TyperException

from reconciler.apply.context import Stop
from reconciler.cli.screen import Screen
from reconciler.cli.streams import lost_output
from reconciler.errors import BadInput, ExitCode, Interrupted, ReconcilerError, Terminated

T = TypeVar("T")


def run_app(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    code = _run(list(arguments))
    lost = lost_output()
    # A reader that went away (| head -1) wanted no more; a full disk keeps a result from its reader.
    if lost and not isinstance(lost, BrokenPipeError):
        Screen().error(ReconcilerError(f"the result could not be written: {lost.strerror}"))
        return code or int(ExitCode.ERROR)
    return code


def _run(arguments: list[str]) -> int:
    from reconciler.cli.app import app  # noqa: PLC0415 - its imports are the costly ones

    try:
        result = app(args=arguments, prog_name="reconciler", standalone_mode=False)
    except ReconcilerError as error:
        Screen().error(error)
        return int(error.exit_code)
    except TyperException as error:
        Screen().error(BadInput(error.format_message(), "see reconciler --help"))
        return int(ExitCode.BAD_INPUT)
    except KeyboardInterrupt:
        Screen().error(Interrupted("interrupted"))
        return int(ExitCode.INTERRUPTED)
    except Exception as error:
        if os.environ.get("RECONCILER_DEBUG"):
            raise
        told = ReconcilerError(
            f"reconciler met a defect of its own: {type(error).__name__}",
            "please report it with the output of the same command under RECONCILER_DEBUG=1",
        )
        Screen().error(told)
        return int(ExitCode.ERROR)
    return int(result or 0)


def run_story(story: Callable[[Stop], Coroutine[Any, Any, T]]) -> T:
    """Run an async story; SIGINT and SIGTERM ask it to stop, once, and it ends within seconds.

    Raises ``Interrupted`` when the story had nothing to tell about its own interruption.
    """
    stop = Stop()

    async def under_signals() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        def on_signal(number: signal.Signals) -> None:
            if not stop.requested and task:
                stop.requested = True
                stop.terminated = number is signal.SIGTERM
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal, number)
        return await story(stop)

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(under_signals())
    except asyncio.CancelledError:
        kind = Terminated if stop.terminated else Interrupted
        raise kind("interrupted; nothing was sent by this run", "run the command again") from None
    finally:
        _wind_up(loop, at_once=stop.requested)


def _wind_up(loop: asyncio.AbstractEventLoop, *, at_once: bool) -> None:
    """Close the loop; after a request to stop without waiting for a thread that resolves a name."""

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
