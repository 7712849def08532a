"""Owns bytes and deadlines: one request, one whole answer within its time and size, or an error.

The only module that imports httpx first: httpx drags in its own command line with rich, click and
pygments wherever these are installed (70 ms of every start), so that part is kept out here.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # httpx copes: it is an optional extra

import httpx as httpx  # noqa: E402, PLC0414 - the other modules of api take it from here

READ_SECONDS = 15.0
"""Seconds one attempt of a read may take in all."""
WRITE_SECONDS = 30.0
"""Seconds a write may take in all, from connecting to the last byte of the answer."""
CONNECT_SECONDS = 5.0
MOST_BYTES = 64 * 1024 * 1024
"""Bytes of one answer; a page of 1,000 pools has about 2.5 MB."""


class BadAnswer(Exception):
    """The answer is too large, or compressed although nobody asked for that."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes


def open_http(
    auth: httpx.Auth | None, transport: httpx.AsyncBaseTransport | None = None, *, keep_alive: bool = True
) -> httpx.AsyncClient:
    """A client that verifies TLS, follows no redirect, and asks for no compression."""
    return httpx.AsyncClient(
        auth=auth,
        transport=transport,
        follow_redirects=False,
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        # A write gets a connection of its own: one that the other end just closed must not blur its outcome.
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=16 if keep_alive else 0),
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "reconciler"},
    )


def sandbox_transport(app: Any) -> httpx.AsyncBaseTransport:
    """A transport that answers from an ASGI application in this process."""
    return httpx.ASGITransport(app=app)


async def fetch(http: httpx.AsyncClient, request: httpx.Request, seconds: float) -> Answer:
    """Send ``request`` and read the whole answer; ``seconds`` bounds all of it, however slowly it drips.

    Raises ``httpx.HTTPError``, ``BadAnswer`` or ``TimeoutError``.
    """
    async with asyncio.timeout(seconds):
        response = await http.send(request, stream=True)
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise BadAnswer("the answer is compressed although that was not asked for")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise BadAnswer(f"the answer has more than {MOST_BYTES} bytes")
        finally:
            await response.aclose()
    return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(body))
