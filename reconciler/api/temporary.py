"""Temporary keys: gets them from STS, IAM, Kubernetes or the cloud server, and renews them before they end.

One ``TemporaryKeys`` serves all tasks and all targets of a run that act as the same identity. Which identity that
is decides ``identity``, the signature makes ``signing``. Requests are those of the official SDK's core
(``auth/internal.py``); for an agency, which the core does not know, those of the Terraform provider
(``config/auth.go``: ``buildClientByAgency``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from reconciler.api.failure import parse_error, status_words
from reconciler.api.signing import SdkHmacAuth
from reconciler.api.token import LOGIN_SECONDS, ONCE
from reconciler.api.transport import CALL_NAME, Answer, ProtocolError, fetch, httpx, through
from reconciler.credentials import AccessKeys, Agency, Container, Oidc, Secret, check_sendable, no_credentials
from reconciler.errors import CredentialsError
from reconciler.safe_text import safe_text
from reconciler.values import Struct

METADATA = "http://169.254.169.254"
METADATA_SECONDS = 3.0
RENEW_BEFORE = timedelta(minutes=30)
"""Time before their end at which keys are renewed: as long as a signature may be accepted, so that it never outlives
them; of keys that live for less than twice that, half their life."""
_JSON = {"Content-Type": "application/json;charset=UTF-8"}
_NAMES = (
    ("access", "access_key_id", "accessKeyId"),
    ("secret", "secret_access_key", "secretAccessKey"),
    ("securitytoken", "security_token", "securityToken"),
    ("expires_at", "expiration"),
)
"""What the parts of temporary keys are called by IAM, STS and a container (as the SDK reads them)."""


class Granted(Struct, frozen=True):
    """Temporary keys, and when they end."""

    keys: AccessKeys
    ends: datetime


Source = Callable[[], Awaitable[Granted]]
"""Gets temporary keys; raises ``CredentialsError``."""


class TemporaryKeys:
    """The keys of one identity, renewed once for all that use them."""

    def __init__(self, obtain: Source, now: Callable[[], datetime]) -> None:
        self._obtain = obtain
        self._now = now
        self._held: Granted | None = None
        self._due = datetime.min.replace(tzinfo=UTC)
        self._lock = asyncio.Lock()

    async def for_reading(self) -> AccessKeys:
        """Keys that hold; when a renewal fails, the old ones to their end."""
        async with self._lock:
            try:
                return (await self._fresh()).keys
            except CredentialsError:
                # Renewal starts early, so a short outage does a read no harm.
                if self._held is not None and self._now() < self._held.ends:
                    return self._held.keys
                raise

    async def for_writing(self) -> datetime:
        """Renew what is due, and return when the keys end that sign the next write.

        Raises ``CredentialsError`` when that fails, also while the old keys hold: what is changed then could soon
        be neither followed nor proven.
        """
        async with self._lock:
            return (await self._fresh()).ends

    def held(self) -> AccessKeys | None:
        """The keys that ``for_writing`` left, without a wait; None when there are none yet.

        Raises ``CredentialsError`` once they have ended.
        """
        if self._held is not None and self._now() >= self._held.ends:
            raise CredentialsError(
                f"the temporary keys have ended at {self._held.ends:%H:%M:%S} UTC", "run again"
            )
        return self._held.keys if self._held else None

    async def _fresh(self) -> Granted:
        now = self._now()
        if self._held is None or now >= self._due:
            found = await self._obtain()
            life = found.ends - now
            if life <= timedelta():
                raise CredentialsError(
                    f"the temporary keys ended at {found.ends:%Y-%m-%d %H:%M:%S} UTC, before they were given",
                    "check this machine's clock",
                )
            self._held, self._due = found, found.ends - min(RENEW_BEFORE, life / 2)
        return self._held


class TemporaryAuth(httpx.Auth):
    """Signs with temporary keys for one project."""

    requires_request_body = True

    def __init__(self, keys: TemporaryKeys, project_id: str, now: Callable[[], datetime]) -> None:
        self._keys = keys
        self._project_id = project_id
        self._now = now

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Get or renew the keys if needed, then sign; a write is signed with what was renewed for it."""
        # Between a write's intent and the wire nothing may wait, so its keys were renewed before the intent.
        held = self._keys.held() if request.extensions.get(ONCE) else None
        signer = SdkHmacAuth(held or await self._keys.for_reading(), self._project_id, self._now)
        for signed in signer.auth_flow(request):
            yield signed


# --- sources --------------------------------------------------------------------------------------


def oidc(asked: Oidc, sts: str, http: httpx.AsyncClient) -> Source:
    """Keys of an agency for a token of an identity provider: ``POST /v5/agencies/assume-with-oidc``, unsigned.

    SDK: ``OidcStsAccessor``. The token's file is read again each time, since such tokens live for minutes.
    """

    async def obtain() -> Granted:
        token = asked.id_token or _token(asked.token_file, "HUAWEICLOUD_OIDC_TOKEN_FILE")
        body: dict[str, Any] = {
            "provider_urn": asked.provider_urn,
            "agency_urn": asked.agency_urn,
            "agency_session_name": asked.session_name,
            "id_token": token.reveal(),
            "duration_seconds": asked.duration,
        }
        # Left out when empty, as the SDK does.
        body |= {"policy": asked.policy} if asked.policy else {}
        body |= {"policy_ids": list(asked.policy_ids)} if asked.policy_ids else {}
        request = _post(http, f"{sts}/v5/agencies/assume-with-oidc", body)
        who = f"the agency {safe_text(asked.agency_urn)}"
        return await _ask(http, request, who, "check HUAWEICLOUD_OIDC_* and the agency's trust policy")

    return obtain


