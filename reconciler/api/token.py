"""Authenticates with a given token, a password login that renews itself, or keys from the metadata service.

Each login uses its own client and fails with ``CredentialsError``, so that its failure is never taken for a
failure of the request that needed it. ``signing`` signs requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from reconciler.api.failure import parse_error
from reconciler.api.signing import SdkHmacAuth
from reconciler.api.transport import Answer, ProtocolError, fetch, httpx, through
from reconciler.credentials import AccessKeys, Password, Secret, check_sendable, no_credentials
from reconciler.errors import CredentialsError
from reconciler.safe_text import safe_text

ONCE = "once"
"""Request extension of a write: never send it again, whatever the answer is."""
LOGIN_SECONDS = 10.0
METADATA = "http://169.254.169.254"
METADATA_SECONDS = 3.0
RENEW_BEFORE = timedelta(minutes=10)
"""Time before their expiry at which temporary keys are renewed."""


class TokenAuth(httpx.Auth):
    """Sends a given token."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token to the request; sends it once."""
        request.headers["X-Auth-Token"] = self._token.reveal()
        yield request


class PasswordAuth(httpx.Auth):
    """Logs in on first use, and again if a read is answered 401; concurrent logins are coalesced into one."""

    def __init__(self, login: Password, iam_endpoint: str, project_id: str, http: httpx.AsyncClient) -> None:
        self._login = login
        # Without the catalog of all services, which nobody here needs.
        self._url = f"{iam_endpoint}/v3/auth/tokens?nocatalog=true"
        self._project_id = project_id
        self._http = http
        self._token: Secret | None = None
        self._lock = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Log in if needed and send; on 401, log in again and send a read once more."""
        used = await self._other_than(None)
        request.headers["X-Auth-Token"] = used.reveal()
        response = yield request
        # A write is never sent twice, not even after a 401: its outcome is decided from this one answer.
        if response.status_code != 401 or request.extensions.get(ONCE):
            return
        request.headers["X-Auth-Token"] = (await self._other_than(used)).reveal()
        yield request

    async def _other_than(self, refused: Secret | None) -> Secret:
        """A token other than the refused one; the first caller logs in for all that wait."""
        async with self._lock:
            # Compared by identity: a caller that waited here finds the token that another one has just obtained.
            if self._token is None or self._token is refused:
                self._token = await self._log_in()
            return self._token

    async def _log_in(self) -> Secret:
        user = {
            "name": self._login.user,
            "password": self._login.password.reveal(),
            "domain": {"name": self._login.domain},
        }
        identity = {"methods": ["password"], "password": {"user": user}}
        body = {"auth": {"identity": identity, "scope": {"project": {"id": self._project_id}}}}
        request = self._http.build_request("POST", self._url, json=body)
        who = f"the login of user {safe_text(self._login.user)}"
        try:
            answer = await fetch(self._http, request, LOGIN_SECONDS)
        except (httpx.HTTPError, ProtocolError, TimeoutError, OSError) as error:
            raise CredentialsError(
                f"{who} was not answered: {safe_text(str(error)) or type(error).__name__}{through(self._http)}",
                "check that the IAM endpoint is right and reachable",
            ) from None  # the original error can hold the request with the password
        token = answer.headers.get("x-subject-token", "")
        if answer.status == 201 and token:
            return Secret(token)
        code, message = parse_error(answer.body) or ("", "")
        raise CredentialsError(
            f"{who} was refused: {message or 'no reason given'} "
            f"(HTTP {answer.status}{', ' + code if code else ''})",
            "check HW_USER_NAME, HW_USER_PASSWORD and HW_DOMAIN_NAME; a user with MFA needs access keys",
            status=answer.status,
            code=code,
        )


class _Keys(msgspec.Struct):
    """Temporary keys as the metadata service returns them."""

    access: str
    secret: str
    securitytoken: str
    expires_at: datetime


class _KeysAnswer(msgspec.Struct):
    credential: _Keys


class MetadataAuth(httpx.Auth):
    """Signs with temporary keys of the cloud server this runs on, renewed before they expire."""

    requires_request_body = True

    def __init__(
        self, project_id: str, now: Callable[[], datetime], http: httpx.AsyncClient, base: str = METADATA
    ) -> None:
        self._project_id = project_id
        self._now = now
        self._http = http
        self._base = base
        self._signer: SdkHmacAuth | None = None
        self._ends = datetime.min.replace(tzinfo=UTC)
        self._lock = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Fetch or renew the keys if needed, then sign."""
        async with self._lock:
            if self._signer is None or self._now() > self._ends - RENEW_BEFORE:
                self._signer = await self._renewed()
        for signed in self._signer.auth_flow(request):
            yield signed

    async def _renewed(self) -> SdkHmacAuth:
        try:
            headers: dict[str, str] = {}
            lifetime = {"X-Metadata-Token-Ttl-Seconds": "21600"}
            given = await self._ask("PUT", "/meta-data/latest/api/token", lifetime)
            if given.status == 200:  # older metadata services have no token and need none
                headers["X-Metadata-Token"] = Secret(given.body.decode("ascii")).reveal()
            answer = await self._ask("GET", "/openstack/latest/securitykey", headers)
            found = msgspec.json.decode(answer.body, type=_KeysAnswer).credential
        except (httpx.HTTPError, ProtocolError, TimeoutError, OSError, ValueError):
            # Renewal starts ten minutes early, so a short outage of the metadata service does no harm.
            if self._signer is not None and self._now() < self._ends:
                return self._signer
            raise no_credentials() from None
        ends = found.expires_at
        # UTC if the zone is missing: naive and aware times cannot be compared.
        self._ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
        keys = AccessKeys(found.access, Secret(found.secret), Secret(found.securitytoken))
        check_sendable(keys, "the metadata service")
        return SdkHmacAuth(keys, self._project_id, self._now)

    async def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        request = self._http.build_request(method, self._base + path, headers=dict(headers))
        return await fetch(self._http, request, METADATA_SECONDS)
