"""Classifies the outcome of one write: not sent, rejected, accepted or unknown.

Only a request that cannot have reached the service is *not sent*, only the service's own well-formed refusal is
*rejected*, and only a job id without an error is *accepted*. Everything else is *unknown*. What follows from the
outcome is left to ``apply``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from reconciler.api.failure import MOST_BYTES, describe, parse_error, request_id_of
from reconciler.api.transport import Answer, httpx
from reconciler.errors import ReconcilerError
from reconciler.journal.states import Outcome, State
from reconciler.safe_text import safe_text

JOB_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,255}")
"""What can stand in the path of the call that asks for a job, as one segment and unescaped."""
_TIMED_OUT = 408
"""Request Timeout, from a gateway: the service may have started the work, so this 4xx is no refusal."""

_SHOWN = 100
"""Characters shown of a job id that cannot be used."""

# A transport may raise these later as well (a proxy that fails in mid-request), so ``of_error`` also asks whether
# sending began.
_BEFORE_SENDING = (
    httpx.ConnectError,  # refused, DNS, TLS
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    ReconcilerError,  # our own refusal: no credentials, or the login failed
)


def of_answer(answer: Answer, now: datetime) -> Outcome:
    """The outcome of a write with a complete answer."""
    status, headers = answer.status, answer.headers
    code, words = describe(answer.body)
    request_id = request_id_of(headers)
    # The service documents 200 for this call and 202 for similar ones.
    if 200 <= status < 300:
        job_id = _object(answer.body).get("job_id")
        # Of what JOB_ID allows, safe_text changes only a secret: no job has that for its id.
        if (
            isinstance(job_id, str)
            and job_id
            and not (JOB_ID.fullmatch(job_id) and safe_text(job_id) == job_id)
        ):
            words = f"success, but its job id cannot go into a URL: {safe_text(job_id)[:_SHOWN]!r}"
            return Outcome(State.UNKNOWN, "", request_id, status, code, words)
        # The service can report an error under status 200. ``parse_error`` wants a code and a message; a code
        # alone is reason enough not to trust the job id.
        trusted = parse_error(answer.body) is None and not _object(answer.body).get("error_code")
        if isinstance(job_id, str) and job_id and trusted:
            return Outcome(State.ACCEPTED, job_id, request_id, status, message="accepted")
        return Outcome(State.UNKNOWN, "", request_id, status, code, f"success without a job id: {words}")
    # A 4xx without an error code may come from a proxy that gave up after it passed the request on.
    if 400 <= status < 500 and status != _TIMED_OUT and code:
        return Outcome(State.REJECTED, "", request_id, status, code, words, retry_after(headers, now))
    return Outcome(State.UNKNOWN, "", request_id, status, code, words)


def of_error(error: BaseException, *, sending_began: bool, through: str = "") -> Outcome:
    """The outcome of a write without a complete answer.

    ``sending_began``: the first byte of the request may have left, so the service may have received it.
    ``through``: the proxy, for the message; begins with a space unless empty.
    """
    words = (
        "connection lost or timed out after the request may have been sent"
        if sending_began
        else "no connection"
    ) + through
    if isinstance(error, _BEFORE_SENDING) and not sending_began:
        return Outcome(State.NOT_SENT, message=f"{words}: {safe_text(str(error)) or type(error).__name__}")
    # Also an error nobody thought of: if it cannot be shown that nothing was sent, the outcome is unknown.
    return Outcome(State.UNKNOWN, message=f"{words} ({type(error).__name__})")


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds of a ``Retry-After`` header, given in seconds or as a date; None if it is absent or unusable."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])  # up to 30 years; more digits could overflow to infinity
    moment = http_date(text)
    return max((moment - now).total_seconds(), 0.0) if moment else None


def http_date(text: str) -> datetime | None:
    """The time of a header such as ``Date``, in UTC; None when it is absent or unusable."""
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    # HTTP dates are GMT; one without a zone would otherwise be read as local time.
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > MOST_BYTES:
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
