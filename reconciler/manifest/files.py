"""Finds and reads manifest files: from the paths the user gave to bytes.

``events`` parses the bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from reconciler.errors import Fault
from reconciler.manifest.events import MAX_BYTES

SUFFIXES: Final = (".yaml", ".yml")


class Files:
    """The files behind the given paths, each read once, and the faults of those that cannot be read."""

    def __init__(self, paths: Sequence[Path | str]) -> None:
        self.read: list[tuple[str, bytes]] = []
        """``(path as given, content)``, in the order of the paths, sorted inside a directory."""
        self.faults: list[Fault] = []
        self._seen: set[str] = set()
        for path in paths:
            self._take(os.fspath(path))

    def _take(self, path: str) -> None:
        try:
            if not stat.S_ISDIR(os.stat(path).st_mode):
                self._take_file(path)
                return
        except (OSError, ValueError) as error:
            self._refuse(path, _reason(error))
            return
        inside = sorted(self._below(path))
        if not inside:
            self._refuse(path, "no .yaml or .yml file in this directory or below it; name the manifest files")
        for each in inside:
            self._take_file(each)

    def _below(self, directory: str) -> Iterator[str]:
        def unreadable(error: OSError) -> None:
            self._refuse(str(error.filename), _reason(error))

        for folder, folders, names in os.walk(directory, onerror=unreadable):
            folders[:] = [each for each in folders if not each.startswith(".")]
            for name in names:
                if name.endswith(SUFFIXES) and not name.startswith("."):
                    yield os.path.join(folder, name)

    def _take_file(self, path: str) -> None:
        real = os.path.realpath(path)
        if real in self._seen:
            return
        self._seen.add(real)
        try:
            # Check the type before opening: opening a FIFO blocks, and opening a device can have effects.
            if not stat.S_ISREG(os.stat(path).st_mode):
                self._refuse(path, "not a regular file; name a file or a directory")
                return
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            self._refuse(path, _reason(error))
            return
        if len(data) > MAX_BYTES:
            self._refuse(path, f"larger than {MAX_BYTES // 1024} KiB; split it into several files")
            return
        self.read.append((path, data))

    def _refuse(self, path: str, why: str) -> None:
        self.faults.append(Fault(shown_path(path), 0, 0, why))


def _reason(error: OSError | ValueError) -> str:
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
