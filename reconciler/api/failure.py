"""Owns error answers: every spelling the service and its gateway use, as one error with the way out."""

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
    "batch-delete": "workspace:desktopPools:batchDeleteVolumes",
    "batch-expand": "workspace:desktopPools:batchExpandVolumes",
    "batch-add": "workspace:desktopPools:batchAddVolumes",
}
"""IAM action that each call needs (documented; that of the counting inferred)."""

MOST_BYTES = 1024 * 1024
"""Bytes of an error answer, or of one with a job id; a larger body is neither (its texts have at most 1,000
characters, documented)."""

_SKEWED = "APIGW.0303"
_NOT_HERE = "APIGW.0101"
_NO_POOL = "WKS.0001"
_NOT_ENABLED = "WKS.00010099"
_PAIRS = (
    ("error_code", "error_msg"),
    ("errorCode", "errorMsg"),
    ("code", "message"),
    ("error_code", "message"),
)


def told_by(body: bytes) -> tuple[str, str] | None:
    """(code, message) of a well-formed error body, made safe; None when it is anything else."""
    if len(body) > MOST_BYTES:
        return None
    try:
        told: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    inner = next((each for each in told.values() if isinstance(each, dict)), {})
    for level in (told, inner):
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


def request_id_of(headers: Mapping[str, str]) -> str:
    """The service's request id, for a support ticket."""
    return safe_text(headers.get("x-request-id", ""))


def describe(body: bytes) -> tuple[str, str]:
    """(code, sentence) about an answer that is not what was asked for."""
    told = told_by(body)
    if told:
        return told[0], told[1] or "no reason given"
    start = body[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<")):
        return "", "the answer is HTML, not the service's JSON"
    return "", "the answer is empty" if not body else "the answer is not the service's JSON"


def failure(call: str, status: int, headers: Mapping[str, str], body: bytes) -> ServiceError:
    """The error for an answer to ``call`` (a key of ``ACTIONS``) that is not a success."""
    code, words = describe(body)
    request_id = request_id_of(headers)
    ticket = f", request {request_id}" if request_id else ""
    message = f"{call}: {words} (HTTP {status}{', ' + code if code else ''}{ticket})"
    kind, hint = _advice(call, status, code, words)
    return kind(message, hint, status=status, code=code, request_id=request_id)


def _advice(call: str, status: int, code: str, words: str) -> tuple[type[ServiceError], str]:
    action = ACTIONS.get(call, "")
    rows: tuple[tuple[bool, type[ServiceError], str], ...] = (
        (
            code == _SKEWED,
            CredentialsError,
            "check the keys and this machine's clock; 15 minutes off is too much",
        ),
        (
            status == 401,
            CredentialsError,
            "check the access key, its secret and the project, or get a new token",
        ),
        (code == _NOT_ENABLED, PermissionDenied, "enable the Workspace service for this project first"),
        (
            status == 403,
            PermissionDenied,
            f"the identity needs the permission {action}" if action else "the identity lacks a permission",
        ),
        (code == _NOT_HERE, ServiceError, "this region does not offer the call; check region and endpoint"),
        (
            # Without a code the 404 is some other server's: it says nothing about the pool.
            call == "show pool" and ((status == 400 and code == _NO_POOL) or (status == 404 and code != "")),
            PoolNotFound,
            "the pool does not exist",
        ),
        (
            status == 429,
            ServiceError,
            "too many requests for minutes; run less often or with less parallelism",
        ),
        ("HTML" in words, ServiceError, "is the endpoint right, or is a proxy in between?"),
        (300 <= status < 400, ServiceError, "redirects are not followed; set the endpoint itself"),
        (status >= 500, ServiceError, "the service has trouble; run again later"),
    )
    return next(
        ((kind, hint) for holds, kind, hint in rows if holds), (ServiceError, "see the service's message")
    )
