"""Turns error answers, in every form the service and its gateway use, into one error with a hint.

``outcome`` decides what an error answer means for a write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.errors import CredentialsError, PermissionDenied, PoolNotFound, ServiceError
from reconciler.safe_text import safe_text

ACTIONS = {
    "list pools": "workspace:desktopPools:list",
    "show pool": "workspace:desktopPools:get",
    "list desktops": "workspace:desktopPools:listDesktops",
    "count differing desktops": "workspace:desktopPools:listDesktops",
    "show job": "workspace:jobs:get",
    "list sub-jobs": "workspace:jobs:listSubJobs",
    "list backups": "cbr:backups:list",
    "batch-delete": "workspace:desktopPools:batchDeleteVolumes",
    "batch-expand": "workspace:desktopPools:batchExpandVolumes",
    "batch-add": "workspace:desktopPools:batchAddVolumes",
    "send message": "workspace:desktopPools:sendNotifications",
}
"""IAM action that each call needs (documented; for the count of desktops inferred)."""

MOST_BYTES = 1024 * 1024
"""Bytes of an error answer, or of one with a job id; a larger body is neither (its texts have at most 1,000
characters, documented)."""

_SKEWED = "APIGW.0303"
NOT_HERE = "APIGW.0101"
_NO_POOL = "WKS.0001"
_NOT_ENABLED = "WKS.00010099"
_PAIRS = (
    ("error_code", "error_msg"),
    ("errorCode", "errorMsg"),
    ("code", "message"),
    ("error_code", "message"),
)


def parse_error(body: bytes) -> tuple[str, str] | None:
    """(code, message) of a well-formed error body, made safe; None for any other body."""
    if len(body) > MOST_BYTES:
        return None
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    # IAM and some gateways wrap the pair in an object: {"error": {"code": …, "message": …}}.
    inner = next((each for each in document.values() if isinstance(each, dict)), {})
    for level in (document, inner):
        for code_name, message_name in _PAIRS:
            code, message = level.get(code_name), level.get(message_name)
            if (
                isinstance(code, (str, int))
                and not isinstance(code, bool)
                and isinstance(message, str)
                and code
            ):
                return safe_text(str(code)), safe_text(message)
    return None


def status_words(status: int, code: str) -> str:
    """``HTTP 403, WKS.0001``; IAM's code often is the status once more."""
    return f"HTTP {status}{f', {code}' if code not in ('', str(status)) else ''}"


def request_id_of(headers: Mapping[str, str]) -> str:
    """The service's request id, for a support ticket."""
    return safe_text(headers.get("x-request-id", ""))


def describe(body: bytes) -> tuple[str, str]:
    """(code, message) for an answer that is not the expected one; the code is empty if there is none."""
    if error := parse_error(body):
        code, message = error
        return code, message or "no reason given"
    start = body[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<")):
        return "", "the answer is HTML, not the service's JSON"
    return "", "the answer is empty" if not body else "the answer is not the service's JSON"


_OF_ONE_POOL = ("show pool", "list desktops")
"""The calls whose "not found" is about the pool in their path."""


def failure(call: str, status: int, headers: Mapping[str, str], body: bytes) -> ServiceError:
    """The error for an unsuccessful answer to ``call`` (a key of ``ACTIONS``)."""
    code, words = describe(body)
    request_id = request_id_of(headers)
    ticket = f", request {request_id}" if request_id else ""
    message = f"{call}: {words} ({status_words(status, code)}{ticket})"
    kind, hint = _advice(call, status, code, words)
    return kind(message, hint, status=status, code=code, request_id=request_id)


def _advice(call: str, status: int, code: str, words: str) -> tuple[type[ServiceError], str]:
    action = ACTIONS.get(call, "")
    rows: tuple[tuple[bool, type[ServiceError], str], ...] = (
        (
            code == _SKEWED,
            CredentialsError,
            "check the keys and this machine's clock, which must be right to within 15 minutes",
        ),
        (
            status == 401,
            CredentialsError,
            "check the access key, its secret and the project, or get a new token",
        ),
        (code == _NOT_ENABLED, PermissionDenied, "enable the Workspace service for this project"),
        (
            status == 403,
            PermissionDenied,
            f"the identity needs the permission {action}" if action else "the identity lacks a permission",
        ),
        (
            code == NOT_HERE,
            ServiceError,
            "this region does not offer this call; check the region and the endpoint",
        ),
        (
            # A 404 without a code comes from some other server and says nothing about the pool.
            call in _OF_ONE_POOL and ((status == 400 and code == _NO_POOL) or (status == 404 and code != "")),
            PoolNotFound,
            "the pool does not exist",
        ),
        (
            status == 429,
            ServiceError,
            "the service refused requests for several minutes; run less often or with a lower concurrency",
        ),
        (
            "HTML" in words,
            ServiceError,
            "check the endpoint, and whether a proxy answered instead of the service",
        ),
        (
            300 <= status < 400,
            ServiceError,
            "redirects are not followed; set the endpoint to the final address",
        ),
        (status >= 500, ServiceError, "the service failed; try again later"),
    )
    return next(
        ((kind, hint) for holds, kind, hint in rows if holds), (ServiceError, "see the service's message")
    )
