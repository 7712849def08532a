"""Owns token authentication: a given token, a login that renews itself, and keys from the metadata service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import datetime, timedelta
from typing import Any

from reconciler.api.failure import told_by
from reconciler.api.signing import SdkHmacAuth
from reconciler.api.transport import httpx
from reconciler.errors import CredentialsError
from reconciler.settings import AccessKeys, Password, Secret

ONCE = "once"
"""Request extension of a write: it is sent once, whatever the answer."""
METADATA = "http://169.254.169.254"
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

    def __init__(self, login: Password, iam_endpoint: str, project_id: str) -> None:
        self._login = login
        self._url = f"{iam_endpoint}/v3/auth/tokens?nocatalog=true"
        self._project_id = project_id
        self._token: Secret | None = None
        self._lock = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Log in where needed, send, and log in once more for a read that was answered 401."""
        used = self._token
        if used is None:
            async with self._lock:
                if self._token is None:
                    self._keep(await _read((yield self._request())))
            used = self._token
        request.headers["X-Auth-Token"] = used.reveal() if used else ""
        response = yield request
        if response.status_code != 401 or request.extensions.get(ONCE):
            return
        async with self._lock:
            if self._token is used:  # nobody else has renewed it meanwhile
                self._keep(await _read((yield self._request())))
        request.headers["X-Auth-Token"] = self._token.reveal() if self._token else ""
        yield request

    def _request(self) -> httpx.Request:
        user = {
            "name": self._login.user,
            "password": self._login.password.reveal(),
            "domain": {"name": self._login.domain},
        }
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"id": self._project_id}},
            }
        }
        return httpx.Request("POST", self._url, json=body)

    def _keep(self, response: httpx.Response) -> None:
        token = response.headers.get("X-Subject-Token", "")
        if response.status_code != 201 or not token:
            code, message = told_by(response.content) or ("", "")
            raise CredentialsError(
                f"the login of user {self._login.user} was refused: "
                f"{message or 'no reason given'} (HTTP {response.status_code}{', ' + code if code else ''})",
                "check HW_USER_NAME, HW_USER_PASSWORD and HW_DOMAIN_NAME; users with MFA need access keys",
                status=response.status_code,
                code=code,
            )
        self._token = Secret(token)


class MetadataAuth(httpx.Auth):
    """Signs with temporary keys of the cloud server this runs on, fetched anew before they end."""

    requires_request_body = True

    def __init__(self, project_id: str, now: Callable[[], datetime], base: str = METADATA) -> None:
        self._project_id = project_id
        self._now = now
        self._base = base
        self._signer: SdkHmacAuth | None = None
        self._ends: datetime | None = None
        self._lock = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Fetch keys where needed, then sign as always."""
        async with self._lock:
            if self._signer is None or self._ends is None or self._ends - self._now() < RENEW_BEFORE:
                await self._fetch()
        await request.aread()
        if self._signer:
            for signed in self._signer.auth_flow(request):
                yield signed

    async def _fetch(self) -> None:
        try:
            async with httpx.AsyncClient(timeout=3.0, trust_env=False) as http:
                headers: dict[str, str] = {}
                given = await http.put(
                    f"{self._base}/meta-data/latest/api/token",
                    headers={"X-Metadata-Token-Ttl-Seconds": "21600"},
                )
                if given.status_code == 200:  # older metadata services have no token
                    headers["X-Metadata-Token"] = given.text
                answer = await http.get(f"{self._base}/openstack/latest/securitykey", headers=headers)
            told: dict[str, Any] = json.loads(answer.content)["credential"]
            keys = AccessKeys(told["access"], Secret(told["secret"]), Secret(told["securitytoken"]))
            self._ends = datetime.fromisoformat(told["expires_at"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            raise CredentialsError(
                "there are no credentials",
                "set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, or HW_ACCESS_KEY and HW_SECRET_KEY, or "
                "HW_AUTH_TOKEN, or write ~/.huaweicloud/credentials; or use --sandbox",
            ) from None
        self._signer = SdkHmacAuth(keys, self._project_id, self._now)


async def _read(response: httpx.Response) -> httpx.Response:
    await response.aread()
    return response
