"""A real PostgreSQL server for tests: one per process that tests, reached by a Unix socket, removed at the end.

The fixture ``postgres`` is known to every test; without PostgreSQL those that use it are skipped. What initdb makes is
made once per session and copied: that costs more than all else that a server does before it answers.
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
from typing import TYPE_CHECKING

import pytest

from tests import needs
from tests.shared import once, shared_folder

if TYPE_CHECKING:
    import psycopg

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
    _making: list[psycopg.Connection[tuple[object, ...]]] = field(default_factory=list)
    """The connection that makes schemas, once there is one."""

    def url(self, database: str, password: str = QUOTED) -> str:
        """The SQLAlchemy URL of a database; the password percent-encoded."""
        return f"postgresql+psycopg://{USER}:{password}@/{database}?host={self.socket}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the driver's own, past everything of ours."""
        import psycopg  # noqa: PLC0415 - for tests that need a server alone

        return psycopg.connect(
            host=str(self.socket), user=USER, password=PASSWORD, dbname=database, autocommit=True
        )

    def fresh(self) -> str:
        """The URL of a new, empty schema: as good as a database, and made a hundred times faster."""
        name = f"journal_{next(self._numbers)}"
        if not self._making:
            self._making.append(self.connect())
        self._making[0].execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url('postgres')}&options=-csearch_path%3D{name}"

    def close(self) -> None:
        """Give up what ``fresh`` needs."""
        for each in self._making:
            each.close()


def schema_of(url: str) -> str:
    """The schema of a URL that ``fresh`` gave."""
    return url.rpartition("%3D")[2]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server of this process's own, with nothing of value in it."""
    program = needs.postgresql("postgres")
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        user = _unprivileged(folder)
        made = shared_folder(tmp_path_factory.getbasetemp()) / "postgres"
        with once(made) as needed:
            if needed:
                _initdb(folder, user)
                _copy(folder / "data", made)
        if not needed:
            _copy(made / "data", folder)
        start = [program, "-D", f"{folder}/data", "-k", str(folder), "-c", "listen_addresses="]
        start += [part for setting in _QUICK for part in ("-c", setting)]
        with (
            open(folder / "log", "w") as log,
            subprocess.Popen(start, user=user, cwd=folder, stdout=log, stderr=log) as process,
        ):
            server = PostgresServer(folder)
            try:
                _wait(server, process, folder / "log")
                yield server
            finally:
                server.close()
                process.send_signal(signal.SIGINT)  # "fast shutdown": ends sessions, then itself
                process.wait(timeout=120)
    finally:
        shutil.rmtree(folder)


def _initdb(folder: Path, user: str | None) -> None:
    (folder / "password").write_text(_verifier())
    (folder / "password").chmod(0o644)
    initdb = [needs.postgresql("initdb"), "-D", f"{folder}/data", "-U", USER, "-A", "scram-sha-256"]
    initdb += ["--pwfile", f"{folder}/password", "--no-sync", "-E", "UTF8", "--locale", "C"]
    done = subprocess.run(initdb, user=user, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"initdb failed: {done.stderr}"


def _verifier() -> str:
    """What PostgreSQL stores of the password (RFC 5803), hashed once instead of 4096 times with each connection."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, 1)
    client, server = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    parts = (base64.b64encode(each) for each in (salt, hashlib.sha256(client).digest(), server))
    return (b"SCRAM-SHA-256$1:%b$%b:%b" % tuple(parts)).decode()


def _copy(data: Path, to: Path) -> None:
    """Copy a folder with its owner and modes, on which the server insists."""
    subprocess.run(["cp", "-a", str(data), str(to)], check=True)


def _unprivileged(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root: give the folder to somebody else; None when not root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in known else "nobody"
    shutil.chown(folder, user)
    return user


def _wait(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg  # noqa: PLC0415 - as above

    for _ in range(6000):
        try:
            server.connect().close()
        except psycopg.OperationalError:
            assert process.poll() is None, f"PostgreSQL ended: {log.read_text()}"
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"PostgreSQL does not answer: {log.read_text()}")
