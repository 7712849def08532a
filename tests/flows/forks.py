"""Processes that start in a moment: forks of a server that has imported the program and runs no thread.

For tests that need processes, to kill or to race; how the program starts is for those that start it as users do.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.flows.skipping import SkippingClock

_CONTEXT = multiprocessing.get_context("forkserver")
_COMMANDS = [f"reconciler.cli.{each}" for each in ("app", "apply", "drift", "plan", "resolve", "watch")]
_CONTEXT.set_forkserver_preload(["tests.flows.mortal", "tests.flows.rival", *_COMMANDS, "tests.flows.ready"])


def start(
    function: Callable[..., int],
    *arguments: object,
    folder: Path,
    env: Mapping[str, str],
    output: Path | None = None,
) -> BaseProcess:
    """Call a function in a process of its own; what it returns is the exit code. Its output goes to ``output``."""
    process = _CONTEXT.Process(
        target=_child, args=(function, arguments, str(folder), dict(env), str(output or os.devnull))
    )
    process.start()
    return process


def ended(process: BaseProcess) -> int:
    """Wait for the end of a process; returns its exit code, negative for a signal."""
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def pipe() -> tuple[Any, Any]:
    """Two connected ends, one of which may be an argument of ``start``."""
    return _CONTEXT.Pipe()


def command_line(*arguments: str) -> int:
    """The command line, as a function to ``start``."""
    from reconciler.cli.main import main  # noqa: PLC0415 - in the child

    sys.argv = ["reconciler", *arguments]
    return main()


def limited(memory: int, seconds: int, *arguments: str) -> int:
    """The command line, which skips what it waits for, with so many bytes of address space and seconds of computing."""
    from reconciler.clock import CLOCK  # noqa: PLC0415 - in the child

    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    CLOCK.set(SkippingClock())
    return command_line(*arguments)


def _child(
    function: Callable[..., int],
    arguments: tuple[object, ...],
    folder: str,
    env: dict[str, str],
    output: str,
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    written = os.open(output, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(written, 1)
    os.dup2(written, 2)
    sys.exit(function(*arguments))
