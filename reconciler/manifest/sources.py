"""What decides a run, as files: read again before something is sent, and compared byte for byte.

Reading and parsing manifests is left to ``load``; that a change stops the run, to who asks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from reconciler.errors import StalePlan
from reconciler.manifest.events import MAX_BYTES
from reconciler.manifest.files import Files
from reconciler.manifest.paths import NotRegular, contents, reason, shown_path
from reconciler.values import Struct

Seen = tuple[tuple[str, str], ...]
"""``(path, sha256 of the content)`` of every file, sorted; in place of the digest why one could not be read."""


class Sources(Struct, frozen=True):
    """The given paths of manifests, and further single files that decide as well."""

    manifests: tuple[Path, ...]
    follow_symlinks: bool = False
    others: tuple[Path, ...] = ()

    def seen(self) -> Seen:
        """Every file as it is now."""
        files = Files(self.manifests, follow_symlinks=self.follow_symlinks)
        return tuple(sorted(seen(files) + tuple(map(_alone, self.others))))

    def check(self, before: Seen) -> None:
        """Raise ``StalePlan`` when any file is not what it was, or there are others."""
        if changed := changes(before, self.seen()):
            raise StalePlan(
                f"the files that this run is decided by are not what it has read: {changed}",
                "nothing more is sent; run again once nobody writes to them any more",
            )


def seen(files: Files) -> Seen:
    """What was read, those files included that turned out to be no manifests, and what could not be read."""
    read = [(path, hashlib.sha256(data).hexdigest()) for path, data in files.read]
    return tuple(sorted(read + [(fault.file, fault.what) for fault in files.faults]))


def changes(before: Seen, now: Seen) -> str:
    """What differs, in words; empty when nothing does."""
    old, new = dict(before), dict(now)
    words = [
        f"{shown_path(path)} {'is new' if path not in old else 'is gone' if path not in new else 'has changed'}"
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]
    return _shortened(words)


def _shortened(words: Sequence[str], most: int = 5) -> str:
    more = [f"and {len(words) - most} more"] if len(words) > most else []
    return ", ".join([*words[:most], *more])


def _alone(path: Path) -> tuple[str, str]:
    try:
        return os.fspath(path), hashlib.sha256(contents(os.fspath(path), MAX_BYTES)).hexdigest()
    except NotRegular:
        return os.fspath(path), "not a regular file"
    except (OSError, ValueError) as error:
        return os.fspath(path), reason(error)
