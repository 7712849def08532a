"""Names and bytes of single files: what looks like a manifest, how a path is shown, how a file is read.

``folder`` walks folders, ``files`` puts the answers together.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from reconciler.errors import Fault

SUFFIXES: Final = (".yaml", ".yml")
"""Endings of a manifest's name, in any case: ``A.YAML`` is one as well."""


def looks_like_manifest(name: str) -> bool:
    """True if the ending of the name says YAML."""
    return name.lower().endswith(SUFFIXES)


def within(path: str, folder: str) -> bool:
    """True if a real path is this folder, or below it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def contents(path: str, most: int) -> bytes:
    """The bytes of a regular file, up to one more than ``most``; raises ``OSError`` and ``NotRegular``."""
    # Check the type before opening: opening a FIFO blocks, and opening a device can have effects.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise NotRegular
    with open(path, "rb") as file:
        return file.read(most + 1)


class NotRegular(Exception):
    """The path is a pipe, a device, a socket or a folder."""


def refusal(path: str, why: str, line: int = 0) -> Fault:
    """A fault of a whole file or folder, or of one of its lines."""
    return Fault(shown_path(path), line, 1 if line else 0, why)


def reason(error: OSError | ValueError) -> str:
    """What an error of the file system means, and what to do."""
    match error:
        case FileNotFoundError():
            return "no such file or directory; check the path"
        case PermissionError():
            return "permission denied; check the permissions of the file"
        case OSError():
            return f"cannot be read: {error.strerror or 'unknown reason'}"
        case _:
            return "not a valid path; check it"


def shown_path(path: str) -> str:
    """A path as shown in messages, with terminal control characters escaped."""
    return path if path.isprintable() else repr(path)[1:-1]
