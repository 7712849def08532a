"""Outcomes are delivered beside the rounds: at once taken, bounded, and the newest first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.apply.results import DriftRound
from reconciler.errors import ExitCode
from reconciler.notify.courier import MOST_WAITING, Courier
from reconciler.notify.notifications import Letter, notifications
from reconciler.render.notification import Source, drift_message
from tests.flows.serving import listening
from tests.flows.skipping import SkippingClock

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


class Post:
    """A webhook that answers when it is let, and with what it is set to."""

    def __init__(self) -> None:
        self.got: list[int] = []
        """Minutes after ``START`` of what arrived."""
        self.status = 200
        self.may_answer = asyncio.Event()
        self.warned = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()

    async def take(self, request: Request) -> Response:
        started = datetime.fromisoformat((await request.json())["started"])
        asyncio.run_coroutine_threadsafe(self._note(started), self._loop)
        if not self.may_answer.is_set():  # the loop of the test may be gone by then
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.may_answer.wait(), self._loop))
        return Response(status_code=self.status)

    async def _note(self, started: datetime) -> None:
        self.got.append(int((started - START).total_seconds()) // 60)
        self._arrived.set()

    async def until(self, number: int) -> None:
        while len(self.got) < number:
            self._arrived.clear()
            await self._arrived.wait()


def outcome(minute: int) -> Letter:
    found = DriftRound(START + timedelta(minutes=minute), 1.0, ExitCode.CHANGES)
    return Letter(drift_message(found, Source("watch")), found.started)


def yes(_owner: str) -> bool:
    return True


def no(_owner: str) -> bool:
    return False


def delivered(scenario: Callable[[Courier, Post], Awaitable[None]]) -> list[str]:
    """Run a scenario against one webhook; returns the warnings."""
    said: list[str] = []

    async def story() -> None:
        post = Post()
        with listening(Starlette(routes=[Route("/hook", post.take, methods=["POST"])])) as url:

            def warn(line: str) -> None:
                said.append(line)
                post.warned.set()

            courier = Courier(notifications(None, [f"{url}/hook"], SkippingClock()), warn)
            async with asyncio.timeout(60), courier.working():
                await scenario(courier, post)

    asyncio.run(story())
    return said


def test_the_newest_outcome_is_delivered_first() -> None:
    async def scenario(courier: Courier, post: Post) -> None:
        courier.post(outcome(0), yes)
        await post.until(1)
        for minute in (1, 2, 3):
            courier.post(outcome(minute), yes)
        post.may_answer.set()
        await post.until(4)
        assert post.got == [0, 3, 2, 1]

    assert delivered(scenario) == []


def test_what_waits_is_bounded_and_the_oldest_is_dropped_with_a_line() -> None:
    async def scenario(courier: Courier, post: Post) -> None:
        courier.post(outcome(0), yes)
        await post.until(1)
        for minute in range(1, MOST_WAITING + 3):
            courier.post(outcome(minute), yes)
        post.may_answer.set()
        await post.until(MOST_WAITING + 1)
        assert post.got[1:] == list(range(MOST_WAITING + 2, 2, -1))

    said = delivered(scenario)
    assert [line.rpartition("outcome of ")[2] for line in said] == [
        f"2026-03-01 08:0{minute}:00 UTC was dropped" for minute in (1, 2)
    ]


@pytest.mark.parametrize("failing", [True, False])
def test_without_news_only_a_webhook_that_failed_hears_again(failing: bool) -> None:
    async def scenario(courier: Courier, post: Post) -> None:
        post.may_answer.set()
        post.status = 404 if failing else 200
        courier.post(outcome(0), yes)
        await post.until(1)
        if failing:
            await post.warned.wait()
        post.status = 200
        courier.post(outcome(1), no)
        courier.post(outcome(2), yes)
        await post.until(3 if failing else 2)
        assert sorted(post.got) == ([0, 1, 2] if failing else [0, 2])

    assert len(delivered(scenario)) == failing
