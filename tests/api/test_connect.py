from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reconciler.api.connect import open_client
from reconciler.api.transport import sandbox_transport
from reconciler.credentials import AccessKeys, Credentials, Password, Secret, Token
from reconciler.errors import BadInput, ServiceError
from reconciler.journal.states import State
from reconciler.model import Target
from reconciler.settings import Settings
from tests.api.fake_servers import (
    NOW,
    POOL,
    PROJECT,
    FakeClock,
    Seen,
    Service,
    answer,
    free_port,
    listening,
    script,
)

TARGET = Target("ap-southeast-3", PROJECT)
EMPTY = {"total_count": 0, "desktop_pools": []}
KEYS = AccessKeys("AK", Secret("SK"), Secret("ST"))


def read_pools(service: Service, credentials: Credentials) -> list[Any]:
    async def run() -> list[Any]:
        async with listening(service.handle) as base:
            settings = Settings(endpoint=base, iam_endpoint=base)
            async with open_client(settings, credentials, TARGET, FakeClock()) as client:
                return await client.pools()

    return asyncio.run(run())


def test_keys_sign() -> None:
    service = script(answer(200, EMPTY))
    read_pools(service, KEYS)
    headers = service.seen[0].headers
    assert headers["authorization"].startswith("SDK-HMAC-SHA256 Access=AK, SignedHeaders=")
    assert (headers["x-sdk-date"], headers["x-project-id"], headers["x-security-token"]) == (
        "20260301T080000Z",
        PROJECT,
        "ST",
    )


def test_a_token_is_sent_as_it_is() -> None:
    service = script(answer(200, EMPTY))
    read_pools(service, Token(Secret("t")))
    assert service.seen[0].headers["x-auth-token"] == "t"


def test_a_password_logs_in_at_the_iam_endpoint() -> None:
    def reply(seen: Seen) -> bytes:
        return answer(201, {}, X_Subject_Token="t") if "/v3/" in seen.target else answer(200, EMPTY)

    service = Service(reply)
    read_pools(service, Password("u", "d", Secret("p")))
    assert service.seen[1].headers["x-auth-token"] == "t"


def test_a_write_is_signed_with_its_own_moment() -> None:
    service = script(answer(200, {"job_id": "j"}))

    async def run() -> None:
        async with (
            listening(service.handle) as base,
            open_client(Settings(endpoint=base), KEYS, TARGET, FakeClock()) as client,
        ):
            moment = NOW.replace(hour=7, minute=59, second=30)
            outcome = await client.post_volumes("batch-delete", POOL, {}, moment)
            assert outcome.state is State.ACCEPTED

    asyncio.run(run())
    assert service.seen[0].headers["x-sdk-date"] == "20260301T075930Z"


def test_a_service_in_this_process_can_answer() -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"x-reconciler-sandbox", b"demo")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"total_count": 0, "desktop_pools": []}'})

    async def run() -> str:
        settings = Settings(endpoint="http://localhost")
        async with open_client(settings, KEYS, TARGET, FakeClock(), sandbox_transport(app)) as client:
            await client.pools()
            return client.sandbox

    assert asyncio.run(run()) == "demo"


def test_a_service_in_this_process_that_breaks_leaves_a_write_unknown() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("broken")

    async def run() -> State:
        settings = Settings(endpoint="http://localhost")
        async with open_client(settings, KEYS, TARGET, FakeClock(), sandbox_transport(app)) as client:
            return (await client.post_volumes("batch-delete", POOL, {}, NOW)).state

    assert asyncio.run(run()) is State.UNKNOWN


def test_a_region_that_is_none_is_refused_before_anything_is_sent() -> None:
    async def run() -> None:
        async with open_client(Settings(), KEYS, Target("evil.example/", PROJECT), FakeClock()):
            raise AssertionError("opened")

    with pytest.raises(BadInput):
        asyncio.run(run())


def test_a_project_id_cannot_change_the_path() -> None:
    async def run() -> None:
        settings = Settings(endpoint="http://localhost:1")
        async with open_client(settings, KEYS, Target("r", ".."), FakeClock()):
            raise AssertionError("opened")

    with pytest.raises(ServiceError, match="is not an id"):
        asyncio.run(run())


def test_an_address_that_does_not_answer_says_what_it_is_for() -> None:
    async def run() -> None:
        settings = Settings(endpoint=f"http://127.0.0.1:{free_port()}")
        async with open_client(settings, KEYS, TARGET, FakeClock(), about="this is for X") as client:
            with pytest.raises(ServiceError) as failure:
                await client.pools()
        assert failure.value.hint.endswith("; this is for X")

    asyncio.run(run())


def test_an_error_that_has_nothing_to_do_with_access_does_not() -> None:
    service = script(answer(400, {"error_code": "WKS.0001", "error_msg": "no"}))

    async def run() -> None:
        async with (
            listening(service.handle) as base,
            open_client(Settings(endpoint=base), KEYS, TARGET, FakeClock(), about="this is for X") as client,
        ):
            with pytest.raises(ServiceError) as failure:
                await client.job("j")
            assert "this is for X" not in failure.value.hint

    asyncio.run(run())
