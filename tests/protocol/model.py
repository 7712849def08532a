"""An abstract model of the apply protocol: two runs, their journal, the network, the service; one pool.

Holds the states and the steps. What is searched for, and how, is left to ``search``; that the real code
takes these steps is left to the tests beside this folder.

The pool declares one disk and has two alike, so one is surplus; the newest stays. A set of disks or of
jobs is a bit mask. Every step is one atomic action of somebody, and any other step may come between two
of them: that is how a run is paused for long, at any point.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple


class Safeguard(Enum):
    """What the protocol relies on; a variant of the model leaves one of them out."""

    SHARED_JOURNAL = "both runs keep one journal"
    NEVER_RESEND = "a request of unknown fate is not sent again"
    BASELINE = "jobs known before the intent are not taken for its own"
    FENCE = "a journal entry is written by its owner alone, and only while open"
    GENERATION = "an intent is refused when the pool was acted on since it was read"
    EXPIRY = "nothing but the request's expiry ends the wait for a request of unknown fate"
    EXPIRY_FIRST = "the expiry is judged before the jobs are listed, not after"
    PATIENCE = "after a job that succeeded, its effect is waited for before the disks decide"


class Credentials(Enum):
    """What a request carries."""

    SIGNATURE = "bounds how long it can be accepted"
    TOKEN = "bounds nothing: only a person can say that it never arrived"


class Job(NamedTuple):
    """A delete job of the service."""

    disks: int
    op: int
    """Whose request began it; -1: somebody's, by hand."""
    end: str = ""


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
    broken: str = ""
    """The promise that this state breaks."""


Steps = Iterator[tuple[str, State]]
MISFORTUNES = frozenset({"crash", "lose request", "lose answer", "time out early", "job fails", "by hand"})


def surplus(shown: int) -> int:
    """All but the newest."""
    return shown & ~(1 << shown.bit_length() >> 1)


