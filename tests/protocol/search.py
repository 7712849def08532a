"""Searches every state that a model can reach, nearest first; ``model`` defines the states."""

from __future__ import annotations

from array import array
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
    known = {start: 0}
    at = 0
    while at < len(found.states):
        for name, after in model.steps(found.states[at]):
            found.transitions += 1
            to = known.get(after)
            if to is None:
                to = known[after] = len(found.states)
                found.states.append(after)
                found.parents.append((at, name))
                if after.broken:
                    found.broken = after.broken
                    found.trace = _trace(found, to)
                    return found
            if name not in MISFORTUNES:
                found.lucky[0].append(at)
                found.lucky[1].append(to)
        at += 1
    return found


def stuck(found: Found, good: list[bool]) -> list[State]:
    """The states from which no way without further misfortune leads to a good one."""
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
    return [state for state, reaches in zip(found.states, reaching, strict=True) if not reaches]


def _trace(found: Found, at: int) -> list[str]:
    names: list[str] = []
    while at:
        at, name = found.parents[at]
        names.append(name)
    return names[::-1]
