"""Prints: results on stdout, everything else on stderr, in colour only on a terminal that wants it.

What is printed is left to ``render``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from reconciler.cli.commands import complete
from reconciler.cli.live import Live, redraws, size_of
from reconciler.errors import BadInput, ReconcilerError
from reconciler.render.line import Line, Tone
from reconciler.render.wrap import wrapped
from reconciler.values import replace

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.apply.events import Event

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


def no_color(_line: object, _flag: object, given: bool) -> bool:
    """Apply the flag ``--no-color`` before anything is printed."""
    _state["no_color"] = given
    return given


def quiet(_line: object, _flag: object, given: bool) -> bool:
    """Apply the flag ``--quiet`` before anything is printed."""
    _state["quiet"] = given
    return given


_live = Live()
"""One for this process, as there is one stderr."""


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
            bars = _live.progress is not None and redraws(sys.stderr)
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
        if words and not redraws(sys.stderr):
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
            _live.begin(what, self.note)

    def end(self) -> None:
        """Stop showing progress."""
        _live.end()

    async def ask(self, question: str) -> str:
        """Prompt on stderr and read one line from the terminal; empty at the end of input.

        Waits in the event loop, because a blocking read would keep signals from being handled.
        """
        import asyncio  # noqa: PLC0415 - a tenth of `--help`, which asks nothing

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
        if not line.endswith(b"\n"):  # the end of input leaves the cursor behind the question
            print(file=sys.stderr, flush=True)
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
        _live.clear()  # both streams may be the same terminal
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
    return size_of(stream)[0] if stream.isatty() else 0


def _fitted(lines: Iterable[Line], width: int) -> Iterator[Line]:
    """The lines, wrapped by words where a terminal is narrower."""
    for line in lines:
        for text in wrapped(line.text, width) if width else [line.text]:
            yield replace(line, text=text)


def _paint(line: Line, colored: bool) -> str:
    code = _CODES.get(line.tone)
    return f"\x1b[{code}m{line.text}\x1b[0m" if colored and code and line.text else line.text