class Model:
    """The steps of everybody, under a protocol that may lack one safeguard."""

    def __init__(
        self, without: Safeguard | None = None, credentials: Credentials = Credentials.SIGNATURE
    ) -> None:
        self.without = without
        self.credentials = credentials

    def steps(self, state: State) -> Steps:
        """Every step from ``state``, each with a name for the trace."""
        for who in (0, 1):
            yield from self._run(state, who)
            yield from _crash(state, who)
        yield from _network(state)
        yield from _service(state)
        yield from _time(state)
        if self.credentials is Credentials.SIGNATURE:
            yield from _expiry(state)

    # -- a run: plan, intend, send ------------------------------------------------------------------

    def _run(self, state: State, who: int) -> Steps:
        me = state.runners[who]
        name = f"run {me.run}: "
        if me.at == "idle":
            yield from self._begin(state, who, name)
        elif me.at == "began":
            plan = surplus(state.disks | state.lag)
            yield (
                name + "read the pool",
                _runner(state, who, at="read" if plan else "idle", view=state.disks | state.lag),
            )
        elif me.at == "read":
            busy = any(not job.end for job in state.jobs)
            baseline = (1 << len(state.jobs)) - 1
            yield (
                name + "list the jobs",
                _runner(state, who, at="idle") if busy else _runner(state, who, at="ready", op=baseline),
            )
        elif me.at == "ready":
            yield from self._intend(state, who, name)
        elif me.at == "opened":
            yield name + "send", _send(state, who)
        elif me.at == "waiting" and me.op not in state.net:
            yield name + "time out", _runner(state, who, at="unknown")
        elif me.at == "waiting" and state.faults.network:
            yield "time out early", _runner(_spend(state, "network"), who, at="unknown")
        elif me.at == "unknown":
            yield name + "note that the fate is unknown", _runner(state, who, at="idle")
            if self.without is Safeguard.NEVER_RESEND and state.faults.posts:
                yield name + "send again", _send(state, who)
        elif me.at == "answered":
            yield name + "note the job", self._write(state, who, "following", job=me.seen)
        elif me.at in ("following", "listing", "found"):
            yield from self._follow(state, who, name)
        elif me.at == "closing":
            yield name + f"close as {me.note}", self._write(state, who, "idle", verdict=me.note)

    def _begin(self, state: State, who: int, name: str) -> Steps:
        mine = self._journal(state, who)
        unresolved = [at for at in mine if not state.ops[at].verdict]
        for at in unresolved:
            op = state.ops[at]
            if not op.leased or op.owner == state.runners[who].run:
                taken = _op(state, at, owner=state.runners[who].run, leased=True)
                step = "listing" if op.job < 0 else "following"
                yield name + f"take over operation {at}", _runner(taken, who, at=step, op=at, seen=op.job)
        if not unresolved and state.faults.posts:
            yield (
                name + "read the generation",
                _runner(state, who, at="began", seen=self._generation(state, who)),
            )

    def _intend(self, state: State, who: int, name: str) -> Steps:
        me = state.runners[who]
        held = any(not state.ops[at].verdict for at in self._journal(state, who))
        stale = self._generation(state, who) != me.seen and self.without is not Safeguard.GENERATION
        if held or stale or not state.faults.posts:
            yield name + "be refused by the journal", _runner(state, who, at="idle")
            return
        plan = surplus(me.view)
        op = Op(plan, me.view & ~plan, me.op, me.run)
        opened = state._replace(ops=(*state.ops, op))
        yield (
            name + f"intend to remove {plan:03b}",
            _runner(_spend(opened, "posts"), who, at="opened", op=len(state.ops), seen=0, view=0),
        )

    # -- a run: follow, resolve, close ----------------------------------------------------------------

    def _follow(self, state: State, who: int, name: str) -> Steps:
        me = state.runners[who]
        op = state.ops[me.op]
        gone = not op.disks & (state.disks | state.lag)
        if me.at == "listing":
            baseline = 0 if self.without is Safeguard.BASELINE else op.baseline
            new = ((1 << len(state.jobs)) - 1) & ~baseline
            note = "expired" if op.expired else ""
            yield name + f"list new jobs {new:b}", _runner(state, who, at="found", seen=new, note=note)
        elif me.at == "following":
            job = state.jobs[me.seen]
            if job.end == "failed":
                yield name + "see the job failed", _runner(state, who, at="closing", seen=0, note="failed")
            elif job.end and gone:
                yield name + "see the disks gone", _runner(state, who, at="closing", seen=0, note="done")
        else:
            new_jobs = [job for at, job in enumerate(state.jobs) if me.seen >> at & 1]
            settled = not any(job.end == "ok" and job.disks & state.lag for job in new_jobs)
            if any(not job.end for job in new_jobs):
                return
            late = me.note == "expired" or (self.without is Safeguard.EXPIRY_FIRST and op.expired)
            if gone:
                yield name + "see the disks gone", _runner(state, who, at="closing", seen=0, note="done")
            elif not late and self.without is not Safeguard.EXPIRY:
                yield name + "leave it open", _runner(state, who, at="idle")
            elif settled or self.without is Safeguard.PATIENCE:
                note = "failed" if new_jobs else "not accepted"
                yield name + "see the disks still there", _runner(state, who, at="closing", seen=0, note=note)

    # -- the journal ----------------------------------------------------------------------------------

    def _journal(self, state: State, who: int) -> list[int]:
        """The operations that a runner can see."""
        shared = self.without is not Safeguard.SHARED_JOURNAL
        return [at for at, op in enumerate(state.ops) if shared or op.owner % 2 == who]

    def _generation(self, state: State, who: int) -> int:
        return sum(1 + bool(state.ops[at].verdict) for at in self._journal(state, who))

    def _write(self, state: State, who: int, then: str, job: int = -1, verdict: str = "") -> State:
        """Change the operation, if it is still this run's; without the fence: whatever the pool has open."""
        me = state.runners[who]
        at = me.op
        if self.without is Safeguard.FENCE:
            at = next((each for each in self._journal(state, who) if not state.ops[each].verdict), at)
        elif state.ops[at].owner != me.run or state.ops[at].verdict:
            return _runner(state, who, at="idle")
        op = state.ops[at]
        written = _op(state, at, job=job if job >= 0 else op.job, verdict=verdict or op.verdict)
        return _runner(_judge(written, at, verdict), who, at=then)


# -- the world around -----------------------------------------------------------------------------------


def _crash(state: State, who: int) -> Steps:
    me = state.runners[who]
    if me.at != "idle" and state.faults.crashes:
        fresh = _runner(_spend(state, "crashes"), who, at="idle")
        again = fresh.runners[who]._replace(run=me.run + 2)
        yield "crash", _put(fresh, who, again)


def _network(state: State) -> Steps:
    for at in set(state.net):
        waiting = [
            who for who in (0, 1) if state.runners[who].at == "waiting" and state.runners[who].op == at
        ]
        rest = list(state.net)
        rest.remove(at)
        gone = state._replace(net=tuple(rest))
        if state.faults.network:
            yield "lose request", _spend(gone, "network")
        reached = gone if state.ops[at].expired else _accept(gone, at)
        if not waiting:
            yield f"request {at} arrives late", reached
            continue
        if state.faults.network:
            yield "lose answer", _spend(reached, "network")
        if state.ops[at].expired:
            yield f"request {at} is rejected", _runner(reached, waiting[0], at="closing", note="rejected")
        else:
            job = len(state.jobs)
            yield f"request {at} is accepted", _runner(reached, waiting[0], at="answered", op=at, seen=job)


