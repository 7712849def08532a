"""What a soak plays on: pools, manifests that somebody keeps editing slowly, and a service with faults."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse

from reconciler import sandbox
from reconciler.sandbox import seed
from reconciler.sandbox.store import Store
from reconciler.sandbox.world import World
from tests.flows.serving import Served, listening

KEPT = (("SSD", 100), ("SAS", 50))
"""What every version of every manifest declares."""
WAVERING = ("SATA", 10)
"""What some versions declare, and others do not."""
PER_FILE = 10
JOB_SECONDS = 1.0
HEAD = f"version: 1\ntarget: {{region: {sandbox.REGION}, project_id: {sandbox.PROJECT_ID}}}\n"
LIMITS = "limits: {disks: 500, copies: 5000, pools: 300}\n"


@dataclass
class Manifests:
    """The files that the watch reads, and every version that was ever complete."""

    folder: Path
    rng: random.Random
    names: list[list[str]]
    """The pools of each file."""
    declares: dict[str, bool] = field(default_factory=dict)
    """By pool: whether its entry declares the wavering disk now."""
    undeclared: list[tuple[str, float, float]] = field(default_factory=list)
    """Pool, and from when until when (seconds since 1970) its entry did not declare that disk."""
    edits: int = 0

    def write_all(self, head: str) -> None:
        """Make all files at once, before anybody reads them."""
        self.folder.mkdir()
        (self.folder / "head.yaml").write_text(HEAD + head)
        for number, names in enumerate(self.names):
            for name in names:
                # Few: each surplus pool costs a read of its desktops a round, and the client keeps to 200 a minute.
                self.declares[name] = self.rng.random() < 0.95
                if not self.declares[name]:
                    self.undeclared.append((name, 0.0, float("inf")))
            self._path(number).write_text("".join(self._pieces(number)))

    def edit(self) -> None:
        """Write one file again, slowly, in one of the ways in which writers do; it may change one entry."""
        number = self.rng.randrange(len(self.names))
        name = self.rng.choice(self.names[number])
        changes = self.rng.random() < 0.7
        if changes:
            self.declares[name] = not self.declares[name]
        pieces, path = self._pieces(number), self._path(number)
        self.rng.choice([self._truncate, self._append, self._rename, self._overwrite, self._make_again])(
            path, pieces
        )
        self.edits += 1
        if changes and self.declares[name]:
            pool, since, _ = next(each for each in reversed(self.undeclared) if each[0] == name)
            self.undeclared[self.undeclared.index((pool, since, float("inf")))] = (pool, since, time.time())
        elif changes:
            self.undeclared.append((name, self._began, float("inf")))

    def _truncate(self, path: Path, pieces: list[str]) -> None:
        self._began = time.time()
        with path.open("w") as file:
            for piece in pieces:
                file.write(piece)
                file.flush()
                self._wait()

    def _append(self, path: Path, pieces: list[str]) -> None:
        self._began = time.time()
        path.write_text("")
        for piece in pieces:
            self._wait()
            with path.open("a") as file:
                file.write(piece)

    def _overwrite(self, path: Path, pieces: list[str]) -> None:
        self._began = time.time()
        with path.open("r+") as file:
            for piece in pieces:
                file.write(piece)
                file.flush()
                self._wait()
            file.truncate()

    def _make_again(self, path: Path, pieces: list[str]) -> None:
        path.unlink()
        self._append(path, pieces)

    def _rename(self, path: Path, pieces: list[str]) -> None:
        new = path.with_suffix(".new")
        self._append(new, pieces)
        new.replace(path)

    def _wait(self) -> None:
        time.sleep(self.rng.uniform(0.0, 0.1))  # a writer is slow; nobody waits for it

    def _path(self, number: int) -> Path:
        return self.folder / f"pools-{number:02}.yaml"

    def _pieces(self, number: int) -> list[str]:
        return [HEAD + "pools:\n", *(line for name in self.names[number] for line in self._entry(name))]

    def _entry(self, name: str) -> Iterator[str]:
        manage = "    manage: []\n" if name.startswith("m-") else ""
        yield f"  - name: {name}\n    apply_to: all\n{manage}    disks:\n"
        for kind, size in (*KEPT, *([WAVERING] if self.declares[name] else [])):
            yield f"      - {{type: {kind}, size: {size}}}\n"


def policy(budget: int, minutes: int, opened: datetime) -> str:
    """Two minutes in three are open, from then until after the end."""
    starts = (opened + timedelta(minutes=3 * number) for number in range(minutes // 3 + 3))
    days = "[mon, tue, wed, thu, fri, sat, sun]"
    windows = [
        f"    - {{days: {days}, start: '{start:%H:%M}', end: '{start + timedelta(minutes=2):%H:%M}', timezone: UTC}}\n"
        for start in starts
    ]
    return f"{LIMITS}drift:\n  correct: [remove]\n  disks_per_day: {budget}\n  windows:\n{''.join(windows)}"


def world(pools: int) -> tuple[World, list[list[str]]]:
    """The live pools, and the names of those in each file; ``u-…`` are in none, ``m-…`` are not managed."""
    names = [f"{'m' if number % 20 == 0 else 'p'}-{number:03}" for number in range(pools)]
    others = [f"{kind}-{number}" for kind in "uh" for number in range(5)]
    live = [seed.pool(name, [*KEPT, WAVERING], 3, 1) for name in (*names, *others)]
    return seed.world("soak", live), [names[at : at + PER_FILE] for at in range(0, pools, PER_FILE)]


@dataclass
class Faults:
    """A service that fails at random, and how often it did."""

    app: Any
    rng: random.Random
    share: float = 0.02
    done: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or self.rng.random() > self.share:
            await self.app(scope, receive, send)
            return
        self.done += 1
        match self.rng.choice(["refused", "throttled", "slow", "lost"]):
            case "refused":
                await JSONResponse({"error_code": "WKS.9999", "error_msg": "no"}, 503)(scope, receive, send)
            case "throttled":
                answer = JSONResponse({"error_code": "APIGW.0308"}, 429, {"Retry-After": "1"})
                await answer(scope, receive, send)
            case "slow":
                await asyncio.sleep(self.rng.uniform(0.2, 2.0))
                await self.app(scope, receive, send)
            case _:  # carried out, and its answer never arrives
                await self.app(scope, receive, _nowhere)
                await send({"type": "http.response.start", "status": 502, "headers": []})
                await send({"type": "http.response.body", "body": b"<html>bad gateway</html>"})


async def _nowhere(_message: Any) -> None:
    """Lose an answer."""


@contextmanager
def serving(live: World, rng: random.Random) -> Iterator[tuple[Served, Faults]]:
    """The pools over TCP, behind the faults."""
    store = Store.memory(live)
    app = Faults(sandbox.create_app(store, job_seconds=JOB_SECONDS), rng)
    with listening(app) as url:
        yield Served(url, store, app), app
