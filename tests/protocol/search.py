"""Searches every state that a model can reach, nearest first; ``model`` defines the states.

The two runs are alike, so a state stands for itself and for the one in which they are swapped: half as many are
searched, and the promises are as good as for all, as long as ``lopsided`` finds none.
"""

from __future__ import annotations

import gc
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.protocol.model import MISFORTUNES, Model
from tests.protocol.world import State, canonical, swapped


@dataclass
class Found:
    """What a search came upon."""

    states: list[State] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    transitions: int = 0
    broken: str = ""
    trace: list[str] = field(default_factory=list)
    """The steps to the first broken promise; a shortest way."""
    lucky: tuple[array[int], array[int]] = field(default_factory=lambda: (array("l"), array("l")))
    """From where to where, for the steps that are no misfortune."""

    @property
    def counts(self) -> str:
        return f"{len(self.states):,} states, {self.transitions:,} transitions"


def search(model: Model, start: State) -> Found:
    """Visit every state once; stops at the first broken promise."""
    found = Found([canonical(start)], [-1])
    with _without_collecting():
        _search(model, found)
    return found


def _search(model: Model, found: Found) -> None:
    known = {found.states[0]: 0}
    lucky_from, lucky_to = found.lucky
    for at, state in enumerate(found.states):  # which grows meanwhile
        for name, real in model.steps(state):
            after = canonical(real)
            found.transitions += 1
            new = len(known)
            to = known.setdefault(after, new)
            if to == new:
                found.states.append(after)
                found.parents.append(at)
                if after.broken:
                    found.broken = after.broken
                    found.trace = _trace(model, found, to)
                    return
            if name not in MISFORTUNES:
                lucky_from.append(at)
                lucky_to.append(to)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """No search for garbage while millions of values are made of which none refers to itself."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def stuck(found: Found, good: list[bool]) -> list[State]:
    """The states from which no way without further misfortune leads to a good one."""
    with _without_collecting():
        reaching = _reaching(found, good)
    return [state for state, reaches in zip(found.states, reaching, strict=True) if not reaches]


def _reaching(found: Found, good: list[bool]) -> list[bool]:
    before: list[list[int]] = [[] for _ in found.states]
    for at, to in zip(*found.lucky, strict=True):
        before[to].append(at)
    reaching = list(good)
    todo = [at for at, is_good in enumerate(good) if is_good]
    while todo:
        for at in before[todo.pop()]:
            if not reaching[at]:
                reaching[at] = True
                todo.append(at)
    return reaching


def lopsided(model: Model, states: Iterable[State]) -> list[State]:
    """The states from which the swapped runs could not do exactly the same, so that swapping them is not allowed."""
    return [
        state
        for state in states
        if {swapped(after) for _, after in model.steps(state)}
        != {after for _, after in model.steps(swapped(state))}
        or canonical(state) != canonical(swapped(state))
        or swapped(swapped(state)) != state
    ]


def _trace(model: Model, found: Found, at: int) -> list[str]:
    """The names of the steps that really lead there, each from where the one before has led."""
    path: list[State] = []
    while at:
        path.append(found.states[at])
        at = found.parents[at]
    state, names = found.states[0], list[str]()
    for wanted in reversed(path):
        name, state = next(each for each in model.steps(state) if canonical(each[1]) == wanted)
        names.append(name)
    return names
