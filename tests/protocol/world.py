"""The world of the model: its state, the changes of one part of it, and the promises that may break in it.

A set of disks or of jobs is a bit mask. Who changes what, and when, is left to ``model``.

Millions of states are made, so their parts come from caches: few parts differ, and comparing two states is quick
where equal parts are one object. For the same reason a state is put together in one go, without ``_replace``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple


class Job(NamedTuple):
    """A delete job of the service."""

    disks: int
    """What it deletes; once it failed in part: what it did delete."""
    op: int
    """Whose request began it; -1: somebody's, by hand."""
    end: str = ""
    """Empty while it runs, then ``ok``, ``failed`` or ``partial``."""


class Op(NamedTuple):
    """An operation in the journal."""

    disks: int
    keep: int
    baseline: int
    owner: int
    leased: bool = True
    expired: bool = False
    job: int = -1
    verdict: str = ""
    """Empty while it is open."""
    gaps: bool = False
    """Its baseline lacks the jobs that had ended: not all could be listed when the intent was written."""
    before: int = 0
    """How many jobs there were in truth, whatever the baseline has."""


class Runner(NamedTuple):
    """One place that runs ``apply``: what it is about to do, and what it remembers."""

    at: str = "idle"
    run: int = 0
    """The run's id; its parity is the runner's, and a crash makes a new one."""
    op: int = -1
    seen: int = 0
    """The generation or the new jobs, as the step needs."""
    view: int = 0
    note: str = ""


class Faults(NamedTuple):
    """How many misfortunes are left to happen, and how many requests may still be sent."""

    crashes: int = 1
    network: int = 1
    failures: int = 1
    by_hand: int = 1
    posts: int = 3
    looks: int = 0
    """How often somebody may look for drift."""


class Look(NamedTuple):
    """What a look for drift has seen so far."""

    changing: bool
    """An operation whose run is alive was open before the pool was read."""
    generation: int
    shown: int = -1
    """The disks that the reading showed; -1 before it."""


class State(NamedTuple):
    """The world."""

    disks: int = 0b011
    lag: int = 0
    """Disks that are gone but still shown."""
    jobs: tuple[Job, ...] = ()
    ops: tuple[Op, ...] = ()
    net: tuple[int, ...] = ()
    """Operations whose request is under way."""
    runners: tuple[Runner, Runner] = (Runner(run=0), Runner(run=1))
    faults: Faults = Faults()
    gaps: bool = False
    """The service remembers more jobs than it lists: those that have ended are missing."""
    looking: Look | None = None
    """A look for drift that has begun."""
    broken: str = ""
    """The promise that this state breaks."""


# What ``State(…)`` does, without a call of Python in between.
_state: Callable[[tuple[object, ...]], State] = partial(tuple.__new__, State)


def surplus(shown: int) -> int:
    """All but the newest."""
    return shown & ~(1 << shown.bit_length() >> 1)


def may_come(state: State, at: int) -> bool:
    """Whether a request is under way, or a run stands right before sending it."""
    one, two = state.runners
    return at in state.net or (one.op == at and one.at == "opened") or (two.op == at and two.at == "opened")


# -- the two runs are alike: a state and the same with their roles swapped count as one ------------------


def swapped(state: State) -> State:
    """The same world in which each runner is the other."""
    disks, lag, jobs, ops, net, (one, two), faults, gaps, looking, broken = state
    turned = tuple([_swapped_op(op) for op in ops])
    return _state((disks, lag, jobs, turned, net, _swapped(one, two), faults, gaps, looking, broken))


def canonical(state: State) -> State:
    """One of ``state`` and ``swapped(state)``, and for both of them the same one."""
    one, two = state.runners
    order = _order(one, two)
    if order < 0 or (not order and not (state.ops and state.ops[0].owner & 1)):
        return state
    return swapped(state)  # where the runners are alike, who owns the first operation decides


# -- promises: judged at the moment they could be broken ------------------------------------------------


def accept(state: State, at: int) -> State:
    """The service takes a request: nothing twice, nothing needed, nothing that was given up."""
    op = state.ops[at]
    broken = ""
    going = 0
    for job in state.jobs:
        going |= 0 if job.end else job.disks
    if any(job.op >= 0 and job.end != "failed" and job.disks & op.disks for job in state.jobs):
        broken = "a disk is deleted twice"
    elif op.disks & state.disks and not state.disks & ~(op.disks | going):
        broken = "a needed disk is deleted"
    elif any(other.keep & op.disks for other in state.ops if not other.verdict):
        broken = "a disk that an open operation keeps is deleted"
    elif op.verdict and op.disks & state.disks:
        broken = "a request is accepted after its operation was closed"
    disks, lag, jobs, ops, net, runners, faults, gaps, looking, _ = state
    return _state((disks, lag, (*jobs, _job(op.disks, at)), ops, net, runners, faults, gaps, looking, broken))


def send(state: State, who: int) -> State:
    """A request leaves: no other may be under way that could still delete something."""
    at = state.runners[who].op
    net = tuple(sorted((*state.net, at)))
    able = [each for each in net if not state.ops[each].expired and state.ops[each].disks & state.disks]
    broken = "two requests are under way" if len(able) > 1 else ""
    return move(under_way(state, net, broken), who, at="waiting", op=at)


