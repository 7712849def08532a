"""Signs requests with an access key (SDK-HMAC-SHA256), as an ``httpx.Auth``.

The tests compare the signatures with those of the official SDK. ``token`` has the other ways to authenticate.
"""

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
"""Request extension with the time to sign with, for writes: the journal records it before they are sent."""
_UNRESERVED = "-_.~"
"""Characters that stay unescaped next to letters and digits (RFC 3986); ``quote`` alone would keep the slash."""


class SdkHmacAuth(httpx.Auth):
    """Signs each request with access key and secret key; the service accepts it for 15 minutes."""

    requires_request_body = True

    def __init__(self, keys: AccessKeys, project_id: str, now: Callable[[], datetime]) -> None:
        self._keys = keys
        self._project_id = project_id
        self._now = now

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add date, project and signature to the request; sends it once."""
        moment = (request.extensions.get(SIGNED_AT) or self._now()).astimezone(UTC)
        request.headers["X-Sdk-Date"] = f"{moment:%Y%m%dT%H%M%SZ}"
        if self._project_id:  # empty for IAM, whose calls concern the account
            request.headers["X-Project-Id"] = self._project_id
        if self._keys.security_token:
            request.headers["X-Security-Token"] = self._keys.security_token.reveal()
        # Only these: a proxy may change other headers, which would break the signature.
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
    # The layout of the canonical request is fixed by the service; an empty line separates headers and their names.
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
    """Each segment decoded and encoded again, with a trailing slash that the sent path does not have."""
    # Decode before splitting, as the official signer does: an encoded slash counts as a slash here.
    encoded = "/".join(quote(segment, safe=_UNRESERVED) for segment in unquote(path).split("/"))
    return encoded if encoded.endswith("/") else f"{encoded}/"


def canonical_query(query: str) -> str:
    """The pairs sorted by key and value, each decoded and encoded again."""
    if not query:
        return ""
    pairs = [item.partition("=") for item in query.split("&")]
    # Sort the decoded pairs: the order after encoding can differ.
    decoded = sorted((unquote_plus(key), unquote_plus(value)) for key, _, value in pairs)
    return "&".join(f"{quote(k, safe=_UNRESERVED)}={quote(v, safe=_UNRESERVED)}" for k, v in decoded)
