"""Decides how a connection to PostgreSQL is protected, from its URL and the environment.

Another machine is reached with TLS that is verified, and never gets the password itself; what a URL asks for in
words holds, and is said. ``database`` connects.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import URL

from reconciler.settings import is_loopback
from reconciler.values import Struct

OLDEST_LIBPQ = 160_000
"""Version 16 is the first to know ``sslrootcert=system`` and ``require_auth`` (documented, libpq)."""


class Protection(Struct, frozen=True):
    """What a connection is protected by."""

    options: Mapping[str, str]
    """Options of libpq that the URL does not set itself."""
    spoken: str = ""
    """What the URL weakens, for a message; empty if nothing."""
    remote: bool = True
    """False for this machine: nothing on the way can read or change what is sent."""


def protection(url: URL, environ: Mapping[str, str]) -> Protection:
    """How to connect to this server."""
    if _is_here(url, environ):
        # No TLS is needed, but no server gets the password itself either.
        return Protection(_missing(url, {"require_auth": "!password"}), remote=False)
    mode = str(url.query.get("sslmode", "verify-full"))
    wanted = {"sslmode": mode, "require_auth": "scram-sha-256"}
    # libpq accepts the system's certificates with verify-full alone; those that a variable names are as good.
    if mode == "verify-full" and not environ.get("PGSSLROOTCERT"):
        wanted["sslrootcert"] = "system"
    weak = [f"sslmode={mode}"] if mode != "verify-full" else []
    accepted = str(url.query.get("require_auth", "scram-sha-256"))
    weak += [f"require_auth={accepted}"] if accepted != "scram-sha-256" else []
    return Protection(_missing(url, wanted), " and ".join(weak))


def _missing(url: URL, wanted: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in wanted.items() if name not in url.query}


def _is_here(url: URL, environ: Mapping[str, str]) -> bool:
    """Whether the server is certainly on this machine: by a Unix socket or a loopback address, whatever names it."""
    if "service" in url.query or environ.get("PGSERVICE"):
        return False  # a file names the server
    hosts = _texts(url, "host") or [url.host or environ.get("PGHOST", "")]
    addresses = _texts(url, "hostaddr") or [environ.get("PGHOSTADDR", "")]
    named = [each.strip() for text in (*hosts, *addresses) for each in text.split(",")]
    return all(not each or each.startswith(("/", "@")) or is_loopback(each) for each in named)


def _texts(url: URL, name: str) -> list[str]:
    value = url.query.get(name, ())
    return [value] if isinstance(value, str) else list(value)
