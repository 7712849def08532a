"""Tells the people of pools which of their disks are marked, and reminds them: each message once.

A message is a write: its intent is in the journal before it leaves, what became of it is kept, and one of which
nobody knows whether it arrived is never repeated. Which is to be sent is left to ``planning.announcements``.
A message that fails is said and stops nothing: the marks are there, and the next run that marks sees to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import groupby

from reconciler.api.failure import ACTIONS
from reconciler.apply.context import RunContext
from reconciler.apply.marks import HEARD, answer_of, marks_of
from reconciler.apply.operation import SEND_GRACE
from reconciler.errors import JournalError, ReconcilerError, StalePlan
from reconciler.journal.records import Mark, MarkKey, NewAnnouncement, PoolKey
from reconciler.journal.states import Outcome, State
from reconciler.manifest.message import filled_in
from reconciler.model import Action, DesiredPool, Manifest, Notice, Position
from reconciler.planner import FORBIDDEN, Connection, connected
from reconciler.planning.announcements import going, notice, obstacle
from reconciler.planning.change import Heard
from reconciler.planning.drift import decided, is_being_changed
from reconciler.planning.marks import Marks, waiting, with_marks
from reconciler.planning.plan import HELD_RULES, Plan, PoolPlan

FOR_ALL = frozenset({401, FORBIDDEN, 429})
"""HTTP statuses with which the service would answer every other message of the target right now as well."""


async def announce(plan: Plan, manifest: Manifest, ctx: RunContext) -> Plan:
    """Send the messages that are due about the marks of a plan; returns the plan with what became of them.

    ``manifest``: says what each pool manages, which the plan of a run that corrects may have narrowed. Call it right
    after the marks were kept, in the runs that keep them and in no other.
    """
    manages = {each.at: each.manage for each in manifest.pools if each.announce and _allowed(each, ctx)}
    concerned = [pool for pool in plan.pools if _may_be_told(pool, manages)]
    if not concerned:
        return plan
    known = marks_of(ctx.journal, plan.services)
    began = False
    for target, connection in connected(ctx.connections).items():
        pools = [pool for pool in concerned if pool.target == target]
        run = (connection, known.by(connection.service_time()), ctx)
        wanted = list(_wanted(pools, manages, run))
        began |= bool(wanted)
        await _tell(wanted, connection, ctx)
    return with_marks(plan, marks_of(ctx.journal, plan.services)) if began else plan


def _allowed(pool: DesiredPool, ctx: RunContext) -> bool:
    """Whether the policy lets its target be worked on; a message is a write as well."""
    targets = ctx.policy.targets if ctx.policy else None
    return targets is None or str(pool.target) in {each.value for each in targets}


def _may_be_told(pool: PoolPlan, manages: Mapping[Position, frozenset[Action]]) -> bool:
    """Whether its people are notified anything: only by a reading that says which disks are surplus, as with marks.

    And of no pool of which nobody knows what is happening to it: its job is looked for among the pool's jobs.
    """
    told = pool.desired.at in manages and pool.desired.announce and pool.grace
    held = any(each.rule in HELD_RULES for each in pool.findings)
    return bool(told and pool.live and decided(pool) and not is_being_changed(pool) and not held)


def _wanted(
    pools: Sequence[PoolPlan],
    manages: Mapping[Position, frozenset[Action]],
    run: tuple[Connection, Marks, RunContext],
) -> Iterator[NewAnnouncement]:
    """The messages to send now, pool by pool."""
    for pool in pools:
        manage = manages[pool.desired.at]
        messages = list(_of_pool(pool, manage, run))
        if messages and (kept := obstacle(pool, manage, run[2].policy)):
            _say(
                pool.label,
                f"its people are not notified of disks that stay: {kept.message} ({kept.rule})",
                run[2],
            )
        else:
            yield from messages


def _of_pool(
    pool: PoolPlan, manage: frozenset[Action], run: tuple[Connection, Marks, RunContext]
) -> Iterator[NewAnnouncement]:
    connection, known, ctx = run
    service = connection.service
    for change in going(pool, manage):
        live, disk = pool.live, change.live
        if live is None or disk is None:
            continue
        mark = known.of.get((str(pool.target), live.id, disk.id))
        waits = waiting(mark, pool.grace)
        about = notice(mark.told, waits, known.now) if mark and waits and known.now else None
        if mark is None or waits is None or waits.due is None or about is None:
            continue
        date = f"{waits.due:%Y-%m-%d %H:%M} UTC"
        values = {"disk": disk.id, "size": f"{disk.size} GB", "date": date, "pool": pool.label}
        key = MarkKey(PoolKey(str(pool.target), service.name, live.id), disk.id)
        kept = Mark(key, pool.label, mark.since, pool.grace, mark.extended_until, mark.extended_by)
        yield NewAnnouncement(ctx.new_id(), kept, about, waits.due, filled_in(pool.desired.announce, values))


async def _tell(wanted: Sequence[NewAnnouncement], connection: Connection, ctx: RunContext) -> None:
    """Send the messages of one target, one after the other, until one says that the others would fare no better."""
    for _, messages in groupby(wanted, key=lambda each: each.mark.key.pool):
        try:
            # Half a manifest is valid YAML: nobody is notified of a disk that somebody is about to declare.
            ctx.check_sources()
        except StalePlan as changed:
            ctx.log(f"Nobody was notified of marked disks: {changed.message}; the next run does.")
            return
        for each in messages:
            if ctx.stop.requested or not await _one(each, connection, ctx):
                return


async def _one(new: NewAnnouncement, connection: Connection, ctx: RunContext) -> bool:
    """Send one message, unless somebody has; False when the next one need not be tried."""
    try:
        await connection.workspace.message_place()
        await connection.renew()
        signed_at = ctx.clock.now().replace(microsecond=0)
        if not ctx.journal.open_announcement(new, ctx.run_id, connection.service_time()):
            return True
    except ReconcilerError as error:
        _say(new.mark.pool_name, f"{_about(new)} was not sent: {error.message}", ctx)
        return False
    # From here on people may have got it, so that only what became of it decides whether it is ever sent again.
    outcome = await _send(new, connection, signed_at, ctx)
    try:
        ctx.journal.record_announcement(new.id, ctx.run_id, outcome)
    except JournalError as error:
        _say(new.mark.pool_name, f"what became of {_about(new)} was not recorded: {error.message}", ctx)
        return False
    _say(new.mark.pool_name, _result(new, outcome), ctx)
    if outcome.state is State.REJECTED:
        return outcome.status not in FOR_ALL
    return outcome.state is State.ACCEPTED


async def _send(
    new: NewAnnouncement, connection: Connection, signed_at: datetime, ctx: RunContext
) -> Outcome:
    """Send; when the run is being stopped, wait a little longer for an answer, and keep what is known."""
    try:
        for _ in range(3):  # a signal that came while the intent was written takes effect before the call
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        _keep(new, Outcome(State.NOT_SENT, message="stopped before it was sent"), ctx)
        raise
    pool_id = new.mark.key.pool.pool_id
    sending = asyncio.ensure_future(connection.workspace.send_message(pool_id, new.text, signed_at))
    try:
        return await asyncio.shield(sending)  # cancelling a request loses its answer
    except asyncio.CancelledError:
        done, _ = await asyncio.wait({sending}, timeout=SEND_GRACE)
        outcome = Outcome(State.UNKNOWN, message="interrupted while waiting for the answer")
        if done:
            outcome = sending.result()
        else:
            sending.cancel()
        _keep(new, outcome, ctx)
        raise


def _keep(new: NewAnnouncement, outcome: Outcome, ctx: RunContext) -> None:
    """Record an outcome of a run that is being stopped; where that fails, nobody knows it, and nothing is repeated."""
    with suppress(JournalError):
        ctx.journal.record_announcement(new.id, ctx.run_id, outcome)


def _about(new: NewAnnouncement) -> str:
    what = "reminder" if new.notice is Notice.REMINDER else "message"
    return f"the {what} about disk {new.mark.key.disk_id}"


def _result(new: NewAnnouncement, outcome: Outcome) -> str:
    """What became of a message, and what will."""
    answer = answer_of(outcome)
    match HEARD.get(outcome.state, Heard.UNKNOWN):
        case Heard.ACCEPTED:
            return f"{_about(new)} was accepted, job {outcome.job_id}; it goes after {new.due:%Y-%m-%d %H:%M} UTC"
        case Heard.REFUSED:
            needs = f" (the identity needs the permission {ACTIONS['send message']})"
            why = f"{answer}{needs if outcome.status == FORBIDDEN else ''}"
            return f"{_about(new)} was not accepted: {why}; the next run that marks sends it again"
        case Heard.UNKNOWN:
            return f"it is not known whether {_about(new)} arrived: {answer}; it is not repeated"


def _say(pool: str, what: str, ctx: RunContext) -> None:
    ctx.log(f"{pool}: {what}")
