"""What is said of a read that was given up: how long nothing came, over all of its attempts."""

from __future__ import annotations

import pytest

from reconciler.api.retry import Retries, Timing
from tests.api.fake_servers import FakeClock


def test_the_last_attempt_of_a_read_says_the_time_of_all_and_never_none_at_all() -> None:
    clock = FakeClock()
    retries = Retries(clock, Timing(read=15, retry=20))
    with retries.timed():
        assert retries.within(retries.left()) == "within 15 s"
        clock.slept.append(15.0)
    with retries.timed():
        assert retries.within(retries.left()) == "within 20 s, in 2 attempts"
        clock.slept.append(5.0)
    with retries.timed():
        assert retries.left() == pytest.approx(0.1)
        assert retries.within(retries.left()) == "within 20.1 s, in 3 attempts"
