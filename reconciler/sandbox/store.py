"""Owns where a world is kept: a JSON file that several processes may use at once, or memory."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .seed import default_world
from .world import FORMAT, World, due, settle


class SandboxError(Exception):
    """The state file cannot be used; the text says why."""


class Store:
    """One world; every access sees what is due at that moment already done."""

    def __init__(self, path: Path | None, world: World | None) -> None:
        self._path = path
        self._world = world
        self._seen: tuple[int, int] | None = None

    @classmethod
    def open(cls, path: Path) -> Store:
        """A world in a file, made with the default world on first use (0600, folders 0700)."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(path, None)

    @classmethod
    def memory(cls, world: World) -> Store:
        """A world that ends with the process."""
        return cls(None, world)

    @contextmanager
    def reading(self, now: float) -> Iterator[World]:
        """The world at ``now``; changes nothing but what is due."""
        if self._path is None:
            yield self._settled(self._load(), now)
            return
        with self._locked():
            world = self._load()
            if due(world, now):
                settle(world, now)
                self._save(world)
        yield world

    @contextmanager
    def changing(self, now: float) -> Iterator[World]:
        """The world at ``now``, kept when the block ends, also when it ends in a refusal."""
        with self._locked():
            world = self._settled(self._load(), now)
            try:
                yield world
            finally:
                self._save(world)

    def put(self, world: World) -> None:
        """Replace the whole world."""
        with self._locked():
            self._save(world)

    @staticmethod
    def _settled(world: World, now: float) -> World:
        settle(world, now)
        return world

    def _load(self) -> World:
        if self._path is None:
            if self._world is None:
                raise SandboxError("this world is gone")
            return self._world
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size)
            if self._world is None or seen != self._seen:
                world: World = json.loads(self._path.read_text(encoding="utf-8"))
                if world["format"] != FORMAT:
                    raise SandboxError(f"{self._path} is of another version; reset the sandbox")
                self._world, self._seen = world, seen
        except FileNotFoundError:
            self._world = default_world()
            self._save(self._world)
        except (ValueError, KeyError, TypeError):
            raise SandboxError(f"{self._path} is damaged; reset the sandbox") from None
        except OSError as error:
            raise SandboxError(f"{self._path} cannot be read: {error.strerror}") from None
        return self._world

    def _save(self, world: World) -> None:
        self._world = world
        if self._path is None:
            return
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(world, file)
        os.replace(temporary, self._path)
        stat = self._path.stat()
        self._seen = (stat.st_mtime_ns, stat.st_size)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._path is None:
            yield
            return
        lock = self._path.with_name(f"{self._path.name}.lock")
        try:
            with lock.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise SandboxError(f"{lock} cannot be used: {error.strerror}") from None
