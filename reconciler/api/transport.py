"""Sends one request and reads one complete answer within its limits of time and size, or raises an error.

httpx is imported here first and the other modules take it from here: on import it loads its own command line
with rich, click and pygments if they are installed (70 ms of every start), which this module prevents.
httpcore below it looks for sniffio several times a request; where that is not installed, it is looked for once.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # an optional extra, so httpx works without it
if "sniffio" not in sys.modules and importlib.util.find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # the import system then fails at once

import httpx as httpx  # noqa: E402, PLC0414 - the other modules of api take it from here

from reconciler.settings import is_loopback  # noqa: E402

CONNECT_SECONDS = 5.0
MOST_BYTES = 16 * 1024 * 1024
"""Maximum bytes of one answer; a page of 1,000 pools has about 2.5 MB."""


class ProtocolError(Exception):
    """The answer is too large, or compressed although the request did not accept that."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete answer."""

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
    """A client for the origin ``base`` that verifies TLS, follows no redirect and accepts no compression.

    With no idle connections every request gets its own connection.
    """
    parts = urlsplit(base)
    plain = parts.scheme == "http"
    return httpx.AsyncClient(
        auth=auth,
        transport=transport,
        verify=_nothing_trusted() if plain else _system_trusted(),
        # Requests to this machine or its metadata service must not leave it through a proxy.
        trust_env=not plain and not is_loopback(parts.hostname or ""),
        follow_redirects=False,
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=idle_connections),
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "reconciler"},
    )


@functools.cache
def _system_trusted() -> ssl.SSLContext:
    """Cached, because reading the certificates takes 25 ms."""
    return httpx.create_ssl_context()


@functools.cache
def _nothing_trusted() -> ssl.SSLContext:
    """For plain http, which needs no certificates; an unexpected TLS connection fails instead of going unverified."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def sandbox_transport(app: Any) -> httpx.AsyncBaseTransport:
    """A transport that answers from an ASGI application in this process."""
    return httpx.ASGITransport(app=app)


async def fetch(http: httpx.AsyncClient, request: httpx.Request, seconds: float) -> Answer:
    """Send ``request`` and read the complete answer; ``seconds`` limits the total time, however slow the answer is.

    Raises ``httpx.HTTPError``, ``ProtocolError`` or ``TimeoutError``.
    """
    async with asyncio.timeout(seconds):
        response = await http.send(request, stream=True)
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise ProtocolError("the answer is compressed although the request does not accept that")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise ProtocolError(f"the answer has more than {MOST_BYTES} bytes")
        finally:
            await response.aclose()
    return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(body))
