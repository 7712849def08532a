"""Logins over real TCP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from reconciler.api.client import WorkspaceClient
from reconciler.api.temporary import TemporaryAuth, TemporaryKeys, metadata
from reconciler.api.token import PasswordAuth
from reconciler.api.transport import open_http
from reconciler.credentials import Password, Secret
from reconciler.errors import CredentialsError
from reconciler.journal.states import State
from tests.api.fake_servers import (
    NOW,
    POOL,
    PROJECT,
    Seen,
    Service,
    answer,
    client_at,
    free_port,
    listening,
    script,
)

HIDDEN = "swordfish-4711"
LOGIN = Password("anna", "acme", Secret(HIDDEN))
EMPTY = {"total_count": 0, "desktop_pools": []}
EXPIRED = answer(401, {"error_code": "APIGW.0307", "error_msg": "The token must be updated"})


def numbered_tokens() -> Service:
    """IAM that gives token-1, token-2, …"""
    service = Service(lambda _: answer(201, {}, X_Subject_Token=f"token-{len(service.seen)}"))
    return service


def with_login(
    service: Service,
    iam: Service | None,
    use: Callable[[WorkspaceClient], Any],
    now: Callable[[], datetime] = lambda: NOW,
) -> Any:
    async def run() -> Any:
        async with (
            listening(service.handle) as base,
            listening((iam or numbered_tokens()).handle) as at,
            open_http(at) as http,
        ):
            where = at if iam else f"http://127.0.0.1:{free_port()}"
            async with client_at(base, auth=PasswordAuth(LOGIN, where, PROJECT, http, now)) as client:
                return await use(client)

    return asyncio.run(run())


def tokens(service: Service) -> list[str]:
    return [seen.headers["x-auth-token"] for seen in service.seen]


def test_the_login_asks_for_a_token_of_the_project() -> None:
    service, iam = script(answer(200, EMPTY)), numbered_tokens()
    with_login(service, iam, lambda client: client.pools())
    (seen,) = iam.seen
    assert (seen.method, seen.target) == ("POST", "/v3/auth/tokens?nocatalog=true")
    auth = json.loads(seen.body)["auth"]
    assert auth["scope"] == {"project": {"id": PROJECT}}
    user = {"name": "anna", "password": HIDDEN, "domain": {"name": "acme"}}
    assert auth["identity"] == {"methods": ["password"], "password": {"user": user}}
    assert tokens(service) == ["token-1"]


def test_an_expired_token_is_renewed_once_for_a_read() -> None:
    service, iam = script(EXPIRED, answer(200, EMPTY)), numbered_tokens()
    assert with_login(service, iam, lambda client: client.pools()) == []
    assert tokens(service) == ["token-1", "token-2"]


def test_a_token_is_renewed_before_it_ends_so_that_a_write_meets_no_401() -> None:
    moment = NOW
    ends = {"token": {"expires_at": f"{NOW + timedelta(hours=24):%Y-%m-%dT%H:%M:%S.000000Z}"}}
    service = script(answer(200, EMPTY))
    iam = Service(lambda _: answer(201, ends, X_Subject_Token=f"token-{len(iam.seen)}"))

    async def use(client: WorkspaceClient) -> None:
        nonlocal moment
        for hours in (0, 23.5, 23.9):
            moment = NOW + timedelta(hours=hours)
            await client.pools()

    with_login(service, iam, use, lambda: moment)
    assert tokens(service) == ["token-1", "token-1", "token-2"]


def test_a_second_401_is_final() -> None:
    service, iam = script(EXPIRED), numbered_tokens()
    with pytest.raises(CredentialsError):
        with_login(service, iam, lambda client: client.pools())
    assert (len(service.seen), len(iam.seen)) == (2, 2)


def test_concurrent_reads_log_in_and_renew_together() -> None:
    def reply(seen: Seen) -> bytes:
        return EXPIRED if seen.headers["x-auth-token"] == "token-1" else answer(200, {"id": "j"})

    async def many(client: WorkspaceClient) -> None:
        await asyncio.gather(*(client.job(f"j{number}") for number in range(20)))

    service, iam = Service(reply), numbered_tokens()
    with_login(service, iam, many)
    assert len(iam.seen) == 2


def test_a_write_is_sent_once_even_with_an_expired_token() -> None:
    service, iam = script(EXPIRED), numbered_tokens()
    outcome = with_login(service, iam, lambda client: client.post_volumes("batch-delete", POOL, {}, NOW))
    assert (outcome.state, outcome.status) == (State.REJECTED, 401)
    assert (len(service.seen), len(iam.seen)) == (1, 1)


REFUSED = answer(401, {"error": {"code": 401, "message": "The username or password is wrong.", "title": "x"}})


@pytest.mark.parametrize(
    ("iam", "words"),
    [
        (script(REFUSED), "The username or password is wrong. (HTTP 401)"),
        (script(answer(201, {})), "no reason given (HTTP 201)"),
        (script(answer(200, b"<html>")), "no reason given (HTTP 200)"),
        (script(b""), "was not answered"),
        (None, "was not answered"),
    ],
)
def test_a_login_that_fails_says_so_and_keeps_the_password(iam: Service | None, words: str) -> None:
    service = script(answer(200, EMPTY))
    with pytest.raises(CredentialsError) as failure:
        with_login(service, iam, lambda client: client.pools())
    assert "the login of user anna" in failure.value.message
    assert words in failure.value.message
    assert HIDDEN not in failure.value.message + failure.value.hint
    assert service.seen == []


@pytest.mark.parametrize("iam", [script(REFUSED), script(b""), None])
def test_a_write_whose_login_fails_is_not_sent(iam: Service | None) -> None:
    service = script(answer(200, {"job_id": "j"}))
    outcome = with_login(service, iam, lambda client: client.post_volumes("batch-delete", POOL, {}, NOW))
    assert outcome.state is State.NOT_SENT
    assert "the login of user anna" in outcome.message
    assert service.seen == []


# --- metadata -------------------------------------------------------------------------------------


def metadata_service(ends: datetime, token_status: int = 200) -> Service:
    """A metadata service whose keys are numbered."""

    def reply(seen: Seen) -> bytes:
        if seen.method == "PUT":
            return answer(token_status, b"meta-token")
        number = sum(each.method == "GET" for each in service.seen)
        moment = f"{ends:%Y-%m-%dT%H:%M:%S.000000Z}"
        keys = {"access": f"AK{number}", "secret": HIDDEN, "securitytoken": "ST", "expires_at": moment}
        return answer(200, {"credential": keys})

    service = Service(reply)
    return service


def with_metadata(meta: Service, moments: list[datetime]) -> Service:
    """One read at each moment."""
    service = script(answer(200, {"id": "j"}))
    now = moments[0]

    async def run() -> None:
        nonlocal now
        async with listening(service.handle) as base, listening(meta.handle) as at, open_http(at) as http:
            keys = TemporaryKeys(metadata(http, at), lambda: now)
            auth = TemporaryAuth(keys, PROJECT, lambda: now)
            async with client_at(base, auth=auth) as client:
                for moment in moments:
                    now = moment
                    await client.job("j")

    asyncio.run(run())
    return service


def access(service: Service) -> list[str]:
    return [seen.headers["authorization"].partition("Access=")[2].partition(",")[0] for seen in service.seen]


@pytest.mark.parametrize(("status", "token"), [(200, "meta-token"), (404, None), (405, None)])
def test_keys_come_from_the_metadata_service_with_its_token_where_it_has_one(
    status: int, token: str | None
) -> None:
    meta = metadata_service(NOW + timedelta(hours=6), status)
    service = with_metadata(meta, [NOW, NOW + timedelta(hours=5)])
    assert access(service) == ["AK1", "AK1"]
    assert service.seen[0].headers["x-security-token"] == "ST"
    assert meta.seen[-1].target == "/openstack/latest/securitykey"
    assert meta.seen[-1].headers.get("x-metadata-token") == token


def test_keys_are_fetched_anew_before_they_end() -> None:
    meta = metadata_service(NOW + timedelta(hours=6))
    service = with_metadata(meta, [NOW, NOW + timedelta(hours=5, minutes=51)])
    assert access(service) == ["AK1", "AK2"]


def test_keys_that_still_hold_survive_a_metadata_service_that_does_not() -> None:
    meta = metadata_service(NOW + timedelta(minutes=5))
    healthy = meta.reply
    meta.reply = lambda seen: healthy(seen) if len(meta.seen) <= 2 else answer(500)
    assert access(with_metadata(meta, [NOW, NOW])) == ["AK1", "AK1"]
    with pytest.raises(CredentialsError):
        with_metadata(meta, [NOW + timedelta(minutes=6)])


@pytest.mark.parametrize(
    "meta",
    [script(answer(404)), script(answer(200, {"credential": {}})), script(answer(200, b"x")), script(b"")],
)
def test_without_keys_every_place_to_put_some_is_named(meta: Service) -> None:
    with pytest.raises(CredentialsError) as failure:
        with_metadata(meta, [NOW])
    for place in ("HUAWEICLOUD_SDK_AK", "HW_ACCESS_KEY", "HW_AUTH_TOKEN", "~/.huaweicloud/credentials"):
        assert place in failure.value.hint
