"""Walks one given folder: everything in it that looks like a manifest is found, or is a fault by name.

Skipping is dangerous here: a file that is left out may hold the limits of the run. ``files`` reads what is found.
"""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.manifest.ignore import NAME as IGNORE_FILE
from reconciler.manifest.ignore import Ignore
from reconciler.manifest.paths import looks_like_manifest, reason, refusal, within

if TYPE_CHECKING:
    from reconciler.errors import Fault

_GIT: Final = ".git"
"""Git's own files, which no commit can hold: branches named ``a.yaml`` are files here."""
_MOUNT: Final = "..data"
"""The link through which Kubernetes mounts a ConfigMap: ``a.yaml -> ..data/a.yaml``, ``..data -> ..2026_…``."""
_MOUNTED: Final = re.compile(r"\.\.(data_tmp|\d{4}_\d\d_\d\d.*)")
"""What ``..data`` leads to, led to before, or is about to lead to; what it holds now is looked at through it."""
_IGNORE: Final = f"write its name into {IGNORE_FILE}"
_LEAVES: Final = (
    f"a link that leaves the given folder; name what it leads to as well, use --follow-symlinks, or {_IGNORE}"
)


class _Found(NamedTuple):
    """One name in a folder, and the ignore files that hold there, outermost first."""

    path: str
    real: str
    """The path without links; of a link, its own place and not where it leads."""
    ignores: tuple[Ignore, ...]


class Folder:
    """What is in one given folder; ``given`` are the real paths of everything that the user named."""

    def __init__(self, top: str, given: Sequence[str], *, follow_symlinks: bool) -> None:
        self.files: list[tuple[str, str]] = []
        """Paths of manifests and their real paths; a file comes several times if it has several names."""
        self.faults: list[Fault] = []
        self.ignores: list[Ignore] = []
        self._given = given
        self._follow_symlinks = follow_symlinks
        self._walked: set[str] = set()
        self._real_files: set[str] = set()
        self._links: deque[_Found] = deque()
        self._hidden: list[_Found] = []
        # Links after what is really there, so that messages show a file under its own name; hidden ones
        # last, when it is known what else leads to them.
        self._walk(_Found(top, os.path.realpath(top), ()))
        while self._links:
            self._follow(self._links.popleft())
        for each in self._hidden:
            self._look_at_hidden(each)

    def _walk(self, first: _Found) -> None:
        stack = [first]
        while stack:
            folder = stack.pop()
            if folder.real in self._walked:  # a loop of links, or two links to one folder
                continue
            self._walked.add(folder.real)
            for entry, found in self._entries(folder):
                if entry.name.startswith("."):
                    self._hidden.append(found)
                elif entry.is_symlink():
                    self._links.append(found)
                elif entry.is_dir(follow_symlinks=False):
                    stack.append(found)
                elif looks_like_manifest(entry.name):
                    self._take(found.path, found.real)

    def _entries(self, folder: _Found) -> Iterator[tuple[os.DirEntry[str], _Found]]:
        """The entries that are not left out by name, sorted."""
        try:
            with os.scandir(folder.path) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            self._refuse(folder.path, reason(error))
            return
        names = {entry.name: entry for entry in entries}
        ignores = folder.ignores
        if IGNORE_FILE in names:
            ignores = (*ignores, *self._ignore_file(folder.path))
        mounted = _MOUNT in names and names[_MOUNT].is_symlink()
        for entry in entries:
            if entry.name in (_GIT, IGNORE_FILE) or (mounted and _MOUNTED.fullmatch(entry.name)):
                continue
            if not ignores or not _left_out(entry.path, ignores):
                yield entry, _Found(entry.path, os.path.join(folder.real, entry.name), ignores)

    def _ignore_file(self, folder: str) -> tuple[Ignore, ...]:
        path = os.path.join(folder, IGNORE_FILE)
        if not self._may_read(os.path.realpath(path)):
            self._refuse(path, _LEAVES)
            return ()
        ignore = Ignore(folder)
        self.ignores.append(ignore)
        self.faults += ignore.faults
        return (ignore,)

    def _follow(self, link: _Found) -> None:
        mode = self._mode(link.path)
        is_folder = stat.S_ISDIR(mode)
        if not mode or not (is_folder or looks_like_manifest(link.path)):
            return
        real = os.path.realpath(link.path)
        if not self._may_read(real):
            self._refuse(link.path, _LEAVES)
        elif is_folder:
            self._walk(link._replace(real=real))
        else:
            self._take(link.path, real)

    def _mode(self, path: str) -> int:
        """The mode of what the path leads to; 0 after a fault."""
        try:
            return os.stat(path).st_mode
        except FileNotFoundError:
            # Whatever its name: it may have been a folder of manifests.
            self._refuse(path, "a link to no such file or directory; mend it, remove it, or " + _IGNORE)
        except OSError as error:
            self._refuse(path, reason(error))
        return 0

    def _look_at_hidden(self, found: _Found) -> None:
        mode = self._mode(found.path)
        if stat.S_ISDIR(mode):
            if inside := self._first_manifest(found):
                what = f"a hidden folder with {os.path.relpath(inside, found.path)} in it"
                self._refuse(found.path, f"{what}; rename it, name it beside its folder, or {_IGNORE}")
        elif mode and looks_like_manifest(found.path) and not self._known(found.path, found.path):
            self._refuse(found.path, f"a hidden file; rename it, name it beside its folder, or {_IGNORE}")

    def _first_manifest(self, hidden: _Found) -> str:
        """A path in this hidden folder that looks like a manifest and is not read otherwise, or ''."""
        top = os.path.realpath(hidden.path)
        if top in self._walked:
            return ""
        if os.path.islink(hidden.path) and not within(top, os.path.realpath(os.path.dirname(hidden.path))):
            return hidden.path  # not looked into: it leads elsewhere
        failed: list[OSError] = []
        for folder, folders, names in os.walk(hidden.path, onerror=failed.append):
            paths = [os.path.join(folder, each) for each in sorted(folders) if each != _GIT]
            kept = [each for each in paths if not _left_out(each, hidden.ignores)]
            folders[:] = [os.path.basename(each) for each in kept]
            files = (os.path.join(folder, each) for each in sorted(names) if looks_like_manifest(each))
            for each in (*filter(os.path.islink, kept), *files):
                real = os.path.realpath(each)
                inside = os.path.islink(each) and within(real, top)  # met where it really is
                if not inside and not self._known(each, hidden.path) and not _left_out(each, hidden.ignores):
                    return each
        for error in failed:
            self._refuse(str(error.filename), reason(error))
        return ""

    def _known(self, path: str, hidden: str) -> bool:
        """True if something else leads to this file: a visible link, or a path that the user named."""
        real, top = os.path.realpath(path), os.path.realpath(hidden)
        named = (each for each in self._given if within(each, top))
        return real in self._real_files or real in self._walked or any(within(real, each) for each in named)

    def _may_read(self, real: str) -> bool:
        return self._follow_symlinks or any(within(real, each) for each in self._given)

    def _take(self, path: str, real: str) -> None:
        self.files.append((path, real))
        self._real_files.add(real)

    def _refuse(self, path: str, why: str) -> None:
        self.faults.append(refusal(path, why))


def _left_out(path: str, ignores: tuple[Ignore, ...]) -> bool:
    is_folder = os.path.isdir(path)
    for ignore in ignores:
        if ignore.matches(path, is_folder=is_folder):
            if is_folder or looks_like_manifest(path) or os.path.islink(path):
                ignore.left_out.append(ignore.relative(path))
            return True
    return False
