"""What is made once per session and shared by all processes that test: in a folder that each of them sees."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def shared_folder(basetemp: Path) -> Path:
    """A folder that all processes of this session see."""
    return (basetemp.parent if "PYTEST_XDIST_WORKER" in os.environ else basetemp) / "shared"


@contextmanager
def once(folder: Path) -> Iterator[bool]:
    """Whether this process is the first that needs a folder; the others wait until it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    complete = folder.with_suffix(".complete")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if needed := not complete.exists():
            folder.mkdir()
        yield needed
        complete.touch()
