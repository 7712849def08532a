"""An abstract model of the apply protocol: two runs, their journal, the network, the service; one pool.

Holds the steps. The states are left to ``world``, the search to ``search``; that the real code takes these
steps is left to the tests beside this folder.

The pool declares one disk and has two or three alike, so the others are surplus; the newest stays. Every
step is one atomic action of somebody, and any other step may come between two of them: that is how a run is
paused for long, at any point. A request reaches the service once at most, and after the wait for its
effect, a reading shows what a job did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cache

from tests.protocol.world import (
    Job,
    Look,
    Op,
    State,
    accept,
    caught_up,
    change_op,
    end_job,
    fresh,
    intended,
    judge,
    may_come,
    move,
    put,
    send,
    spend,
    surplus,
    under_way,
)


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
    PATIENCE_IN_PART = "after a job that failed in part, the effect of the other part is waited for"
    UNLISTED = "where not all jobs are listed, the disks decide, and nothing is said never to have arrived"
    UNLISTED_BASELINE = (
        "a baseline that lacks jobs is one for ever, so that an old job is not taken for a new one"
    )
    BEING_CHANGED = "a pool that a run is changing while it is read is not measured"
    BEING_CHANGED_AFTER = "whether a run is changing it is asked after the reading too"
    PERSON_WAITS = "a person who closes an operation knows that nothing can still send or deliver its request"


class Credentials(Enum):
    """What a request carries."""

    SIGNATURE = "bounds how long it can be accepted"
    TOKEN = "bounds nothing: only a person can say that it never arrived"


Steps = Iterator[tuple[str, State]]
_FOLLOWS = frozenset({"following", "listing", "found"})
MISFORTUNES = frozenset(
    {"crash", "lose request", "lose answer", "time out early", "job fails", "job fails in part", "by hand"}
)


class Model:
    """The steps of everybody, under a protocol that may lack one safeguard."""

    def __init__(
        self, without: Safeguard | None = None, credentials: Credentials = Credentials.SIGNATURE
    ) -> None:
        self.without = without
        self.credentials = credentials
        # Where a signature expires, nobody has to decide.
        self._asks_a_person = without is Safeguard.PERSON_WAITS or credentials is Credentials.TOKEN

    def steps(self, state: State) -> list[tuple[str, State]]:
        """Every step from ``state``, each with a name for the trace."""
        found: list[tuple[str, State]] = []
        for who in (0, 1):
            found += self._run(state, who)
            if state.faults.crashes:
                found += _crash(state, who)
        if state.net:
            found += _network(state)
        found += _service(state)
        if state.lag:
            found.append(("readings catch up", caught_up(state)))
        if state.ops:
            found += _time(state)
        if state.looking or state.faults.looks:
            found += self._drift(state)
        if state.ops and self.credentials is Credentials.SIGNATURE:
            found += _expiry(state)
        if self._asks_a_person:
            found += self._person(state)
        return found

    # -- a run: plan, intend, send ------------------------------------------------------------------

    def _run(self, state: State, who: int) -> Iterable[tuple[str, State]]:
        me = state.runners[who]
        name = _named(me.run)
        if me.at in _FOLLOWS:
            return self._follow(state, who, name)
        match me.at:
            case "idle":
                return self._begin(state, who, name)
            case "waiting":
                if me.op not in state.net:
                    return [(name + "time out", move(state, who, at="unknown"))]
                if state.faults.network:
                    return [("time out early", move(spend(state, "network"), who, at="unknown"))]
                return ()
            case "opened":
                return [(name + "send", send(state, who))]
            case "answered":
                return [(name + "note the job", self._write(state, who, "following", job=me.seen))]
            case "closing":
                return [(name + f"close as {me.note}", self._write(state, who, "idle", verdict=me.note))]
            case _:
                return self._prepare(state, who, name)

    def _prepare(self, state: State, who: int, name: str) -> Steps:
        me = state.runners[who]
        if me.at == "began":
            plan = surplus(state.disks | state.lag)
            yield (
                name + "read the pool",
                move(state, who, at="read" if plan else "idle", view=state.disks | state.lag),
            )
        elif me.at == "read":
            busy = any(not job.end for job in state.jobs)
            baseline = _listed(state)
            yield (
                name + "list the jobs",
                move(state, who, at="idle")
                if busy
                else move(state, who, at="ready", op=baseline, note="gaps" * state.gaps),
            )
        elif me.at == "ready":
            yield from self._intend(state, who, name)
        elif me.at == "unknown":
            yield name + "note that the fate is unknown", move(state, who, at="idle")
            if self.without is Safeguard.NEVER_RESEND and state.faults.posts:
                yield name + "send again", send(state, who)

    def _begin(self, state: State, who: int, name: str) -> Steps:
        mine = self._journal(state, who)
        unresolved = [at for at in mine if not state.ops[at].verdict]
        for at in unresolved:
            op = state.ops[at]
            if not op.leased or op.owner == state.runners[who].run:
                taken = change_op(state, at, owner=state.runners[who].run, leased=True)
                step = "listing" if op.job < 0 else "following"
                yield name + f"take over operation {at}", move(taken, who, at=step, op=at, seen=op.job)
        if not unresolved and state.faults.posts:
            yield (
                name + "read the generation",
                move(state, who, at="began", seen=self._generation(state, who)),
            )

    def _intend(self, state: State, who: int, name: str) -> Steps:
        me = state.runners[who]
        held = any(not state.ops[at].verdict for at in self._journal(state, who))
        stale = self._generation(state, who) != me.seen and self.without is not Safeguard.GENERATION
        if held or stale or not state.faults.posts:
            yield name + "be refused by the journal", move(state, who, at="idle")
            return
        plan = surplus(me.view)
        op = Op(plan, me.view & ~plan, me.op, me.run, gaps=me.note == "gaps", before=len(state.jobs))
        opened = intended(state, op)
        yield (
            name + f"intend to remove {plan:03b}",
            move(spend(opened, "posts"), who, at="opened", op=len(state.ops), seen=0, view=0),
        )

    # -- a run: follow, resolve, close ----------------------------------------------------------------

    def _follow(self, state: State, who: int, name: str) -> Steps:
        me = state.runners[who]
        op = state.ops[me.op]
        gone = not op.disks & (state.disks | state.lag)
        if me.at == "listing":
            baseline = 0 if self.without is Safeguard.BASELINE else op.baseline
            new = _listed(state) & ~baseline
            note = "expired" if op.expired else ""
            if self._gaps(state, op):
                # Which ended jobs are listed is the service's choice; only those under way are certain.
                new &= _running(state)
                note += "" if new else " gaps"
            yield name + f"list new jobs {new:b}", move(state, who, at="found", seen=new, note=note)
        elif me.at == "following":
            job = state.jobs[me.seen]
            lags = job.end == "partial" and bool(job.disks & state.lag)
            if job.end in ("failed", "partial") and (not lags or self.without is Safeguard.PATIENCE_IN_PART):
                yield name + "see the job failed", move(state, who, at="closing", seen=0, note="failed")
            elif job.end and gone:
                yield name + "see the disks gone", move(state, who, at="closing", seen=0, note="done")
        else:
            new_jobs = [job for at, job in enumerate(state.jobs) if me.seen >> at & 1]
            settled = True
            for job in new_jobs:
                if not job.end:
                    return
                settled = settled and not (job.end != "failed" and job.disks & state.lag)
            late = me.note.startswith("expired") or (self.without is Safeguard.EXPIRY_FIRST and op.expired)
            if me.note.endswith("gaps"):
                yield from self._by_disks(state, who, name, late=late)
                return
            if gone:
                yield name + "see the disks gone", move(state, who, at="closing", seen=0, note="done")
            elif not late and self.without is not Safeguard.EXPIRY:
                yield name + "leave it open", move(state, who, at="idle")
            elif settled or self.without is Safeguard.PATIENCE:
                note = "failed" if new_jobs else "not accepted"
                yield name + "see the disks still there", move(state, who, at="closing", seen=0, note=note)

    def _by_disks(self, state: State, who: int, name: str, *, late: bool) -> Steps:
        """Nothing is known of the jobs that have ended; what they did is waited for, and then the disks decide."""
        op = state.ops[state.runners[who].op]
        shown = state.disks | state.lag
        if not op.disks & shown:
            yield name + "see the disks gone", move(state, who, at="closing", seen=0, note="done")
        elif not late and self.without is not Safeguard.EXPIRY:
            yield name + "leave it open", move(state, who, at="idle")
        elif not op.disks & state.lag:
            note = "failed" if op.disks & ~shown else "no effect"
            yield name + "see the disks still there", move(state, who, at="closing", seen=0, note=note)

    def _gaps(self, state: State, op: Op) -> bool:
        """Whether the list of jobs, or the baseline that it is held against, lacks some."""
        if self.without is Safeguard.UNLISTED:
            return False
        return state.gaps or (op.gaps and self.without is not Safeguard.UNLISTED_BASELINE)

    # -- a look for drift -------------------------------------------------------------------------------

    def _drift(self, state: State) -> Steps:
        """Ask whether a run is changing the pool, read it, ask again; a measure of a half-changed pool is untrue."""
        changing = any(op.leased and not op.verdict for op in state.ops)
        generation = sum(1 + bool(op.verdict) for op in state.ops)
        look = state.looking
        if look is None:
            if state.faults.looks:
                asked = changing and self.without is not Safeguard.BEING_CHANGED
                yield "look for drift", spend(state, "looks")._replace(looking=Look(asked, generation))
        elif look.shown < 0:
            shown = look._replace(shown=state.disks | state.lag)
            yield "look: read the pool", state._replace(looking=shown)
        else:
            after = changing and self.without not in (
                Safeguard.BEING_CHANGED,
                Safeguard.BEING_CHANGED_AFTER,
            )
            measured = not (look.changing or after)
            alone = not (changing and generation != look.generation)
            broken = "" if not measured or alone else "a pool that was being changed is measured as drift"
            yield "look: measure", state._replace(looking=None, broken=broken)

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
            return move(state, who, at="idle")
        op = state.ops[at]
        written = change_op(state, at, job=job if job >= 0 else op.job, verdict=verdict or op.verdict)
        return move(judge(written, at, verdict), who, at=then)

    # -- a person ---------------------------------------------------------------------------------------

    def _person(self, state: State) -> Steps:
        """Look for a job of an operation, find none, and close it."""
        careless = self.without is Safeguard.PERSON_WAITS
        for at, op in enumerate(state.ops):
            if op.verdict or op.leased or op.job >= 0 or any(job.op == at for job in state.jobs):
                continue
            sure = self.credentials is Credentials.TOKEN and not may_come(state, at)
            if sure or careless:
                closed = change_op(state, at, verdict="not accepted")
                yield f"a person says that request {at} never arrived", judge(closed, at, "not accepted")


# -- the world around -----------------------------------------------------------------------------------


@cache
def _named(run: int) -> str:
    return f"run {run}: "


def _crash(state: State, who: int) -> Steps:
    me = state.runners[who]
    if me.at != "idle":
        yield "crash", put(spend(state, "crashes"), who, fresh(me))


def _network(state: State) -> Steps:
    for at in set(state.net):
        waiting = [who for who, each in enumerate(state.runners) if each.at == "waiting" and each.op == at]
        place = state.net.index(at)
        rest = state.net[:place] + state.net[place + 1 :]
        gone = under_way(state, rest)
        if state.faults.network:
            yield "lose request", spend(gone, "network")
        reached = gone if state.ops[at].expired else accept(gone, at)
        if not waiting:
            yield f"request {at} arrives late", reached
            continue
        if state.faults.network:
            yield "lose answer", spend(reached, "network")
        for who in waiting:
            if state.ops[at].expired:
                yield f"request {at} is rejected", move(reached, who, at="closing", note="rejected")
            else:
                job = len(state.jobs)
                yield f"request {at} is accepted", move(reached, who, at="answered", op=at, seen=job)


def _listed(state: State) -> int:
    """The jobs that a list shows: all, or only those under way."""
    return _running(state) if state.gaps else (1 << len(state.jobs)) - 1


def _running(state: State) -> int:
    return sum(1 << at for at, job in enumerate(state.jobs) if not job.end)


def _service(state: State) -> Steps:
    if state.gaps:
        yield "the list of ended jobs is whole again", state._replace(gaps=False)
    for at, job in enumerate(state.jobs):
        if not job.end:
            yield f"job {at} succeeds", end_job(state, at, "ok", job.disks, job.disks & state.disks)
            if state.faults.failures:
                yield from _failures(spend(state, "failures"), at)
    if state.faults.by_hand:
        less = spend(state, "by_hand")
        extra = 1 << (state.disks | state.lag).bit_length()
        yield "by hand", less._replace(disks=state.disks | extra)
        if plan := surplus(state.disks):
            yield "by hand", less._replace(disks=state.disks & ~plan, jobs=(*state.jobs, Job(plan, -1, "ok")))


def _failures(state: State, at: int) -> Steps:
    job = state.jobs[at]
    yield "job fails", end_job(state, at, "failed", job.disks, 0)
    first = job.disks & -job.disks & state.disks
    if first and first != job.disks:
        yield "job fails in part", end_job(state, at, "partial", first, first)


def _time(state: State) -> Steps:
    for at, op in enumerate(state.ops):
        if op.leased and not op.verdict:
            yield f"lease of operation {at} runs out", change_op(state, at, leased=False)


def _expiry(state: State) -> Steps:
    for at, op in enumerate(state.ops):
        if not op.expired and (may_come(state, at) or not op.verdict):
            yield f"request {at} expires", change_op(state, at, expired=True)
