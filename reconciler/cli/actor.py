"""Who runs a command, for the journal; whether that person may is left to the service and the CI."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping

from reconciler.safe_text import safe_text

_NAMES = ("RECONCILER_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN")


def actor(environ: Mapping[str, str]) -> str:
    """The name given by the environment, the CI's user, or ``user@host``."""
    given = next((environ[name] for name in _NAMES if environ.get(name)), "")
    return safe_text(given) or f"{_user()}@{safe_text(socket.gethostname())}"


def _user() -> str:
    try:
        return safe_text(getpass.getuser())
    except (KeyError, OSError, ImportError):  # a container's user need not have a name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "somebody"
