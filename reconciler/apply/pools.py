"""Carries out the plan of one pool: for each call, read and plan again, compare, check, and send.

Sending and following are left to ``operation``, the order of pools to ``run``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from reconciler.apply.calls import DiskEffect, call_effects, calls, effects
from reconciler.apply.context import RunContext, TargetContext
from reconciler.apply.events import Phase, PoolMoved
from reconciler.apply.group import claim
from reconciler.apply.marks import marks_of_pool
from reconciler.apply.operation import carry_out
from reconciler.apply.polling import delay
from reconciler.apply.results import PoolResult, Result, Status
from reconciler.apply.second_check import check_backups, check_removal
from reconciler.apply.strangers import restored_words, strangers
from reconciler.errors import Refused, StalePlan
from reconciler.journal.records import GraceRule, Intent, SentDisk
from reconciler.journal.states import Outcome, Step
from reconciler.model import DesiredPool, LostCopy, Policy
from reconciler.planner import later_of, plan_pool, pool_with_backups
from reconciler.planning import policy
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.guards import STEADY, run_checks
from reconciler.planning.marks import Settle, grace_of, waiting_in, with_grace
from reconciler.planning.plan import TRANSIENT_RULES, Plan, PoolPlan, pool_decision
from reconciler.values import Struct, field, replace
from reconciler.workspace import HANDLE_TYPES, JOB_TYPES, UNLISTED, Call, PoolReading

ADDING_WAIT = 300.0
"""Seconds to wait after WKS.0407, the service's "disks are being added" (observed: five minutes)."""
BUSY_WAIT = 30.0
"""Seconds to wait after 409: the desktops are busy with something else."""
THROTTLED_WAIT = 60.0
"""Seconds to wait after 429 without ``Retry-After``."""
LONGEST_WAIT = 300.0
"""Most seconds to wait before planning a rejected call again, even if the service asks for more."""


class Progress(Struct):
    """How far a pool has come; kept outside the result because it must survive an exception."""

    done: int = 0
    """Disk changes proven done."""


class Task(Struct, frozen=True):
    """One pool's share of an approved plan, and where to carry it out."""

    pool: PoolPlan
    plan: Plan
    """The whole approved plan; its limits apply to all its pools together."""
    digest: str
    site: TargetContext
    ctx: RunContext
    make_room: Callable[[], None] = lambda: None
    """Lets the next pool begin, while this one only waits for its second reading."""
    progress: Progress = field(default_factory=Progress)


async def apply_pool(task: Task) -> PoolResult:
    """Carry out one pool's approved changes, one call after the other.

    Raises the errors of ``reconciler.errors`` when nothing (further) was sent to this pool.
    """
    expected = effects(task.pool)
    planned = expected.total()
    result = Result(Status.DONE, "nothing to do")
    going = tuple(calls(task.pool))
    for index, call in enumerate(going):
        last = index + 1 == len(going)
        each = replace(task, ctx=replace(task.ctx, shown=task.make_room)) if last else task
        result = await _one_call(each, call, expected, index)
        task.progress.done += result.done
        if result.status is not Status.DONE:
            break
        # Proven done, so the next plan of this pool must no longer contain it.
        expected -= Counter(call_effects(call))
    pool, done = task.pool, task.progress.done
    ended = (result.status, result.message, result.hint)
    pool_id = pool.live.id if pool.live else ""
    return PoolResult(pool.target, pool.label, *ended, done, planned, pool_id, result.desktops)


async def _one_call(task: Task, call: Call, expected: Counter[DiskEffect], index: int) -> Result:
    """Make one call from a fresh reading; after a transient rejection, try again from a new reading."""
    ctx = task.ctx
    result = Result(Status.NOT_STARTED, "not started")
    for attempt in range(ctx.options.tries):
        # Before the reading: waiting for the request budget may take long, and the reading would be old by then.
        await task.site.workspace.write_place(call.step)
        await task.site.renew()
        if stopped := _stopped(ctx, index):
            return stopped
        intent = await _prepare(task, call, expected, index)
        # Half a manifest is valid YAML: who is writing it may yet declare what is about to go. A pool that was
        # begun is finished all the same, except by a further removal.
        if not index or call.step is Step.REMOVE:
            ctx.check_sources()
        if stopped := _stopped(ctx, index):
            return stopped
        obeyed = task.plan.policy
        told = obeyed.announce if obeyed else None
        rule = GraceRule(grace_of(task.pool.desired, obeyed), task.site.service_time(), told)
        result = await carry_out(call, intent, task.site, ctx, rule)
        wait = _wait_after(result.outcome) if result.status is Status.REJECTED else None
        if wait is None or attempt + 1 == ctx.options.tries:
            break
        words = f"{result.message}; waiting {wait:.0f} s, then reading again"
        until = ctx.clock.now() + timedelta(seconds=wait)
        ctx.tell(PoolMoved(call.pool_id, task.pool.label, Phase.WAITING, words, until))
        await ctx.clock.sleep(wait)
    return result


