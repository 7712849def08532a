"""Turns an exception of a database or driver into a ``JournalError`` that says what is wrong and what to do.

Catching the exceptions is left to ``database``.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from reconciler import DISTRIBUTION
from reconciler.errors import JournalError
from reconciler.redaction import redact
from reconciler.safe_text import CONSIDERED, safe_text

ELSEWHERE = "Point RECONCILER_JOURNAL at a place this user can write to, or fix the permissions."
BACKUP = (
    "Nothing was sent. Point RECONCILER_JOURNAL at the right place, or restore the journal from a backup: "
    "without it there is no record of which requests are still open."
)
_SPACE = "Free some space and run again; what was already written is intact."
_WAIT = "Wait until the other process has ended, or stop it if it hangs, then run again."
_SERVER = "Check host, port and network, and that the server is running; nothing is sent without the journal."
_LOGIN = "Check user, password and database in RECONCILER_JOURNAL."

_SQLITE = (
    ("SQLITE_NOTADB", "holds something that is not a journal, or is damaged", BACKUP),
    ("SQLITE_CORRUPT", "is damaged", BACKUP),
    ("SQLITE_BUSY", "is locked by another process", _WAIT),
    ("SQLITE_LOCKED", "is locked by another process", _WAIT),
    ("SQLITE_FULL", "cannot be written: the disk is full", _SPACE),
    ("SQLITE_READONLY", "cannot be written: it is read-only for this user", ELSEWHERE),
    ("SQLITE_CANTOPEN", "cannot be opened", ELSEWHERE),
    ("SQLITE_PERM", "cannot be opened", ELSEWHERE),
    ("SQLITE_IOERR", "cannot be read or written: the disk fails, is full or has a quota", _SPACE),
)
"""Prefix of SQLite's extended result name, what is wrong, what to do."""

_POSTGRES = (
    ("28", "refuses this user or password", _LOGIN),
    ("3D000", "does not have this database", _LOGIN),
    ("42501", "does not allow this user to create or use the journal's tables", _LOGIN),
    ("42P01", "has lost some of the journal's tables", BACKUP),
    ("55P03", "is locked by another session", _WAIT),
    ("53100", "cannot be written: the server's disk is full", _SPACE),
    ("53300", "has no connection left", _SERVER),
    ("25006", "cannot be written: the server is read-only", _LOGIN),
    ("08", "cannot be reached", _SERVER),
    ("57P", "is shutting down or starting", _SERVER),
)
"""Prefix of the SQLSTATE code, what is wrong, what to do."""

_DRIVER = (
    f"Install reconciler again from where it came, with its extra: {DISTRIBUTION}[postgres], "
    "or .[postgres] in a checkout."
)

_KINDS = (
    (ImportError, "needs the PostgreSQL driver", _DRIVER),
    ((ValueError, TypeError), "holds a value that cannot be read: it is damaged", BACKUP),
    (OSError, "cannot be opened", ELSEWHERE),
)
"""Exceptions that do not come from a database."""

_WORDS = (
    (
        "authentication method requirement",
        "wants the password itself, or a weak proof of it, and gets neither",
        "Let the server use scram-sha-256 (pg_hba.conf), or say require_auth=… in the URL.",
    ),
    (
        "certificate",
        "has a certificate that is not trusted here, or is for another name",
        "Use the name in the certificate, and name its authority by sslrootcert=FILE in the URL or SSL_CERT_FILE.",
    ),
    (
        "does not support SSL",
        "offers no encrypted connection",
        "Turn TLS on at the server; where the way to it is safe without, say so: sslmode=disable in the URL.",
    ),
    ("authentication failed", "refuses this user or password", _LOGIN),
    ("no password", "needs a password", _LOGIN),
    ("does not exist", "does not have this user or database", _LOGIN),
    ("connection", "cannot be reached", _SERVER),
)
"""Text in the server's message: while connecting, the driver gives no code."""


def journal_error(error: Exception, where: str) -> JournalError:
    """The error that says what is wrong with the journal at ``where`` and what to do, without any secret."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    what, hint = _sentence(cause)
    # Redacted as a whole: a secret may go on in the next line.
    lines = redact(str(cause)[:CONSIDERED]).strip().splitlines()
    detail = safe_text(lines[0].strip()) if lines else type(cause).__name__
    return JournalError(f"the journal {where} {what} ({detail})", hint)


def _sentence(cause: BaseException) -> tuple[str, str]:
    """What is wrong and what to do: by the driver's code, else by exception type, else by the server's message."""
    for attribute, table in (("sqlite_errorname", _SQLITE), ("sqlstate", _POSTGRES)):
        code = str(getattr(cause, attribute, None) or "")
        for beginning, what, hint in table:
            if code.startswith(beginning):
                return what, hint
    for kinds, what, hint in _KINDS:
        if isinstance(cause, kinds):
            return what, hint
    for words, what, hint in _WORDS:
        if words in str(cause):
            return what, hint
    return "failed", "Run again; if it fails again, keep the journal as it is and report the message."
