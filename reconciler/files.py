"""Reads and writes files so that nobody sees half a one, and nothing that is not a plain file is overwritten."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

NOT_REPLACEABLE = "it exists and is not a regular file"


def replaceable(path: Path) -> bool:
    """Whether a file may be written beside ``path`` and renamed over it; never over a device or a pipe."""
    if path.exists() and not path.is_file():
        return False
    # /dev/stdout and its like are links, to a regular file perhaps.
    return not (path.is_symlink() and any(path.absolute().is_relative_to(each) for each in ("/dev", "/proc")))


def write_atomically(path: Path, text: str, *, mode: int = 0o600, suffix: str = "") -> None:
    """Write beside ``path`` and rename, so that a reader finds the old file or the whole new one.

    ``suffix`` ends the temporary name, for readers that pick files by theirs. Raises ``OSError``.
    """
    if not replaceable(path):
        raise FileExistsError(0, NOT_REPLACEABLE)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=suffix)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:  # mkstemp made it 0600
            file.write(text)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def is_regular(path: Path) -> bool:
    """Whether ``path`` is a file that can be opened without waiting, as a FIFO would; raises ``OSError``."""
    return stat.S_ISREG(path.stat().st_mode)