def _service(state: State) -> Steps:
    for at, job in enumerate(state.jobs):
        if not job.end:
            ended = _job(state, at, "ok")
            lag = state.lag | (job.disks & state.disks)
            yield f"job {at} succeeds", ended._replace(disks=state.disks & ~job.disks, lag=lag)
            if state.faults.failures:
                yield "job fails", _spend(_job(state, at, "failed"), "failures")
    if state.faults.by_hand:
        less = _spend(state, "by_hand")
        extra = 1 << (state.disks | state.lag).bit_length()
        yield "by hand", less._replace(disks=state.disks | extra)
        if plan := surplus(state.disks):
            yield "by hand", less._replace(disks=state.disks & ~plan, jobs=(*state.jobs, Job(plan, -1, "ok")))


def _time(state: State) -> Steps:
    if state.lag:
        yield "readings catch up", state._replace(lag=0)
    for at, op in enumerate(state.ops):
        if op.leased and not op.verdict:
            yield f"lease of operation {at} runs out", _op(state, at, leased=False)


def _expiry(state: State) -> Steps:
    for at, op in enumerate(state.ops):
        pending = at in state.net or any(each.op == at and each.at == "opened" for each in state.runners)
        if not op.expired and (pending or not op.verdict):
            yield f"request {at} expires", _op(state, at, expired=True)


# -- promises: judged at the moment they could be broken ------------------------------------------------


def _accept(state: State, at: int) -> State:
    """The service takes a request: nothing twice, nothing needed, nothing that was given up."""
    op = state.ops[at]
    broken = ""
    if any(job.op >= 0 and job.end != "failed" and job.disks & op.disks for job in state.jobs):
        broken = "a disk is deleted twice"
    elif op.disks & state.disks and not state.disks & ~op.disks:
        broken = "a needed disk is deleted"
    elif any(other.keep & op.disks for other in state.ops if not other.verdict):
        broken = "a disk that an open operation keeps is deleted"
    elif op.verdict and op.disks & state.disks:
        broken = "a request is accepted after its operation was closed"
    return state._replace(jobs=(*state.jobs, Job(op.disks, at)), broken=broken)


def _send(state: State, who: int) -> State:
    """A request leaves: no other may be under way that could still delete something."""
    at = state.runners[who].op
    net = tuple(sorted((*state.net, at)))
    able = [each for each in net if not state.ops[each].expired and state.ops[each].disks & state.disks]
    broken = "two requests are under way" if len(able) > 1 else ""
    return _runner(state._replace(net=net, broken=broken), who, at="waiting", op=at)


def _judge(state: State, at: int, verdict: str) -> State:
    """A verdict is written: it has to be true."""
    op = state.ops[at]
    own = [job for job in state.jobs if job.op == at]
    since = len(state.jobs) > op.baseline.bit_length()
    lies = {
        "": False,
        "done": bool(op.disks & state.disks),
        "failed": not since or any(not job.end for job in own),
        "rejected": bool(own),
        "not accepted": bool(own),
    }
    return state._replace(broken=f"the verdict '{verdict}' is not true") if lies[verdict] else state


# -- one part of the world changed ----------------------------------------------------------------------


def _runner(state: State, who: int, **new: object) -> State:
    """Go to another step; who is idle remembers nothing, and a pool read is of use until the intent."""
    me = state.runners[who]
    kept = Runner(run=me.run) if new["at"] == "idle" else me._replace(note="")
    return _put(state, who, kept._replace(**new))  # type: ignore[arg-type]


def _put(state: State, who: int, runner: Runner) -> State:
    one, two = state.runners
    return state._replace(runners=(runner, two) if who == 0 else (one, runner))


def _op(state: State, at: int, **new: object) -> State:
    changed = state.ops[at]._replace(**new)  # type: ignore[arg-type]
    return state._replace(ops=(*state.ops[:at], changed, *state.ops[at + 1 :]))


def _job(state: State, at: int, end: str) -> State:
    return state._replace(jobs=(*state.jobs[:at], state.jobs[at]._replace(end=end), *state.jobs[at + 1 :]))


def _spend(state: State, name: str) -> State:
    less = {name: getattr(state.faults, name) - 1}
    return state._replace(faults=state.faults._replace(**less))
