"""Owns the other ways to authenticate: a given token, a login that renews itself, keys of the metadata service.

Each login goes over a client of its own and fails as ``CredentialsError``, so that its trouble is never
taken for trouble of the request it was made for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from reconciler.api.failure import told_by
from reconciler.api.signing import SdkHmacAuth
from reconciler.api.transport import Answer, ProtocolError, fetch, httpx
from reconciler.credentials import AccessKeys, Password, Secret, no_credentials
from reconciler.errors import CredentialsError
from reconciler.safe_text import safe_text

ONCE = "once"
"""Request extension of a write: it is sent once, whatever the answer."""
LOGIN_SECONDS = 10.0
METADATA = "http://169.254.169.254"
METADATA_SECONDS = 3.0
RENEW_BEFORE = timedelta(minutes=10)
"""How long before their end temporary keys are fetched anew."""


class TokenAuth(httpx.Auth):
    """Sends a ready-made token."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Put the token on the request; one round only."""
        request.headers["X-Auth-Token"] = self._token.reveal()
        yield request


class PasswordAuth(httpx.Auth):
    """Logs in on first use and once more when a read is answered 401; concurrent logins become one."""

    def __init__(self, login: Password, iam_endpoint: str, project_id: str, http: httpx.AsyncClient) -> None:
        self._login = login
        self._url = f"{iam_endpoint}/v3/auth/tokens?nocatalog=true"
        self._project_id = project_id
        self._http = http
        self._token: Secret | None = None
        self._lock = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Log in where needed, send, and log in once more for a read that was answered 401."""
        used = await self._other_than(None)
        request.headers["X-Auth-Token"] = used.reveal()
        response = yield request
        if response.status_code != 401 or request.extensions.get(ONCE):
            return
        request.headers["X-Auth-Token"] = (await self._other_than(used)).reveal()
        yield request

    async def _other_than(self, refused: Secret | None) -> Secret:
        """A token that is not the one that was refused; whoever comes first logs in for all."""
        async with self._lock:
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
                f"{who} was not answered: {safe_text(str(error)) or type(error).__name__}",
                "is the IAM endpoint right and reachable?",
            ) from None
        token = answer.headers.get("x-subject-token", "")
        if answer.status == 201 and token:
            return Secret(token)
        code, message = told_by(answer.body) or ("", "")
        raise CredentialsError(
            f"{who} was refused: {message or 'no reason given'} "
            f"(HTTP {answer.status}{', ' + code if code else ''})",
            "check HW_USER_NAME, HW_USER_PASSWORD and HW_DOMAIN_NAME; users with MFA need access keys",
            status=answer.status,
            code=code,
        )


class _Keys(msgspec.Struct):
    """Temporary keys as the metadata service writes them."""

    access: str
    secret: str
    securitytoken: str
    expires_at: datetime


class _KeysAnswer(msgspec.Struct):
    credential: _Keys


class MetadataAuth(httpx.Auth):
    """Signs with temporary keys of the cloud server this runs on, fetched anew before they end."""

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
        """Fetch keys where needed, then sign as always."""
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
            if given.status == 200:  # older metadata services have no token
                headers["X-Metadata-Token"] = given.body.decode("ascii")
            answer = await self._ask("GET", "/openstack/latest/securitykey", headers)
            told = msgspec.json.decode(answer.body, type=_KeysAnswer).credential
        except (httpx.HTTPError, ProtocolError, TimeoutError, OSError, ValueError):
            if self._signer is not None and self._now() < self._ends:
                return self._signer
            raise no_credentials() from None
        ends = told.expires_at
        self._ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
        keys = AccessKeys(told.access, Secret(told.secret), Secret(told.securitytoken))
        return SdkHmacAuth(keys, self._project_id, self._now)

    async def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        request = self._http.build_request(method, self._base + path, headers=dict(headers))
        return await fetch(self._http, request, METADATA_SECONDS)
