"""Serves the simulated service over TCP, on this machine only.

``app`` decides what it answers.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn

from .app import create_app
from .errors import SandboxError
from .store import Store

SERVED_JOB_SECONDS: Final = 3.0


def serve(
    host: str,
    port: int,
    store: Store,
    on_ready: Callable[[str], None],
    *,
    job_seconds: float = SERVED_JOB_SECONDS,
) -> None:
    """Serve until interrupted; ``on_ready`` gets the base URL once connections are accepted.

    Port 0 takes a free one. Raises ``SandboxError`` for an address that is not loopback or cannot be bound.
    """
    with _listening(host, port) as listener:
        app = create_app(store, job_seconds=job_seconds)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            date_header=False,  # the sandbox sends the time of its own clock
        )
        on_ready(_url(listener))
        with contextlib.suppress(KeyboardInterrupt):  # how a person ends it
            uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    address = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(address)
    except ValueError:
        raise SandboxError(f"{host} is no IP address: the sandbox is served on 127.0.0.1 or ::1") from None
    if not loopback.is_loopback:
        raise SandboxError(f"the sandbox is served on loopback only, such as 127.0.0.1, not on {host}")
    family = socket.AF_INET if loopback.version == 4 else socket.AF_INET6
    # Named as TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
            listener.listen(256)
        except (OSError, OverflowError) as trouble:
            raise SandboxError(f"cannot serve the sandbox on {address}, port {port}: {trouble}") from trouble
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
