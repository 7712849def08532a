"""The health endpoint of ``watch`` over real TCP: what it answers, to whom, and that nobody can hold it up."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from reconciler.cli import health
from reconciler.errors import BadInput, ExitCode

PLAIN = "text/plain; charset=utf-8"


def broken() -> health.Page:
    raise RuntimeError("swordfish-4711")


PAGES = {
    "/healthz": lambda: health.Page(503, PLAIN, "last round ended 9 s ago\n"),
    "/metrics": lambda: health.Page(200, "text/plain; version=0.0.4; charset=utf-8", "a 1.0\n"),
    "/broken": broken,
}


async def exchange(port: int, request: str, host: str = "127.0.0.1") -> tuple[str, str, str]:
    """Send one request as it is; returns status line, headers in lower case, and body."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request.encode("latin-1"))
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    status, _, headers = head.partition("\r\n")
    return status, headers.lower(), body


def ask(method: str, path: str, host: str = "127.0.0.1") -> str:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"


def served(
    scenario: Callable[[int], Awaitable[None]], address: str = "127.0.0.1", seconds: float = health.SECONDS
) -> None:
    """Run a scenario against the server; a minute is far more than any of them takes."""

    async def run() -> None:
        async with asyncio.timeout(60), health.serving(address, 0, PAGES, seconds) as port:
            await scenario(port)

    asyncio.run(run())


def test_get_and_head_are_answered_and_everything_else_is_refused() -> None:
    async def scenario(port: int) -> None:
        status, headers, body = await exchange(port, ask("GET", "/metrics?name=x"))
        assert (status, body) == ("HTTP/1.1 200 OK", "a 1.0\n")
        assert "content-type: text/plain; version=0.0.4; charset=utf-8" in headers
        assert "cache-control: no-store" in headers
        assert "connection: close" in headers
        status, headers, body = await exchange(port, ask("HEAD", "/healthz"))
        assert (status, body) == ("HTTP/1.1 503 Service Unavailable", "")
        assert "content-length: 25" in headers
        for path in ("/", "/healthz/", "/metrics/x", "//healthz"):
            status, _, body = await exchange(port, ask("GET", path))
            assert (status, body) == (
                "HTTP/1.1 404 Not Found",
                "not found; the pages are /healthz and /metrics\n",
            ), path
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"):
            for path in ("/metrics", "/nothing"):
                status, headers, body = await exchange(port, ask(method, path))
                assert (status, body) == (
                    "HTTP/1.1 405 Method Not Allowed",
                    "only GET and HEAD are allowed\n",
                )

    served(scenario)


@pytest.mark.parametrize(
    "request_", ["\r\n\r\n\x00\r\n\r\n", "GET /healthz\r\n\r\n", "GET / HTTP/1.1\r\nx: " + "x" * 20_000]
)
def test_what_is_no_request_gets_400_or_is_cut_off(request_: str) -> None:
    async def scenario(port: int) -> None:
        status, _, body = await exchange(port, request_)
        assert status in {"HTTP/1.1 400 Bad Request", ""}
        assert "a 1.0" not in body
        assert (await exchange(port, ask("GET", "/metrics")))[0] == "HTTP/1.1 200 OK"

    served(scenario)


@pytest.mark.parametrize(
    ("address", "ours", "others"),
    [
        (
            "127.0.0.1",
            ["127.0.0.1", "127.0.0.1:80", "localhost:8080", "LOCALHOST", "[::1]:1", "127.9.9.9"],
            [
                "",
                "evil.example",
                "localhost.evil.example",
                "127.0.0.1.evil.example",
                "192.0.2.1",
                "[",
                "a@b:c",
            ],
        ),
        ("localhost", ["localhost", "127.0.0.1"], ["evil.example", "192.0.2.1"]),
        (
            "0.0.0.0",
            ["localhost", "192.0.2.1:8080", "[2001:db8::1]:8080", "0.0.0.0"],
            ["evil.example", "watch.default.svc", ""],
        ),
    ],
)
def test_only_a_host_header_that_names_this_server_is_answered(
    address: str, ours: list[str], others: list[str]
) -> None:
    async def scenario(port: int) -> None:
        for host in ours:
            assert (await exchange(port, ask("GET", "/metrics", host)))[0] == "HTTP/1.1 200 OK", host
        for host in others:
            for path in ("/metrics", "/nothing"):
                status, _, body = await exchange(port, ask("GET", path, host))
                assert status == "HTTP/1.1 400 Bad Request", host
                assert "a 1.0" not in body
        assert (await exchange(port, "GET /metrics HTTP/1.0\r\n\r\n"))[0] == "HTTP/1.1 400 Bad Request"

    served(scenario, address)


