"""Writes files whole, never over anything but a regular file and never through a symbolic link; judges who may write.

What is written, and where, is left to the callers.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

NOT_REPLACEABLE = "it exists and is not a regular file"
IS_LINK = "it is a symbolic link, and nothing is written through one; name the place itself"
_STREAMS = ("/dev", "/proc")
"""Links here, such as ``/dev/stdout``, are the system's own."""


def replaceable(path: Path) -> bool:
    """True if a temporary file may be renamed to ``path``; False for devices and pipes.

    Raises ``OSError`` for a link.
    """
    if path.exists() and not path.is_file():
        return False
    # /dev/stdout is a link, and its target can be a regular file.
    if path.is_symlink() and _is_stream(path):
        return False
    refuse_link(path)
    return True


def write_atomically(path: Path, text: str, *, mode: int = 0o600, suffix: str = "") -> None:
    """Write a temporary file next to ``path`` and rename it: readers see the old file or the complete new one.

    ``suffix`` is the end of the temporary name, for readers that select files by suffix. Raises ``OSError``.
    """
    if not replaceable(path):
        raise FileExistsError(0, NOT_REPLACEABLE)
    import tempfile  # noqa: PLC0415 - costly, and most commands write no file

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


def write_file(
    path: Path, text: str, *, mode: int = 0o600, below: Path | None = None, new: bool = False
) -> None:
    """Write a text file in its place: a new one gets ``mode``, one that exists keeps its rights. Raises ``OSError``.

    With ``below``, its folders up to that one are made, and must not be links either; with ``new``, it must not exist.
    """
    for each in (below, *(folder for folder in path.parents if below and folder.is_relative_to(below))):
        if each:
            refuse_link(each)
    if below:
        path.parent.mkdir(parents=True, exist_ok=True)
    how = os.O_EXCL if new else os.O_TRUNC
    with os.fdopen(_opened(path, how, mode), "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)


def append_to(path: Path, text: str) -> None:
    """Add to a text file. Raises ``OSError``."""
    with os.fdopen(
        _opened(path, os.O_APPEND, 0o600), "a", encoding="utf-8", errors="backslashreplace"
    ) as file:
        file.write(text)


def open_to_append(path: Path) -> int:
    """A descriptor to add to a file with, which is made for this user alone where there is none.

    Raises ``OSError``, also for what is no file, such as a pipe that nobody reads.
    """
    refuse_link(path)
    stream = _is_stream(path)
    # Without O_NONBLOCK the opening of a pipe would wait for a reader.
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND | (0 if stream else os.O_NOFOLLOW)
    number = os.open(path, flags | os.O_NONBLOCK, 0o600)
    os.set_blocking(number, True)
    if stream or stat.S_ISREG(os.fstat(number).st_mode):
        return number
    os.close(number)
    raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def _opened(path: Path, how: int, mode: int) -> int:
    refuse_link(path)
    # A link that appears after that look is not followed either.
    follow = 0 if _is_stream(path) else os.O_NOFOLLOW
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | follow | how, mode)


def refuse_link(path: Path) -> None:
    """Raise ``OSError`` if this is a symbolic link: it may lead to a file that nobody meant."""
    if path.is_symlink() and not _is_stream(path):
        raise OSError(errno.ELOOP, IS_LINK, str(path))


def _is_stream(path: Path) -> bool:
    place = Path(os.path.normpath(path.absolute()))
    return any(place.is_relative_to(each) for each in _STREAMS) and not place.is_relative_to("/dev/shm")  # noqa: S108


def writable_by_others(path: Path) -> bool:
    """True if anybody but the owner may write here: everybody, or a group that others belong to.

    Raises ``OSError``.
    """
    found = path.stat()
    everybody, group = found.st_mode & stat.S_IWOTH, found.st_mode & stat.S_IWGRP
    return bool(everybody or (group and not _is_private(found.st_gid, found.st_uid)))


def owned_by_another(path: Path) -> bool:
    """True if neither this user nor root owns the file: its owner may write it at any time. Raises ``OSError``."""
    return path.stat().st_uid not in {os.geteuid(), 0}


def _is_private(gid: int, uid: int) -> bool:
    """Whether a group is its user's own, as many systems make it, or has no name, as in containers."""
    import grp  # noqa: PLC0415 - only for a place that a group may write
    import pwd  # noqa: PLC0415

    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return True  # the volume of a container: this id was made for it
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}


def is_regular(path: Path) -> bool:
    """True if ``path`` is a regular file; opening others, such as a FIFO, can block. Raises ``OSError``."""
    return stat.S_ISREG(path.stat().st_mode)
