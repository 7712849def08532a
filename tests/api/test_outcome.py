"""Every outcome of a write, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.failure import MOST_BYTES as MOST_OF_AN_OBJECT
from reconciler.api.outcome import of_error
from reconciler.api.retry import Timing
from reconciler.api.transport import CONNECT_SECONDS, MOST_BYTES, httpx
from reconciler.journal.states import Outcome, State
from tests import needs
from tests.api.fake_servers import (
    NOW,
    POOL,
    PROJECT,
    QUICK,
    Handler,
    SkippingLoop,
    answer,
    client_at,
    free_port,
    listening,
    pass_time,
    read_request,
    script,
)

BODY = {"volumes": [{"id": "d", "type": "SAS", "size": 10}]}
JOB = {"job_id": "abc85365-0b2e-4b4f-a091-f7db72072d4b"}
PATIENT = Timing(write=60)
"""For answers that never come: long enough to ask on any machine, and it passes at once after that."""


async def post_to(base: str, timing: Timing = QUICK) -> Outcome:
    async with client_at(base, timing=timing) as client:
        outcome = await client.post_volumes("batch-delete", POOL, BODY, NOW)
        assert client.requests == {"batch-delete": 1}
        return outcome


def post(handler: Handler, timing: Timing = QUICK) -> Outcome:
    """The outcome of one write; whatever becomes of it, the server is asked once."""
    asked = 0

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await handler(reader, writer)

    async def run() -> Outcome:
        async with listening(counted) as base:
            return await post_to(base, timing)

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        outcome = runner.run(run())
    assert asked == 1
    return outcome


def answered(raw: bytes) -> Outcome:
    """The outcome of one whole answer; whatever it is, the write was sent once."""
    service = script(raw)
    outcome = post(service.handle)
    (seen,) = service.seen
    assert (seen.method, seen.target) == ("POST", f"/v2/{PROJECT}/desktop-pools/{POOL}/volumes/batch-delete")
    return outcome


@pytest.mark.parametrize(
    ("error", "sending_began", "state", "words"),
    [
        (httpx.ConnectError("refused"), False, State.NOT_SENT, "no connection: refused"),
        (httpx.ConnectError(""), False, State.NOT_SENT, "no connection: ConnectError"),
        (httpx.ConnectError("refused"), True, State.UNKNOWN, "may have been sent (ConnectError)"),
        (httpx.ReadError("cut"), False, State.UNKNOWN, "no connection (ReadError)"),
        (httpx.ReadError("cut"), True, State.UNKNOWN, "may have been sent (ReadError)"),
        (RuntimeError("odd"), False, State.UNKNOWN, "no connection (RuntimeError)"),
    ],
)
def test_only_an_error_before_sending_means_that_nothing_was_sent(
    error: Exception, sending_began: bool, state: State, words: str
) -> None:
    outcome = of_error(error, sending_began=sending_began)
    assert outcome.state is state
    assert outcome.message.endswith(words)


# --- not sent -----------------------------------------------------------------------------------


def test_a_refused_connection_is_not_sent() -> None:
    outcome = asyncio.run(post_to(f"http://127.0.0.1:{free_port()}"))
    assert outcome.state is State.NOT_SENT


def test_a_name_that_does_not_resolve_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    outcome = asyncio.run(post_to("https://no-such-host.invalid"))
    assert outcome.state is State.NOT_SENT


def test_a_server_that_speaks_no_tls_is_not_sent() -> None:
    async def speaks_first(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, JOB))

    async def run() -> Outcome:
        async with listening(speaks_first) as base:
            return await post_to(base.replace("http://", "https://"))

    assert asyncio.run(run()).state is State.NOT_SENT


def test_a_handshake_that_hangs_is_not_sent() -> None:
    service = script(answer(200, JOB))

    async def hears_a_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        await pass_time(CONNECT_SECONDS)
        await service.handle(reader, writer)

    async def run() -> Outcome:
        async with listening(hears_a_hello) as base:
            return await post_to(base.replace("http://", "https://"), PATIENT)

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        assert runner.run(run()).state is State.NOT_SENT
    assert service.seen == []


def test_a_certificate_nobody_vouches_for_is_not_sent(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    new = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [
            needs.program("openssl"),
            *new.split()[1:],
            "-days",
            "1",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    service = script(answer(200, JOB))

    async def run() -> Outcome:
        async with listening(service.handle, tls) as base:
            return await post_to(base)

    outcome = asyncio.run(run())
    assert outcome.state is State.NOT_SENT
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.message
    assert service.seen == []


@pytest.mark.parametrize("pool_id", ["", ".", ".."])
def test_an_id_that_would_change_the_call_is_our_own_refusal(pool_id: str) -> None:
    async def run() -> Outcome:
        async with client_at("http://127.0.0.1:1") as client:
            return await client.post_volumes("batch-delete", pool_id, BODY, NOW)

    assert asyncio.run(run()).state is State.NOT_SENT


# --- unknown: no whole answer -------------------------------------------------------------------


def reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def resets_unread(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def resets_after_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    reset(writer)


async def closes_after_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    await pass_time(PATIENT.write)
    await asyncio.sleep(60)


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    for byte in answer(200, JOB):
        writer.write(bytes([byte]))
        await writer.drain()
        await pass_time(PATIENT.write / 10)
    await asyncio.sleep(60)


async def says_continue_and_no_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    await writer.drain()
    await pass_time(PATIENT.write)
    await asyncio.sleep(60)


async def is_no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"220 mail.example ESMTP\r\n")


async def truncates(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(answer(200, JOB)[:-10])


async def truncates_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    body = b'{"job_id":"abc"}'
    writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body))


@pytest.mark.parametrize(
    "handler",
    [
        resets_unread,
        resets_after_reading,
        closes_after_reading,
        hangs,
        drips,
        says_continue_and_no_more,
        is_no_http,
        truncates,
        truncates_chunks,
    ],
)
def test_without_a_whole_answer_nobody_knows(handler: Handler) -> None:
    outcome = post(handler, PATIENT)
    assert (outcome.state, outcome.job_id) == (State.UNKNOWN, "")


def test_an_endless_answer_is_cut_off_in_time() -> None:
    sent = 0

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 209715200\r\n\r\n")
        for _ in range(200):
            writer.write(bytes(1024 * 1024))
            await writer.drain()
            sent += 1024 * 1024

    outcome = post(floods, Timing(write=30))
    assert outcome.state is State.UNKNOWN
    assert sent < 2 * MOST_BYTES


def test_a_compressed_answer_is_never_unpacked() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert answered(answer(200, bomb, Content_Encoding="gzip")).state is State.UNKNOWN


def test_a_redirect_is_unknown_and_never_followed() -> None:
    elsewhere = script(answer(200, JOB))

    async def run() -> Outcome:
        async with listening(elsewhere.handle) as other:
            service = script(answer(307, Location=other + "/"))
            async with listening(service.handle) as base:
                return await post_to(base)

    assert asyncio.run(run()).state is State.UNKNOWN
    assert elsewhere.seen == []


# --- whole answers ------------------------------------------------------------------------------

CODE = "WKS.00010032"
REFUSAL = {"error_code": CODE, "error_msg": "busy"}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, JOB),
        (202, JOB),
        (200, JOB | {"error_code": None, "error_msg": None}),
        (200, JOB | {"error_code": "", "something_new": [1]}),
    ],
)
def test_a_job_without_an_error_is_accepted(status: int, body: Any) -> None:
    outcome = answered(answer(status, body, X_Request_Id="req-1"))
    assert (outcome.state, outcome.job_id) == (State.ACCEPTED, JOB["job_id"])
    assert (outcome.status, outcome.request_id) == (status, "req-1")


@pytest.mark.parametrize(
    "raw",
    [
        answer(200),
        answer(204),
        answer(200, {}),
        answer(200, []),
        answer(200, {"job_id": ""}),
        answer(200, {"job_id": None}),
        answer(200, {"job_id": ["a"]}),
        answer(200, {"job_id": 7}),
        answer(200, {"job_id": "a\nb"}),
        answer(200, {"job_id": "."}),
        answer(200, {"job_id": ".."}),
        answer(200, {"job_id": "../x"}),
        answer(200, {"job_id": "a b"}),
        answer(200, {"job_id": "a" * 256}),
        answer(200, REFUSAL),
        answer(200, JOB | REFUSAL),
        answer(200, JOB | {"error_code": CODE}),
        answer(200, b"<html>Welcome to the hotel</html>", Content_Type="text/html"),
        answer(200, b"\xff\xfe"),
        answer(200, b"[" * 100_000),
        answer(200, b'{"job_id":"abc"'),
        answer(300, JOB),
        answer(302, JOB, Location="http://127.0.0.1:1/"),
        answer(400, b"<html>Bad Request</html>"),
        answer(400, {}),
        answer(404, {"detail": "Not Found"}),
        answer(408, REFUSAL),
        answer(500, {"error_code": "WKS.0001", "error_msg": "x"}),
        answer(502, b"<html>Bad Gateway</html>"),
        answer(503, REFUSAL),
        answer(504),
    ],
)
def test_an_answer_that_says_neither_yes_nor_no_is_unknown(raw: bytes) -> None:
    assert answered(raw).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error_code": "WKS.0001", "error_msg": "no such disk"}, "WKS.0001"),
        (401, {"error_msg": "x", "error_code": "APIGW.0301", "request_id": "r"}, "APIGW.0301"),
        (403, {"errorCode": "WKS.1", "errorMsg": "x"}, "WKS.1"),
        (404, {"error_code": "APIGW.0101", "error_msg": "x"}, "APIGW.0101"),
        (409, REFUSAL, "WKS.00010032"),
        (499, REFUSAL, "WKS.00010032"),
        (400, {"error": {"code": 400, "message": "x", "title": "Bad"}}, "400"),
        (400, {"code": "C", "message": "x"}, "C"),
    ],
)
def test_a_well_formed_refusal_is_rejected(status: int, body: Any, code: str) -> None:
    outcome = answered(answer(status, body))
    assert (outcome.state, outcome.status, outcome.code) == (State.REJECTED, status, code)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, JOB, Outcome(State.ACCEPTED, JOB["job_id"], "req-1", 200, "", "accepted")),
        (200, REFUSAL, Outcome(State.UNKNOWN, "", "req-1", 200, CODE, "success without a job id: busy")),
        (
            200,
            REFUSAL | {"job_id": ".."},
            Outcome(
                State.UNKNOWN, "", "req-1", 200, CODE, "success, but its job id cannot go into a URL: '..'"
            ),
        ),
        (409, REFUSAL, Outcome(State.REJECTED, "", "req-1", 409, CODE, "busy")),
        (503, REFUSAL, Outcome(State.UNKNOWN, "", "req-1", 503, CODE, "busy")),
    ],
)
def test_each_part_of_an_outcome_comes_from_its_part_of_the_answer(
    status: int, body: Any, outcome: Outcome
) -> None:
    assert answered(answer(status, body, X_Request_Id="req-1")) == outcome


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("9" * 400, 999_999_999),
        ("Sun, 01 Mar 2026 08:01:30 GMT", 90),
        ("Sun, 01 Mar 2026 08:01:30", 90),
        ("Sun, 01 Mar 2026 08:01:30 -0000", 90),
        ("Sun, 01 Mar 2026 10:01:30 +0200", 90),
        ("Sun, 01 Mar 2026 07:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("Wed, 01 Jan 2020 00:00:00 +99999999999999999999", None),
    ],
)
def test_throttling_is_rejected_and_tells_how_long(header: str, seconds: float | None) -> None:
    body = {"error_code": "APIGW.0308", "error_msg": "policy user over ratelimit,limit:10,time:1 minute"}
    outcome = answered(answer(429, body, Retry_After=header))
    assert (outcome.state, outcome.code, outcome.retry_after) == (State.REJECTED, "APIGW.0308", seconds)


def test_of_a_job_id_that_cannot_be_used_a_hundred_characters_are_shown() -> None:
    outcome = answered(answer(200, {"job_id": "/" * 300}))
    assert outcome.message.endswith(f"URL: {'/' * 100!r}")


@pytest.mark.parametrize(("more", "state"), [(0, State.ACCEPTED), (1, State.UNKNOWN)])
def test_a_job_id_is_believed_up_to_the_size_of_answer_that_is_documented(more: int, state: State) -> None:
    body = json.dumps(JOB).encode().ljust(MOST_OF_AN_OBJECT + more)
    assert answered(answer(200, body)).state is state


def test_the_words_of_the_service_are_made_safe() -> None:
    outcome = answered(answer(409, {"error_code": "WKS.1", "error_msg": "\x1b[2J\u202ebusy"}))
    assert outcome.message == "\\x1b[2J\\u202ebusy"


def test_every_write_has_a_connection_of_its_own() -> None:
    connections = 0

    async def keeps_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(answer(200, JOB).replace(b"Connection: close\r\n", b""))
            await writer.drain()

    async def run() -> None:
        async with listening(keeps_alive) as base, client_at(base) as client:
            for _ in range(3):
                outcome = await client.post_volumes("batch-add", POOL, BODY, NOW)
                assert outcome.state is State.ACCEPTED

    asyncio.run(run())
    assert connections == 3


def test_the_body_is_sent_as_given() -> None:
    service = script(answer(200, JOB))
    post(service.handle)
    assert service.seen[0].body == b'{"volumes": [{"id": "d", "type": "SAS", "size": 10}]}'
    assert service.seen[0].headers["content-type"] == "application/json"


def test_a_write_that_was_cancelled_stays_cancelled() -> None:
    async def run() -> None:
        arrived = asyncio.Event()

        async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            arrived.set()
            await asyncio.sleep(60)

        async with listening(says_nothing) as base, client_at(base) as client:
            task = asyncio.create_task(client.post_volumes("batch-delete", POOL, BODY, NOW))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
