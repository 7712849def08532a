"""The calls over real TCP, against scripted servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from reconciler.api.client import WorkspaceClient
from reconciler.api.retry import Timing
from reconciler.errors import CredentialsError, PermissionDenied, PoolNotFound, ReadingDoubtful, ServiceError
from reconciler.journal.states import Outcome, State
from tests.api.fake_servers import (
    NOW,
    POOL,
    PROJECT,
    QUICK,
    FakeClock,
    Seen,
    Service,
    answer,
    client_at,
    free_port,
    listening,
    read_request,
    script,
)

EMPTY = {"total_count": 0, "desktop_pools": []}
THROTTLED = {"error_code": "APIGW.0308", "error_msg": "The throttling threshold has been reached"}


def ask(
    service: Service,
    call: Callable[[WorkspaceClient], Awaitable[Any]],
    clock: FakeClock | None = None,
    timing: Timing = QUICK,
) -> Any:
    async def run() -> Any:
        async with listening(service.handle) as base, client_at(base, clock, timing) as client:
            return await call(client)

    return asyncio.run(run())


def pools(client: WorkspaceClient) -> Awaitable[Any]:
    return client.pools()


def query(seen: Seen) -> dict[str, list[str]]:
    return parse_qs(urlsplit(seen.target).query)


def pool_item(number: int) -> dict[str, Any]:
    return {"id": f"p{number}", "name": f"pool-{number}", "data_volumes": [], "desktop_count": 1}


def listing(count: int) -> Service:
    """A service with so many pools."""

    def reply(seen: Seen) -> bytes:
        asked = query(seen)
        offset, limit = int(asked["offset"][0]), int(asked["limit"][0])
        items = [pool_item(number) for number in range(offset, min(offset + limit, count))]
        return answer(200, {"total_count": count, "desktop_pools": items})

    return Service(reply)


# --- reading --------------------------------------------------------------------------------------


def test_a_thousand_pools_are_one_page_and_every_pool_comes() -> None:
    service = listing(2500)
    found = ask(service, pools)
    assert [pool.id for pool in found] == [f"p{number}" for number in range(2500)]
    assert sorted(query(seen)["offset"][0] for seen in service.seen) == ["0", "1000", "2000"]
    assert {query(seen)["limit"][0] for seen in service.seen} == {"1000"}


def test_reads_say_json_and_carry_the_credentials() -> None:
    service = script(answer(200, EMPTY))
    ask(service, pools)
    (seen,) = service.seen
    assert urlsplit(seen.target).path == f"/v2/{PROJECT}/desktop-pools"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["x-auth-token"] == "a-token"
    assert seen.headers["accept-encoding"] == "identity"


def test_one_pool_comes_with_the_raw_bytes_of_its_answer() -> None:
    raw = b'{ "id": "p", "name": "n", "data_volumes": [{"id": "d", "type": "SAS", "size": 10}] , "new": 1}'
    body, kept = ask(script(answer(200, raw)), lambda client: client.pool("p"))
    assert (body.id, body.data_volumes[0].id, kept) == ("p", "d", raw)


def test_the_answer_about_another_pool_is_doubtful() -> None:
    with pytest.raises(ReadingDoubtful, match="answered with q"):
        ask(script(answer(200, {"id": "q"})), lambda client: client.pool("p"))


@pytest.mark.parametrize(("status", "code"), [(400, "WKS.0001"), (404, "WKS.0007")])
def test_an_unknown_pool_has_an_error_of_its_own(status: int, code: str) -> None:
    with pytest.raises(PoolNotFound):
        ask(
            script(answer(status, {"error_code": code, "error_msg": "x"})),
            lambda client: client.pool("p"),
        )


@pytest.mark.parametrize(
    "raw",
    [
        answer(404, b"<html>Not Found</html>"),
        answer(404, {"error_code": "APIGW.0101", "error_msg": "x"}),
        answer(400, {"error_code": "WKS.0002", "error_msg": "x"}),
    ],
)
def test_a_stranger_s_404_does_not_say_that_pool_or_job_are_gone(raw: bytes) -> None:
    for call in (lambda client: client.pool("p"), lambda client: client.job("j")):
        with pytest.raises(ServiceError) as failure:
            ask(script(raw), call)
        assert not isinstance(failure.value, PoolNotFound)


def test_desktops_come_a_hundred_a_page() -> None:
    def reply(seen: Seen) -> bytes:
        offset = int(query(seen)["offset"][0])
        items = [
            {
                "desktop_id": f"d{number}",
                "login_status": None,
                "attach_user_infos": [{"user_name": "anna"}],
                "data_volumes": [{"type": "SAS", "size": 10, "desktop_pool_disk_id": "x"}],
            }
            for number in range(offset, min(offset + 100, 250))
        ]
        return answer(200, {"total_count": 250, "pool_desktops": items})

    service = Service(reply)
    found = ask(service, lambda client: client.desktops("p", "DISK_NUM"))
    assert len(found) == 250
    assert found[0].attach_user_infos[0].user_name == "anna"
    assert query(service.seen[0])["inconsistent_type"] == ["DISK_NUM"]
    assert {query(seen)["limit"][0] for seen in service.seen} == {"100"}


def test_one_malformed_desktop_spoils_the_reading() -> None:
    body = {
        "total_count": 1,
        "pool_desktops": [{"desktop_id": "d", "data_volumes": [{"type": "SAS", "size": "10"}]}],
    }
    with pytest.raises(ReadingDoubtful, match="data_volumes"):
        ask(script(answer(200, body)), lambda client: client.desktops("p"))


def test_how_many_desktops_differ() -> None:
    found = ask(
        script(answer(200, {"product_id": 0, "disk_num": 3, "disk_size": 2})),
        lambda client: client.inconsistent_statics("p"),
    )
    assert (found.disk_num, found.disk_size) == (3, 2)


def test_sub_jobs_are_filtered_by_the_service() -> None:
    service = script(
        answer(200, {"total_count": 1, "jobs": [{"id": "s", "job_id": "j", "status": "RUNNING"}]})
    )
    found = ask(
        service,
        lambda client: client.sub_jobs(
            job_type="deleteDesktopPoolVolumes", pool_id="p", statuses=("WAITING", "RUNNING")
        ),
    )
    assert found[0].job_id == "j"
    asked = query(service.seen[0])
    assert asked["status"] == ["WAITING", "RUNNING"]
    assert (asked["job_type"], asked["desktop_pool_id"]) == (["deleteDesktopPoolVolumes"], ["p"])


def test_a_job_comes_with_its_sub_jobs_and_an_unknown_one_is_none() -> None:
    body = {"id": "j", "status": "SUCCESS", "sub_jobs": [{"id": "s", "status": "FAILED", "fail_reason": "x"}]}
    found = ask(script(answer(200, body)), lambda client: client.job("j"))
    assert (found.status, found.sub_jobs[0].fail_reason) == ("SUCCESS", "x")
    missing = answer(404, {"error_code": "WKS.0404", "error_msg": "no job"})
    assert ask(script(missing), lambda client: client.job("j")) is None


@pytest.mark.parametrize("hostile", ["../../other", "a/b", "a?b=c", "a#b", "%2e%2e", "a b", "ü"])
def test_a_hostile_id_stays_one_segment_of_the_path(hostile: str) -> None:
    service = script(answer(200, {"id": hostile}))
    ask(service, lambda client: client.pool(hostile))
    path, mark, _ = service.seen[0].target.partition("?")
    assert path.count("/") == 4
    assert (path.startswith(f"/v2/{PROJECT}/desktop-pools/"), mark) == (True, "")


@pytest.mark.parametrize("nothing", ["", ".", ".."])
def test_an_id_that_is_none_is_never_asked_for(nothing: str) -> None:
    service = script(answer(200, {}))
    for call in (lambda client: client.pool(nothing), lambda client: client.job(nothing)):
        with pytest.raises(ServiceError, match="is not an id"):
            ask(service, call)
    assert service.seen == []


def test_the_sandbox_announces_itself() -> None:
    async def run(raw: bytes) -> tuple[str, str]:
        async with listening(script(raw).handle) as base, client_at(base) as client:
            return await client.announce(), client.sandbox

    assert asyncio.run(run(answer(404, X_Reconciler_Sandbox="demo"))) == ("demo", "demo")
    assert asyncio.run(run(answer(404))) == ("", "")


# --- failing --------------------------------------------------------------------------------------

GOOD = answer(200, EMPTY)
CUT = answer(200, EMPTY)[:-3]


@pytest.mark.parametrize(
    "bad",
    [
        answer(500, {"error_code": "WKS.0001", "error_msg": "x"}),
        answer(502, b"<html>Bad Gateway</html>"),
        answer(503),
        answer(408),
        CUT,
        b"",
        b"nonsense\r\n\r\n",
        answer(200, b"<html>"),
        answer(200, b'{"total_count": 0, "desk'),
        answer(200, b"\xff"),
        answer(200, {"total_count": "0", "desktop_pools": []}),
        answer(200, EMPTY, Content_Encoding="br"),
    ],
)
def test_a_read_survives_one_bad_answer(bad: bytes) -> None:
    service = script(bad, GOOD)
    clock = FakeClock()
    assert ask(service, pools, clock) == []
    assert len(service.seen) == 2


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (
            answer(503, {"error_code": "W", "error_msg": "down"}, X_Request_Id="r-7"),
            ServiceError,
            "down (HTTP 503, W, request r-7)",
        ),
        (answer(200, b"<html>", X_Request_Id="r-7"), ServiceError, "HTML"),
        (answer(200, {"total_count": 1}), ReadingDoubtful, "desktop_pools"),
        (answer(200, {"total_count": 1, "desktop_pools": [{"name": "no id"}]}), ReadingDoubtful, "id"),
        (CUT, ServiceError, "closed connection"),
    ],
)
def test_a_read_that_keeps_failing_ends_within_its_time(
    bad: bytes, kind: type[ServiceError], words: str
) -> None:
    clock = FakeClock()
    service = script(bad)
    with pytest.raises(kind) as failure:
        ask(service, pools, clock)
    assert words in failure.value.message
    assert failure.value.hint
    assert len(service.seen) > 3
    assert 15 < sum(clock.slept) < 25


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, {"error_code": "APIGW.0301", "error_msg": "x"}, CredentialsError, "access key"),
        (401, {"error_code": "APIGW.0303", "error_msg": "x"}, CredentialsError, "clock"),
        (403, {"error_code": "X", "error_msg": "x"}, PermissionDenied, "workspace:desktopPools:list"),
        (403, {"error_code": "WKS.00010099", "error_msg": "x"}, PermissionDenied, "enable"),
        (404, {"error_code": "APIGW.0101", "error_msg": "x"}, ServiceError, "region"),
        (302, b"", ServiceError, "redirects"),
        (200, {"error_code": "WKS.00010109", "error_msg": "x"}, ServiceError, "message"),
        (400, {"error_code": "WKS.0001", "error_msg": "x"}, ServiceError, "message"),
    ],
)
def test_a_refusal_is_final_and_says_what_to_do(
    status: int, body: Any, kind: type[ServiceError], words: str
) -> None:
    service = script(answer(status, body, X_Request_Id="r-7"))
    with pytest.raises(kind) as failure:
        ask(service, pools)
    assert type(failure.value) is kind
    assert words in failure.value.hint
    assert (failure.value.status, failure.value.request_id) == (status, "r-7")
    assert len(service.seen) == 1


def test_silence_and_drips_are_bounded_in_all() -> None:
    async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for byte in GOOD * 100:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    async def run() -> None:
        clock = FakeClock()
        async with listening(drips) as base, client_at(base, clock, Timing(read=1, retry=1)) as client:
            await client.pools()

    with pytest.raises(ServiceError, match="no complete answer"):
        asyncio.run(run())


def test_an_address_that_never_answered_is_not_insisted_on() -> None:
    clock = FakeClock()

    async def run() -> None:
        async with client_at(f"http://127.0.0.1:{free_port()}", clock) as client:
            await client.pools()

    with pytest.raises(ServiceError, match="no connection") as failure:
        asyncio.run(run())
    assert clock.slept == []
    assert "endpoint" in failure.value.hint


def test_an_address_that_once_answered_is() -> None:
    clock = FakeClock()

    async def run() -> None:
        async with listening(listing(1).handle) as base:
            stack = client_at(base, clock)
            client = await stack.__aenter__()
            await client.pools()
        try:
            await client.pools()
        finally:
            await stack.__aexit__(None, None, None)

    with pytest.raises(ServiceError, match="no connection"):
        asyncio.run(run())
    assert 15 < sum(clock.slept) < 25


# --- throttling -----------------------------------------------------------------------------------


def test_a_throttled_read_waits_as_told() -> None:
    clock = FakeClock()
    service = script(answer(429, THROTTLED, Retry_After="7"), answer(429, THROTTLED, Retry_After="9"), GOOD)
    assert ask(service, pools, clock) == []
    assert sum(clock.slept) == 16


def test_without_being_told_it_waits_a_minute_and_a_bit() -> None:
    clock = FakeClock()
    assert ask(script(answer(429, THROTTLED), GOOD), pools, clock) == []
    assert 60 <= sum(clock.slept) <= 66


@pytest.mark.parametrize("retry_after", ["0", "1", "60", "299", "999999999", "9" * 400])
def test_throttling_is_given_up_after_five_minutes(retry_after: str) -> None:
    clock = FakeClock()
    service = script(answer(429, THROTTLED, Retry_After=retry_after))
    with pytest.raises(ServiceError, match="throttling threshold") as failure:
        ask(service, pools, clock)
    assert "less often" in failure.value.hint
    assert sum(clock.slept) <= 300
    assert len(service.seen) <= 61


def test_being_throttled_does_not_use_up_the_patience_for_trouble() -> None:
    clock = FakeClock()
    service = script(answer(429, THROTTLED, Retry_After="100"), answer(503), GOOD)
    assert ask(service, pools, clock) == []


def test_a_throttled_write_holds_back_the_next_one() -> None:
    clock = FakeClock()
    service = script(answer(429, THROTTLED, Retry_After="9"), answer(200, {"job_id": "j"}))

    async def twice(client: WorkspaceClient) -> None:
        await client.write_place("batch-delete")
        assert (await client.post_volumes("batch-delete", POOL, {}, NOW)).status == 429
        assert clock.slept == []
        await client.write_place("batch-delete")
        assert sum(clock.slept) == 9
        assert (await client.post_volumes("batch-delete", POOL, {}, NOW)).job_id == "j"

    ask(service, twice, clock)
    assert sum(clock.slept) == 9


# --- messages -------------------------------------------------------------------------------------


def test_a_message_is_one_text_to_one_pool_sent_once() -> None:
    service = script(answer(200, {"job_id": "j"}))
    outcome = ask(service, lambda client: client.post_message("a/b", "Disk ü goes.", NOW))
    assert (outcome.state, outcome.job_id) == (State.ACCEPTED, "j")
    [seen] = service.seen
    assert (seen.method, seen.target) == ("POST", f"/v2/{PROJECT}/desktop-pools/a%2Fb/notifications")
    assert json.loads(seen.body) == {"notifications": "Disk ü goes."}


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (answer(200, {}), State.UNKNOWN),
        (answer(500, {"error_code": "WKS.0500", "error_msg": "x"}), State.UNKNOWN),
        (answer(403, {"error_code": "PAP.0001", "error_msg": "x"}), State.REJECTED),
        (b"", State.UNKNOWN),
    ],
    ids=["no job", "an error of the service", "denied", "a cut wire"],
)
def test_a_message_ends_in_one_of_four_ways_and_is_never_repeated(reply: bytes, state: State) -> None:
    service = script(reply)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await service.handle(reader, writer)
        writer.close()

    async def told() -> Outcome:
        async with listening(handle) as base, client_at(base) as client:
            return await client.post_message(POOL, "x", NOW)

    assert asyncio.run(told()).state is state
    assert len(service.seen) == 1


def test_messages_take_nothing_from_the_budget_of_removals_nor_those_from_theirs() -> None:
    clock = FakeClock()
    service = script(answer(429, THROTTLED, Retry_After="9"), answer(200, {"job_id": "j"}))

    async def both(client: WorkspaceClient) -> None:
        for _ in range(50):  # as many as go at once
            await client.write_place("notifications")
        assert (await client.post_message(POOL, "x", NOW)).status == 429
        await client.write_place("batch-delete")
        assert clock.slept == []
        await client.write_place("batch-delete")
        assert clock.slept == []

    ask(service, both, clock)


# --- budgets --------------------------------------------------------------------------------------


def test_every_request_is_counted_by_its_call() -> None:
    async def several(client: WorkspaceClient) -> dict[str, int]:
        await client.pools()
        await client.job("j")
        return dict(client.requests)

    service = script(answer(503), GOOD, answer(200, {"id": "j"}))
    assert ask(service, several) == {"list pools": 2, "show job": 1}


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    in_flight = most = 0
    full = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal in_flight, most
        await read_request(reader)
        in_flight += 1
        most = max(most, in_flight)
        if in_flight == 8:
            full.set()
        await full.wait()
        await asyncio.sleep(0.02)  # a ninth would come now
        in_flight -= 1
        writer.write(answer(200, {"id": "j"}))

    async def run() -> None:
        async with listening(slow) as base, client_at(base) as client:
            await asyncio.gather(*(client.job("j") for _ in range(30)))

    asyncio.run(run())
    assert most == 8
