"""A journal on another machine is reached with TLS that is verified, and no server gets the password itself."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from reconciler.errors import JournalError
from reconciler.journal.store import find_journal
from reconciler.journal.tls import OLDEST_LIBPQ, protection
from tests.certificates import authority_for
from tests.journal.samples import HandClock

FULL = {"sslmode": "verify-full", "sslrootcert": "system", "require_auth": "scram-sha-256"}
HERE = {"require_auth": "!password"}


@pytest.mark.parametrize(
    ("url", "environ", "options", "spoken"),
    [
        ("u@db.example.com/j", {}, FULL, ""),
        ("u@db.example.com:5433/j", {"PGSSLMODE": "disable"}, FULL, ""),
        ("u@192.0.2.2/j", {}, FULL, ""),
        ("u@/j?host=db.example.com", {}, FULL, ""),
        ("u@/j?host=/run,db.example.com", {}, FULL, ""),
        ("u@/j?host=/run&host=db.example.com", {}, FULL, ""),
        ("u@localhost/j?hostaddr=192.0.2.2", {}, FULL, ""),
        ("u@/j", {"PGHOST": "db.example.com"}, FULL, ""),
        ("u@localhost/j", {"PGHOSTADDR": "192.0.2.2"}, FULL, ""),
        ("u@/j?service=far", {}, FULL, ""),
        ("u@localhost/j", {"PGSERVICE": "far"}, FULL, ""),
        ("u@/j", {}, HERE, ""),
        ("u@localhost/j", {}, HERE, ""),
        ("u@127.0.0.1/j", {}, HERE, ""),
        ("u@[::1]/j", {}, HERE, ""),
        ("u@/j?host=/run/postgresql", {"PGHOST": "db.example.com"}, HERE, ""),
        ("u@db/j?sslmode=require", {}, {"require_auth": "scram-sha-256"}, "sslmode=require"),
        ("u@db/j?sslmode=verify-ca", {}, {"require_auth": "scram-sha-256"}, "sslmode=verify-ca"),
        ("u@db/j?sslmode=verify-full", {}, {k: v for k, v in FULL.items() if k != "sslmode"}, ""),
        ("u@db/j?sslrootcert=/a.pem", {}, {k: v for k, v in FULL.items() if k != "sslrootcert"}, ""),
        ("u@db/j", {"PGSSLROOTCERT": "/a.pem"}, {k: v for k, v in FULL.items() if k != "sslrootcert"}, ""),
        (
            "u@db/j?sslmode=disable&require_auth=password",
            {},
            {},
            "sslmode=disable and require_auth=password",
        ),
    ],
)
def test_what_a_url_leaves_open_is_closed_and_what_it_weakens_is_said(
    url: str, environ: dict[str, str], options: dict[str, str], spoken: str
) -> None:
    found = protection(make_url(f"postgresql+psycopg://{url}"), environ)
    assert (dict(found.options), found.spoken) == (options, spoken)


def test_the_drivers_library_knows_these_options() -> None:
    assert psycopg.pq.version() >= OLDEST_LIBPQ


class Server:
    """Says it is PostgreSQL, with TLS if it has a certificate, and asks for the password itself."""

    def __init__(self, certificate: Path | None) -> None:
        self.got = b""
        """What clients sent after they were asked for the password."""
        self._certificate = certificate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError), connection:  # an error: the client has refused
                self._greet(connection)

    def _greet(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        first = connection.recv(8)
        if first[4:] != struct.pack("!HH", 1234, 5679):  # the client does not ask for TLS
            self._ask(connection)
            return
        connection.sendall(b"S" if self._certificate else b"N")
        if self._certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate, self._certificate.with_suffix(".key"))
            with context.wrap_socket(connection, server_side=True) as secured:
                self._ask(secured)
        else:
            self._ask(connection)

    def _ask(self, connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"R" + struct.pack("!II", 8, 3))  # AuthenticationCleartextPassword
        self.got += connection.recv(4096)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[Server]:
    server = Server(certificate)
    try:
        yield server
    finally:
        server.close()


def refusal(url: str) -> str:
    """The message of a journal that cannot be opened."""
    with pytest.raises(JournalError) as caught:
        find_journal(url, HandClock())
    assert "swordfish" not in caught.value.message + caught.value.hint
    return f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("query", ["", "&sslmode=disable"])
def test_no_server_gets_the_password_itself(query: str) -> None:
    with serving() as server:
        near = refusal(f"postgresql://u:swordfish@127.0.0.1:{server.port}/j")
        far = f"postgresql://u:swordfish@db.example.com:{server.port}/j?hostaddr=127.0.0.1{query}"
        assert "offers no encrypted" in refusal(far) or query
        if query:
            assert "wants the password itself" in refusal(far)
    assert "wants the password itself" in near
    assert server.got == b""


def test_a_server_is_believed_only_with_a_certificate_of_a_trusted_authority_for_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = authority_for(tmp_path, "db.example.com")
    with serving(certificate) as server:
        right, wrong = (
            f"postgresql://u:swordfish@{name}:{server.port}/j?hostaddr=127.0.0.1"
            for name in ("db.example.com", "other.example.com")
        )
        assert "certificate that is not trusted" in refusal(
            f"{right}&sslrootcert={authority_for(tmp_path, 'x')}"
        )
        assert "for another name" in refusal(f"{wrong}&sslrootcert={certificate}")
        assert "wants the password itself" in refusal(f"{right}&sslrootcert={certificate}")
        # With sslrootcert=system: what the system trusts, or what the environment names instead.
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            monkeypatch.setenv(name, "")  # so that it is restored
            monkeypatch.delenv(name)
        assert "certificate that is not trusted" in refusal(right)
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert "wants the password itself" in refusal(right)
    assert server.got == b""
