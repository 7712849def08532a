"""Finds out who sent a request: the SDK-HMAC-SHA256 signature, the tokens, and the project they are good for.

``app`` decides what that caller may do there. Written from the documents alone, so that the client's own
signer is checked by something that shares nothing with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from msgspec import Struct

from . import errors
from .world import Account, World

TOLERANCE: Final = 15 * 60
"""Seconds by which a signature's time may differ from the service's (documented)."""
TOKEN_LIFE: Final = 24 * 3600
"""Seconds for which a token of a password login is good (documented)."""

_ALGORITHM: Final = "SDK-HMAC-SHA256"
_HEADER: Final = re.compile(
    r"SDK-HMAC-SHA256 Access=([^,\s]+), ?SignedHeaders=([^,\s]+), ?Signature=([0-9a-f]{64})"
)
_WRONG: Final = "Incorrect IAM authentication information: "


class Incoming(Struct, frozen=True):
    """A request as it arrived."""

    method: str
    path: str
    """Still percent-encoded."""
    query: str
    """The raw query string, without the question mark."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


def authenticate(world: World, incoming: Incoming, now: float) -> tuple[Account, list[str]]:
    """The account behind a request and the projects these credentials reach; refuses with 401 otherwise."""
    if token := incoming.headers.get("x-auth-token"):
        return _by_token(world, token, now)
    if "authorization" in incoming.headers:
        account = _by_signature(world, incoming, now)
        return account, account["projects"]
    raise errors.gateway(401, "0301", _WRONG + "neither a token nor a signature is given")


def check_project(incoming: Incoming, project_id: str, reach: list[str]) -> None:
    """Refuse unless the path's project is the credentials' own, and ``X-Project-Id``, if needed, says the same."""
    if "x-auth-token" not in incoming.headers:
        named = incoming.headers.get("x-project-id")
        if named is None:
            raise errors.gateway(401, "0305", "Incorrect authentication information: X-Project-Id is missing")
        if named != project_id:
            raise errors.gateway(403, "0306", "X-Project-Id is not the project of the path")
    if project_id not in reach:
        raise errors.gateway(403, "0310", f"The project {project_id} is unavailable to these credentials")


# --- signatures ---------------------------------------------------------------------------------


def _by_signature(world: World, incoming: Incoming, now: float) -> Account:
    parsed = _HEADER.fullmatch(incoming.headers["authorization"])
    if parsed is None:
        raise errors.gateway(401, "0305", "Incorrect authentication information: unreadable Authorization")
    access_key, names, signature = parsed.groups()
    signed = names.split(";")
    missing = [name for name in ("host", "x-sdk-date") if name not in signed]
    missing += [name for name in signed if name not in incoming.headers]
    if missing or signed != sorted(signed):
        raise errors.gateway(401, "0305", f"Incorrect authentication information: signed headers {names}")
    token = incoming.headers.get("x-security-token", "")
    account = next((each for each in world["accounts"] if each["access_key"] == access_key), None)
    if account is None:
        account, secret = _temporary(world, access_key, token, now)
        good_token = token
    else:
        secret, good_token = account["secret_key"], account["security_token"]
    date = incoming.headers["x-sdk-date"]
    if abs(now - _moment(date)) > TOLERANCE:
        raise errors.gateway(401, "0303", "Incorrect app authentication information: signature expired")
    request = canonical_request(incoming, signed)
    text = "\n".join((_ALGORITHM, date, hashlib.sha256(request.encode()).hexdigest()))
    expected = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, signature):
        raise errors.gateway(401, "0301", _WRONG + "verify aksk signature fail")
    if token != good_token:
        raise errors.gateway(401, "0301", _WRONG + "the security token does not belong to the access key")
    return account


def issue_keys(account: Account, now: float, seconds: int) -> tuple[str, str, str, float]:
    """Temporary keys that act as an account: access key, secret key, security token, and when they end.

    The token says itself whose they are, so that nothing need be remembered.
    """
    ends = now + seconds
    access = "HST" + hashlib.sha256(f"{account['access_key']}:{ends}".encode()).hexdigest()[:17].upper()
    claims = {"account": account["access_key"], "access": access, "expires": ends}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    token = f"{payload}.{_seal(account, payload)}"
    return access, _seal(account, f"secret of {token}"), token, ends


def _temporary(world: World, access_key: str, token: str, now: float) -> tuple[Account, str]:
    """The account that temporary keys act as, and their secret key."""
    payload, _, seal = token.partition(".")
    for account in world["accounts"]:
        if hmac.compare_digest(_seal(account, payload).encode(), seal.encode()):
            claims = json.loads(base64.urlsafe_b64decode(payload))
            if claims.get("access") == access_key:
                if now >= claims["expires"]:
                    raise errors.gateway(401, "0301", _WRONG + "the temporary access key has expired")
                return account, _seal(account, f"secret of {token}")
    raise errors.gateway(401, "0301", f"{_WRONG}verify aksk signature fail: no such access key")


def _moment(date: str) -> float:
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        message = "Incorrect authentication information: unreadable X-Sdk-Date"
        raise errors.gateway(401, "0305", message) from None


def canonical_request(incoming: Incoming, signed: list[str]) -> str:
    """The text whose hash is signed (documented): every part on a line of its own."""
    segments = [quote(segment, safe="~") for segment in unquote(incoming.path).split("/")]
    path = "/".join(segments)
    pairs = sorted(parse_qsl(incoming.query, keep_blank_values=True))
    query = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
    headers = "".join(f"{name}:{incoming.headers[name].strip()}\n" for name in signed)
    return "\n".join(
        (
            incoming.method,
            path if path.endswith("/") else path + "/",
            query,
            headers,
            ";".join(signed),
            _payload_hash(incoming),
        )
    )


def _payload_hash(incoming: Incoming) -> str:
    actual = hashlib.sha256(incoming.body).hexdigest()
    stated = incoming.headers.get("x-sdk-content-sha256")
    if not incoming.body or stated is None:
        return actual
    if stated not in ("UNSIGNED-PAYLOAD", actual):
        raise errors.gateway(401, "0301", _WRONG + "X-Sdk-Content-Sha256 is not the hash of the body")
    return stated


# --- tokens -------------------------------------------------------------------------------------


def issue_token(account: Account, project_id: str, now: float) -> str:
    """A token that says itself whom it is for, so that nothing need be remembered; empty project: domain scope."""
    claims = {"user": account["user"], "project": project_id, "expires": now + TOKEN_LIFE}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    return f"{payload}.{_seal(account, payload)}"


def _by_token(world: World, token: str, now: float) -> tuple[Account, list[str]]:
    for account in world["accounts"]:
        if account["token"] and hmac.compare_digest(account["token"].encode(), token.encode()):
            return account, account["projects"]
    payload, _, seal = token.partition(".")
    for account in world["accounts"]:
        if not hmac.compare_digest(_seal(account, payload).encode(), seal.encode()):
            continue
        claims = json.loads(base64.urlsafe_b64decode(payload))
        if claims["user"] != account["user"]:
            continue
        if now >= claims["expires"]:
            raise errors.gateway(401, "0307", "The token must be updated.")
        return account, [claims["project"]] if claims["project"] else []
    raise errors.gateway(401, "0301", _WRONG + "decrypt token fail")


def _seal(account: Account, payload: str) -> str:
    return hmac.new(account["secret_key"].encode(), payload.encode(), hashlib.sha256).hexdigest()
