"""Owns who may call: AK/SK signatures, tokens and logins, checked as the service describes them.

Written from the description alone and sharing nothing with the client, so that one proves the other.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, unquote_to_bytes

from . import errors
from .world import Account, World, derived_id

TOLERANCE = 900
"""Seconds by which a signature's time may be off, either way (documented: 15 minutes)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a signature covers."""

    method: str
    raw_path: str
    query: str
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes


def check(world: World, request: Request, project_id: str, now: float) -> Account:
    """The account that makes this request, or a 401 or 403 as the gateway words them."""
    token = request.headers.get("x-auth-token", "")
    account = _by_token(world, token) if token else _by_signature(world, request, now)
    if project_id not in account["projects"] or project_id not in world["projects"]:
        raise errors.gateway(403, "0310", "The project is not available for these credentials.")
    stated = request.headers.get("x-project-id", project_id)
    if stated != project_id:
        raise errors.gateway(403, "0306", "X-Project-Id differs from the project of the path.")
    return account


def issued_token(account: Account) -> str:
    """The token that a login of this account yields."""
    return derived_id("token", account["user"], account["password"])


def _by_token(world: World, token: str) -> Account:
    for account in world["accounts"]:
        known = [each for each in (account["token"], issued_token(account)) if each]
        if any(hmac.compare_digest(each, token) for each in known):
            return account
    raise errors.gateway(401, "0307", "The token must be updated.")


def _by_signature(world: World, request: Request, now: float) -> Account:
    algorithm, _, rest = request.headers.get("authorization", "").partition(" ")
    if algorithm != "SDK-HMAC-SHA256":
        raise errors.gateway(401, "0301", "Incorrect IAM authentication information: no credentials.")
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    account = next((each for each in world["accounts"] if each["access_key"] == fields.get("Access")), None)
    if account is None:
        raise errors.gateway(401, "0301", "Incorrect IAM authentication information: AK access failed.")
    if account["security_token"] != request.headers.get("x-security-token", ""):
        raise errors.gateway(401, "0301", "Incorrect IAM authentication information: security token.")
    stamp = request.headers.get("x-sdk-date", "")
    try:
        signed_at = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise errors.gateway(401, "0303", "Incorrect app authentication information: X-Sdk-Date.") from None
    if abs(now - signed_at) > TOLERANCE:
        raise errors.gateway(401, "0303", "Incorrect app authentication information: request expired.")
    names = fields.get("SignedHeaders", "").split(";")
    if not {"host", "x-sdk-date"} <= set(names):
        raise errors.gateway(401, "0301", "Incorrect IAM authentication information: host is not signed.")
    expected = _signature(request, names, stamp, account["secret_key"])
    if not hmac.compare_digest(expected, fields.get("Signature", "")):
        raise errors.gateway(
            401, "0301", "Incorrect IAM authentication information: verify aksk signature fail."
        )
    return account


def _signature(request: Request, names: list[str], stamp: str, secret: str) -> str:
    path = "/".join(quote(unquote_to_bytes(part), safe="~") for part in request.raw_path.split("/"))
    path = path if path.endswith("/") else path + "/"
    pairs = []
    for part in filter(None, request.query.split("&")):
        key, _, value = part.partition("=")
        pairs.append((unquote(key.replace("+", " ")), unquote(value.replace("+", " "))))
    query = "&".join(f"{quote(key, safe='~')}={quote(value, safe='~')}" for key, value in sorted(pairs))
    lines = [request.method, path, query]
    lines += [f"{name}:{request.headers.get(name, '').strip()}" for name in names]
    lines += ["", ";".join(names), hashlib.sha256(request.body).hexdigest()]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = f"SDK-HMAC-SHA256\n{stamp}\n{digest}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
