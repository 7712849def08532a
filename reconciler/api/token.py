"""Authenticates with a given token, or with a password login that renews itself.

Each login uses its own client and fails with ``CredentialsError``, so that its failure is never taken for a
failure of the request that needed it. ``signing`` signs requests, ``temporary`` gets keys that end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import UTC, datetime, timedelta

import msgspec

from reconciler.api.failure import parse_error, status_words
from reconciler.api.transport import CALL_NAME, ProtocolError, fetch, httpx, through
from reconciler.credentials import Password, Secret
from reconciler.errors import CredentialsError
from reconciler.safe_text import safe_text

ONCE = "once"
"""Request extension of a write: never send it again, whatever the answer is."""
LOGIN_SECONDS = 10.0
RENEW_BEFORE = timedelta(minutes=10)
"""Time before its end at which a token is given up for a new one; of a short-lived one, half its life."""


class TokenAuth(httpx.Auth):
    """Sends a given token."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token to the request; sends it once."""
        request.headers["X-Auth-Token"] = self._token.reveal()
        yield request


class _TokenBody(msgspec.Struct):
    expires_at: datetime


class _TokenAnswer(msgspec.Struct):
    token: _TokenBody


class PasswordAuth(httpx.Auth):
    """Logs in on first use, before the token ends, and if a read is answered 401; one login serves all that wait."""

    def __init__(
        self,
        login: Password,
        iam_endpoint: str,
        project_id: str,
        http: httpx.AsyncClient,
        now: Callable[[], datetime],
    ) -> None:
        self._login = login
        # Without the catalog of all services, which nobody here needs.
        self._url = f"{iam_endpoint}/v3/auth/tokens?nocatalog=true"
        self._project_id = project_id
        self._http = http
        self._now = now
        self._token: Secret | None = None
        self._due: datetime | None = None
        """When to log in again; None when IAM did not say how long the token lives."""
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
            if self._token is None or self._token is refused or self._ending():
                self._token, ends = await self._log_in()
                now = self._now()
                self._due = ends and ends - min(RENEW_BEFORE, max((ends - now) / 2, timedelta()))
            return self._token

    async def for_writing(self) -> None:
        """Log in if needed; raises ``CredentialsError`` when that fails, so that nothing is written then."""
        await self._other_than(None)

    def _ending(self) -> bool:
        return self._due is not None and self._now() > self._due

    async def _log_in(self) -> tuple[Secret, datetime | None]:
        user = {
            "name": self._login.user,
            "password": self._login.password.reveal(),
            "domain": {"name": self._login.domain},
        }
        identity = {"methods": ["password"], "password": {"user": user}}
        body = {"auth": {"identity": identity, "scope": {"project": {"id": self._project_id}}}}
        request = self._http.build_request("POST", self._url, json=body, extensions={CALL_NAME: "log in"})
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
            return Secret(token), _end(answer.body)
        code, message = parse_error(answer.body) or ("", "")
        raise CredentialsError(
            f"{who} was refused: {message or 'no reason given'} ({status_words(answer.status, code)})",
            "check HW_USER_NAME, HW_USER_PASSWORD and HW_DOMAIN_NAME; a user with MFA needs access keys",
            status=answer.status,
            code=code,
        )


def _end(body: bytes) -> datetime | None:
    """When a token ends; None when the answer does not say, and then a 401 is what shows it."""
    try:
        ends = msgspec.json.decode(body, type=_TokenAnswer).token.expires_at
    except ValueError:  # also what msgspec raises
        return None
    return ends if ends.tzinfo else ends.replace(tzinfo=UTC)