def _stopped(ctx: RunContext, index: int) -> Result | None:
    """Why no further call may be made; checked twice before each call, since waiting and reading take time.

    Another pool's failure does not leave a started pool half done; an alarm stops that one too.
    """
    if ctx.stop.requested:
        return Result(Status.INTERRUPTED, "stopped before the next call", "apply again to continue")
    if ctx.halt.alarm or (ctx.halt.failed and not index):
        message = "stopped before the next call: another pool did not end well"
        status = Status.INTERRUPTED if index else Status.NOT_STARTED
        return Result(status, message, "find out why, then apply again")
    return None


async def _prepare(task: Task, call: Call, expected: Counter[DiskEffect], index: int) -> Intent:
    """Read, plan, compare and check the pool as it is now; the intent is what may be sent."""
    site, ctx = task.site, task.ctx
    # Taken before the pool is read: any run that acts on the pool from here on makes the intent stale.
    generation = ctx.journal.generation(site.key(call.pool_id))
    began = ctx.clock.monotonic()
    reading = await _steady(call.pool_id, index, site, ctx)
    fresh = await plan_pool(
        task.pool.desired,
        reading.pool,
        site.workspace,
        # Shared by all pools that are worked on: their counts cost no request of their own.
        lambda: site.pools.after(ctx.clock.monotonic()),
        ctx.clock,
        settle=_settle(task),
        back=lambda pool: pool_with_backups(
            pool, task.plan.policy, lambda: site.backups.after(began), lambda: _now(site, ctx)
        ),
    )
    _undoubted(fresh)
    fresh = policy.judge_pool(fresh, task.plan.policy)
    _compare(task.pool, fresh, expected, index)
    _judge_again(fresh, task.plan)
    if ctx.group:
        claim([fresh], task.plan.limits, ctx.group, ctx.journal)  # its losses may have grown since the plan
    # Kept in the intent: a job that is not among these appeared after it, so it may be the one of this call.
    known = await site.workspace.pool_jobs(call.pool_id, call.step)
    if UNLISTED in known:
        ctx.log(
            f"{fresh.label}: the service remembers more jobs of this pool than it lists; "
            "should the answer be lost, the disks decide what became of the call"
        )
    if call.step is Step.REMOVE and (others := strangers(ctx.journal, site.key(call.pool_id), known)):
        ctx.log(f"{fresh.label}: {restored_words(others)}")
    holding = known - _messages(call, site, ctx)
    if holding and holding & await site.running[call.step].after(ctx.clock.monotonic()):
        raise Refused(f"pool {fresh.label} has a running job", "apply again when it has ended")
    if call.step is Step.REMOVE:
        sent = [(disk.id, disk.type, disk.size) for disk in call.disks]
        check_removal(
            reading.raw, call.pool_id, sent, sparing(task.pool.desired, task.plan.policy), task.plan.limits
        )
    touched = {disk.id for disk in call.disks}
    copies = tuple(_copies(fresh, touched)) if call.step is Step.REMOVE else ()
    if withins := demanded(task.pool.desired, task.plan.policy) if copies else []:
        # The reading that the plan just made rests on, checked by other means: no second one is asked for.
        check_backups((await site.backups.after(began)).pages, copies, min(withins), _now(site, ctx))
    # Again, as waiting and reading may have taken long: between the intent and the wire nothing may wait.
    keys_end = await site.renew()
    # The request is signed once, with this time, so the journal knows until when it can be accepted.
    signed_at = ctx.clock.now().replace(microsecond=0)
    return Intent(
        operation_id=ctx.new_id(),
        run_id=ctx.run_id,
        pool=site.key(call.pool_id),
        pool_name=fresh.label,
        step=call.step,
        handle_type=HANDLE_TYPES[call.apply_to] if call.apply_to else None,
        disks=tuple(SentDisk(disk.id, disk.type, disk.size) for disk in call.disks),
        keep=tuple(sorted(disk.id for disk in reading.pool.disks if disk.id not in touched)),
        baseline_jobs=tuple(sorted(known)),
        generation=generation,
        signed_at=signed_at,
        not_after=site.not_after(signed_at, keys_end),
        plan_digest=task.digest,
        copies=copies,
    )


def _messages(call: Call, site: TargetContext, ctx: RunContext) -> frozenset[str]:
    """Jobs that only tell the pool's people of marked disks; they are listed where no kind of job can be asked for."""
    if JOB_TYPES[call.step]:
        return frozenset()
    told = ctx.journal.announcements(str(site.service.target), site.service.name)
    mine = (each.outcome for each in told if each.key.pool.pool_id == call.pool_id)
    return frozenset(each.job_id for each in mine if each and each.job_id)


def _settle(task: Task) -> Settle:
    """What is due now, by the marks as they are now; what was only marked in the plan waits for the next one."""
    plan, site = task.plan, task.site
    of_plan = waiting_in(replace(plan, pools=(task.pool,)))

    def settle(pool: PoolPlan) -> PoolPlan:
        if pool.live is None:
            return pool
        known = replace(marks_of_pool(task.ctx.journal, site.key(pool.live.id)), waiting=of_plan)
        return with_grace(pool, plan.policy, known.by(site.service_time()))

    return settle


