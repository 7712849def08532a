"""Temporary keys over real TCP: what is asked for them, and when they are renewed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huaweicloudsdkcore.auth.internal import (  # type: ignore[import-untyped]
    OidcStsAccessor,
    PodIdentityAccessor,
)
from huaweicloudsdkcore.http.http_config import HttpConfig  # type: ignore[import-untyped]

from reconciler.api.client import WorkspaceClient
from reconciler.api.temporary import (
    Granted,
    Source,
    TemporaryAuth,
    TemporaryKeys,
    agency,
    container,
    granted,
    oidc,
)
from reconciler.api.transport import open_http
from reconciler.credentials import AccessKeys, Agency, Container, Oidc, Secret
from reconciler.errors import CredentialsError
from reconciler.journal.states import State
from reconciler.values import replace
from tests.api.fake_servers import NOW, POOL, PROJECT, Seen, Service, answer, client_at, listening, script

HIDDEN = "swordfish-4711"
ENDS = "2026-03-01T09:00:00.000000Z"
STS_ANSWER = {
    "credentials": {
        "access_key_id": "TEMP",
        "secret_access_key": HIDDEN,
        "security_token": "ST",
        "expiration": ENDS,
    }
}
IAM_ANSWER = {"credential": {"access": "TEMP", "secret": HIDDEN, "securitytoken": "ST", "expires_at": ENDS}}
GRANTED = Granted(AccessKeys("TEMP", Secret(HIDDEN), Secret("ST")), NOW + timedelta(hours=1))
ASKED = Oidc("iam::a:oidc-provider:p", "iam::a:agency:b", "session", 1800, Secret("a.b.c"), None, "", ())
OPERATOR = Agency(AccessKeys("BASE", Secret("SK")), "operator", "acme", 7200)


def ask(service: Service, make: Callable[[str, Any], Source]) -> Granted:
    """What a source gets from this service, which stands for STS, IAM or Kubernetes."""

    async def run() -> Granted:
        async with listening(service.handle) as base, open_http(base) as http:
            return await make(base, http)()

    return asyncio.run(run())


# --- what is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked", [ASKED, replace(ASKED, policy='{"Version":"5.0"}', policy_ids=("one", "two"))]
)
def test_the_request_for_an_oidc_token_is_that_of_the_sdk(asked: Oidc) -> None:
    sent: list[Any] = []

    def take(request: Any) -> Any:
        sent.append(request)
        return SimpleNamespace(content=json.dumps(STS_ANSWER).encode())

    theirs = OidcStsAccessor(
        asked.provider_urn, asked.agency_urn, "a.b.c", "session", 1800, asked.policy, list(asked.policy_ids)
    )
    client = SimpleNamespace(config=HttpConfig(), do_request_sync=take)
    found = theirs.get_credential(http_client=client, sts_endpoint="https://sts.example")
    service = script(answer(200, STS_ANSWER))
    ours = ask(service, lambda base, http: oidc(asked, base, http))
    (seen,) = service.seen
    (request,) = sent
    assert (seen.method, seen.target) == (request.method, request.resource_path)
    assert json.loads(seen.body) == json.loads(request.body)
    assert seen.headers["content-type"] == request.header_params["Content-Type"]
    assert "authorization" not in seen.headers
    assert ours == GRANTED
    assert (ours.keys.ak, ours.keys.sk.reveal()) == (found.access, found.secret)


def test_the_request_of_a_container_is_that_of_the_sdk(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{HIDDEN}\n")
    service = script(answer(200, STS_ANSWER))

    async def run() -> Granted:
        async with listening(service.handle) as base, open_http(base) as http:
            await asyncio.to_thread(PodIdentityAccessor(f"{base}/v1/credentials", str(file)).get_credential)
            return await container(Container(f"{base}/v1/credentials", file), http)()

    assert asyncio.run(run()) == GRANTED
    theirs, ours = service.seen
    assert (ours.method, ours.target) == (theirs.method, theirs.target) == ("POST", "/v1/credentials")
    assert json.loads(ours.body) == json.loads(theirs.body)
    assert ours.headers["authorization"] == theirs.headers["authorization"] == HIDDEN


def test_an_agency_is_assumed_as_the_provider_does_it_signed_by_the_base_keys() -> None:
    service = script(answer(201, IAM_ANSWER))
    assert ask(service, lambda base, http: agency(OPERATOR, base, http, lambda: NOW)) == GRANTED
    (seen,) = service.seen
    assert (seen.method, seen.target) == ("POST", "/v3.0/OS-CREDENTIAL/securitytokens")
    role = {"agency_name": "operator", "domain_name": "acme", "duration_seconds": 7200}
    assert json.loads(seen.body) == {"auth": {"identity": {"methods": ["assume_role"], "assume_role": role}}}
    assert seen.headers["authorization"].startswith("SDK-HMAC-SHA256 Access=BASE,")
    assert "x-project-id" not in seen.headers


def test_a_token_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    asked = replace(ASKED, id_token=None, token_file=file)
    service = script(answer(200, STS_ANSWER))

    async def run() -> None:
        async with listening(service.handle) as base, open_http(base) as http:
            source = oidc(asked, base, http)
            for token in ("one", "two"):
                file.write_text(token)
                await source()

    asyncio.run(run())
    assert [json.loads(seen.body)["id_token"] for seen in service.seen] == ["one", "two"]


@pytest.mark.parametrize("text", [None, b"", b" \n", b"a b", b"\xff", b"a\nb"])
def test_a_token_file_without_a_token_is_named_and_nothing_is_asked(
    text: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    if text is not None:
        file.write_bytes(text)
    service = script(answer(200, STS_ANSWER))
    with pytest.raises(CredentialsError, match=f"HUAWEICLOUD_OIDC_TOKEN_FILE .*{file}"):
        ask(
            service,
            lambda base, http: oidc(replace(ASKED, id_token=None, token_file=file), base, http),
        )
    assert service.seen == []


DENIED = {"error_code": "STS5.0001", "error_msg": "the token was not issued for this audience"}


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answer(403, DENIED), "not issued for this audience (HTTP 403, STS5.0001)"),
        (answer(200, DENIED), "not issued for this audience (HTTP 200, STS5.0001)"),
        (answer(200, {"credentials": {"access_key_id": "A"}}), "holds no keys"),
        (answer(200, {"credentials": "x"}), "holds no keys"),
        (answer(200, b"<html>"), "holds no keys"),
        (answer(500, b""), "no reason given (HTTP 500)"),
        (b"", "were not given"),
    ],
)
def test_keys_that_are_refused_say_whose_and_why_and_quote_no_secret(reply: bytes, words: str) -> None:
    sources: list[tuple[str, Callable[[str, Any], Source]]] = [
        ("agency iam::a:agency:b", lambda base, http: oidc(ASKED, base, http)),
        ("agency operator of acme", lambda base, http: agency(OPERATOR, base, http, lambda: NOW)),
    ]
    for who, make in sources:
        with pytest.raises(CredentialsError) as failure:
            ask(script(reply), make)
        assert words in failure.value.message
        assert who in failure.value.message
        assert "a.b.c" not in failure.value.message + failure.value.hint
        assert failure.value.__context__ is None or failure.value.__suppress_context__


def test_a_time_without_a_zone_is_utc() -> None:
    body = {"credential": IAM_ANSWER["credential"] | {"expires_at": "2026-03-01T09:00:00"}}
    assert granted(json.dumps(body).encode()) == GRANTED


# --- renewal ------------------------------------------------------------------------------------


class Issuer:
    """Numbered keys that live for a while, from a clock that the test moves; it can fail."""

    def __init__(self, life: timedelta = timedelta(hours=1)) -> None:
        self.life = life
        self.moment = NOW
        self.asked = 0
        self.broken = False

    def now(self) -> datetime:
        return self.moment

    async def obtain(self) -> Granted:
        self.asked += 1
        await asyncio.sleep(0)
        if self.broken:
            raise CredentialsError("refused", "")
        return Granted(AccessKeys(f"AK{self.asked}", Secret("s"), Secret("t")), self.moment + self.life)


def with_keys(issuer: Issuer, use: Callable[[WorkspaceClient, TemporaryKeys], Awaitable[Any]]) -> list[str]:
    """Which keys signed what arrived."""
    service = script(answer(200, {"id": "j", "job_id": "j"}))

    async def run() -> None:
        keys = TemporaryKeys(issuer.obtain, issuer.now)
        async with listening(service.handle) as base:
            auth = TemporaryAuth(keys, PROJECT, issuer.now)
            async with client_at(base, auth=auth) as client:
                await use(client, keys)

    asyncio.run(run())
    return [_key(seen) for seen in service.seen]


def _key(seen: Seen) -> str:
    return seen.headers["authorization"].partition("Access=")[2].partition(",")[0]


def test_keys_are_renewed_before_a_signature_could_outlive_them_and_once_for_all_tasks() -> None:
    issuer = Issuer()

    async def use(client: WorkspaceClient, _: TemporaryKeys) -> None:
        for minutes in (0, 29, 31):
            issuer.moment = NOW + timedelta(minutes=minutes)
            await asyncio.gather(*(client.job(f"j{number}") for number in range(5)))

    assert with_keys(issuer, use) == ["AK1"] * 10 + ["AK2"] * 5


@pytest.mark.parametrize("life", [timedelta(minutes=15), timedelta(minutes=1)])
def test_short_keys_are_renewed_at_half_their_life_and_not_with_every_request(life: timedelta) -> None:
    issuer = Issuer(life)

    async def use(client: WorkspaceClient, _: TemporaryKeys) -> None:
        for part in (0.0, 0.4, 0.6, 0.9):
            issuer.moment = NOW + life * part
            await client.job("j")

    assert with_keys(issuer, use) == ["AK1", "AK1", "AK2", "AK2"]


def test_where_renewing_fails_reads_go_on_to_the_end_and_no_write_is_begun() -> None:
    issuer = Issuer()

    async def use(client: WorkspaceClient, keys: TemporaryKeys) -> None:
        assert await keys.for_writing() == NOW + timedelta(hours=1)
        issuer.broken, issuer.moment = True, NOW + timedelta(minutes=31)
        with pytest.raises(CredentialsError):
            await keys.for_writing()
        await client.job("j")
        issuer.moment = NOW + timedelta(minutes=60)
        with pytest.raises(CredentialsError):
            await client.job("j")
        outcome = await client.post_volumes("batch-delete", POOL, {}, issuer.moment)
        assert outcome.state is State.NOT_SENT
        assert "temporary keys have ended" in outcome.message

    assert with_keys(issuer, use) == ["AK1"]


def test_between_intent_and_wire_no_keys_are_asked_for() -> None:
    issuer = Issuer()

    async def use(client: WorkspaceClient, keys: TemporaryKeys) -> None:
        await keys.for_writing()
        issuer.moment = NOW + timedelta(minutes=31)
        await client.post_volumes("batch-delete", POOL, {}, issuer.moment)

    assert with_keys(issuer, use) == ["AK1"]
    assert issuer.asked == 1


def test_keys_that_are_over_when_they_come_point_at_the_clock() -> None:
    issuer = Issuer(timedelta(minutes=-1))
    with pytest.raises(CredentialsError, match="ended at 2026-03-01 07:59:00 UTC, before they were given"):
        asyncio.run(TemporaryKeys(issuer.obtain, issuer.now).for_reading())
