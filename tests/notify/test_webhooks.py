"""A webhook over real TCP: bounded in time, tried again where that helps, its address secret whatever fails."""

from __future__ import annotations

import asyncio
import builtins
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from reconciler import redaction
from reconciler.errors import BadInput, ReconcilerError, ServiceError
from reconciler.notify.webhooks import deliver, webhook
from reconciler.render.message import Level, Message
from reconciler.values import replace
from tests.api.fake_servers import SkippingLoop, pass_time
from tests.flows.serving import listening
from tests.flows.skipping import SkippingClock

# One of the plugins of apprise imports what Python 3.13 no longer has, and has its own way around it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SECRET = "T0PSECRET"
MESSAGE = Message(
    "reconciler drift: warning",
    "Drift in 1 of 2 pools.",
    "**Drift** in 1 of 2 pools.",
    {"exit_code": 2, "text": "Drift"},
    Level.WARNING,
)


@dataclass
class Mailbox:
    """A server that keeps what it is sent."""

    url: str = ""
    got: list[tuple[str, str, Any]] = field(default_factory=list)
    """Path, content type, JSON body."""


@contextmanager
def receiving(answer: Callable[[Request], Response]) -> Iterator[Mailbox]:
    box = Mailbox()

    async def take(request: Request) -> Response:
        body = await request.body()
        kind = request.headers.get("content-type", "")
        box.got.append((request.url.path, kind, json.loads(body) if body else None))
        return answer(request)

    routes = [Route("/{path:path}", take, methods=["GET", "POST"])]
    with listening(Starlette(routes=routes)) as url:
        box.url = url
        yield box


def told(url: str) -> None:
    asyncio.run(deliver(webhook(url), MESSAGE, SkippingClock()))


def undelivered(url: str) -> str:
    with pytest.raises(ServiceError) as caught:
        told(url)
    assert_secret(caught.value)
    return caught.value.message


def assert_secret(error: ReconcilerError) -> None:
    assert SECRET not in f"{error.message} {error.hint} {error!r} {error.__cause__!r}"


def test_a_web_address_gets_json_once() -> None:
    with receiving(lambda _: Response(status_code=204)) as box:
        told(f"{box.url}/hook/{SECRET}?token=x")
        assert box.got == [(f"/hook/{SECRET}", "application/json", dict(MESSAGE.values))]


@pytest.mark.parametrize("status", [400, 401, 404, 410, 501])
def test_an_answer_that_will_not_change_is_told_and_not_repeated(status: int) -> None:
    with receiving(lambda _: Response(status_code=status)) as box:
        assert f"HTTP {status}" in undelivered(f"{box.url}/{SECRET}")
        assert len(box.got) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_an_answer_that_may_pass_is_asked_for_three_times_and_then_told(status: int) -> None:
    with receiving(lambda _: Response(status_code=status)) as box:
        assert f"HTTP {status} (tried 3 times)" in undelivered(f"{box.url}/{SECRET}")
        assert len(box.got) == 3


@pytest.mark.parametrize("scheme", ["http", "json"])
def test_what_has_passed_by_the_second_try_is_no_failure(scheme: str) -> None:
    answers = iter([503, 200])
    with receiving(lambda _: Response(status_code=next(answers))) as box:
        told(box.url.replace("http://", f"{scheme}://") + f"/{SECRET}")
        assert len(box.got) == 2


def test_a_wait_that_is_asked_for_is_kept_and_one_that_is_too_long_ends_the_tries() -> None:
    async def waited(seconds: str) -> tuple[float, int]:
        clock = SkippingClock()
        with (
            receiving(lambda _: Response(status_code=429, headers={"Retry-After": seconds})) as box,
            pytest.raises(ServiceError, match="HTTP 429"),
        ):
            await deliver(webhook(f"{box.url}/{SECRET}"), MESSAGE, clock)
        return clock.skipped, len(box.got)

    short, number = asyncio.run(waited("12"))
    assert (short > 20, number) == (True, 3)
    for long in ("600", "1234567", "Wed, 21 Oct 2099 07:28:00 GMT"):
        assert asyncio.run(waited(long)) == (0.0, 1), long


def test_a_redirect_is_not_followed() -> None:
    with receiving(lambda _: RedirectResponse("/elsewhere", 307)) as box:
        assert "redirects (HTTP 307)" in undelivered(f"{box.url}/{SECRET}")
        assert [path for path, _, _ in box.got] == [f"/{SECRET}"]


def test_nobody_listening_is_told() -> None:
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        assert "cannot be reached" in undelivered(f"http://127.0.0.1:{taken.getsockname()[1]}/{SECRET}")


