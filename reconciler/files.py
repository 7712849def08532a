"""Writes files atomically, and never over anything but a regular file.

What is written, and where, is left to the callers.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

NOT_REPLACEABLE = "it exists and is not a regular file"


def replaceable(path: Path) -> bool:
    """True if a temporary file may be renamed to ``path``; False for devices and pipes."""
    if path.exists() and not path.is_file():
        return False
    # /dev/stdout is a link, and its target can be a regular file.
    return not (path.is_symlink() and any(path.absolute().is_relative_to(each) for each in ("/dev", "/proc")))


def write_atomically(path: Path, text: str, *, mode: int = 0o600, suffix: str = "") -> None:
    """Write a temporary file next to ``path`` and rename it: readers see the old file or the complete new one.

    ``suffix`` is the end of the temporary name, for readers that select files by suffix. Raises ``OSError``.
    """
    if not replaceable(path):
        raise FileExistsError(0, NOT_REPLACEABLE)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=suffix)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:  # mkstemp creates it with mode 0600
            file.write(text)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def is_regular(path: Path) -> bool:
    """True if ``path`` is a regular file; opening others, such as a FIFO, can block. Raises ``OSError``."""
    return stat.S_ISREG(path.stat().st_mode)
