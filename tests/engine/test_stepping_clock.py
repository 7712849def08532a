"""A clock that somebody sets while a correction is under way opens no window, and gives no day a second budget."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from reconciler.apply.results import DriftReport
from reconciler.errors import ExitCode
from reconciler.model import Pool, Window
from tests.builders import AT
from tests.engine.test_remediation import DAY, Scene, manifest, rules, true_pool
from tests.memory_journal import memory_journal
from tests.simulation.service import Service
from tests.simulation.virtual import START, VirtualLoop
from tests.simulation.watchers import SteppingClock

HOUR = 3600.0


class Set(Service):
    """At the listing of this number, somebody sets the clock by so many seconds."""

    clock: SteppingClock
    at, seconds = 0, 0.0

    async def pools(self) -> tuple[Pool, ...]:
        if self.requests["pools"] + 1 == self.at:
            self.clock.ahead += self.seconds
        return await super().pools()


@contextmanager
def scene(**surplus: int) -> Iterator[tuple[Scene, SteppingClock, Set]]:
    loop = VirtualLoop()
    clock = SteppingClock(loop)
    pools = {name: true_pool(name, number) for name, number in surplus.items()}
    service = Set(loop, random.Random(7), pools)
    service.clock = clock
    journal = memory_journal(clock.now)
    try:
        yield Scene(loop, service, journal), clock, service
    finally:
        journal.close()
        loop.close()


def set_to(clock: SteppingClock, moment: str) -> None:
    clock.ahead += (datetime.fromisoformat(moment) - clock.now()).total_seconds()


BERLIN = "Europe/Berlin"
# The first plan lists the pools twice, before and after their desktops: the third listing is of the second plan.
AFTER_THE_FIRST_PLAN = 3


@pytest.mark.parametrize(
    ("window", "begins", "hours", "corrected"),
    [
        (("21:00", "22:00", "UTC"), "2026-03-02T21:50:00+00:00", 1, False),
        (("21:00", "22:00", "UTC"), "2026-03-02T21:05:00+00:00", -1, False),
        (("22:00", "02:00", "UTC"), "2026-03-02T23:50:00+00:00", 1, True),  # over midnight, and back
        (("22:00", "02:00", "UTC"), "2026-03-03T00:10:00+00:00", -1, True),
        (("22:00", "00:00", "UTC"), "2026-03-02T23:50:00+00:00", 1, False),
        # In Berlin 02:00 to 03:00 is missing on this night: at 01:00 UTC it is three o'clock.
        (("01:30", "02:30", BERLIN), "2026-03-29T00:55:00+00:00", 0, True),
        (("01:30", "02:30", BERLIN), "2026-03-29T00:55:00+00:00", 0.2, False),
        (("03:00", "04:00", BERLIN), "2026-03-29T01:05:00+00:00", -0.2, False),
        # On this one it is there twice: from 00:00 UTC, and from 01:00 UTC.
        (("02:00", "03:00", BERLIN), "2026-10-25T00:55:00+00:00", 0.2, True),
        (("02:00", "03:00", BERLIN), "2026-10-25T01:05:00+00:00", -0.2, True),
        (("02:00", "03:00", BERLIN), "2026-10-25T01:55:00+00:00", 0.2, False),
    ],
)
def test_a_window_counts_by_the_clock_as_it_is_when_the_correction_is_approved(
    window: tuple[str, str, str], begins: str, hours: float, corrected: bool
) -> None:
    with scene(a=1) as (world, clock, service):
        set_to(clock, begins)
        service.at, service.seconds = AFTER_THE_FIRST_PLAN, hours * HOUR
        report = world.remediate(manifest("a", windows=(Window(DAY, *window, AT),)))
        assert world.disks("a") == (1 if corrected else 2)
        assert service.requests["send"] == corrected
        assert report.exit_code is (ExitCode.DONE if corrected else ExitCode.REFUSED)
        if not corrected:
            assert report.error
            assert "what may be remediated changed during the run: no window of" in report.error.message


@pytest.mark.parametrize("steps", [(1, -1, 1, -1), (-1, 1, -1), (24, -24, 24), (0, 1, 0, -1)], ids=str)
def test_no_day_of_the_clock_gets_more_than_its_budget_however_it_is_set(steps: tuple[float, ...]) -> None:
    with scene(a=2, b=2, c=2, d=2, e=2) as (world, clock, service):
        set_to(clock, "2026-03-02T23:30:00+00:00")
        always = (Window(DAY, "00:00", "12:00", "UTC", AT), Window(DAY, "12:00", "00:00", "UTC", AT))
        ask = partial(world.remediate, manifest(*"abcde", disks_per_day=3, windows=always))
        reports: list[DriftReport] = [ask()]
        for hours in steps:
            clock.ahead += hours * HOUR
            reports.append(ask())
        days: Counter[Any] = Counter()
        for each in world.journal.operations(START.replace(year=2000)):
            days[each.opened.date()] += len(each.intent.disks)
        assert max(days.values()) <= 3
        assert sum(days.values()) == service.requests["send"] * 2
        assert rules(reports[0]) == ["drift-budget"] * 4
