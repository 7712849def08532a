"""Owns what became of one write: not sent, rejected, accepted or unknown, and nothing else.

The rule behind every row: only what cannot have reached the service is *not sent*, only the service's own
well-formed refusal is *rejected*, only a job id without an error is *accepted*. All else is *unknown*.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from reconciler.api.failure import MOST_BYTES, describe, request_id_of, told_by
from reconciler.api.transport import Answer, httpx
from reconciler.errors import ReconcilerError
from reconciler.journal.records import Outcome, State
from reconciler.safe_text import safe_text

JOB_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,255}")
"""What can stand in the path of the call that asks for a job, as one segment and unescaped."""
_TIMED_OUT = 408
"""Said by a gateway that waited in vain: the service may have begun."""

_SHOWN = 100
"""Characters of a job id that is none."""

_BEFORE_SENDING = (
    httpx.ConnectError,  # refused, DNS, TLS
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    ReconcilerError,  # our own refusal: no credentials, login refused
)


def of_answer(answer: Answer, now: datetime) -> Outcome:
    """The outcome of a write that was answered completely."""
    status, headers = answer.status, answer.headers
    code, words = describe(answer.body)
    request_id = request_id_of(headers)
    # The service documents 200 here, and 202 for its other calls of this kind.
    if 200 <= status < 300:
        job_id = _object(answer.body).get("job_id")
        if isinstance(job_id, str) and job_id and not JOB_ID.fullmatch(job_id):
            words = f"a success whose job cannot be asked for: {safe_text(job_id)[:_SHOWN]!r}"
            return Outcome(State.UNKNOWN, "", request_id, status, code, words)
        if (
            isinstance(job_id, str)
            and job_id
            and told_by(answer.body) is None
            and not _object(answer.body).get("error_code")
        ):
            return Outcome(State.ACCEPTED, job_id, request_id, status, message="accepted")
        return Outcome(State.UNKNOWN, "", request_id, status, code, f"a success without a job: {words}")
    if 400 <= status < 500 and status != _TIMED_OUT and code:
        return Outcome(State.REJECTED, "", request_id, status, code, words, retry_after(headers, now))
    return Outcome(State.UNKNOWN, "", request_id, status, code, words)


def of_error(error: BaseException, *, sending_began: bool) -> Outcome:
    """The outcome of a write without a whole answer.

    ``sending_began``: the first byte of the request may have left; then nobody knows what arrived.
    """
    words = {True: "cut or timed out after it may have been sent", False: "no connection"}[sending_began]
    if isinstance(error, _BEFORE_SENDING) and not sending_began:
        return Outcome(State.NOT_SENT, message=f"{words}: {safe_text(str(error)) or type(error).__name__}")
    return Outcome(State.UNKNOWN, message=f"{words} ({type(error).__name__})")


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds of a ``Retry-After`` header, given as seconds or as a date; None without a usable one."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])  # 30 years; longer ones would be infinite
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > MOST_BYTES:
        return {}
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
