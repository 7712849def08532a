"""Owns finding and reading manifest files: paths as the user gave them to bytes.

What the bytes mean is left to ``events``.
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
    """The files behind some paths, each once, and what stood in the way of reading others."""

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
            self._refuse(
                path, "no .yaml or .yml file is in this directory or below; name the manifests themselves"
            )
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
            # Looked at before it is opened: opening a FIFO waits, and opening a device may act.
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
            return "there is no such file or directory; check the path"
        case PermissionError():
            return "it may not be read; check its permissions"
        case OSError():
            return f"it cannot be read: {error.strerror or 'unknown reason'}"
        case _:
            return "this is not a path; check it"


def shown_path(path: str) -> str:
    """A path as messages show it: what would steer a terminal is spelled out."""
    return path if path.isprintable() else repr(path)[1:-1]
