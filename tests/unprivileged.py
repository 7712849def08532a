"""What root may do and nobody else: tests about missing rights give those of root up for a while."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that ``unprivileged`` code can reach and write to, as pytest's own is closed to others."""
    with tempfile.TemporaryDirectory(prefix="unprivileged") as name:
        folder = Path(name)
        own(folder)
        yield folder


def own(path: Path) -> None:
    """Give a path to the user who ``unprivileged`` code runs as; nothing to do for anybody but root."""
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be a user whom the rights of files bind: nobody, when this process is root's."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
