"""Sends one request and reads one complete answer within its limits of time and size, or raises an error.

httpx is imported here first and the other modules take it from here: on import it loads its own command line
with rich, click and pygments if they are installed (70 ms of every start), which this module prevents.
httpcore below it looks for sniffio several times a request; where that is not installed, it is looked for once.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import os
import ssl
import sys
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from reconciler.values import Struct

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # an optional extra, so httpx works without it
if "sniffio" not in sys.modules and importlib.util.find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # the import system then fails at once

import httpx as httpx  # noqa: E402, PLC0414 - the other modules of api take it from here

from reconciler.logs import log, logs  # noqa: E402
from reconciler.network import Proxy, proxy_for, trusted  # noqa: E402
from reconciler.settings import is_loopback  # noqa: E402

CONNECT_SECONDS = 5.0
MOST_BYTES = 16 * 1024 * 1024
"""Maximum bytes of one answer; a page of 1,000 pools has about 2.5 MB."""


class ProtocolError(Exception):
    """The answer is too large, or compressed although the request did not accept that."""


class Answer(Struct, frozen=True):
    """One complete answer."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes


class Http(httpx.AsyncClient):
    """A client that knows its proxy."""

    through: str = ""
    """For messages: `` through the proxy …``, without its password; empty without a proxy."""


def through(http: httpx.AsyncClient) -> str:
    """How a message about this connection names the proxy; begins with a space unless empty."""
    return http.through if isinstance(http, Http) else ""


def open_http(
    base: str,
    auth: httpx.Auth | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    *,
    idle_connections: int = 16,
) -> httpx.AsyncClient:
    """A client for the origin ``base`` that verifies TLS, follows no redirect and accepts no compression.

    With no idle connections every request gets its own connection. Raises ``BadInput`` for network settings that
    cannot be used.
    """
    proxy, trust = route(base) if transport is None else (None, _nothing_trusted())
    http = Http(
        auth=auth,
        transport=transport,
        verify=trust,
        proxy=_proxy(proxy.url, trust) if proxy else None,
        trust_env=False,  # ``network`` has read the environment, and has refused what httpx would stumble over
        follow_redirects=False,
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=idle_connections),
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "reconciler"},
    )
    http.through = f" through the proxy {proxy.shown}" if proxy else ""
    return http


def _proxy(url: str, trust: ssl.SSLContext) -> httpx.Proxy:
    return httpx.Proxy(url, ssl_context=trust if url.startswith("https:") else None)


def route(base: str) -> tuple[Proxy | None, ssl.SSLContext]:
    """The proxy and the certificates for an address; raises ``BadInput`` for settings that cannot be used."""
    parts = urlsplit(base)
    if parts.scheme == "http":
        return None, _nothing_trusted()
    # Requests to this machine must not leave it through a proxy.
    own = is_loopback(parts.hostname or "")
    return None if own else proxy_for(base, os.environ), trusted(os.environ)


@functools.cache
def _nothing_trusted() -> ssl.SSLContext:
    """For plain http, which needs no certificates; an unexpected TLS connection fails instead of going unverified."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def sandbox_transport(app: Any) -> httpx.AsyncBaseTransport:
    """A transport that answers from an ASGI application in this process."""
    return httpx.ASGITransport(app=app)


async def _sent(http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    try:
        return await http.send(request, stream=True)
    except Exception as error:
        # httpx passes on what its SOCKS library raises for a proxy that speaks something else.
        if type(error).__module__.startswith("socksio"):
            raise httpx.ProxyError("it does not speak SOCKS5") from None
        raise


async def fetch(http: httpx.AsyncClient, request: httpx.Request, seconds: float) -> Answer:
    """Send ``request`` and read the complete answer; ``seconds`` limits the total time, however slow the answer is.

    Raises ``httpx.HTTPError``, ``ProtocolError`` or ``TimeoutError``.
    """
    begun = time.perf_counter()
    try:
        answer = await _fetched(http, request, seconds)
    except BaseException as error:
        _logged(request, time.perf_counter() - begun, no_answer=type(error).__name__)
        raise
    _logged(
        request,
        time.perf_counter() - begun,
        status=answer.status,
        request_id=answer.headers.get("x-request-id", ""),
    )
    return answer


CALL_NAME, ATTEMPT = "call", "attempt"
"""Extensions of a request: the name of its call, and which attempt it is, counted from 1."""
_SHOWN = frozenset({"limit", "offset", "job_type", "desktop_pool_id", "status", "inconsistent_type"})
"""What a log shows of a query."""


def _logged(request: httpx.Request, seconds: float, **answer: str | int) -> None:
    """Log a request without its headers and body; of one that has no name, as of a webhook, the host alone."""
    if not logs("api"):
        return
    call = request.extensions.get(CALL_NAME, "")
    query = "&".join(f"{name}={value}" for name, value in request.url.params.multi_items() if name in _SHOWN)
    path = f"{request.url.path}{'?' if query else ''}{query}" if call else ""
    known = {"method": request.method, "host": request.url.netloc.decode("ascii"), "path": path, "call": call}
    log("api", "request", **known, **answer, seconds=seconds, attempt=request.extensions.get(ATTEMPT, 1))


async def _fetched(http: httpx.AsyncClient, request: httpx.Request, seconds: float) -> Answer:
    async with asyncio.timeout(seconds):
        response = await _sent(http, request)
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
