"""Renders what ``doctor`` has checked: one line for each check, and what to do where something is wrong.

The checks are left to ``cli.doctor``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum

from reconciler.errors import ExitCode
from reconciler.render.line import Line, Tone
from reconciler.values import Struct


class Result(StrEnum):
    """How one check ended."""

    OK = "ok"
    WARNING = "warning"
    NOT_TRIED = "not tried"
    FAILURE = "failure"


class Check(Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    result: Result
    message: str
    """What was found; holds no secret and no name of a person."""
    advice: str = ""
    """What to do; empty where nothing has to be done."""
    target: str = ""
    """``region/project_id``; empty for what belongs to no target."""
    exit_code: int = 0
    """Of a failure: the code with which a command would end because of it."""

    @classmethod
    def ok(cls, name: str, message: str) -> Check:
        """It is as it should be."""
        return cls(name, Result.OK, message)

    @classmethod
    def warning(cls, name: str, message: str, advice: str) -> Check:
        """A plan works all the same."""
        return cls(name, Result.WARNING, message, advice)

    @classmethod
    def not_tried(cls, name: str, message: str, advice: str = "") -> Check:
        """What it needs is missing."""
        return cls(name, Result.NOT_TRIED, message, advice)

    @classmethod
    def failure(cls, name: str, message: str, advice: str, code: ExitCode) -> Check:
        """A command would end with this code."""
        return cls(name, Result.FAILURE, message, advice, exit_code=int(code))


_TONES = {
    Result.OK: Tone.ADD,
    Result.WARNING: Tone.WARN,
    Result.NOT_TRIED: Tone.FAINT,
    Result.FAILURE: Tone.BLOCK,
}


def exit_code(checks: Sequence[Check]) -> int:
    """0, or that of the first failure."""
    return next((each.exit_code for each in checks if each.result is Result.FAILURE), 0)


def doctor_lines(checks: Sequence[Check]) -> Iterator[Line]:
    """The checks by target, and how many there were of each kind."""
    target = ""
    for check in checks:
        if check.target != target:
            yield Line()
            yield Line(f"{check.target or 'This machine'}:" if check.target else "", Tone.STRONG)
            target = check.target
        yield Line(f"{check.result.value:<9}  {check.name}: {check.message}", _TONES[check.result])
        if check.advice:
            yield Line(f"{'':<11}{check.advice}", Tone.FAINT)
    number = Counter(check.result for check in checks)
    plural = {Result.WARNING: "warnings", Result.FAILURE: "failures"}
    counts = [
        f"{number[each]} {each.value if number[each] == 1 else plural.get(each, each.value)}"
        for each in Result
    ]
    yield Line()
    yield Line(f"{', '.join(counts)}.", Tone.BLOCK if number[Result.FAILURE] else Tone.STRONG)
