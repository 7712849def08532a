"""Standard output and error that never hold up the work: writing happens in a thread of its own.

A full pipe must not stand between a journalled intent and its call, and a stream that is closed, gone or full
must not change what a run does. What is printed is left to ``console``.
"""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False  # typing itself would be half of what `version` imports
if TYPE_CHECKING:
    import threading
    from collections import deque
    from collections.abc import Callable
    from typing import Any, TextIO


_leave: dict[str, float | None] = {"by": None}


class Writer:
    """Writes texts in the order in which they came; one for both streams, so that a terminal shows them in order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[TolerantStream, str]] | None = None
        self._changed: threading.Condition | None = None

    def put(self, stream: TolerantStream, text: str) -> None:
        """Queue a text; returns at once."""
        if self._waiting is None or self._changed is None:
            self._waiting, self._changed = self._start()
        with self._changed:
            self._waiting.append((stream, text))
            self._changed.notify_all()

    def idle(self, seconds: float) -> bool:
        """Wait at most so many seconds; True once everything has been written or discarded."""
        if self._waiting is None or self._changed is None:
            return True
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, seconds)
            return not self._waiting

    def _start(self) -> tuple[deque[tuple[TolerantStream, str]], threading.Condition]:
        import threading  # noqa: PLC0415 - the version is printed without any of this
        from collections import deque  # noqa: PLC0415

        waiting: deque[tuple[TolerantStream, str]] = deque()
        changed = threading.Condition()

        def work() -> None:
            while True:
                with changed:
                    changed.wait_for(lambda: waiting)
                    stream, text = waiting[0]
                stream.write_now(text)
                with changed:
                    # Taken off only now: `idle` then waits for the write as well.
                    waiting.popleft()
                    changed.notify_all()

        _one_arena()
        # A daemon: a reader that never reads again must not keep the process alive.
        threading.Thread(target=work, name="output", daemon=True).start()
        return waiting, changed


class TolerantStream:
    """A stream that queues what it is given, and once it is broken discards what follows and remembers why."""

    def __init__(self, stream: TextIO, writer: Writer) -> None:
        self._stream = stream
        self._writer = writer
        self.lost: OSError | None = None
        """The first error of a write; None while the stream works."""
        self.clean: Callable[[str], str] | None = None
        """Changes what is written: takes secrets out of what libraries write here past the console."""

    def write(self, text: str) -> int:
        """Queue the text; returns at once. Raises ``TypeError`` for bytes, by which libraries probe a stream."""
        if not isinstance(text, str):
            raise TypeError("write() argument must be str")
        self._writer.put(self, self.clean(text) if self.clean else text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: the writer flushes after each text, and waiting for it is what this class avoids."""

    def taken(self, seconds: float = 0.0) -> bool:
        """Wait at most so many seconds; True once everything has been written or discarded."""
        return self._writer.idle(seconds)

    def write_now(self, text: str) -> None:
        """Write, or discard the text once the stream is broken."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            self._lose(error)
        except ValueError:  # closed meanwhile; the process is ending
            self.lost = self.lost or OSError(errno.EBADF, os.strerror(errno.EBADF))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        self.lost = self.lost or error
        # When the process ends, Python flushes what is still buffered: to the null device now, without an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def _one_arena() -> None:
    """Let all threads allocate from one arena: glibc reserves 64 MB of address space for each further one.

    Threads here allocate next to nothing, and hostile answers must not exhaust a process that has 512 MB.
    """
    import ctypes  # noqa: PLC0415 - the version is printed without it

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:  # only glibc has it
        mallopt(-8, 1)  # M_ARENA_MAX


def tolerate() -> None:
    """Make stdout and stderr tolerant; one that was closed from the start leads nowhere."""
    leave_by(None)
    writer = Writer()
    for name in ("stdout", "stderr"):
        # Opened first of all, so that no other file gets the number of a standard stream.
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        # Here and never later: it flushes, and would then wait for the thread that writes to a full pipe.
        if not isinstance(stream, TolerantStream) and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # LC_ALL=C must not end in an encoding error
        setattr(sys, name, stream if isinstance(stream, TolerantStream) else TolerantStream(stream, writer))


def write_at_once(text: str) -> None:
    """Write a short result without the thread, and flush it."""
    if isinstance(sys.stdout, TolerantStream):
        sys.stdout.write_now(text)


def leave_by(moment: float | None) -> None:
    """After a signal: from this moment on (monotonic seconds), output that nobody reads is given up."""
    _leave["by"] = moment


def written(seconds: float) -> bool:
    """Wait at most so many seconds for the output so far; True once all of it is written or given up."""
    if (by := _leave["by"]) is not None:
        import time  # noqa: PLC0415 - only after a signal

        seconds = max(min(seconds, by - time.monotonic()), 0.0)
        if not seconds:
            return True
    return sys.stdout._writer.idle(seconds) if isinstance(sys.stdout, TolerantStream) else True


def wait_until_written() -> bool:
    """Wait for all output, as long as it takes; after a signal, until ``leave_by``. False when some was given up."""
    while not written(0.2):
        pass
    return sys.stdout._writer.idle(0.0) if isinstance(sys.stdout, TolerantStream) else True


def lost_output() -> OSError | None:
    """Why the result could not be written whole; None when it was. Ask after ``written``."""
    return sys.stdout.lost if isinstance(sys.stdout, TolerantStream) else None
