"""A sandbox served over real TCP by a thread of the test process, whose clock and world the test holds."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from reconciler import sandbox
from reconciler.sandbox.store import Store
from reconciler.sandbox.world import Disk, Entry, Pool, World, copy_of
from tests.flows.skipping import TIME


@dataclass
class Served:
    """One sandbox with its address."""

    url: str
    store: Store
    app: Any
    offset: list[float] = field(default_factory=lambda: [0.0])
    """Seconds by which the sandbox's clock is ahead of ``TIME``."""

    def now(self) -> float:
        return TIME.time() + self.offset[0]

    def world(self) -> World:
        with self.store.reading(self.now()) as world:
            return world

    def pool(self, name: str) -> Pool:
        pools = self.world()["projects"][sandbox.PROJECT_ID]["pools"].values()
        return next(pool for pool in pools if pool["name"] == name)

    def give(self, name: str, disk: Disk) -> None:
        """Add a disk to a pool, with a copy on each of its desktops, as somebody else would."""
        pool = self.pool(name)
        pool["disks"].append(disk)
        for desktop in pool["desktops"]:
            desktop["copies"].append(copy_of(disk, self.now()))

    def posts(self) -> list[Entry]:
        """The service's own record of writes it accepted."""
        return [entry for entry in self.world()["record"] if entry["status"] == 200]

    @property
    def env(self) -> dict[str, str]:
        """Environment with which the command line finds and may use this sandbox."""
        return {
            "RECONCILER_ENDPOINT": self.url,
            "RECONCILER_IAM_ENDPOINT": self.url,
            "RECONCILER_METADATA": "off",
            "HUAWEICLOUD_SDK_AK": sandbox.ACCESS_KEY,
            "HUAWEICLOUD_SDK_SK": sandbox.SECRET_KEY,
        } | self._project

    @property
    def _project(self) -> dict[str, str]:
        """As ``sandbox serve`` prints it; with several projects IAM is asked which the keys reach."""
        projects = list(self.world()["projects"]) if self.store else []
        return {"HUAWEICLOUD_SDK_PROJECT_ID": projects[0]} if len(projects) == 1 else {}


@contextmanager
def serving(world: World, *, job_seconds: float = 0.3, budget: int | None = None) -> Iterator[Served]:
    """Serve ``world`` until the block ends."""
    store = Store.memory(world)
    offset = [0.0]
    app = sandbox.create_app(
        store, clock=lambda: TIME.time() + offset[0], job_seconds=job_seconds, budget=budget
    )
    with listening(app) as url:
        yield Served(url, store, app, offset)


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serve any ASGI application on a free port of this machine; yields its address."""
    # Named as TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", date_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