def test_garbage_for_an_answer_is_told() -> None:
    async def scenario() -> None:
        async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"\x00\xff not http\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(garbage, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ServiceError, match="the connection failed"):
            await deliver(webhook(f"http://127.0.0.1:{port}/{SECRET}"), MESSAGE, SkippingClock())
        server.close()

    asyncio.run(scenario())


def test_an_answer_that_drips_ends_at_the_deadline_of_each_try() -> None:
    async def scenario() -> None:
        tries: list[asyncio.Future[bytes]] = []
        closed: list[asyncio.Task[None]] = []

        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            closed.append(asyncio.current_task())  # type: ignore[arg-type]
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            reading = asyncio.ensure_future(reader.read())  # ends when the other end has given up
            tries.append(reading)
            while not reading.done():
                writer.write(b".")
                await pass_time(0.05)
            reading.exception()  # the other end may have left before it had read everything
            writer.close()

        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(60):
            with pytest.raises(ServiceError, match="no answer within"):
                await deliver(
                    webhook(f"http://127.0.0.1:{port}/{SECRET}"), MESSAGE, SkippingClock(), seconds=0.7
                )
            await asyncio.wait(closed)
        assert 1 <= len(tries) <= 3
        server.close()

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("level", list(Level))
def test_a_service_that_takes_json_gets_the_values_and_how_bad_it_is(level: Level) -> None:
    with receiving(lambda _: Response()) as box:
        url = box.url.replace("http://", "json://") + f"/{SECRET}"
        asyncio.run(deliver(webhook(url), replace(MESSAGE, level=level), SkippingClock()))
        ((_, _, body),) = box.got
        assert (body["type"], body["reconciler"]) == (level.value, dict(MESSAGE.values))


@pytest.mark.parametrize(("wanted", "text"), [("text", MESSAGE.text), ("markdown", MESSAGE.markdown)])
def test_a_service_gets_text_or_markdown_as_it_takes_it(wanted: str, text: str) -> None:
    with receiving(lambda _: Response()) as box:
        told(box.url.replace("http://", "json://") + f"/{SECRET}?format={wanted}")
        ((_, _, body),) = box.got
        assert body["message"] == text


@pytest.mark.parametrize("scheme", ["http", "json"])
def test_a_message_is_an_output_and_holds_no_secret(scheme: str) -> None:
    redaction.know("swordfish-4711")
    said = "the key is swordfish-4711"
    message = Message(said, said, said, {"text": said, "details": [{"pool": said}]})
    with receiving(lambda _: Response()) as box:
        url = box.url.replace("http://", f"{scheme}://") + f"/{SECRET}"
        asyncio.run(deliver(webhook(url), message, SkippingClock()))
        assert "swordfish" not in json.dumps(box.got[0])
        assert "the key is ***" in json.dumps(box.got[0])
    redaction.forget()


def test_other_services_get_a_title_and_a_text_through_apprise() -> None:
    with receiving(lambda _: Response()) as box:
        told(box.url.replace("http://", "json://") + f"/{SECRET}")
        ((path, _, body),) = box.got
        assert path.strip("/") == SECRET
        assert (body["title"], body["message"]) == (MESSAGE.title, MESSAGE.text)


def test_a_service_that_refuses_is_told_without_its_address(capfd: pytest.CaptureFixture[str]) -> None:
    with receiving(lambda _: Response(status_code=500)) as box:
        url = box.url.replace("http://", "json://") + f"/{SECRET}"
        assert "json://… was not delivered" in undelivered(url)
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err


@pytest.mark.parametrize(
    "url",
    [
        "",
        SECRET,
        f"https:///{SECRET}",
        f"https://host:x/{SECRET}",
        f"https://[::1/{SECRET}",
        f"http://example.com/{SECRET}",
        f"http://192.0.2.1/{SECRET}",
        f"https://host/{SECRET}\r\nX: y",
        f"nosuchservice://{SECRET}",
        f"slack://{SECRET}",
        f"HTTP://{SECRET}\u202e",
    ],
)
def test_an_address_that_cannot_serve_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        webhook(url)
    assert_secret(caught.value)


def test_an_address_is_shown_by_its_host_alone() -> None:
    target = webhook(f"https://user:{SECRET}@hooks.example.com:8443/{SECRET}?a={SECRET}#{SECRET}")
    assert target.shown == "https://hooks.example.com/…"
    assert SECRET not in repr(target)


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "apprise":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BadInput) as caught:
        webhook(f"slack://{SECRET}/{SECRET}/{SECRET}")
    assert "desktop-pool-reconciler[notify]" in caught.value.hint
    assert_secret(caught.value)
