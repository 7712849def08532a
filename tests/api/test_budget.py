"""Request budgets in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest

from reconciler.api.budget import READS_A_MINUTE, WRITES_A_MINUTE, Budgets
from tests.simulation.virtual import START, VirtualClock, VirtualLoop


class TickingLoop(VirtualLoop):
    """Looking at the time takes some, as everywhere: who waits for a fraction of nothing gets on."""

    def time(self) -> float:
        self._jumping.moment += 1e-7
        return super().time()


def moments(count: int, use: Callable[[Budgets, int], Awaitable[None]]) -> list[float]:
    """When each of so many calls, all begun at once, got its place."""
    loop = TickingLoop()
    clock = VirtualClock(loop)
    got: list[float] = []

    async def one(budgets: Budgets, number: int) -> None:
        await use(budgets, number)
        got.append(clock.monotonic())

    async def run() -> None:
        budgets = Budgets(clock)
        await asyncio.gather(*(one(budgets, number) for number in range(count)))

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
    return sorted(got)


@pytest.mark.parametrize(
    ("limit", "use"),
    [
        (READS_A_MINUTE, lambda budgets, _: budgets.read("list pools")),
        (WRITES_A_MINUTE, lambda budgets, _: budgets.write("batch-delete")),
    ],
)
def test_no_minute_holds_more_requests_than_documented(
    limit: int, use: Callable[[Budgets, int], Awaitable[None]]
) -> None:
    got = moments(5 * limit, use)
    busiest = max(sum(begin <= moment < begin + 60 for moment in got) for begin in got)
    assert limit * 0.9 <= busiest <= limit


def test_a_burst_passes_at_once() -> None:
    assert moments(READS_A_MINUTE // 2, lambda budgets, _: budgets.read("list pools"))[-1] < 0.1


def test_each_call_has_a_budget_of_its_own() -> None:
    got = moments(READS_A_MINUTE, lambda budgets, number: budgets.read("ab"[number % 2]))
    assert got[-1] < 0.1


def test_a_pause_holds_everybody_back_until_the_longest_one_is_over() -> None:
    async def use(budgets: Budgets, number: int) -> None:
        if number == 0:
            budgets.pause("list pools", 30)
            budgets.pause("list pools", 10)
        await budgets.read("list pools")

    assert moments(5, use) == pytest.approx([30] * 5, abs=0.1)


def test_who_waits_for_the_budget_knows_until_when() -> None:
    said: list[float] = []

    async def use(budgets: Budgets, number: int) -> None:
        def listen(_api: str, what: str, until: datetime | None) -> None:
            if what:
                assert until is not None
                said.append((until - START).total_seconds())

        budgets.waits = listen
        if number % 7:  # some wait for another call, which is not in the way of these
            await budgets.read("list pools")
        else:
            await budgets.write("batch-delete")

    got = moments(200, use)
    assert len(said) == sum(moment > 0.1 for moment in got)
    assert said == pytest.approx([moment for moment in got if moment > 0.1], abs=0.1)


def test_who_waits_is_told_of_and_who_listens_badly_fails_no_call() -> None:
    heard: list[tuple[str, str, bool]] = []

    async def use(budgets: Budgets, number: int) -> None:
        def listen(api: str, what: str, until: datetime | None) -> None:
            heard.append((api, what, until is None))
            raise ValueError("it listens badly")

        budgets.waits = listen
        if number == READS_A_MINUTE // 2:
            budgets.pause("list pools", 30)
        await budgets.read("list pools")

    assert len(moments(READS_A_MINUTE // 2 + 1, use)) == READS_A_MINUTE // 2 + 1
    assert heard == [
        ("list pools", "the service, which answered 429", False),
        ("list pools", "the budget of 200 requests a minute", False),
        ("list pools", "", True),
    ]