def agency(asked: Agency, iam: str, http: httpx.AsyncClient, now: Callable[[], datetime]) -> Source:
    """Keys of an agency for an access key: ``POST /v3.0/OS-CREDENTIAL/securitytokens``, signed by that key.

    Body as of the provider (and of IAM's reference, "Obtaining a Temporary AK/SK Through an Agency").
    """
    signer = SdkHmacAuth(asked.base, "", now)

    async def obtain() -> Granted:
        role = {"agency_name": asked.name, "domain_name": asked.domain, "duration_seconds": asked.duration}
        body = {"auth": {"identity": {"methods": ["assume_role"], "assume_role": role}}}
        request = _post(http, f"{iam}/v3.0/OS-CREDENTIAL/securitytokens", body)
        for signed in signer.auth_flow(request):
            request = signed
        who = f"the agency {safe_text(asked.name)} of {safe_text(asked.domain)}"
        return await _ask(
            http, request, who, "check HW_ASSUME_ROLE_*, and that the key's user may act as an agency"
        )

    return obtain


def container(asked: Container, http: httpx.AsyncClient) -> Source:
    """Keys that Kubernetes hands to a service account: a POST with its token, read again each time.

    SDK: ``PodIdentityAccessor``.
    """

    async def obtain() -> Granted:
        token = _token(asked.token_file, "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        request = http.build_request("POST", asked.uri, json={}, headers={"Authorization": token.reveal()})
        hint = "check HC_CONTAINER_CREDENTIALS_FULL_URI, and that an agency is bound to the service account"
        return await _ask(http, request, "the agency of this container", hint)

    return obtain


def metadata(http: httpx.AsyncClient, base: str = METADATA) -> Source:
    """Keys of the agency of the cloud server this runs on (SDK: ``MetadataAccessor``)."""

    async def ask(method: str, path: str, headers: Mapping[str, str]) -> Answer:
        request = http.build_request(
            method, base + path, headers=dict(headers), extensions={CALL_NAME: "ask the metadata service"}
        )
        return await fetch(http, request, METADATA_SECONDS)

    async def obtain() -> Granted:
        try:
            headers: dict[str, str] = {}
            lifetime = {"X-Metadata-Token-Ttl-Seconds": "21600"}
            given = await ask("PUT", "/meta-data/latest/api/token", lifetime)
            if given.status == 200:  # older metadata services have no token and need none
                headers["X-Metadata-Token"] = Secret(
                    given.body.decode("ascii")
                ).reveal()  # known to redaction
            return granted((await ask("GET", "/openstack/latest/securitykey", headers)).body)
        except (httpx.HTTPError, ProtocolError, TimeoutError, OSError, ValueError):
            raise no_credentials() from None

    return obtain


def granted(body: bytes) -> Granted:
    """The keys of an answer, under any of the names that the cloud uses; raises ``ValueError``."""
    document = msgspec.json.decode(body, type=dict[str, Any])
    inner = document.get("credential") or document.get("credentials") or document
    parts = [next((inner[name] for name in names if inner.get(name)), None) for names in _NAMES]
    access, secret, token, ends = (msgspec.convert(part, type=str) for part in parts)
    moment = msgspec.convert(ends, type=datetime)
    keys = AccessKeys(access, Secret(secret), Secret(token))
    check_sendable(keys, "the answer")
    # UTC if the zone is missing: naive and aware times cannot be compared.
    return Granted(keys, moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _post(http: httpx.AsyncClient, url: str, body: Mapping[str, Any]) -> httpx.Request:
    return http.build_request(
        "POST",
        url,
        content=json.dumps(body).encode(),
        headers=_JSON,
        extensions={CALL_NAME: "get temporary keys"},
    )


async def _ask(http: httpx.AsyncClient, request: httpx.Request, who: str, hint: str) -> Granted:
    """Send once and read the keys; the errors quote nothing of the request, which may hold a token."""
    try:
        answer = await fetch(http, request, LOGIN_SECONDS)
    except (httpx.HTTPError, ProtocolError, TimeoutError, OSError) as error:
        reason = safe_text(str(error)) or type(error).__name__
        host = safe_text(request.url.host)
        raise CredentialsError(
            f"temporary keys of {who} were not given: {host}: {reason}{through(http)}", hint
        ) from None
    code, words = parse_error(answer.body) or ("", "")
    if not code and 200 <= answer.status < 300:
        try:
            return granted(answer.body)
        except (ValueError, AttributeError):
            words = "the answer holds no keys"
    raise CredentialsError(
        f"temporary keys of {who} were refused: {words or 'no reason given'} "
        f"({status_words(answer.status, code)})",
        hint,
        status=answer.status,
        code=code,
    )


def _token(file: Path | None, name: str) -> Secret:
    """The token in a file that somebody else keeps fresh."""
    try:
        text = (file or Path()).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = f"cannot be read ({type(error).__name__})"
    else:
        why = "" if text and text.isascii() and text.isprintable() and " " not in text else "holds no token"
    if why:
        raise CredentialsError(
            f"the file of {name} {why}: {safe_text(str(file))}", "check that variable"
        ) from None
    return Secret(text)
