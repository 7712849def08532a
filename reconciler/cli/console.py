"""Prints: results on stdout, everything else on stderr, in colour only on a terminal that wants it.

What is printed is left to ``render``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

from reconciler.cli.commands import complete
from reconciler.cli.stdio import TolerantStream
from reconciler.clock import CLOCK
from reconciler.errors import BadInput, ReconcilerError
from reconciler.render.text import Line, Tone
from reconciler.render.wrap import wrapped

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.apply.events import Event
    from reconciler.cli.progress import Progress, Ticker

_CODES = {
    Tone.STRONG: "1",
    Tone.DESTROY: "31",
    Tone.ADD: "32",
    Tone.CHANGE: "33",
    Tone.BLOCK: "31;1",
    Tone.WARN: "33;1",
    Tone.FAINT: "2",
}


_state = {"no_color": False, "printed": False, "quiet": False}


def forget_output() -> None:
    """A new command line begins: it has printed nothing yet."""
    _state["printed"] = _state["quiet"] = False
    _live.end()


def has_printed() -> bool:
    """Whether this command line has printed any of its result."""
    return _state["printed"]


def no_color(given: bool) -> bool:
    """Apply the flag ``--no-color`` before anything is printed."""
    _state["no_color"] = given
    return given


def quiet(given: bool) -> bool:
    """Apply the flag ``--quiet`` before anything is printed."""
    _state["quiet"] = given
    return given


class _Live:
    """The work that stderr shows; one for this process, as there is one stderr.

    On a terminal it is drawn at the bottom again and again. In a log it is a line when there was none for a while.
    """

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self._ticker: Ticker | None = None
        self._drawn = 0
        """Lines that stand at the bottom of the terminal."""
        self._said = 0.0
        """When a log got its latest line, by the machine's clock: the heartbeat of a log is for people."""

    def begin(self, what: str) -> None:
        from reconciler.cli.progress import Progress, Ticker  # noqa: PLC0415 - not needed by what ends at once

        self.end()
        clock = CLOCK.get()
        self.progress, self._said = Progress(what, clock.monotonic, clock.now), time.monotonic()
        self._ticker = Ticker(self.tick)
        self._ticker.start()
        self.draw()

    def end(self) -> None:
        if self._ticker:
            self._ticker.stop()
        self.write(self.cleared())
        self.progress = self._ticker = None

    def tick(self) -> None:
        from reconciler.cli.progress import HEARTBEAT  # noqa: PLC0415 - imported long ago

        if not self.progress:
            return
        if _redraws(sys.stderr):
            self.draw()
        elif time.monotonic() - self._said >= HEARTBEAT:
            Console().note(self.progress.heartbeat())

    def draw(self) -> None:
        """Draw what there is to show, unless the terminal has not even taken what it was given before."""
        with suppress(Exception):  # what is drawn must not stop what it is about
            if self.progress and _redraws(sys.stderr) and _taken(sys.stderr):
                width, height = _size(sys.stderr)
                lines = self.progress.lines(width, height)
                before, self._drawn = self.cleared(), len(lines)
                self.write(before + "".join(f"{line}\n" for line in lines))

    def above(self, text: str) -> None:
        """Write lines that stay, above what is drawn."""
        self._said = time.monotonic()
        self.write(self.cleared() + text)
        self.draw()

    def cleared(self) -> str:
        """What takes the drawn lines back."""
        lines, self._drawn = self._drawn, 0
        return f"\x1b[{lines}A\r\x1b[J" if lines else ""

    def write(self, text: str) -> None:
        if text:
            print(text, end="", file=sys.stderr, flush=True)


_live = _Live()


