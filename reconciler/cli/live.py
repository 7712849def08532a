"""Where the progress of a command is on the screen: drawn again and again at the bottom, or a line now and then.

What it says is left to ``progress``, everything else that is printed to ``console``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from reconciler.cli.stdio import TolerantStream
from reconciler.clock import CLOCK

if TYPE_CHECKING:
    from reconciler.cli.progress import Progress, Ticker


class Live:
    """The work that stderr shows: on a terminal as lines at its bottom, in a log as a line when there was none."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.progress: Progress | None = None
        self._now = now
        """Seconds, by the machine's clock: the heartbeat of a log is for people who wait."""
        self._say: Callable[[str], None] | None = None
        self._ticker: Ticker | None = None
        self._drawn = 0
        """Lines that stand at the bottom of the terminal."""
        self._said = 0.0
        """When a log got its latest line."""

    def begin(self, what: str, say: Callable[[str], None]) -> None:
        """Show this work until ``end``; ``say`` prints a line of a log."""
        from reconciler.cli.progress import Progress, Ticker  # noqa: PLC0415 - not needed by what ends at once

        self.end()
        clock = CLOCK.get()
        self.progress, self._say = Progress(what, clock.monotonic, clock.now), say
        self._said = self._now()
        self._ticker = Ticker(self.tick)
        self._ticker.start()
        self.draw()

    def end(self) -> None:
        """Show nothing any more."""
        if self._ticker:
            self._ticker.stop()
        self.clear()
        self.progress = self._ticker = None

    def tick(self) -> None:
        """Show that time passes; called every second."""
        from reconciler.cli.progress import HEARTBEAT  # noqa: PLC0415 - imported long ago

        if redraws(sys.stderr):
            self.draw()
        elif self.progress and self._say and self._now() - self._said >= HEARTBEAT:
            with suppress(Exception):  # what is shown must not stop what it is about
                self._say(self.progress.heartbeat())

    def draw(self) -> None:
        """Draw what there is to show, unless the terminal has not even taken what it was given before."""
        with suppress(Exception):  # as above
            if self.progress and redraws(sys.stderr) and _taken(sys.stderr):
                lines = self.progress.lines(*size_of(sys.stderr))
                before, self._drawn = self._cleared(), len(lines)
                _write(before + "".join(f"{line}\n" for line in lines))

    def above(self, text: str) -> None:
        """Write lines that stay, above what is drawn."""
        self._said = self._now()
        _write(self._cleared() + text)
        self.draw()

    def clear(self) -> None:
        """Take the drawn lines back, until they are drawn again."""
        if self._drawn:
            _write(self._cleared())

    def _cleared(self) -> str:
        lines, self._drawn = self._drawn, 0
        return f"\x1b[{lines}A\r\x1b[J" if lines else ""


def _write(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def size_of(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of a terminal; no columns where it does not say them."""
    columns, lines = 0, 24
    with suppress(OSError, ValueError):
        columns, lines = os.get_terminal_size(stream.fileno())
    with suppress(ValueError):
        columns = int(os.environ.get("COLUMNS") or columns)
    return columns, lines


def redraws(stream: TextIO) -> bool:
    """Whether lines can be taken back and drawn again: on a terminal that is no log of a CI."""
    able = os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("CI")
    return able and stream.isatty() and size_of(stream)[0] > 0


def _taken(stream: TextIO) -> bool:
    """Whether all that was written has reached the terminal; of what stands still, nothing more is drawn."""
    return stream.taken() if isinstance(stream, TolerantStream) else True