def _now(site: TargetContext, ctx: RunContext) -> datetime:
    """The time by which a backup is at its oldest."""
    return later_of(ctx.clock.now(), site.service_time())


def demanded(desired: DesiredPool, obeyed: Policy | None) -> list[timedelta]:
    """How old backups may be, by the entry and by the policy; empty where neither asks for one."""
    return [each.within for each in (desired.backup, obeyed.backup if obeyed else None) if each]


def sparing(desired: DesiredPool, obeyed: Policy | None) -> DesiredPool:
    """The pool's entry, with the disks that the policy protects beside those that the entry protects itself."""
    more = tuple(disk.value for disk in obeyed.protect_disks) if obeyed else ()
    return replace(desired, protect=desired.protect + more)


def _copies(fresh: PoolPlan, touched: set[str]) -> Iterator[LostCopy]:
    """Every copy that this call destroys, so that it can be named when it is gone."""
    return (each for loss in fresh.disk_losses if loss.disk_id in touched for each in loss.lost)


async def _steady(pool_id: str, index: int, site: TargetContext, ctx: RunContext) -> PoolReading:
    """Read the pool; after an earlier call of this run, wait until it is STEADY again."""
    deadline = ctx.clock.monotonic() + ctx.options.wait_timeout
    polls = 0
    while True:
        reading = await site.workspace.pool(pool_id)
        # Before the first call a pool that is not steady is somebody else's doing: the guards block it.
        if index == 0 or reading.pool.status == STEADY or ctx.clock.monotonic() >= deadline:
            return reading
        if not polls:
            until = ctx.clock.now() + timedelta(seconds=deadline - ctx.clock.monotonic())
            words = f"waiting until the pool is {STEADY} again after the call before"
            ctx.tell(PoolMoved(pool_id, reading.pool.name, Phase.WAITING, words, until))
        await ctx.clock.sleep(delay(polls))
        polls += 1


def _undoubted(fresh: PoolPlan) -> None:
    """Raise ``Refused`` for a doubtful reading, which says nothing, not even that the pool changed."""
    if fresh.live and fresh.live.doubts:
        raise Refused(
            f"pool {fresh.label}: the service's answer is doubtful: {'; '.join(fresh.live.doubts)}",
            "plan again later; if it stays so, ask the vendor's support",
        )


def _compare(approved: PoolPlan, fresh: PoolPlan, expected: Counter[DiskEffect], index: int) -> None:
    """Raise unless the plan made now is the approved one, less what this run has done already."""
    untouched = index == 0
    # After a call of this run the pool differs from the approved one on purpose, so only what is left compares.
    same = (
        pool_decision(fresh, ignoring=TRANSIENT_RULES) == pool_decision(approved)
        if untouched
        else effects(fresh) == expected
    )
    if not same:
        raise StalePlan(
            f"pool {approved.label} changed since the plan was approved: {_difference(effects(fresh), expected)}",
            "nothing more was sent for this pool; plan again and have the new plan approved",
        )
    blocking = [each for each in fresh.findings if each.severity is Severity.BLOCK]
    if blocking:
        raise Refused(_reasons(blocking), "plan again when the reason is gone")


def _difference(now: Counter[DiskEffect], approved: Counter[DiskEffect]) -> str:
    def words(found: Counter[DiskEffect]) -> str:
        return ", ".join(
            f"{step} {disk or 'new'} {kind} {size} GB" for step, disk, kind, size in sorted(found)
        )

    return f"approved [{words(approved)}], now [{words(now)}]"


def _reasons(findings: Sequence[Finding]) -> str:
    return "; ".join(f"{each.rule}: {each.pool}: {each.message}" for each in findings)


def _judge_again(fresh: PoolPlan, plan: Plan) -> None:
    """Raise ``Refused`` unless the limits hold with this pool as it is now and the others as approved.

    Copies and users may have grown since: the approved digest leaves those counts out, the limits bound them.
    """
    pools = [
        fresh
        if (each.target, each.live and each.live.id) == (fresh.target, fresh.live and fresh.live.id)
        else each
        for each in plan.pools
    ]
    over = [each for each in run_checks(pools, plan.limits) if each.severity is Severity.BLOCK]
    if over:
        raise Refused(_reasons(over), "more would be lost than when the plan was approved; plan again")


def _wait_after(outcome: Outcome | None) -> float | None:
    """Seconds after which a rejected call may be planned again; None: the rejection is final."""
    if outcome is None:
        return None
    if outcome.status == 429:
        return min(outcome.retry_after or THROTTLED_WAIT, LONGEST_WAIT)
    if outcome.code == "WKS.0407":
        return ADDING_WAIT
    if outcome.status == 409:
        return BUSY_WAIT
    return None
