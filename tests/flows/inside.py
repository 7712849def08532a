"""The command line called in this process, with everything that belongs to a process lent and given back."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.cli import main as command_line
from reconciler.clock import CLOCK, Clock


@dataclass(frozen=True)
class Ran:
    """What one run of the command line left."""

    code: int
    out: str
    err: str


def run_inside(
    arguments: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    stdin: str,
    clock: Clock,
    *,
    terminal: bool = False,
) -> Ran:
    """Run one command line with this environment, folder, standard input and clock.

    ``terminal``: standard error is one, of as many columns as ``COLUMNS`` says; nothing else ever is.
    """
    given, out, err = _stream(stdin), _stream(), _stream(kind=_Terminal if terminal else io.TextIOWrapper)
    with _environment(env), contextlib.chdir(cwd), _signals(), _streams(given, out, err), _time(clock):
        code = command_line.run(list(arguments))
    return Ran(code, _text(out), _text(err))


@contextlib.contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    # An event loop that handled a signal leaves the system's default behind, and Ctrl-C would kill pytest.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _time(clock: Clock) -> Iterator[None]:
    token = CLOCK.set(clock)
    try:
        yield
    finally:
        CLOCK.reset(token)


@contextlib.contextmanager
def _streams(*streams: io.TextIOWrapper) -> Iterator[None]:
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def _stream(text: str = "", kind: type[io.TextIOWrapper] = io.TextIOWrapper) -> io.TextIOWrapper:
    return kind(io.BytesIO(text.encode()), encoding="utf-8")


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()
