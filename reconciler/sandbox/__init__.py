"""Owns the simulated service: pools, disks, desktops and jobs behind the real service's HTTP interface.

It shares no code with the rest of the package, so that what it proves about the client is worth something.
"""

from .app import IN_PROCESS_BASE_URL, IN_PROCESS_JOB_SECONDS, WORLD_HEADER, Budget, create_app
from .errors import SandboxError
from .seed import (
    ACCESS_KEY,
    DEFAULT_WORLD,
    DOMAIN,
    PASSWORD,
    PROJECT_ID,
    REGION,
    SECRET_KEY,
    TOKEN,
    USER,
    Sketch,
    default_world,
    make_world,
    sketched_world,
)
from .serve import SERVED_JOB_SECONDS, serve, serving
from .store import Store, reset, state, summary
from .world import World

__all__ = [
    "ACCESS_KEY",
    "DEFAULT_WORLD",
    "DOMAIN",
    "IN_PROCESS_BASE_URL",
    "IN_PROCESS_JOB_SECONDS",
    "PASSWORD",
    "PROJECT_ID",
    "REGION",
    "SECRET_KEY",
    "SERVED_JOB_SECONDS",
    "TOKEN",
    "USER",
    "WORLD_HEADER",
    "Budget",
    "SandboxError",
    "Sketch",
    "Store",
    "World",
    "create_app",
    "default_world",
    "make_world",
    "reset",
    "serve",
    "serving",
    "sketched_world",
    "state",
    "summary",
]
