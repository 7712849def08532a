"""Owns a simulated service for trying things out; shares no code with the client.

``world`` the state and how it evolves · ``changes`` which writes are accepted · ``view`` how it looks from
outside · ``auth`` who may call · ``app`` the endpoints · ``store`` where it is kept · ``seed`` first worlds ·
``serve`` over TCP.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .seed import ACCESS_KEY, PROJECT_ID, REGION, SECRET_KEY, TOKEN, default_world, make_world
from .store import SandboxError, Store

if TYPE_CHECKING:
    from starlette.applications import Starlette

IN_PROCESS_BASE_URL = "http://127.0.0.1"
"""Base URL under which the application answers when it is called in process."""


def create_app(store: Store, **options: Any) -> Starlette:
    """The service as an ASGI application; see ``app.create_app``."""
    from .app import create_app as create  # noqa: PLC0415 - starlette, only when it is served

    return create(store, **options)


def reset(path: Path) -> None:
    """Put the world in ``path`` back to the default one."""
    Store.open(path).put(default_world())


def state(path: Path, now: float) -> dict[str, Any]:
    """What the service knows, for a person: pools with disks, jobs, and the record of every write."""
    with Store.open(path).reading(now) as world:
        pools = [pool for project in world["projects"].values() for pool in project["pools"].values()]
        return {
            "sandbox": world["name"],
            "pools": [
                {
                    "name": pool["name"],
                    "id": pool["id"],
                    "status": pool["status"],
                    "disks": pool["disks"],
                    "desktops": len(pool["desktops"]),
                }
                for pool in pools
            ],
            "jobs": list(world["jobs"].values()),
            "record": world["record"],
        }


__all__ = [
    "ACCESS_KEY",
    "IN_PROCESS_BASE_URL",
    "PROJECT_ID",
    "REGION",
    "SECRET_KEY",
    "TOKEN",
    "SandboxError",
    "Store",
    "create_app",
    "default_world",
    "make_world",
    "reset",
    "state",
]
