"""Owns the tiny web server of ``watch``: whether rounds still end, and the gauges of the last one.

What is answered is handed in; the server speaks just enough HTTP/1.1 for a probe and a scrape.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from reconciler.errors import BadInput

SECONDS = 5.0
"""For one request, from its first byte to the end of the answer."""
MOST_BYTES = 8192
"""Bytes of a request's head."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    status: str
    """Such as ``200 OK``."""
    kind: str
    """Content type."""
    text: str


Pages = Mapping[str, Callable[[], Page]]
"""What is made at each path when it is asked for."""
_ABSENT = Page("404 Not Found", "text/plain; charset=utf-8", "there is /healthz and /metrics\n")
_REFUSED = Page("405 Method Not Allowed", "text/plain; charset=utf-8", "only GET and HEAD\n")
_BAD = Page("400 Bad Request", "text/plain; charset=utf-8", "this is no HTTP request\n")


@asynccontextmanager
async def serving(address: str, port: int, pages: Pages) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port, which 0 leaves to the system.

    Raises ``BadInput`` when the address cannot be listened on.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(SECONDS):
                await _answer(reader, writer, pages)
        writer.close()

    try:
        server = await asyncio.start_server(answer, address, port, limit=MOST_BYTES)
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no address"
        raise BadInput(
            f"--health-address {address} --health-port {port} cannot be listened on: {why}",
            "name a free port (0 takes any) and an address of this machine",
        ) from None
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pages: Pages) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        page, method = _BAD, "GET"
    else:
        make = pages.get(path.split("?", 1)[0], lambda: _ABSENT)
        page = make() if method in ("GET", "HEAD") else _REFUSED
    body = page.text.encode()
    told = (
        f"HTTP/1.1 {page.status}\r\nContent-Type: {page.kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    writer.write(told.encode() + (b"" if method == "HEAD" else body))
    await writer.drain()
