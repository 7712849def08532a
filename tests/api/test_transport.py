from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from reconciler.api.transport import MOST_BYTES, Answer, ProtocolError, fetch, httpx, open_http
from tests.api.fake_servers import answer, client_at, listening, read_request, script

EMPTY = {"total_count": 0, "desktop_pools": []}


def get(raw: bytes) -> Answer:
    async def run() -> Answer:
        async with listening(script(raw).handle) as base, open_http(base) as http:
            return await fetch(http, http.build_request("GET", base), 5)

    return asyncio.run(run())


def test_a_whole_answer_comes_with_lower_case_header_names() -> None:
    found = get(answer(200, b"abc", X_Request_Id="r"))
    assert (found.status, found.body, found.headers["x-request-id"]) == (200, b"abc", "r")


def test_the_largest_answer_is_taken_and_one_byte_more_is_not() -> None:
    assert len(get(answer(200, bytes(MOST_BYTES))).body) == MOST_BYTES
    with pytest.raises(ProtocolError):
        get(answer(200, bytes(MOST_BYTES + 1)))


def test_redirects_are_not_followed() -> None:
    assert get(answer(301, Location="/elsewhere")).status == 301


def test_what_is_meant_for_this_machine_goes_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    service, proxy = script(answer(200, EMPTY)), script(answer(502))

    async def run() -> None:
        async with listening(proxy.handle) as through, listening(service.handle) as base:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
                monkeypatch.setenv(name, through)
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            async with client_at(base) as client:
                await client.pools()

    asyncio.run(run())
    assert (len(service.seen), len(proxy.seen)) == (1, 0)


def test_a_proxy_of_the_environment_is_used_for_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = await read_request(reader)
        asked.append(f"{seen.method} {seen.target}")
        writer.write(answer(403))

    async def run() -> None:
        async with listening(refuses) as through:
            monkeypatch.setenv("HTTPS_PROXY", through)
            async with open_http("https://workspace.invalid") as http:
                await fetch(http, http.build_request("GET", "https://workspace.invalid/"), 5)

    with pytest.raises(httpx.ProxyError):
        asyncio.run(run())
    assert asked == ["CONNECT workspace.invalid:443"]


def test_importing_the_client_does_not_import_the_command_line_of_httpx() -> None:
    program = (
        "import sys, reconciler.api.connect\n"
        "print([name for name in ('rich', 'click', 'pygments', 'httpx._main') if sys.modules.get(name)])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
