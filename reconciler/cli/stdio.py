"""Owns stdout and stderr that are closed, gone or full: a run goes on to its own, truthful end."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing itself would be half of what `version` imports
if TYPE_CHECKING:
    from typing import Any, TextIO


class TolerantStream:
    """A stream that, once it cannot be written, swallows what follows and remembers why."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None
        """Why nothing can be written any more; None while all is well."""

    def write(self, text: str) -> int:
        """Write, or drop what nobody can get."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or drop what nobody can get."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        self.lost = self.lost or error
        # What is buffered has to go somewhere when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def tolerate() -> None:
    """Let stdout and stderr tolerate; one that was closed from the start leads nowhere."""
    for name in ("stdout", "stderr"):
        # Opened at once, so that no file of ours gets the number of a standard stream.
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        setattr(sys, name, stream if isinstance(stream, TolerantStream) else TolerantStream(stream))


def lost_output() -> OSError | None:
    """Why the result could not be written whole; None when it was."""
    return sys.stdout.lost if isinstance(sys.stdout, TolerantStream) else None
