"""Owns AK/SK signing (SDK-HMAC-SHA256), as an ``httpx.Auth``; proved equal to the official SDK in the tests."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from urllib.parse import quote, unquote, unquote_plus

from reconciler.api.transport import httpx
from reconciler.credentials import AccessKeys

ALGORITHM = "SDK-HMAC-SHA256"
SIGNED_AT = "signed_at"
"""Request extension with the moment to sign with, for writes whose time is journalled before."""
_UNRESERVED = "-_.~"


class SdkHmacAuth(httpx.Auth):
    """Signs each request with access key and secret key; the signature is valid for 15 minutes."""

    requires_request_body = True

    def __init__(self, keys: AccessKeys, project_id: str, now: Callable[[], datetime]) -> None:
        self._keys = keys
        self._project_id = project_id
        self._now = now

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Put date, project and signature on the request; one round only."""
        moment = (request.extensions.get(SIGNED_AT) or self._now()).astimezone(UTC)
        request.headers["X-Sdk-Date"] = f"{moment:%Y%m%dT%H%M%SZ}"
        request.headers["X-Project-Id"] = self._project_id
        if self._keys.security_token:
            request.headers["X-Security-Token"] = self._keys.security_token.reveal()
        names = ["content-type", "host", "x-project-id", "x-sdk-date"]
        if self._keys.security_token:
            names.append("x-security-token")
        signed = {name: request.headers[name] for name in sorted(names) if name in request.headers}
        signature = sign(request, signed, self._keys.sk.reveal())
        request.headers["Authorization"] = (
            f"{ALGORITHM} Access={self._keys.ak}, SignedHeaders={';'.join(signed)}, Signature={signature}"
        )
        yield request


def sign(request: httpx.Request, headers: dict[str, str], secret_key: str) -> str:
    """The hexadecimal signature over method, path, query, the given headers and the body."""
    canonical = "\n".join(
        (
            request.method,
            canonical_path(request.url.raw_path.partition(b"?")[0].decode("ascii")),
            canonical_query(request.url.query.decode("ascii")),
            *(f"{name}:{value.strip()}" for name, value in headers.items()),
            "",
            ";".join(headers),
            hashlib.sha256(request.content).hexdigest(),
        )
    )
    digest = hashlib.sha256(canonical.encode("utf-8")).hexdigest()
    to_sign = f"{ALGORITHM}\n{headers['x-sdk-date']}\n{digest}"
    return hmac.new(secret_key.encode("utf-8"), to_sign.encode("utf-8"), hashlib.sha256).hexdigest()


def canonical_path(path: str) -> str:
    """Each segment decoded and encoded anew, with a trailing slash that the wire does not have."""
    # Decoded before it is split, as the official signer does: an encoded slash counts as a slash here.
    encoded = "/".join(quote(segment, safe=_UNRESERVED) for segment in unquote(path).split("/"))
    return encoded if encoded.endswith("/") else f"{encoded}/"


def canonical_query(query: str) -> str:
    """Pairs sorted by key and value, each encoded anew."""
    if not query:
        return ""
    pairs = [item.partition("=") for item in query.split("&")]
    told = sorted((unquote_plus(key), unquote_plus(value)) for key, _, value in pairs)
    return "&".join(f"{quote(k, safe=_UNRESERVED)}={quote(v, safe=_UNRESERVED)}" for k, v in told)
