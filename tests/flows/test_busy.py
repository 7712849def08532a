"""A pool that is busy with something else is waited for as long as it needs, then read and planned anew."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler import sandbox
from reconciler.api.connect import open_client
from reconciler.apply.context import RunContext
from reconciler.apply.results import ApplyReport
from reconciler.credentials import AccessKeys, Secret
from reconciler.engine.apply import ApplyRequest, apply
from reconciler.errors import ExitCode
from reconciler.journal.store import open_journal
from reconciler.manifest.load import load
from reconciler.planner import Connection
from reconciler.planning.plan import Plan, Service
from reconciler.sandbox import seed
from reconciler.settings import Settings
from reconciler.workspace import LiveWorkspace
from tests.flows.conftest import manifest
from tests.flows.serving import Served, listening, serving

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass
class SkippingClock:
    """Where the code under test would wait, its time and that of the service move on together."""

    offset: list[float]

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time() + self.offset[0], UTC)

    def monotonic(self) -> float:
        return time.monotonic() + self.offset[0]

    async def sleep(self, seconds: float) -> None:
        self.offset[0] += max(seconds, 0.0)
        await asyncio.sleep(0)


@dataclass
class Busy:
    """Refuses the first writes with one answer; notes every request that came."""

    served: Served
    status: int
    code: str
    times: int
    seen: list[tuple[str, str, float]] = field(default_factory=list)
    """Method, last part of the path, and the service's time."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writes = sum(method == "POST" for method, _, _ in self.seen)
        self.seen.append((scope["method"], scope["path"].rsplit("/", 1)[-1], self.served.now()))
        if scope["method"] != "POST" or writes >= self.times:
            await self.served.app(scope, receive, send)
            return
        body = json.dumps({"error_code": self.code, "error_msg": "busy", "error_detail": "busy"}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    @property
    def posts(self) -> list[int]:
        """Where in ``seen`` the writes stand."""
        return [index for index, (method, _, _) in enumerate(self.seen) if method == "POST"]


async def carry_out(path: Path, url: str, clock: SkippingClock) -> ApplyReport:
    """Apply a manifest in this process, over TCP, with everything approved."""
    loaded = load([path])
    [target] = loaded.targets
    keys = AccessKeys(sandbox.ACCESS_KEY, Secret(sandbox.SECRET_KEY))
    journal = open_journal(f"sqlite:///{path.parent / 'journal.db'}", clock.now)

    async def approve(_plan: Plan) -> None:
        """Approved."""

    try:
        async with open_client(Settings(endpoint=url), keys, target, clock) as client:
            connection = Connection(Service(target, "sandbox:busy"), LiveWorkspace(client), clock)
            request = ApplyRequest(loaded, loaded.limits, approve)
            run = RunContext(journal, clock, lambda: str(uuid.uuid4()), {target: connection})
            return await apply(request, run)
    finally:
        journal.close()


@pytest.mark.parametrize(
    ("status", "code", "disks", "wait"),
    [
        (400, "WKS.0407", "{type: SAS, size: 50}, {type: SSD, size: 100}, {type: SSD, size: 10}", 300),
        (409, "WKS.00010032", "{type: SSD, size: 100}", 30),
    ],
    ids=["disks-are-being-added", "desktops-are-busy"],
)
def test_a_busy_pool_is_waited_for_and_read_anew_before_the_next_write(
    tmp_path: Path, status: int, code: str, disks: str, wait: float
) -> None:
    with serving(seed.world("busy", [seed.pool("p", [("SAS", 50), ("SSD", 100)], 2, 1)])) as served:
        path = manifest(tmp_path, [f"{{name: p, manage: [remove, add], disks: [{disks}]}}"])
        busy = Busy(served, status, code, times=2)
        with listening(busy) as url:
            report = asyncio.run(carry_out(path, url, SkippingClock(served.offset)))
        assert (report.exit_code, report.remaining) == (ExitCode.DONE, 0)
        assert len(served.posts()) == 1
        first, second, third = busy.posts
        pool_id = served.pool("p")["id"]
        for before, after in ((first, second), (second, third)):
            assert busy.seen[after][2] - busy.seen[before][2] >= wait
            assert ("GET", pool_id) in [each[:2] for each in busy.seen[before:after]]


def test_a_pool_that_stays_busy_is_given_up_with_nothing_changed(tmp_path: Path) -> None:
    with serving(seed.world("busy", [seed.pool("p", [("SAS", 50), ("SSD", 100)], 2, 1)])) as served:
        path = manifest(tmp_path, ["{name: p, disks: [{type: SSD, size: 100}]}"])
        busy = Busy(served, 409, "WKS.00010032", times=99)
        with listening(busy) as url:
            report = asyncio.run(carry_out(path, url, SkippingClock(served.offset)))
        assert report.exit_code is ExitCode.ERROR
        assert len(busy.posts) == 3
        assert "the service rejected the call" in report.results[0].message
        assert served.posts() == []
