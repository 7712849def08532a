"""Owns bytes and deadlines: one request, one whole answer within its time and size, or an error.

The only module that imports httpx first: httpx drags in its own command line with rich, click and
pygments wherever these are installed (70 ms of every start), so that part is kept out here.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # httpx copes: it is an optional extra

import httpx as httpx  # noqa: E402, PLC0414 - the other modules of api take it from here

from reconciler.settings import is_loopback  # noqa: E402

CONNECT_SECONDS = 5.0
MOST_BYTES = 16 * 1024 * 1024
"""Bytes of one answer; a page of 1,000 pools has about 2.5 MB."""


class ProtocolError(Exception):
    """The answer is too large, or compressed although nobody asked for that."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes


def open_http(
    base: str,
    auth: httpx.Auth | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    *,
    idle_connections: int = 16,
) -> httpx.AsyncClient:
    """A client for the origin ``base`` that verifies TLS, follows no redirect, and asks for no compression.

    With no idle connections every request gets a connection of its own.
    """
    parts = urlsplit(base)
    plain = parts.scheme == "http"
    return httpx.AsyncClient(
        auth=auth,
        transport=transport,
        verify=_nothing_trusted() if plain else _system_trusted(),
        # What is meant for this machine or its metadata service must not leave it through a proxy.
        trust_env=not plain and not is_loopback(parts.hostname or ""),
        follow_redirects=False,
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=idle_connections),
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "reconciler"},
    )


@functools.cache
def _system_trusted() -> ssl.SSLContext:
    """Built once: reading the certificates takes 25 ms."""
    return httpx.create_ssl_context()


@functools.cache
def _nothing_trusted() -> ssl.SSLContext:
    """For plain http, where no certificate is needed; any TLS would fail rather than go unverified."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def sandbox_transport(app: Any) -> httpx.AsyncBaseTransport:
    """A transport that answers from an ASGI application in this process."""
    return httpx.ASGITransport(app=app)


async def fetch(http: httpx.AsyncClient, request: httpx.Request, seconds: float) -> Answer:
    """Send ``request`` and read the whole answer; ``seconds`` bounds all of it, however slowly it drips.

    Raises ``httpx.HTTPError``, ``ProtocolError`` or ``TimeoutError``.
    """
    async with asyncio.timeout(seconds):
        response = await http.send(request, stream=True)
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise ProtocolError("the answer is compressed although that was not asked for")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise ProtocolError(f"the answer has more than {MOST_BYTES} bytes")
        finally:
            await response.aclose()
    return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(body))