def judge(state: State, at: int, verdict: str) -> State:
    """A verdict is written: it has to be true."""
    op = state.ops[at]
    own = [job for job in state.jobs if job.op == at]
    since = len(state.jobs) > op.before
    lies = {
        "": False,
        "done": bool(op.disks & state.disks),
        "failed": not since or any(not job.end for job in own),
        "no effect": any(job.end in ("", "ok") for job in own),
        "rejected": bool(own),
        "not accepted": bool(own),
    }
    return state._replace(broken=f"the verdict '{verdict}' is not true") if lies[verdict] else state


# -- one part of the world changed ----------------------------------------------------------------------


def move(
    state: State,
    who: int,
    at: str,
    *,
    op: int | None = None,
    seen: int | None = None,
    view: int | None = None,
    note: str = "",
) -> State:
    """Go to another step; who is idle remembers nothing, and a pool read is of use until the intent."""
    return put(state, who, _moved(state.runners[who], at, op, seen, view, note))


def put(state: State, who: int, runner: Runner) -> State:
    """Another runner in its place."""
    disks, lag, jobs, ops, net, (one, two), faults, gaps, looking, broken = state
    runners = (runner, two) if who == 0 else (one, runner)
    return _state((disks, lag, jobs, ops, net, runners, faults, gaps, looking, broken))


def change_op(
    state: State,
    at: int,
    *,
    job: int | None = None,
    verdict: str | None = None,
    owner: int | None = None,
    leased: bool | None = None,
    expired: bool | None = None,
) -> State:
    """An entry of the journal changed."""
    disks, lag, jobs, ops, net, runners, faults, gaps, looking, broken = state
    changed = (*ops[:at], _changed_op(ops[at], job, verdict, owner, leased, expired), *ops[at + 1 :])
    return _state((disks, lag, jobs, changed, net, runners, faults, gaps, looking, broken))


def end_job(state: State, at: int, end: str, deleted: int, gone: int) -> State:
    """A job ended that deleted some disks; those that are gone now are still shown for a while."""
    disks, lag, jobs, ops, net, runners, faults, gaps, looking, broken = state
    ended = (*jobs[:at], _job(deleted, jobs[at].op, end), *jobs[at + 1 :])
    return _state((disks & ~gone, lag | gone, ended, ops, net, runners, faults, gaps, looking, broken))


def under_way(state: State, net: tuple[int, ...], broken: str | None = None) -> State:
    """Other requests are under way."""
    disks, lag, jobs, ops, _, runners, faults, gaps, looking, before = state
    return _state(
        (disks, lag, jobs, ops, net, runners, faults, gaps, looking, before if broken is None else broken)
    )


def intended(state: State, op: Op) -> State:
    """One more operation in the journal."""
    disks, lag, jobs, ops, net, runners, faults, gaps, looking, broken = state
    return _state((disks, lag, jobs, (*ops, op), net, runners, faults, gaps, looking, broken))


def caught_up(state: State) -> State:
    """What is gone is shown no more."""
    disks, _, jobs, ops, net, runners, faults, gaps, looking, broken = state
    return _state((disks, 0, jobs, ops, net, runners, faults, gaps, looking, broken))


def spend(state: State, name: str) -> State:
    """One misfortune, or one request, less to come."""
    disks, lag, jobs, ops, net, runners, faults, gaps, looking, broken = state
    return _state((disks, lag, jobs, ops, net, runners, _spent(faults, name), gaps, looking, broken))


@cache
def fresh(me: Runner) -> Runner:
    """The runner after a crash: nothing remembered, and another run."""
    return Runner(run=me.run + 2)


@cache
def _swapped(one: Runner, two: Runner) -> tuple[Runner, Runner]:
    return two._replace(run=two.run ^ 1), one._replace(run=one.run ^ 1)


@cache
def _swapped_op(op: Op) -> Op:
    return op._replace(owner=op.owner ^ 1)


@cache
def _order(one: Runner, two: Runner) -> int:
    """Negative where ``one`` comes first, zero where they differ by nothing but which of the two they are."""
    left, right = (each._replace(run=each.run >> 1) for each in (one, two))
    return (left > right) - (left < right)


@cache
def _moved(me: Runner, at: str, op: int | None, seen: int | None, view: int | None, note: str) -> Runner:
    kept = Runner(run=me.run) if at == "idle" else me
    return kept._replace(at=at, note=note, **_given(op=op, seen=seen, view=view))


@cache
def _changed_op(
    op: Op, job: int | None, verdict: str | None, owner: int | None, leased: bool | None, expired: bool | None
) -> Op:
    return op._replace(**_given(job=job, verdict=verdict, owner=owner, leased=leased, expired=expired))


def _given(**values: Any) -> dict[str, Any]:
    """What is not None; the functions that ask for it take all by place, which a cache finds fastest."""
    return {name: value for name, value in values.items() if value is not None}


@cache
def _job(disks: int, op: int, end: str = "") -> Job:
    return Job(disks, op, end)


@cache
def _spent(faults: Faults, name: str) -> Faults:
    return faults._replace(**{name: getattr(faults, name) - 1})
