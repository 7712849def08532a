"""Every order of events of an abstract model of apply: the promises hold, and each safeguard is needed.

Nothing here runs the real code; its steps are tried out in ``tests/simulation`` and ``tests/flows``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.protocol.model import Faults, Model, Safeguard, State, surplus
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
    "three requests": Faults(crashes=0, network=0, failures=0, by_hand=1, posts=3),
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


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_no_order_of_events_breaks_a_promise_in_larger_worlds(name: str, record_property: Recorder) -> None:
    holds(name, LARGE[name], record_property)


@pytest.mark.parametrize("safeguard", Safeguard, ids=lambda each: each.name.lower())
def test_without_a_safeguard_a_promise_breaks(safeguard: Safeguard, record_property: Recorder) -> None:
    found: Found = search(Model(without=safeguard), State(faults=ONE_LESS))
    told = f"{found.broken}, after {len(found.trace)} steps ({found.counts})"
    record_property("counted", f"protocol, without {safeguard.name}: {told}")
    assert found.broken, f"nothing breaks without: {safeguard.value}"
