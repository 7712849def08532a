"""The web server of ``watch``: ``/healthz`` and ``/metrics``.

The pages are left to ``watch``, HTTP to Starlette and uvicorn, which are imported only when it serves.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reconciler.errors import BadInput
from reconciler.settings import is_loopback
from reconciler.values import Struct

if TYPE_CHECKING:
    import uvicorn
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

SECONDS = 5.0
"""Seconds for one connection, from its first byte to the end of the answer."""
MOST_BYTES = 8192
"""Largest head of a request, in bytes."""
_TEXT = "text/plain; charset=utf-8"


class Page(Struct, frozen=True):
    """One answer."""

    status: int
    kind: str
    """Content type."""
    text: str


Pages = Mapping[str, Callable[[], Page]]
"""The page of each path, made for each request."""
_ABSENT = Page(404, _TEXT, "not found; the pages are /healthz and /metrics\n")
_REFUSED = Page(405, _TEXT, "only GET and HEAD are allowed\n")
_BAD_HOST = Page(400, _TEXT, "the Host header does not name this server\n")


@asynccontextmanager
async def serving(
    address: str, port: int, pages: Pages, connection_seconds: float = SECONDS
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port, chosen by the system when ``port`` is 0.

    The pages are made in another thread, so they only read what is replaced as a whole.

    Raises ``BadInput`` when it cannot listen on the address.
    """
    with _listening(address, port) as listener:
        server = _server(_app(address, pages), connection_seconds)
        # In a thread with a loop of its own: a journal that another process holds blocks the loop of the
        # rounds, and a probe must be answered all the same. A daemon, so that it cannot delay a stop either.
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def serve() -> None:
            asyncio.run(server.serve(sockets=[listener]))
            with suppress(RuntimeError):  # that loop has ended, so nobody waits any more
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=serve, name="health", daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await ended.wait()


@contextmanager
def _listening(address: str, port: int) -> Iterator[socket.socket]:
    name = "127.0.0.1" if address == "localhost" else address or None
    try:
        # With the protocol given, asyncio turns off Nagle's algorithm, which would delay answers by 40 ms.
        found = socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )
        family, kind, proto, _, where = found[0]
        listener = socket.socket(family, kind, proto)
    except (OSError, OverflowError, UnicodeError) as error:
        raise _cannot_listen(address, port, error) from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(
                (where[0], port, *where[2:])
            )  # not where[1]: getaddrinfo truncates a port too large
            listener.listen()
        except (OSError, OverflowError) as error:
            raise _cannot_listen(address, port, error) from None
        yield listener


def _cannot_listen(address: str, port: int, error: Exception) -> BadInput:
    why = getattr(error, "strerror", None) or "it is not an address"
    return BadInput(
        f"cannot listen on --health-address {address} --health-port {port}: {why}",
        "use a free port (0 takes any) and an address of this machine",
    )


def _app(address: str, pages: Pages) -> ASGIApp:
    from starlette.applications import Starlette  # noqa: PLC0415 - only a watch that serves needs it
    from starlette.datastructures import Headers  # noqa: PLC0415
    from starlette.responses import Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    def respond(page: Page) -> Response:
        return Response(page.text, page.status, {"Cache-Control": "no-store"}, media_type=page.kind)

    async def answer(request: Request) -> Response:
        return respond(pages.get(request.url.path, lambda: _ABSENT)())

    async def refused(_: Request, __: Exception) -> Response:
        return respond(_REFUSED)

    # One route for every path, so that a wrong method is refused on all of them.
    routes = [Route("/{path:path}", answer, methods=["GET"])]
    app = Starlette(routes=routes, exception_handlers={405: refused})

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        # DNS rebinding: a page in a browser can send requests here under its own name, which it points here.
        host = Headers(scope=scope).get("host", "")
        await (app if _is_ours(host, address) else respond(_BAD_HOST))(scope, receive, send)

    return checked


def _is_ours(header: str, address: str) -> bool:
    """Whether a Host header names this server: a loopback name, or the address it listens on."""
    try:
        host = urlsplit(f"//{header}").hostname or ""
        if is_loopback(host) or host == address.lower():
            return True
        # When it listens on all addresses, any address may be its own; rebinding needs a name, not an address.
        return bool(ipaddress.ip_address(host)) and ipaddress.ip_address(address or "::").is_unspecified
    except ValueError:
        return False


def _server(app: ASGIApp, connection_seconds: float) -> uvicorn.Server:
    import uvicorn  # noqa: PLC0415 - only a watch that serves needs it
    from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415

    class Bounded(H11Protocol):
        """One connection, closed after a fixed time however slow its client is."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._end = self.loop.call_later(connection_seconds, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            self._end.cancel()
            super().connection_lost(exc)

    class Server(uvicorn.Server):
        def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
            """Leave signals to the command, which has handlers of its own."""
            return nullcontext()

    return Server(
        uvicorn.Config(
            app,
            http=Bounded,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",  # stderr belongs to the rounds; a client gets its answer, not a log line
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=[("Connection", "close")],
            timeout_graceful_shutdown=0,
            h11_max_incomplete_event_size=MOST_BYTES,
        )
    )
