"""A simulated service: pools, disks, desktops and jobs behind the real service's HTTP interface.

``world`` the state and how it evolves · ``changes`` which writes are accepted · ``view`` how it looks from
outside, ``backups`` how those of desktops look · ``operations`` what each call answers · ``auth``, ``identity`` and
``agencies`` who may call · ``app`` the HTTP face · ``store`` where it is kept · ``seed`` first worlds · ``serve`` over
TCP. It shares no code with the client, so that what it proves is worth something.
"""

from .app import IN_PROCESS_BASE_URL, create_app
from .errors import SandboxError
from .seed import ACCESS_KEY, AGENCY, PROJECT_ID, REGION, SECRET_KEY, TOKEN, default_world, make_world
from .store import Store, reset, state

__all__ = [
    "ACCESS_KEY",
    "AGENCY",
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
