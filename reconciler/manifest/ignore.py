"""Reads ``.reconcilerignore``: which files and folders of a folder are left out, by name.

Few rules on purpose, each of them git's: a rule that is not understood is a fault, since a pattern that means
something else would leave out the limits of a run. ``folder`` asks for each name.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from reconciler.manifest.paths import NotRegular, contents, reason, refusal, shown_path

if TYPE_CHECKING:
    from reconciler.errors import Fault

NAME: Final = ".reconcilerignore"
MAX_BYTES: Final = 64 * 1024
"""Maximum size of one ignore file, in bytes."""
MAX_PATTERNS: Final = 200
"""Maximum number of patterns in one ignore file; each is compared with every name."""


class Ignore:
    """The patterns of one ignore file, which holds for its folder and everything below."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = os.path.join(folder, NAME)
        self.faults: list[Fault] = []
        self.left_out: list[str] = []
        """Folders, and files that look like manifests, that a pattern left out; relative to ``folder``."""
        self._patterns: list[str] = []
        self._used: set[str] = set()
        for number, line in enumerate(self._text().splitlines(), 1):
            pattern = line.strip()
            if pattern and not pattern.startswith("#"):
                self._add(pattern, number)

    def matches(self, path: str, *, is_folder: bool) -> bool:
        """True if a pattern names this file or folder, which is in ``folder`` or below it."""
        steps = self.relative(path).split(os.sep)
        found = [each for each in self._patterns if _matches(each, steps, is_folder)]
        self._used.update(found)
        return bool(found)

    def relative(self, path: str) -> str:
        """A path in ``folder`` or below it, from there."""
        return path[len(os.path.join(self.folder, "")) :]

    def notes(self) -> list[str]:
        """One line on what was left out, and one for each pattern that left out nothing."""
        where, notes = shown_path(self.path), []
        if self.left_out:
            first = ", ".join(shown_path(each) for each in self.left_out[:5])
            more = f" and {len(self.left_out) - 5} more" if len(self.left_out) > 5 else ""
            notes.append(f"Left out by {where}: {first}{more}.")
        return notes + [
            f"Warning: {where}: the pattern {each!r} matches nothing."
            for each in dict.fromkeys(self._patterns)
            if each not in self._used
        ]

    def _text(self) -> str:
        try:
            data = contents(self.path, MAX_BYTES)
            if len(data) <= MAX_BYTES:
                return data.decode("utf-8")
            self._refuse(f"larger than {MAX_BYTES // 1024} KiB; write fewer patterns")
        except NotRegular:
            self._refuse("not a regular file; write the patterns into a file")
        except UnicodeDecodeError:
            self._refuse("not UTF-8; save the file as UTF-8")
        except OSError as error:
            self._refuse(reason(error))
        return ""

    def _add(self, pattern: str, line: int) -> None:
        if pattern.startswith("!"):
            self._refuse("patterns with '!' are not supported; write what is left out", line)
        elif "**" in pattern or "\\" in pattern:
            self._refuse("'**' and '\\' are not supported; a name without '/' matches at every depth", line)
        elif {"..", "."} & set(pattern.split("/")):
            self._refuse("'.' and '..' are not supported; write paths from this file's folder", line)
        elif len(self._patterns) >= MAX_PATTERNS:
            self._refuse(f"more than {MAX_PATTERNS} patterns; write fewer", line)
        else:
            self._patterns.append(pattern)

    def _refuse(self, why: str, line: int = 0) -> None:
        self.faults.append(refusal(self.path, why, line))


def _matches(pattern: str, steps: list[str], is_folder: bool) -> bool:
    if pattern.endswith("/") and not is_folder:
        return False
    plain = pattern.rstrip("/")
    if "/" not in plain:
        return fnmatchcase(steps[-1], plain)
    wanted = plain.lstrip("/").split("/")
    return len(wanted) == len(steps) and all(map(fnmatchcase, steps, wanted))
