"""Finds and reads manifest files: from the paths the user gave to bytes.

``folder`` walks folders, ``events`` parses the bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from reconciler.errors import Fault
from reconciler.manifest.events import MAX_BYTES
from reconciler.manifest.folder import Folder
from reconciler.manifest.paths import NotRegular, contents, reason, refusal


class Files:
    """The files behind the given paths, each read once, and the faults of those that cannot be read."""

    def __init__(self, paths: Sequence[Path | str], *, follow_symlinks: bool = False) -> None:
        self.given = [os.fspath(path) for path in paths]
        """The paths as the user wrote them."""
        self.read: list[tuple[str, bytes]] = []
        """``(path as given, content)``, in the order of the paths, sorted inside a directory."""
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        """What ignore files left out, one line each."""
        self._follow_symlinks = follow_symlinks
        self._real: list[str] = []
        for path in self.given:
            with suppress(OSError, ValueError):  # reported when it is taken
                self._real.append(os.path.realpath(path))
        self._seen: set[str] = set()
        for path in self.given:
            self._take(path)

    def _take(self, path: str) -> None:
        try:
            if not stat.S_ISDIR(os.stat(path).st_mode):
                self._take_file(path, os.path.realpath(path))
                return
        except (OSError, ValueError) as error:
            self._refuse(path, reason(error))
            return
        folder = Folder(path, self._real, follow_symlinks=self._follow_symlinks)
        self.faults += folder.faults
        notes = [note for ignore in folder.ignores for note in ignore.notes()]
        self.notes += [note for note in notes if note not in self.notes]
        if not folder.files and not folder.faults:
            but = " that is not left out" if notes else ""
            self._refuse(
                path, f"no .yaml or .yml file in this directory or below it{but}; name the manifest files"
            )
        for each, real in sorted(folder.files):
            self._take_file(each, real)

    def _take_file(self, path: str, real: str) -> None:
        if real in self._seen:
            return
        self._seen.add(real)
        try:
            # By its real path, whose place was judged: a link may lead elsewhere by now.
            data = contents(real, MAX_BYTES)
        except NotRegular:
            self._refuse(path, "not a regular file; name a file or a directory")
        except OSError as error:
            self._refuse(path, reason(error))
        else:
            if len(data) > MAX_BYTES:
                self._refuse(path, f"larger than {MAX_BYTES // 1024} KiB; split it into several files")
            else:
                self.read.append((path, data))

    def _refuse(self, path: str, why: str) -> None:
        self.faults.append(refusal(path, why))
