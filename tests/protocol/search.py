"""Searches every state that a model can reach, nearest first; ``model`` defines the states."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.protocol.model import MISFORTUNES, Model
from tests.protocol.world import State


@dataclass
class Found:
    """What a search came upon."""

    states: list[State] = field(default_factory=list)
    parents: list[tuple[int, str]] = field(default_factory=list)
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
    found = Found([start], [(-1, "")])
    with _without_collecting():
        _search(model, found)
    return found


def _search(model: Model, found: Found) -> None:
    known = {found.states[0]: 0}
    lucky_from, lucky_to = found.lucky
    for at, state in enumerate(found.states):  # which grows meanwhile
        for name, after in model.steps(state):
            found.transitions += 1
            new = len(known)
            to = known.setdefault(after, new)
            if to == new:
                found.states.append(after)
                found.parents.append((at, name))
                if after.broken:
                    found.broken = after.broken
                    found.trace = _trace(found, to)
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


def _trace(found: Found, at: int) -> list[str]:
    names: list[str] = []
    while at:
        at, name = found.parents[at]
        names.append(name)
    return names[::-1]
