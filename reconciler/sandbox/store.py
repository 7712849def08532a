"""Keeps a world: in memory, or in a file that several processes may use at once.

``world`` knows what it is and how it changes, ``seed`` what it starts with.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from .errors import SandboxError
from .seed import default_world
from .world import FORMAT, Pool, World, iso, pool_status, settle


class Store:
    """A world with a home. Use ``Store.memory`` or ``Store.open``."""

    def __init__(self, world: World | None, path: Path | None) -> None:
        self._world = world
        self._path = path
        place = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8] if path else ""
        self._suffix = f"-{place}" if place else ""
        self._stamp: tuple[int, int, int] | None = None

    @classmethod
    def memory(cls, world: World) -> Store:
        """A store in memory only, which takes the world over."""
        return cls(world, None)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Store:
        """The store in a file; the default world until the first change creates the file.

        Raises ``SandboxError`` at once when what is there cannot be used.
        """
        store = cls(None, Path(path))
        store._load()
        return store

    def name_of(self, world: World) -> str:
        """What the service calls itself: the world and which file it is in, so that no two are taken for one."""
        return f"{world['name']}{self._suffix}"

    @contextlib.contextmanager
    def reading(self, now: float) -> Iterator[World]:
        """The world at ``now`` (seconds since the epoch), not to be changed; writes nothing."""
        yield self._settled(now)

    @contextlib.contextmanager
    def changing(self, now: float) -> Iterator[World]:
        """The world at ``now``, to be changed; kept when the block ends well, forgotten otherwise."""
        if self._path is None:
            yield self._settled(now)
            return
        with _locked(self._path):
            world = self._settled(now)
            try:
                yield world
            except BaseException:
                self._world = None
                raise
            self._save(self._path, world)

    def put(self, world: World) -> None:
        """Put another world in the place of the present one."""
        if self._path is not None:
            with _locked(self._path):
                self._save(self._path, world)
        self._world = world

    def _settled(self, now: float) -> World:
        world = self._load()
        settle(world, now)
        return world

    def _load(self) -> World:
        stamp = _stamp(self._path) if self._path is not None else None
        if self._world is None or stamp != self._stamp:
            self._world = default_world() if self._path is None or stamp is None else _parse(self._path)
            self._stamp = stamp
        return self._world

    def _save(self, path: Path, world: World) -> None:
        # A rename is atomic for other processes; surviving a power cut is not asked of a simulation.
        try:
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(world, file, ensure_ascii=False)
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as trouble:
            raise SandboxError(f"cannot write the sandbox state {path}: {trouble.strerror}") from trouble
        self._world = world
        self._stamp = _stamp(path)


def reset(path: str | os.PathLike[str]) -> None:
    """Put the default world back into a state file, whatever it holds now; creates it when missing."""
    Store(None, Path(path)).put(default_world())


def state(path: str | os.PathLike[str], now: float) -> dict[str, object]:
    """What a person wants to know of the world in a file at ``now``: see ``summary``."""
    with Store.open(path).reading(now) as world:
        return summary(world, now)


def summary(world: World, now: float) -> dict[str, object]:
    """``world``, ``projects`` with their pools and disks, ``jobs``, and ``record``: every mutating request."""
    return {
        "world": world["name"],
        "projects": [
            {
                "region": project["region"],
                "project_id": project["id"],
                "pools": [_pool(world, pool) for pool in project["pools"].values()],
            }
            for project in world["projects"].values()
        ],
        "jobs": [
            {
                "id": job["id"],
                "pool_id": job["pool_id"],
                "kind": job["kind"],
                "begun": iso(job["start"]),
                "ended": iso(job["end"]) if now >= job["end"] else None,
                "ending": job["ending"] if now >= job["end"] else None,
                "disks": [disk["id"] for disk in job["disks"]],
                "desktops": len(job["desktops"]),
            }
            for job in world["jobs"].values()
        ],
        "record": list(world["record"]),
    }


def _pool(world: World, pool: Pool) -> dict[str, object]:
    desktops = pool["desktops"]
    return {
        "name": pool["name"],
        "id": pool["id"],
        "status": pool_status(world, pool),
        "disks": [dict(disk) for disk in pool["disks"]],
        "desktops": len(desktops),
        "users": len({user for desktop in desktops for user in desktop["users"]}),
        "sessions": sum(1 for desktop in desktops if desktop["login_status"] == "CONNECTED"),
        "copies": sum(len(desktop["copies"]) for desktop in desktops),
    }


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as trouble:
        raise SandboxError(f"cannot read the sandbox state {path}: {trouble.strerror}") from trouble
    return found.st_mtime_ns, found.st_ino, found.st_size


def _parse(path: Path) -> World:
    advice = "reset the sandbox, or point it at another state file"
    try:
        document = json.loads(path.read_bytes())
    except OSError as trouble:
        raise SandboxError(f"cannot read the sandbox state {path}: {trouble.strerror}") from trouble
    except (ValueError, RecursionError) as trouble:
        raise SandboxError(f"the sandbox state {path} is no JSON document: {advice}") from trouble
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise SandboxError(f"the sandbox state {path} is not of format {FORMAT}: {advice}")
    if missing := sorted(World.__required_keys__ - set(document)):
        raise SandboxError(f"the sandbox state {path} lacks {', '.join(missing)}: {advice}")
    return cast("World", document)


_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The lock stands beside the state, because the state itself is replaced.
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path.with_name(f"{path.name}.lock"), _LOCK, 0o600)
    except OSError as trouble:
        raise SandboxError(f"cannot lock the sandbox state {path}: {trouble.strerror}") from trouble
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
