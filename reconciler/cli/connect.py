"""Owns opening what a command needs: targets with their credentials, the sandbox, the journal."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.clock import Clock, SystemClock
from reconciler.engine import World
from reconciler.errors import BadInput
from reconciler.model import Target

if TYPE_CHECKING:
    from reconciler.journal.records import Journal
    from reconciler.planner import Connections
    from reconciler.settings import Settings

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command works: flags that say so, before settings and environment."""

    endpoint: str | None = None
    sandbox: bool = False
    journal: str | None = None


def duration(text: str, flag: str) -> timedelta:
    """``90s``, ``15m``, ``1h`` or ``2d``; raises ``BadInput`` naming the flag."""
    found = re.fullmatch(r"([1-9]\d{0,5})([smhd])", text)
    if not found:
        raise BadInput(f"{flag} {text!r} is not a length of time", "write a number and s, m, h or d, as in 30m")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def state_folder() -> Path:
    """The user's folder for state: the journal and the sandbox live there."""
    import platformdirs  # noqa: PLC0415 - only when a path is asked for

    return Path(os.environ.get("RECONCILER_STATE_FOLDER") or platformdirs.user_state_dir("reconciler"))


def world(say: Callable[[str], None]) -> World:
    """The real world: the machine's clock, random ids, and a voice on stderr."""
    return World(SystemClock(), lambda: str(uuid.uuid4()), say)


@asynccontextmanager
async def connections(targets: Iterable[Target], place: Place, settings: Settings) -> AsyncIterator[Connections]:
    """Open every target; one that cannot be opened becomes a ``TargetFailure`` when there are others.

    Raises ``BadInput`` when a target is not the credentials' own project: the interlock of the manifest.
    """
    async with AsyncExitStack() as stack:
        opened = {}
        for target in targets:
            opened[target] = await _open(target, place, settings, stack)
        yield opened


def read_settings(place: Place) -> Settings:
    """Settings from flags and environment; the sandbox needs none of them."""
    from reconciler.settings import read  # noqa: PLC0415

    return read(os.environ, Path.home(), endpoint=place.endpoint, journal=place.journal)


@contextmanager
def journal(place: Place, settings: Settings, clock: Clock) -> Iterator[Journal]:
    """Open the journal: by flag, by environment, or a file in the user's state folder."""
    from reconciler.journal.store import open_journal  # noqa: PLC0415 - its import is the costliest

    name = "sandbox-journal.db" if place.sandbox else "journal.db"
    url = settings.journal or f"sqlite:///{state_folder() / name}"
    opened = open_journal(url, clock.now)
    try:
        yield opened
    finally:
        opened.close()