class Console:
    """Standard output, standard error and the prompt of one command."""

    def __init__(self) -> None:
        self._in_actions = os.environ.get("GITHUB_ACTIONS") == "true"

    def lines(self, lines: Iterable[Line]) -> None:
        """Print a rendered view on stdout."""
        colored = self._colored(sys.stdout)
        found = _fitted(self._harmless(lines), _width(sys.stdout))
        self._write("".join(f"{_paint(line, colored)}\n" for line in found))

    def data(self, value: Any) -> None:
        """Print a result as JSON on stdout."""
        self.json_text(json.dumps(value, indent=2))

    def json_text(self, text: str) -> None:
        """Print a result that is JSON in ASCII already on stdout."""
        # ASCII steers no terminal, and the escape keeps GitHub's runner from reading a command.
        self._write(text.replace("##[", "#\\u0023[") + "\n")

    def text(self, text: str) -> None:
        """Print a result on stdout as it is."""
        self._write("".join(f"{line}\n" for line in self._neutral(text.split("\n"))).rstrip("\n") + "\n")

    def commands(self, lines: Iterable[str]) -> None:
        """Print workflow commands: the only lines that GitHub's runner is meant to obey."""
        for line in lines:
            print(line, file=sys.stderr, flush=True)

    def info(self, message: str) -> None:
        """Print a message that is not part of the result, on stderr."""
        self._stderr(Line(message))

    def note(self, message: str) -> None:
        """The same for what nobody misses who asked for ``--quiet``: progress, and how to go on."""
        if not _state["quiet"]:
            self._stderr(Line(message))

    def log_line(self, text: str) -> None:
        """Print a line of the log as it is, on stderr."""
        _live.above("".join(f"{each}\n" for each in self._neutral([text])))

    def saw(self, event: Event) -> None:
        """Show how far a run is: on a terminal as bars, else a line per change of state."""
        from reconciler.apply.events import PoolMoved  # noqa: PLC0415 - imported long ago
        from reconciler.cli.progress import until_words  # noqa: PLC0415

        if _live.progress:
            _live.progress.saw(event)
        if isinstance(event, PoolMoved) and event.words:
            bars = _live.progress is not None and _redraws(sys.stderr)
            if event.ended or not bars:
                self.note(f"{event.pool}: {event.words}{until_words(event.until)}")
        _live.draw()

    def saw_jobs(self, left: Mapping[str, int]) -> None:
        """Show how many sub-jobs of each job are unfinished."""
        if _live.progress:
            _live.progress.jobs(left)
            _live.draw()

    def waits(self, call: str, what: str, until: datetime | None) -> None:
        """Show that calls wait for the service, and for how long."""
        if not _live.progress:
            return
        words = _live.progress.waiting(call, what, until)
        if words and not _redraws(sys.stderr):
            self.note(f"{_live.progress.what}: {words}")
        _live.draw()

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show progress on stderr during the block."""
        self.begin(what)
        try:
            yield
        finally:
            self.end()

    def begin(self, what: str) -> None:
        """Show progress until ``end``; messages scroll above it."""
        if not _state["quiet"]:
            _live.begin(what)

    def end(self) -> None:
        """Stop showing progress."""
        _live.end()

    async def ask(self, question: str) -> str:
        """Prompt on stderr and read one line from the terminal; empty at the end of input.

        Waits in the event loop, because a blocking read would keep signals from being handled.
        """
        self.end()
        print(question, end="", file=sys.stderr, flush=True)
        loop, terminal = asyncio.get_running_loop(), sys.stdin.fileno()
        answered, line = asyncio.Event(), bytearray()

        def take() -> None:
            got = os.read(terminal, 4096)
            line.extend(got)
            if not got or b"\n" in got:
                answered.set()

        loop.add_reader(terminal, take)
        try:
            await answered.wait()
        except asyncio.CancelledError:
            print(file=sys.stderr, flush=True)
            raise
        finally:
            loop.remove_reader(terminal)
        return line.decode(errors="replace").split("\n")[0].rstrip("\r")

    @property
    def interactive(self) -> bool:
        """True when a person can answer a prompt."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    def error(self, error: ReconcilerError) -> None:
        """Print what is wrong, where, and what to do, on stderr."""
        for text in f"Error: {error.message}".split("\n"):
            self._stderr(Line(text, Tone.BLOCK))
        if isinstance(error, BadInput):
            for fault in error.faults:
                self._stderr(Line(f"  {fault}"))
        if error.hint:
            self._stderr(Line(f"  {error.hint}", Tone.FAINT))

    def _stderr(self, line: Line) -> None:
        found = _fitted(self._harmless([line]), _width(sys.stderr))
        _live.above("".join(f"{_paint(each, self._colored(sys.stderr))}\n" for each in found))

    def _harmless(self, lines: Iterable[Line]) -> Iterator[Line]:
        """The same lines with complete commands; under GitHub Actions, changed so that none is a workflow command."""
        for line in lines:
            for text in self._neutral([complete(line.text)]):
                yield replace(line, text=text)

    def _neutral(self, texts: Iterable[str]) -> Iterator[str]:
        if not self._in_actions:
            yield from texts
            return
        from reconciler.render.github import neutral  # noqa: PLC0415 - only under GitHub Actions

        yield from neutral(texts)

    @staticmethod
    def _write(text: str) -> None:
        _state["printed"] = True
        _live.write(_live.cleared())  # both streams may be the same terminal
        sys.stdout.write(text)

    def _colored(self, stream: TextIO) -> bool:
        if _state["no_color"] or os.environ.get("NO_COLOR"):
            return False
        if any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
            return True
        wanted = os.environ.get("CLICOLOR") != "0" and os.environ.get("TERM") != "dumb"
        return wanted and stream.isatty()


def _width(stream: TextIO) -> int:
    """Columns of the terminal; 0 where there is none, so that what is piped stays as it is."""
    return _size(stream)[0] if stream.isatty() else 0


def _size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of a terminal; no columns where it does not say them."""
    columns, lines = 0, 24
    with suppress(OSError, ValueError):
        columns, lines = os.get_terminal_size(stream.fileno())
    with suppress(ValueError):
        columns = int(os.environ.get("COLUMNS") or columns)
    return columns, lines


def _redraws(stream: TextIO) -> bool:
    """Whether lines can be taken back and drawn again: on a terminal that is no log of a CI."""
    able = os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("CI")
    return able and stream.isatty() and _size(stream)[0] > 0


def _taken(stream: TextIO) -> bool:
    """Whether all that was written has reached the terminal; of what stands still, nothing more is drawn."""
    return stream.taken() if isinstance(stream, TolerantStream) else True


def _fitted(lines: Iterable[Line], width: int) -> Iterator[Line]:
    """The lines, wrapped by words where a terminal is narrower."""
    for line in lines:
        for text in wrapped(line.text, width) if width else [line.text]:
            yield replace(line, text=text)


def _paint(line: Line, colored: bool) -> str:
    code = _CODES.get(line.tone)
    return f"\x1b[{code}m{line.text}\x1b[0m" if colored and code and line.text else line.text
