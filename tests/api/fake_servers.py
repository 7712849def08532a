"""Small servers for the tests of ``api``: real TCP on loopback, with answers scripted byte by byte."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.api.client import WorkspaceClient
from reconciler.api.retry import Timing
from reconciler.api.token import TokenAuth
from reconciler.api.transport import CONNECT_SECONDS, httpx, open_http
from reconciler.credentials import Secret

PROJECT = "0123456789abcdef0123456789abcdef"
POOL = "305d3c76-199f-4407-8d82-2a42d970595e"
NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


QUICK = Timing(read=5, write=8)


class FakeClock:
    """Sleeping moves it on at once."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


@dataclass
class Seen:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Seen:
    """One whole request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, target, headers, body)


def answer(status: int, body: Any = b"", **headers: str) -> bytes:
    """One whole answer; anything but bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Length": str(len(raw)), "Connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + raw


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time a server puts forward where it lets a client of the same loop wait."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


async def pass_time(seconds: float) -> None:
    """Let seconds of a ``SkippingLoop`` pass at once, for everybody who waits in it."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    loop.skipped += seconds
    await asyncio.sleep(0)


@asynccontextmanager
async def listening(handler: Handler, tls: Any = None) -> AsyncIterator[str]:
    """A server on a free port; yields its origin."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Service:
    """Answers each request through ``reply`` and remembers it."""

    reply: Callable[[Seen], bytes]
    seen: list[Seen] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        self.seen.append(request)
        writer.write(self.reply(request))
        await writer.drain()


def script(*answers: bytes) -> Service:
    """A service that gives these answers in turn, and the last one for ever."""
    left = list(answers)
    return Service(lambda _: left.pop(0) if len(left) > 1 else left[0])


@asynccontextmanager
async def client_at(
    base: str,
    clock: FakeClock | None = None,
    timing: Timing = QUICK,
    auth: httpx.Auth | None = None,
) -> AsyncIterator[WorkspaceClient]:
    """A client as ``open_client`` builds it, with times of the test's own."""
    how = auth or TokenAuth(Secret("a-token"))
    async with open_http(base, how) as reads, open_http(base, how, idle_connections=0) as writes:
        writes.timeout = httpx.Timeout(None, connect=min(CONNECT_SECONDS, timing.write / 4))
        yield WorkspaceClient(reads, writes, base, PROJECT, clock or FakeClock(), timing=timing)


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
