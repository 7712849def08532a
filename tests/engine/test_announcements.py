"""Sending messages about marks: when nobody is notified, what a failure stops, and what a dead run leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from reconciler.apply.context import RunContext
from reconciler.apply.results import ApplyReport
from reconciler.apply.stop import Stop
from reconciler.engine.apply import ApplyRequest
from reconciler.engine.apply import apply as run_apply
from reconciler.errors import CredentialsError, ExitCode, StalePlan
from reconciler.journal.states import Outcome, State
from reconciler.model import DesiredPool, Disk, Limits, Manifest, Placed, Policy
from reconciler.planner import Connection
from reconciler.planning.plan import Plan
from reconciler.planning.plan import Service as Named
from reconciler.values import replace
from tests.apply.harness import GOING, FullDisk, Harness, Scripted, harness
from tests.builders import AT, TARGET, entry, pool
from tests.simulation.scenario import Killed, Mortal
from tests.simulation.service import TruePool

WEEK = timedelta(days=7)
ACCEPTED = Outcome(State.ACCEPTED, "job-m", "request-m", 200)
CUT = Outcome(State.UNKNOWN, message="cut")


@dataclass
class Post(Scripted):
    """Answers messages as it is told to, and notes when each had its place and when it left."""

    replies: list[Outcome] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    """Pool and text."""
    noted: list[str] = field(default_factory=list)
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    slow: float = 0.0
    """Seconds for which an answer takes."""

    async def message_place(self) -> None:
        self.noted.append("place")

    async def send_message(self, pool_id: str, text: str, signed_at: datetime) -> Outcome:
        self.noted.append("sent")
        self.left.append((pool_id, text))
        self.leaving.set()
        await asyncio.sleep(self.slow)
        return self.replies.pop(0) if self.replies else ACCEPTED


@pytest.fixture
def world() -> Iterator[Harness]:
    """Two pools, each with one surplus disk."""
    with harness() as made:
        second = TruePool("second", "second", {"a2": Disk("a2", "SAS", 50), "b2": GOING}, 2, [("SAS", 50)])
        pools = made.service.pools_ | {"second": second}
        made.service = Post(made.loop, made.service.rng, pools)
        yield made


def post(world: Harness) -> Post:
    assert isinstance(world.service, Post)
    return world.service


def told(name: str = "pool", **more: Any) -> DesiredPool:
    text = "Disk {disk} of {pool}, {size}, goes after {date}."
    desired = pool(entry("SAS", 50), name=name, grace=WEEK, announce=text, **more)
    return replace(desired, at=replace(desired.at, file=f"{name}.yaml"))


async def yes(_plan: Plan) -> None:
    """A person says yes."""


def marking(world: Harness, *pools: DesiredPool, **more: Any) -> ApplyReport:
    request = ApplyRequest(Manifest(pools or (told(),)), Limits(), yes, mark_only=True)
    return world.run(run_apply(request, replace(world.context(), **more)))


def states(world: Harness) -> list[State]:
    return [each.state for each in world.journal.announcements()]


def test_the_text_is_filled_in_and_what_became_of_it_is_shown_in_the_plan(world: Harness) -> None:
    report = marking(world)
    due = world.clock.now() + WEEK
    [(where, text)] = post(world).left
    assert where == "pool"
    assert text.startswith(f"Disk b of pool, 200 GB, goes after {due:%Y-%m-%d}")
    assert report.plan is not None
    [change] = report.plan.pools[0].waiting
    assert [each.heard.value for each in change.told] == ["accepted"]
    assert any("the message about disk b was accepted, job job-m" in line for line in world.said)


def test_between_the_intent_and_the_wire_nothing_waits_and_the_intent_is_first(world: Harness) -> None:
    service = post(world)

    class Noting:
        def __getattr__(self, name: str) -> Any:
            if name in ("open_announcement", "record_announcement"):
                service.noted.append(name)
            return getattr(world.journal, name)

    marking(world, journal=Noting())
    assert service.noted == ["place", "open_announcement", "sent", "record_announcement"]


def test_nobody_is_told_by_files_that_have_changed_since_and_the_marks_are_made(world: Harness) -> None:
    def changed() -> None:
        raise StalePlan("pools.yaml has changed")

    assert marking(world, check_sources=changed).exit_code is ExitCode.DONE
    assert len(world.journal.marks()) == 1
    assert post(world).left == []
    assert any("pools.yaml has changed" in line for line in world.said)
    marking(world)
    assert len(post(world).left) == 1


def test_nobody_is_told_in_a_target_that_the_policy_does_not_allow(world: Harness) -> None:
    elsewhere = Placed("cn-north-4/0123456789abcdef0123456789abcdef", AT)
    marking(world, policy=Policy("policy.yaml", "0" * 64, targets=(elsewhere,)))
    assert post(world).left == []
    marking(world, policy=Policy("policy.yaml", "0" * 64, targets=(elsewhere, Placed(str(TARGET), AT))))
    assert len(post(world).left) == 1


def test_a_run_that_is_to_stop_tells_nobody(world: Harness) -> None:
    marking(world, stop=Stop(requested=True))
    assert (post(world).left, states(world)) == ([], [])


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (ACCEPTED, 2),
        (Outcome(State.REJECTED, status=409, code="WKS.1"), 2),
        (Outcome(State.REJECTED, status=403, code="WKS.1"), 1),
        (Outcome(State.REJECTED, status=429, code="APIGW.0308"), 1),
        (Outcome(State.NOT_SENT, message="refused"), 1),
        (CUT, 1),
    ],
    ids=["accepted", "busy", "denied", "throttled", "not sent", "unknown"],
)
def test_what_would_befall_every_other_message_leaves_those_for_the_next_run(
    world: Harness, answer: Outcome, sent: int
) -> None:
    post(world).replies = [answer]
    both = (told(), told("second"))
    assert marking(world, *both).exit_code is ExitCode.DONE
    assert len(post(world).left) == sent
    marking(world, *both)
    marking(world, *both)
    # Of each pool one message may have arrived, and no more.
    repeated = answer.state in (State.REJECTED, State.NOT_SENT)
    assert len(post(world).left) == 2 + repeated


def test_keys_that_cannot_be_renewed_stop_no_mark(world: Harness) -> None:
    async def broken() -> datetime | None:
        raise CredentialsError("the keys could not be renewed")

    named = Named(TARGET, "simulated")
    connection = Connection(named, world.service, clock=world.clock, renew=broken)
    assert marking(world, connections={TARGET: connection}).exit_code is ExitCode.DONE
    assert len(world.journal.marks()) == 1
    assert (post(world).left, states(world)) == ([], [])
    assert any("was not sent: the keys could not be renewed" in line for line in world.said)


def test_an_outcome_that_could_not_be_recorded_counts_as_unknown(world: Harness) -> None:
    report = marking(world, journal=FullDisk(world.journal, "record_announcement"))
    assert report.exit_code is ExitCode.DONE
    assert any("was not recorded: the disk is full" in line for line in world.said)
    marking(world)
    assert (len(post(world).left), states(world)) == (1, [State.INTENDED])


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("dies_at", range(8))
def test_a_run_that_dies_anywhere_leaves_nobody_who_is_told_twice(
    world: Harness, dies_at: int, before: bool
) -> None:
    with suppress(Killed):
        marking(world, journal=Mortal(world.journal, dies_at, before=before))
    for _ in range(2):
        marking(world)
    assert len(post(world).left) <= 1
    assert len(world.journal.announcements()) == 1
    if not post(world).left:
        assert states(world) == [State.INTENDED]


@pytest.mark.parametrize(("seconds", "state"), [(1.0, State.ACCEPTED), (60.0, State.UNKNOWN)])
def test_a_signal_while_a_message_is_in_flight_waits_for_its_answer_and_keeps_what_is_known(
    world: Harness, seconds: float, state: State
) -> None:
    post(world).slow = seconds
    stop = Stop()

    async def interrupted() -> None:
        ctx: RunContext = replace(world.context(), stop=stop)
        request = ApplyRequest(Manifest((told(),)), Limits(), yes, mark_only=True)
        task = asyncio.ensure_future(run_apply(request, ctx))
        await post(world).leaving.wait()
        stop.requested = True
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    world.run(interrupted())
    assert states(world) == [state]
    post(world).slow = 0.0
    marking(world)
    assert len(post(world).left) == 1


def test_nobody_is_told_of_a_pool_of_which_nobody_knows_what_is_happening_to_it(world: Harness) -> None:
    world.journal.open_operation(world.intent(lifetime=None), "gone", 60.0)
    marking(world)
    assert len(world.journal.marks()) == 1
    assert post(world).left == []
