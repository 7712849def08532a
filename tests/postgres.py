"""A real PostgreSQL server for tests: started once per session, reached by a Unix socket, removed at the end.

Use it by ``from tests.postgres import postgres``; without PostgreSQL the tests that use it are skipped.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from tests import needs

USER = "tester"
PASSWORD = "open:sesame/ü"
QUOTED = "open%3Asesame%2F%C3%BC"
"""The password as it stands in a URL."""
_QUICK = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=60")


@dataclass(frozen=True)
class PostgresServer:
    """A running server."""

    socket: Path
    """Folder of its unix socket."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _kept: list[psycopg.Connection[tuple[object, ...]]] = field(default_factory=list)
    """The connection that makes schemas, opened once: a new one takes as long as making one."""

    def url(self, database: str, password: str = QUOTED) -> str:
        """The SQLAlchemy URL of a database; the password percent-encoded."""
        return f"postgresql+psycopg://{USER}:{password}@/{database}?host={self.socket}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the driver's own, past everything of ours."""
        return psycopg.connect(
            host=str(self.socket), user=USER, password=PASSWORD, dbname=database, autocommit=True
        )

    def fresh(self) -> str:
        """The URL of a new, empty schema: as good as a database, and made a hundred times faster."""
        name = f"journal_{next(self._numbers)}"
        if not self._kept:
            self._kept.append(self.connect())
        self._kept[0].execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url('postgres')}&options=-csearch_path%3D{name}"

    def close(self) -> None:
        """Close the connection that makes schemas."""
        for each in self._kept:
            each.close()


def schema_of(url: str) -> str:
    """The schema of a URL that ``fresh`` gave."""
    return url.rpartition("%3D")[2]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server of this session's own, with nothing of value in it."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        user = _unprivileged(folder)
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        initdb = [needs.postgresql("initdb"), "-D", f"{folder}/data", "-U", USER, "-A", "scram-sha-256"]
        initdb += ["--pwfile", f"{folder}/password", "--no-sync", "-E", "UTF8", "--locale", "C"]
        done = subprocess.run(initdb, user=user, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"initdb failed: {done.stderr}"
        start = [
            needs.postgresql("postgres"),
            "-D",
            f"{folder}/data",
            "-k",
            str(folder),
            "-c",
            "listen_addresses=",
        ]
        start += [part for setting in _QUICK for part in ("-c", setting)]
        server = PostgresServer(folder)
        with (
            open(folder / "log", "w") as log,
            subprocess.Popen(start, user=user, cwd=folder, stdout=log, stderr=log) as process,
        ):
            try:
                _wait(server, process, folder / "log")
                with server.connect() as connection:
                    connection.execute(f"ALTER ROLE {USER} PASSWORD '{_quick_to_prove(PASSWORD)}'".encode())
                yield server
            finally:
                server.close()
                process.send_signal(signal.SIGINT)  # "fast shutdown": ends sessions, then itself
                process.wait(timeout=120)
    finally:
        shutil.rmtree(folder)


def _unprivileged(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root: give the folder to somebody else; None when not root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in known else "nobody"
    shutil.chown(folder, user)
    return user


def _quick_to_prove(password: str) -> str:
    """What a server keeps of a password, with one round of hashing where 4096 keep out who steals it.

    Each client computes these rounds anew for each connection, of which the tests make hundreds.
    """
    salt = bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    client, server = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    kept = (salt, hashlib.sha256(client).digest(), server)
    salt_kept, stored, server_kept = (base64.b64encode(each).decode() for each in kept)
    return f"SCRAM-SHA-256$1:{salt_kept}${stored}:{server_kept}"


def _wait(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(6000):
        try:
            server.connect().close()
        except psycopg.OperationalError:
            assert process.poll() is None, f"PostgreSQL ended: {log.read_text()}"
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"PostgreSQL does not answer: {log.read_text()}")
