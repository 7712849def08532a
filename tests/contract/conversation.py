"""One conversation of the client with a served sandbox: every call there is, in every state of a job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from reconciler import sandbox
from reconciler.api.connect import open_client
from reconciler.clock import SystemClock
from reconciler.credentials import Secret, Token
from reconciler.journal.states import State, Step
from reconciler.model import ApplyTo, Disk, Target
from reconciler.sandbox import seed
from reconciler.sandbox.store import Store
from reconciler.sandbox.world import Ending, Pool, World, copy_of
from reconciler.settings import Settings
from reconciler.workspace import Call, LiveWorkspace
from tests.flows.serving import listening

JOB_SECONDS = 10.0
TARGET = Target(sandbox.REGION, sandbox.PROJECT_ID)
MESSAGE = "A disk of this pool goes after 2026-12-03 09:00 UTC."
TUNED: Any = {"type": "GPSSD2", "size": 80, "iops": 4000, "throughput": 200, "kms_id": "key"}
ENDINGS: dict[str, Ending] = {"good": "success", "half": "partial", "bad": "fail"}


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as they went over the wire."""

    method: str
    path: str
    query: str
    body: bytes
    status: int
    answer: bytes


@dataclass
class Recorder:
    """An ASGI application that notes what goes in and out of another one."""

    app: Any
    exchanges: list[Exchange] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, answer, status = bytearray(), bytearray(), 0

        async def listen() -> Any:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def speak(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            answer.extend(message.get("body", b""))
            # Noted before it is sent, so that who has the answer finds it in the record.
            if message["type"] == "http.response.body" and not message.get("more_body"):
                path, query = scope["raw_path"].decode(), scope["query_string"].decode()
                noted = Exchange(scope["method"], path, query, bytes(body), status, bytes(answer))
                self.exchanges.append(noted)
            await send(message)

        await self.app(scope, listen, speak)


@dataclass
class Service:
    """A sandbox that listens on a port, with its record; its clock moves only when a test says so."""

    url: str
    world: World
    exchanges: list[Exchange]
    _ahead: list[float]

    def pass_time(self, seconds: float) -> None:
        self._ahead[0] += seconds

    def pool(self, name: str) -> Pool:
        pools = self.world["projects"][sandbox.PROJECT_ID]["pools"].values()
        return next(pool for pool in pools if pool["name"] == name)


@contextmanager
def service() -> Iterator[Service]:
    """Serve a world that has everything a field could be filled by."""
    world = small_world()
    start, ahead = time.time(), [0.0]
    store = Store.memory(world)
    app = sandbox.create_app(store, clock=lambda: start + ahead[0], job_seconds=JOB_SECONDS)
    recorder = Recorder(app)
    with listening(recorder) as url:
        yield Service(url, world, recorder.exchanges, ahead)


def small_world() -> World:
    """Pools whose jobs end in each way, with tuned and encrypted disks, a group, and desktops that nobody has."""
    pools = [seed.pool(name, [("SSD", 100), ("SAS", 50), ("SATA", 500)], 2, 1) for name in ENDINGS]
    for pool in pools:
        ending = ENDINGS[pool["name"]]
        pool["behaviour"] = {"delete": ending, "add": ending, "expand": ending}
        tuned = TUNED | {"id": f"tuned-{pool['name']}"}
        pool["disks"].append(tuned)
        for desktop in pool["desktops"]:
            desktop["copies"].append(copy_of(tuned, seed.BIRTH))
        pool["desktops"][0] |= {"groups": ["staff"], "user_list": ["ann", "bob"]}
    bare = seed.pool("bare", [], 1, 0)
    prepaid = seed.pool("prepaid", [("SAS", 20)], 1, 1)
    prepaid["charging_mode"] = "0"
    return seed.world("contract", [*pools, bare, prepaid])


@cache
def conversation() -> tuple[Exchange, ...]:
    """Everything that the client and the sandbox said to each other."""
    with service() as served:
        asyncio.run(_converse(served))
        return tuple(served.exchanges)


@asynccontextmanager
async def _client(served: Service) -> AsyncIterator[LiveWorkspace]:
    token = Token(Secret(sandbox.TOKEN))
    async with open_client(Settings(endpoint=served.url), token, TARGET, SystemClock()) as client:
        yield LiveWorkspace(client)


async def _converse(served: Service) -> None:
    # One client for each pool: the budget of one lets a hundred reads of a kind go at once, and then waits.
    for pool in served.world["projects"][sandbox.PROJECT_ID]["pools"].values():
        async with _client(served) as workspace:
            await _read(workspace, pool)
            if pool["name"] in ENDINGS:
                for call in _calls(pool):
                    await _write(workspace, served, call)
                    await _read(workspace, pool)
    async with _client(served) as workspace:
        told = await workspace.send_message(served.pool("good")["id"], MESSAGE, datetime.now(UTC))
        assert told.state is State.ACCEPTED
        refused = await workspace.send(_removal(served.pool("prepaid"), None, 0), datetime.now(UTC))
        assert refused.state is State.REJECTED
        assert await workspace.job("none-such") is None


async def _read(workspace: LiveWorkspace, pool: Pool) -> None:
    assert await workspace.pools()
    assert (await workspace.pool(pool["id"])).pool.name == pool["name"]
    assert await workspace.desktops(pool["id"])
    await workspace.differing(pool["id"])
    for step in Step:
        await workspace.running_jobs(step)
        await workspace.pool_jobs(pool["id"], step)


async def _write(workspace: LiveWorkspace, served: Service, call: Call) -> None:
    """One write, its job at the start, halfway and at the end, and the next write refused meanwhile."""
    outcome = await workspace.send(call, datetime.now(UTC))
    assert outcome.state is State.ACCEPTED, outcome
    assert outcome.job_id
    refused = await workspace.send(call, datetime.now(UTC))
    assert refused.state is State.REJECTED
    for _ in range(3):
        assert await workspace.job(outcome.job_id)
        served.pass_time(JOB_SECONDS / 2)


def _calls(pool: Pool) -> Iterator[Call]:
    grown = Disk(pool["disks"][0]["id"], pool["disks"][0]["type"], pool["disks"][0]["size"] + 10)
    yield Call(Step.EXPAND, pool["id"], (grown,), None)
    yield Call(Step.ADD, pool["id"], (Disk("", "SAS", 10), Disk("", **TUNED)), ApplyTo.ALL)
    for apply_to in (None, *ApplyTo):
        yield _removal(pool, apply_to, -1)


def _removal(pool: Pool, apply_to: ApplyTo | None, at: int) -> Call:
    disk = pool["disks"][at]
    return Call(Step.REMOVE, pool["id"], (Disk(disk["id"], disk["type"], disk["size"]),), apply_to)
