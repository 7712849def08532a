"""Owns serving the sandbox over TCP, on this machine only."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import uvicorn

from .app import create_app
from .store import SandboxError, Store

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def serve(
    host: str, port: int, store: Store, on_ready: Callable[[str], None], *, job_seconds: float = 3.0
) -> None:
    """Serve until interrupted; ``on_ready`` is told the address. Raises ``SandboxError``."""
    if host not in LOOPBACK:
        raise SandboxError(f"the sandbox listens on this machine only, not on {host}; say 127.0.0.1")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SandboxError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        create_app(store, job_seconds=job_seconds), log_level="warning", access_log=False, lifespan="off"
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_Server(config, lambda: on_ready(address)).serve(sockets=[listener]))


class _Server(uvicorn.Server):
    """Tells when it has begun to listen."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self._on_started()
