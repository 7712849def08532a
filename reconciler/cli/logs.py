"""The one door of Python's ``logging``: who asked for a log gets it, on stderr or in a file, as text or JSON.

What is logged, and that it holds no secret, is left to ``reconciler.logs``; this redacts every line once more. A log
that cannot be written any more says so once, and never stops what the command does.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path

from reconciler.cli.console import Console
from reconciler.cli.stdio import TolerantStream, Writer
from reconciler.clock import CLOCK
from reconciler.errors import BadInput, ReconcilerError
from reconciler.files import open_to_append
from reconciler.logs import FIELDS, TREE
from reconciler.redaction import redact
from reconciler.values import Struct

VARIABLE = "RECONCILER_LOG"
_LEVELS = {"off": None, "info": logging.INFO, "debug": logging.DEBUG}
LONGEST_WAIT = 2.0
"""Seconds that the end of a command waits for the rest of a log file on a disk that hangs."""


class Asked(Struct, frozen=True):
    """What the flags say about the log."""

    verbose: bool = False
    debug: bool = False
    file: Path | None = None
    as_json: bool = False


@contextmanager
def logging_as(asked: Asked, environ: Mapping[str, str]) -> Iterator[None]:
    """Log during the block as the flags, or else ``RECONCILER_LOG``, ask for it.

    Raises ``BadInput`` before anything is done for a file that cannot be written, or a level that is none.
    """
    level = _level(asked, environ)
    if level is None:
        yield
        return
    handler = _Handler(_opened(asked.file) if asked.file else None, asked)
    tree = logging.getLogger(TREE)
    before = tree.level, tree.propagate
    tree.addHandler(handler)
    tree.setLevel(level)
    tree.propagate = False  # what others do with the root logger, they do to their own lines
    try:
        yield
    except Exception as error:
        tree.debug("the command ends with %s", type(error).__name__, exc_info=_unexpected(error))
        raise
    finally:
        tree.removeHandler(handler)
        tree.setLevel(before[0])
        tree.propagate = before[1]
        handler.close()


def _unexpected(error: Exception) -> Exception | None:
    return None if isinstance(error, ReconcilerError) else error


def _level(asked: Asked, environ: Mapping[str, str]) -> int | None:
    wanted = environ.get(VARIABLE, "").strip().lower()
    if wanted and wanted not in _LEVELS:
        raise BadInput(
            f"{VARIABLE} is none of {', '.join(_LEVELS)}",
            f"set it to one of these, or unset it; {VARIABLE}=debug logs everything",
        )
    if asked.debug:
        return logging.DEBUG
    if asked.verbose:
        return logging.INFO
    return _LEVELS[wanted or "off"] or (logging.INFO if asked.file else None)


def _opened(path: Path) -> TolerantStream:
    try:
        number = open_to_append(path)
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise BadInput(
            f"--log-file {redact(str(path))} cannot be written: {problem}; nothing was sent",
            "name a file in a folder that exists and that you may write, or leave the flag out",
        ) from None
    if _is_the_result(number):
        os.close(number)
        raise BadInput(
            f"--log-file {redact(str(path))} is where the result goes, which a log would garble; nothing was sent",
            "name another file; without one, the log goes to standard error",
        )
    return TolerantStream(os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace"), Writer())


def _is_the_result(number: int) -> bool:
    try:
        own, result = os.fstat(number), os.fstat(1)
    except OSError:
        return False  # standard output is closed
    return os.path.samestat(own, result) and not stat.S_ISCHR(own.st_mode)


class _Handler(logging.Handler):
    """Writes lines to a file, or to stderr among the other messages; in both cases from a thread of its own."""

    def __init__(self, file: TolerantStream | None, asked: Asked) -> None:
        super().__init__()
        self._file = file
        self._console = Console()
        self._told = False
        self._path = asked.file
        self.setFormatter(_Json() if asked.as_json else _Text())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            if self._file is None:
                self._console.log_line(line)
            elif self._file.lost is None:
                self._file.write(f"{line}\n")
            else:
                self._tell()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the names are the library's
        """Do nothing: a line that cannot be made must not become a traceback, or stop a run."""

    def close(self) -> None:
        super().close()
        if self._file:
            if not self._file.taken(LONGEST_WAIT):
                self._file.lost = self._file.lost or OSError(errno.EIO, "it takes too long to be written")
            else:
                self._file.close()
            self._tell()

    def _tell(self) -> None:
        if self._file and self._file.lost and not self._told:
            self._told = True
            problem = self._file.lost.strerror
            self._console.info(
                f"Warning: the log {self._path} is not complete: {problem}. The command goes on."
            )


class _Text(logging.Formatter):
    """``2026-03-14T09:26:53.589Z INFO api request method=GET …``."""

    def format(self, record: logging.LogRecord) -> str:
        area = record.name.removeprefix(f"{TREE}.")
        words = f"{_moment()} {record.levelname} {area} {record.getMessage()}"
        trace = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        return "\n".join([redact(words), *(f"  {redact(each)}" for each in trace.splitlines())])


class _Json(logging.Formatter):
    """The same as one JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        known = getattr(record, FIELDS, None) or {"event": redact(record.getMessage())}
        area = record.name.removeprefix(f"{TREE}.")
        head = {"time": _moment(), "level": record.levelname.lower(), "area": area}
        if record.exc_info and record.exc_info[0]:
            known = {**known, "traceback": redact(self.formatException(record.exc_info))}
        # ASCII steers no terminal, and the escape keeps GitHub's runner from reading a command.
        return json.dumps({**head, **known}).replace("##[", "#\\u0023[")


def _moment() -> str:
    return f"{CLOCK.get().now().astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
