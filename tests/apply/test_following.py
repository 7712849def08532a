"""A job is looked at by how long jobs take; its details are asked for when they can say something new."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from reconciler.apply.following import Following
from reconciler.apply.polling import (
    AHEAD,
    CLOSEST,
    LATE_FOR_KNOWN,
    LONGEST_DELAY,
    UNHURRIED,
    CoalescedRead,
    Pace,
)
from reconciler.workspace import Job, JobEnd
from tests.simulation.virtual import VirtualClock, VirtualLoop

SUCCEEDED, RUNNING = Job("job", JobEnd.SUCCEEDED), Job("job", JobEnd.RUNNING)


def looks(pace: Pace, seconds: float) -> list[float]:
    """The ages at which a job that takes so many seconds is looked at, the last of them after its end."""
    found = [0.0]
    while found[-1] < seconds:
        found.append(found[-1] + pace.gap(found[-1]))
    return found[1:]


@pytest.mark.parametrize("seconds", [1.5, 2.0, 20.0, 100.0])
def test_the_end_of_a_job_is_seen_a_tenth_late_at_most_whatever_it_takes(seconds: float) -> None:
    seen = looks(Pace(), seconds)
    assert seconds <= seen[-1] <= seconds * 11 / 10 + CLOSEST
    assert len(seen) <= 50


def test_the_first_job_tells_when_to_look_at_the_next_ones() -> None:
    pace = Pace()
    first = looks(pace, 60.0)
    pace.learn(first[-2], first[-1])
    for seconds in (60.0, 61.0, 66.0):
        next_ones = looks(pace, seconds)
        assert next_ones[-1] <= seconds * 41 / 40
        # As seldom as every 15 s before it can have ended: only to keep the hold.
        assert len([age for age in next_ones if age < first[-2]]) <= 60 / LONGEST_DELAY


def test_a_job_that_is_faster_than_the_first_one_is_what_counts_from_then_on() -> None:
    pace = Pace()
    pace.learn(60.0, 65.0)
    pace.learn(0.0, 8.0)
    assert looks(pace, 7.5)[-1] <= 8.0
    pace.learn(60.0, 65.0)
    assert looks(pace, 7.5)[-1] <= 8.0


@pytest.mark.parametrize("seconds", [2.0, 60.0])
def test_jobs_that_take_the_same_are_seen_to_end_ever_more_exactly(seconds: float) -> None:
    pace = Pace()
    for _ in range(8):
        seen = looks(pace, seconds)
        pace.learn(([0.0, *seen])[-2], seen[-1])
    assert looks(pace, seconds)[-1] <= seconds + max(CLOSEST, seconds * LATE_FOR_KNOWN / 2)
    assert len(looks(pace, seconds)) <= 3 + seconds / LONGEST_DELAY


def test_no_two_looks_are_closer_than_what_is_agreed_and_none_further_than_fifteen_seconds() -> None:
    pace = Pace()
    pace.learn(0.0, 0.01)
    for age in (0.0, 0.01, 1.0, 100.0, 10_000.0):
        assert CLOSEST <= pace.gap(age) <= LONGEST_DELAY
    assert pace.spacing() == CLOSEST
    pace.learn(600.0, 610.0)
    assert Pace().spacing() == UNHURRIED


def test_shared_reads_hurry_only_while_the_budget_has_room() -> None:
    def seconds(reads: int, apart: float, room: Callable[[], bool] = lambda: True) -> float:
        loop = VirtualLoop()
        clock = VirtualClock(loop)

        async def read() -> int:
            return 0

        async def scenario() -> float:
            shared = CoalescedRead(read, clock, lambda: apart, room)
            for _ in range(reads):
                await shared.after(clock.monotonic() + 0.01)
            return clock.monotonic()

        try:
            return loop.run_until_complete(scenario())
        finally:
            loop.close()

    # So far apart on average, and ahead of that by no more than is allowed.
    assert seconds(41, 0.25) == pytest.approx(40 * 0.25 - AHEAD + 0.01)
    assert seconds(5, 0.75) == pytest.approx(4 * 0.75 + 0.01)
    assert seconds(5, 0.25, lambda: False) == pytest.approx(4 * UNHURRIED + 0.01)


def asked_at(following: Following, answer: Job | None, until: float) -> list[float]:
    """The ages at which an unlisted job is asked for, looked at ten times a second."""
    found = []
    for tenth in range(1, round(until * 10) + 1):
        age = tenth / 10
        if following.is_asked_for(age):
            found.append(age)
            following.answered(age, answer)
    return found


def test_answers_that_a_job_is_not_known_lie_apart_before_they_count() -> None:
    """Three of them mean that its record is gone, so they must not come from one moment."""
    following = Following(0.0, Pace())
    following.listed(0.9)
    asked = asked_at(following, None, 60.0)
    assert len(asked) > 3
    assert all(later - sooner >= min(1 + sooner, LONGEST_DELAY) for sooner, later in pairwise(asked))


def test_a_job_that_the_service_does_not_list_yet_costs_no_request_a_look() -> None:
    following = Following(0.0, Pace())
    assert len(asked_at(following, RUNNING, 15.0)) == 4


def test_a_job_that_is_listed_no_more_is_asked_for_until_it_says_how_it_ended() -> None:
    following = Following(0.0, Pace())
    following.listed(2.0)
    assert following.is_asked_for(2.5)
    following.answered(2.5, RUNNING)
    assert following.is_asked_for(2.6)


def test_only_jobs_that_ended_well_tell_how_long_jobs_take() -> None:
    pace = Pace()
    following = Following(0.0, pace)
    following.answered(2.0, Job("job", JobEnd.FAILED, "no reason"))
    assert not pace.is_due(1e9)
    following.listed(1.9)
    following.answered(2.0, SUCCEEDED)
    assert pace.is_due(1.9)
    assert not pace.is_due(1.8)
