"""Every order of events of an abstract model of apply: the promises hold, and each safeguard is needed.

Nothing here runs the real code; its steps are tried out in ``tests/simulation`` and ``tests/flows``.
``RECONCILER_ALL_WORLDS=1 python -m pytest tests/protocol -m slow`` searches larger worlds (minutes and a few GB).
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.protocol.model import Credentials, Faults, Model, Safeguard, State, surplus
from tests.protocol.search import Found, search, stuck

Recorder = Callable[[str, object], None]

WORLDS = {
    "a crash and a fault of the network": Faults(crashes=1, network=1, failures=0, by_hand=0, posts=2),
    "a failed job and a change by hand": Faults(crashes=0, network=0, failures=1, by_hand=1, posts=2),
}
LARGE = {
    "a fault of the network and a change by hand": Faults(
        crashes=0, network=1, failures=0, by_hand=1, posts=2
    ),
    "a crash, a failed job": Faults(crashes=1, network=0, failures=1, by_hand=0, posts=2),
    "two crashes": Faults(crashes=2, network=0, failures=0, by_hand=0, posts=2),
    "two faults of the network": Faults(crashes=0, network=2, failures=0, by_hand=0, posts=2),
    "three requests and a change by hand": Faults(crashes=0, network=0, failures=0, by_hand=1, posts=3),
}
ONE_LESS = Faults(crashes=0, network=1, failures=0, by_hand=1, posts=2)


def holds(name: str, faults: Faults, record: Recorder) -> None:
    """No promise breaks anywhere, and from everywhere, faults over, there is a way to a settled pool."""
    found = search(Model(), State(faults=faults))
    record("counted", f"protocol, with {name}: {found.counts}, no promise broken")
    assert not found.broken, "\n".join([found.broken, *found.trace])
    assert stuck(found, [settled(state) for state in found.states]) == []


def settled(state: State) -> bool:
    """Every operation is closed, and nothing is surplus (or this world has no request left for it)."""
    closed = all(op.verdict for op in state.ops)
    idle = all(runner.at == "idle" for runner in state.runners)
    return closed and idle and (not surplus(state.disks) or not state.faults.posts)


@pytest.mark.parametrize("name", WORLDS)
def test_no_order_of_events_breaks_a_promise(name: str, record_property: Recorder) -> None:
    holds(name, WORLDS[name], record_property)


def test_where_nothing_bounds_a_request_a_person_is_asked_and_nothing_is_sent(
    record_property: Recorder,
) -> None:
    faults = Faults(crashes=1, network=1, failures=0, by_hand=0, posts=2)
    found = search(Model(credentials=Credentials.TOKEN), State(faults=faults))
    record_property("counted", f"protocol, with a token: {found.counts}, no promise broken")
    assert not found.broken, "\n".join([found.broken, *found.trace])
    asked = [asks(state) for state in found.states]
    assert any(asked)
    good = [settled(state) or each for state, each in zip(found.states, asked, strict=True)]
    assert stuck(found, good) == []


def asks(state: State) -> bool:
    """One operation is open whose request never arrived, nobody acts, and every job has ended."""
    idle = all(runner.at == "idle" for runner in state.runners)
    unclear = [at for at, op in enumerate(state.ops) if not op.verdict]
    ended = all(job.end and job.op not in unclear for job in state.jobs)
    return idle and ended and not state.net and len(unclear) == 1


@pytest.mark.slow
@pytest.mark.skipif("RECONCILER_ALL_WORLDS" not in os.environ, reason="minutes: set RECONCILER_ALL_WORLDS=1")
@pytest.mark.parametrize("name", LARGE)
def test_no_order_of_events_breaks_a_promise_in_larger_worlds(name: str, record_property: Recorder) -> None:
    holds(name, LARGE[name], record_property)


@pytest.mark.parametrize("safeguard", Safeguard, ids=lambda each: each.name.lower())
def test_without_a_safeguard_a_promise_breaks(safeguard: Safeguard, record_property: Recorder) -> None:
    found: Found = search(Model(without=safeguard), State(faults=ONE_LESS))
    told = f"{found.broken}, after {len(found.trace)} steps ({found.counts})"
    record_property("counted", f"protocol, without {safeguard.name}: {told}")
    assert found.broken, f"nothing breaks without: {safeguard.value}"
