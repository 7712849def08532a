"""The effect on the disks is read twice, or does not count."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from reconciler.apply.proof import CONTRADICTING, Observation, observe, observed
from reconciler.errors import ServiceError
from reconciler.journal.records import SentDisk
from reconciler.journal.states import Step
from reconciler.model import ABSENT_DISKS, Disk, Pool
from reconciler.values import replace
from tests.apply.harness import GOING, KEPT, Harness, Scripted, harness

Shown = tuple[Pool, ...]

BEFORE: Shown = (Pool("pool", "pool", (KEPT, GOING)),)
AFTER: Shown = (Pool("pool", "pool", (KEPT,)),)
LOST: Shown = (Pool("pool", "pool", ()),)
DOUBTFUL: Shown = (Pool("pool", "pool", (KEPT,), doubts=("disk b is listed 2 times",)),)
ABSENT: Shown = (Pool("pool", "pool", (), doubts=(ABSENT_DISKS,)),)


@dataclass
class Failing(Scripted):
    """Answers some readings of the pools with an error first."""

    failures: int = 0
    status: int = 500

    async def pools(self) -> tuple[Pool, ...]:
        if self.failures:
            self.failures -= 1
            raise ServiceError(f"the service answered {self.status}", status=self.status)
        return await super().pools()


def seen(world: Harness, seconds: float = 0.0) -> Observation:
    if world.journal.operation("op") is None:
        world.journal.open_operation(world.intent(), "run", 60)
    return world.run(observe(world.intent(), world.site(), world.context(), seconds))


@pytest.mark.parametrize(
    ("shown", "effect"),
    [
        ([AFTER, AFTER], Observation(1, 1)),
        ([BEFORE, BEFORE], Observation(0, 1)),
        ([AFTER, BEFORE, BEFORE], Observation(0, 1)),
        ([AFTER, BEFORE, AFTER, AFTER], Observation(1, 1)),
        ([AFTER, DOUBTFUL, AFTER], Observation(1, 1)),
        ([DOUBTFUL, DOUBTFUL, DOUBTFUL, BEFORE, BEFORE], Observation(0, 1)),
        ([LOST, LOST], Observation(1, 1, lost=("a",))),
        ([LOST, AFTER, AFTER], Observation(1, 1)),
        ([(), ()], Observation(0, 1, pool_gone=True)),
        ([(), AFTER, AFTER], Observation(1, 1)),
    ],
)
def test_only_what_two_readings_in_a_row_show_counts(shown: list[Shown], effect: Observation) -> None:
    with harness() as world:
        world.service.shown = list(shown)
        assert seen(world) == effect
        assert world.service.shown == []
        assert world.service.requests["pools"] == len(shown)


def test_an_effect_that_lags_behind_its_job_is_waited_for_no_longer_than_allowed() -> None:
    with harness() as world:
        world.service.shown = [BEFORE] * 5 + [AFTER] * 2
        assert seen(world, seconds=120.0) == Observation(1, 1)
        began = world.loop.moment
        world.service.shown = [BEFORE] * 50
        assert seen(world, seconds=120.0) == Observation(0, 1)
        assert 120 <= world.loop.moment - began < 150


def test_a_long_wait_asks_less_and_less_often() -> None:
    with harness() as world:
        world.service.shown = [BEFORE] * 50
        seen(world, seconds=120.0)
        assert world.service.requests["pools"] == 12  # at 0, 1, 3, 7, 15 and then every 15 s


@pytest.mark.parametrize(("seconds", "words"), [(30, "30 s"), (60, "1 min"), (90, "90 s"), (120, "2 min")])
def test_a_wait_says_for_what_and_how_long_and_only_once(seconds: float, words: str) -> None:
    with harness() as world:
        world.service.shown = [BEFORE] * 50
        seen(world, seconds=seconds)
        assert world.said == [f"pool: waiting up to {words} until the readings show b gone"]


@pytest.mark.parametrize("shown", [[BEFORE, AFTER, AFTER], [AFTER, BEFORE, AFTER, AFTER]])
def test_what_is_waited_for_is_said_after_the_first_reading_that_does_not_show_it(shown: list[Shown]) -> None:
    with harness() as world:
        world.service.shown = list(shown)
        seen(world, seconds=30)
        assert len(world.said) == 1


@pytest.mark.parametrize("shown", [[AFTER, AFTER], [BEFORE, BEFORE]])
def test_without_a_wait_nothing_is_said(shown: list[Shown]) -> None:
    with harness() as world:
        world.service.shown = list(shown)
        seen(world)
        assert world.said == []


def test_a_reading_that_fails_is_repeated_only_while_there_is_time() -> None:
    with harness() as world:
        world.service = Failing(world.loop, world.service.rng, world.service.pools_, failures=2)
        world.service.shown = [AFTER] * 2
        assert seen(world, seconds=120.0) == Observation(1, 1)
        world.service = Failing(world.loop, world.service.rng, world.service.pools_, failures=1)
        with pytest.raises(ServiceError, match="answered 500"):
            seen(world, seconds=0.0)


def test_an_error_that_stays_is_raised_at_once() -> None:
    with harness() as world:
        world.service = Failing(world.loop, world.service.rng, world.service.pools_, failures=1, status=403)
        with pytest.raises(ServiceError, match="answered 403"):
            seen(world, seconds=120.0)
        assert world.loop.moment < 1


def test_waiting_keeps_the_pool_held() -> None:
    with harness() as world:
        world.service.shown = [BEFORE] * 50
        seen(world, seconds=300.0)
        operation = world.journal.operation("op")
        assert operation
        assert operation.lease_until > world.clock.now()


@pytest.mark.parametrize(("disks", "done"), [((KEPT,), 0), ((KEPT, replace(KEPT, id="new")), 1)])
def test_a_disk_that_was_there_before_is_not_taken_for_an_added_one(
    disks: tuple[Disk, ...], done: int
) -> None:
    with harness() as world:
        added = replace(world.intent(), step=Step.ADD, disks=(SentDisk("", KEPT.type, KEPT.size),))
        assert observed(added, disks) == Observation(done, 1)


def test_a_list_without_disks_means_none_only_if_the_detail_agrees() -> None:
    with harness() as world:
        world.service.shown = [ABSENT] * 2
        assert seen(world) == Observation(0, 1)
        world.service.pools_["pool"].disks.clear()
        world.service.shown = [ABSENT] * 2
        assert seen(world) == Observation(1, 1, lost=("a",))


def test_readings_that_keep_contradicting_each_other_are_given_up() -> None:
    with harness() as world:
        world.service.shown = [BEFORE, AFTER] * 50
        found = seen(world, seconds=0.5)
        assert found == Observation(0, 1, contradictory=True)
        assert not found.complete
        assert not found.alarming
        assert CONTRADICTING <= world.loop.moment < 2 * CONTRADICTING
        assert (
            world.service.requests["pools"] == 8
        )  # at 0, 1, 3, 7, 15, 30, 45 and, a minute after the time that was given, 60 s
