"""Keeps a run going to its end when stdout or stderr is closed, broken or full.

What a lost result means for the exit code is left to ``main``.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing itself would be half of what `version` imports
if TYPE_CHECKING:
    from typing import Any, TextIO


class TolerantStream:
    """A stream that, once a write has failed, discards further text and remembers the error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None
        """The first error of a write; None while the stream works."""

    def write(self, text: str) -> int:
        """Write, or discard the text once the stream is broken."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or discard the text once the stream is broken."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        self.lost = self.lost or error
        # When the process ends, Python flushes what is still buffered: to the null device now, without an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def tolerate() -> None:
    """Make stdout and stderr tolerant; one that was closed from the start becomes the null device."""
    for name in ("stdout", "stderr"):
        # Opened first of all, so that no other file gets the number of a standard stream.
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        setattr(sys, name, stream if isinstance(stream, TolerantStream) else TolerantStream(stream))


def lost_output() -> OSError | None:
    """Why the result could not be written completely; None when it was."""
    return sys.stdout.lost if isinstance(sys.stdout, TolerantStream) else None
