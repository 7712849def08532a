"""Every order of events of an abstract model of apply: the promises hold, and each safeguard is needed.

Nothing here runs the real code; its steps are tried out in ``tests/simulation`` and ``tests/flows``.
``python -m pytest tests/protocol -m slow`` searches larger worlds (minutes and a few GB).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.protocol.model import Credentials, Model, Safeguard
from tests.protocol.search import Found, lopsided, search, stuck
from tests.protocol.world import Faults, Job, State, surplus, swapped

Recorder = Callable[[str, object], None]

ONE_SURPLUS, TWO_SURPLUS = 0b011, 0b111
OLD = (Job(0b100, -1, "ok"),)
"""A job of long ago, which a list with gaps does not show."""
WORLDS = {
    "a crash and a fault of the network": State(
        ONE_SURPLUS, faults=Faults(crashes=1, network=1, failures=0, by_hand=0, posts=2)
    ),
    "a failed job and a change by hand": State(
        ONE_SURPLUS, faults=Faults(crashes=0, network=0, failures=1, by_hand=1, posts=2)
    ),
    "two surplus disks and a job that fails, perhaps in part": State(
        TWO_SURPLUS, faults=Faults(crashes=0, network=0, failures=1, by_hand=0, posts=2)
    ),
    "a list of jobs that has gaps, a fault of the network and a job that fails": State(
        ONE_SURPLUS,
        jobs=OLD,
        gaps=True,
        faults=Faults(crashes=0, network=1, failures=1, by_hand=0, posts=1),
    ),
    "a look for drift beside an apply": State(
        ONE_SURPLUS, faults=Faults(crashes=0, network=0, failures=0, by_hand=0, posts=1, looks=1)
    ),
}
LARGE = {
    "a fault of the network and a change by hand": State(
        ONE_SURPLUS, faults=Faults(crashes=0, network=1, failures=0, by_hand=1, posts=2)
    ),
    "a crash, and two surplus disks and a job that fails": State(
        TWO_SURPLUS, faults=Faults(crashes=1, network=0, failures=1, by_hand=0, posts=2)
    ),
    "two crashes": State(ONE_SURPLUS, faults=Faults(crashes=2, network=0, failures=0, by_hand=0, posts=2)),
    "two faults of the network": State(
        ONE_SURPLUS, faults=Faults(crashes=0, network=2, failures=0, by_hand=0, posts=2)
    ),
    "three requests and a change by hand": State(
        ONE_SURPLUS, faults=Faults(crashes=0, network=0, failures=0, by_hand=1, posts=3)
    ),
}
SAMPLE = 40
"""Of this many states of a large world, one is looked at for whether the two runs are alike there."""
WITHOUT = State(ONE_SURPLUS, faults=Faults(crashes=0, network=1, failures=0, by_hand=1, posts=2))
WITHOUT_GAPS = WORLDS["a list of jobs that has gaps, a fault of the network and a job that fails"]
WITHOUT_LOOK = WORLDS["a look for drift beside an apply"]
WITHOUT_PATIENCE_IN_PART = WORLDS["two surplus disks and a job that fails, perhaps in part"]


def holds(name: str, start: State, record: Recorder) -> None:
    """No promise breaks anywhere, and from everywhere, faults over, there is a way to a settled pool."""
    found = search(Model(), start)
    record("counted", f"protocol, with {name}: {found.counts}, no promise broken")
    assert not found.broken, "\n".join([found.broken, *found.trace])
    assert stuck(found, [settled(state) for state in found.states]) == []
    assert lopsided(Model(), found.states[::SAMPLE]) == []


def settled(state: State) -> bool:
    """Every operation is closed, and nothing is surplus (or this world has no request left for it)."""
    one, two = state.runners
    if one.at != "idle" or two.at != "idle" or not all(op.verdict for op in state.ops):
        return False
    return not surplus(state.disks) or not state.faults.posts


@pytest.mark.parametrize("name", WORLDS)
def test_no_order_of_events_breaks_a_promise(name: str, record_property: Recorder) -> None:
    holds(name, WORLDS[name], record_property)


def test_where_nothing_bounds_a_request_only_a_person_frees_the_pool(record_property: Recorder) -> None:
    start = State(ONE_SURPLUS, faults=Faults(crashes=1, network=1, failures=0, by_hand=0, posts=2))
    found = search(Model(credentials=Credentials.TOKEN), start)
    record_property("counted", f"protocol, with a token: {found.counts}, no promise broken")
    assert not found.broken, "\n".join([found.broken, *found.trace])
    assert any(asks(state) for state in found.states)
    assert stuck(found, [settled(state) for state in found.states]) == []


def asks(state: State) -> bool:
    """One operation is open whose request never arrived, nobody acts, and every job has ended."""
    idle = all(runner.at == "idle" for runner in state.runners)
    unclear = [at for at, op in enumerate(state.ops) if not op.verdict]
    ended = all(job.end and job.op not in unclear for job in state.jobs)
    return idle and ended and not state.net and len(unclear) == 1


@pytest.mark.parametrize("credentials", Credentials, ids=lambda each: each.name.lower())
@pytest.mark.parametrize("start", [WITHOUT_GAPS, WITHOUT_LOOK], ids=["gaps", "look"])
def test_the_two_runs_are_alike_in_every_state(start: State, credentials: Credentials) -> None:
    model = Model(credentials=credentials)
    found = search(model, start)
    assert not found.broken
    assert lopsided(model, found.states) == []
    assert {settled(state) == settled(swapped(state)) for state in found.states} == {True}


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_no_order_of_events_breaks_a_promise_in_larger_worlds(name: str, record_property: Recorder) -> None:
    holds(name, LARGE[name], record_property)


@pytest.mark.parametrize("safeguard", Safeguard, ids=lambda each: each.name.lower())
def test_without_a_safeguard_a_promise_breaks(safeguard: Safeguard, record_property: Recorder) -> None:
    starts = {
        Safeguard.PATIENCE_IN_PART: WITHOUT_PATIENCE_IN_PART,
        Safeguard.UNLISTED: WITHOUT_GAPS,
        Safeguard.UNLISTED_BASELINE: WITHOUT_GAPS,
        Safeguard.BEING_CHANGED: WITHOUT_LOOK,
        Safeguard.BEING_CHANGED_AFTER: WITHOUT_LOOK,
    }
    start = starts.get(safeguard, WITHOUT)
    found: Found = search(Model(without=safeguard), start)
    assert lopsided(Model(without=safeguard), found.states[::SAMPLE]) == []
    counted = f"{found.broken}, after {len(found.trace)} steps ({found.counts})"
    record_property("counted", f"protocol, without {safeguard.name}: {counted}")
    assert found.broken, f"nothing breaks without: {safeguard.value}"