def test_slow_clients_hold_nobody_up_and_are_cut_off() -> None:
    async def scenario(port: int) -> None:
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        for _, writer in slow[:10]:
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: loc")
        assert (await exchange(port, ask("GET", "/metrics")))[0] == "HTTP/1.1 200 OK"
        for reader, writer in slow:
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()

    served(scenario, seconds=0.5)


def test_it_ends_although_clients_stay_connected() -> None:
    async def run() -> None:
        async with asyncio.timeout(60):
            async with health.serving("127.0.0.1", 0, PAGES, connection_seconds=3600) as port:
                idle = await asyncio.open_connection("127.0.0.1", port)
                half = await asyncio.open_connection("127.0.0.1", port)
                half[1].write(b"GET /metrics HTTP/1.1\r\n")
                kept = await asyncio.open_connection("127.0.0.1", port)
                kept[1].write(ask("GET", "/metrics").encode())
                assert (await kept[0].readline()) == b"HTTP/1.1 200 OK\r\n"
            with pytest.raises(OSError, match="Connect"):
                await asyncio.open_connection("127.0.0.1", port)
        for _, writer in (idle, half, kept):
            writer.close()

    asyncio.run(run())


def test_signals_stay_with_the_command() -> None:
    async def run() -> None:
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, heard.set)
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        async with asyncio.timeout(60), health.serving("127.0.0.1", 0, PAGES) as port:
            assert (await exchange(port, ask("GET", "/metrics")))[0] == "HTTP/1.1 200 OK"
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
            os.kill(os.getpid(), signal.SIGTERM)
            await heard.wait()
            assert (await exchange(port, ask("GET", "/metrics")))[0] == "HTTP/1.1 200 OK"
        loop.remove_signal_handler(signal.SIGTERM)

    asyncio.run(run())


def test_nothing_is_printed_even_of_a_page_that_cannot_be_made(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(port: int) -> None:
        status, _, body = await exchange(port, ask("GET", "/broken"))
        assert status == "HTTP/1.1 500 Internal Server Error"
        assert "swordfish" not in body
        await exchange(port, ask("GET", "/metrics"))
        await exchange(port, "nonsense\r\n\r\n")

    with caplog.at_level(logging.DEBUG):
        served(scenario)
    assert capfd.readouterr() == ("", "")
    assert [each for each in caplog.records if each.name.startswith("uvicorn")] == []


@pytest.mark.parametrize(("address", "port"), [("192.0.2.1", 0), ("a..b", 0), ("127.0.0.1", 70000)])
def test_an_address_that_cannot_be_listened_on_is_bad_input(address: str, port: int) -> None:
    async def run() -> None:
        async with health.serving(address, port, PAGES):
            pass

    with pytest.raises(BadInput, match=r"cannot listen on --health-address .*: ") as refusal:
        asyncio.run(run())
    assert refusal.value.exit_code is ExitCode.BAD_INPUT


def test_a_port_in_use_is_bad_input_that_says_so() -> None:
    async def run() -> None:
        async with health.serving("127.0.0.1", 0, PAGES) as port:
            with pytest.raises(BadInput, match=f"--health-port {port}: Address already"):
                async with health.serving("127.0.0.1", port, PAGES):
                    pass

    asyncio.run(run())
