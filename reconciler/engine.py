"""Owns the story in order: load, read, match, plan, guard, approve, apply, read again.

Asking, printing and exit codes are left to ``cli``; each chapter to the module named after it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from reconciler import __version__
from reconciler.apply.context import EXIT_CODES, Context, Ending, Options, PoolResult, Site, Stop
from reconciler.apply.group import claim
from reconciler.apply.resolve import Resolution, decide, resolve, still_open
from reconciler.apply.run import exit_code, run_pools
from reconciler.clock import Clock
from reconciler.errors import BadInput, ExitCode, JournalError, PoolHeld, Refused, ServiceError, StalePlan
from reconciler.journal.records import Journal, Operation, State
from reconciler.model import Limit, Limits, Manifest, Shard, Target
from reconciler.plan import Finding, Plan, Severity
from reconciler.plan_file import document
from reconciler.planner import Connection, Connections, Holds, Stamp, compute
from reconciler.safe_text import safe_text

DEFAULT_LIFETIME = timedelta(hours=1)
"""How long a plan may wait for its apply."""

PLAN_APPROVED = "plan.approved"
"""The journal's event that holds the plan a run carried out."""

Approve = Callable[[Plan], Awaitable[None]]
"""Returns when the plan is approved; raises ``Refused`` or ``StalePlan`` when it is not."""


@dataclass(frozen=True, slots=True)
class World:
    """What a story needs from outside, so that tests can replace it."""

    clock: Clock
    new_id: Callable[[], str]
    say: Callable[[str], None]
    """Told one line per event a person may want to see."""


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """How a run of ``apply`` went."""

    run_id: str
    plan: Plan | None
    results: tuple[PoolResult, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    in_flight: tuple[Operation, ...] = ()
    """Operations of this run that are still open."""
    remaining: int | None = None
    """Changes that a new plan still shows for the pools done; None when it was not asked."""
    exit_code: ExitCode = ExitCode.DONE


@dataclass(frozen=True, slots=True)
class ApplyRequest:
    """What is to be applied, and how."""

    manifest: Manifest
    limits: Limits
    approve: Approve
    options: Options = field(default_factory=Options)
    lifetime: timedelta = DEFAULT_LIFETIME
    shard: Shard = field(default_factory=Shard)
    group: str = ""
    """Runs of the same group share their limits through the journal; empty for a run of its own."""
    command: str = "apply"
    """What the journal calls the run."""
    saved_plan: Plan | None = None
    """Set when a saved plan is applied: it is claimed in the journal, once."""


def with_flags(limits: Limits, flags: Mapping[str, int | None]) -> Limits:
    """Limits with those that flags set put in place; a flag holds for one run and outranks manifests."""
    given = {name: Limit(value, f"--limit-{name}") for name, value in flags.items() if value is not None}
    return replace(limits, **given)


async def make_plan(
    manifest: Manifest,
    limits: Limits,
    connections: Connections,
    world: World,
    lifetime: timedelta,
    *,
    shard: Shard | None = None,
) -> Plan:
    """Plan every declared pool of the shard; never writes."""
    stamp = Stamp(world.new_id(), world.clock.now(), lifetime, shard or Shard())
    return await compute(manifest, limits, connections, stamp)


def manifest_of(plan: Plan) -> Manifest:
    """The desired state a saved plan was made from."""
    return Manifest(tuple(pool.desired for pool in plan.pools), plan.limits, sources=plan.sources)


def check_saved(plan: Plan, world: World) -> None:
    """Raise ``StalePlan`` when a saved plan has expired or its manifests have changed since."""
    check_fresh(plan, world)
    for path, digest in plan.sources:
        try:
            data = Path(path).read_bytes()
        except OSError:
            continue  # a plan may be applied on a machine that has no manifests
        if hashlib.sha256(data).hexdigest() != digest:
            raise StalePlan(
                f"{safe_text(path)} changed since the plan was made", "make a new plan and have that approved"
            )


def check_fresh(plan: Plan, world: World) -> None:
    """Raise ``StalePlan`` when a saved plan has expired."""
    if world.clock.now() >= plan.expires:
        raise StalePlan(
            f"the plan expired at {plan.expires:%Y-%m-%d %H:%M:%S} UTC",
            "make a new plan and have that approved; --plan-ttl sets how long a plan lives",
        )


async def apply(
    request: ApplyRequest, connections: Connections, journal: Journal, world: World, stop: Stop
) -> ApplyReport:
    """Resolve what earlier runs left open, plan, have it approved, carry it out, and read again.

    Raises before anything is sent; from the first call on, everything is told in the report.
    """
    run_id = world.new_id()
    ctx = Context(journal, world.clock, run_id, world.new_id, request.options, stop, request.group, world.say)
    targets = [str(target) for target in request.manifest.targets]
    journal.open_run(run_id, request.command, __version__, targets)
    report = ApplyReport(run_id, None, exit_code=ExitCode.ERROR)
    try:
        report = await _apply(request, connections, ctx, world)
        if report.exit_code is ExitCode.INTERRUPTED and stop.terminated:
            report = replace(report, exit_code=ExitCode.TERMINATED)
    except asyncio.CancelledError:
        if not stop.requested:
            raise
        code = ExitCode.TERMINATED if stop.terminated else ExitCode.INTERRUPTED
        open_ones = tuple(operation for _, operation in _open_of(connections, ctx))
        report = replace(report, exit_code=code, in_flight=open_ones)
        if not report.in_flight:
            raise
    except BaseException as error:
        report = replace(report, exit_code=getattr(error, "exit_code", ExitCode.ERROR))
        raise
    finally:
        report = _closed(report, ctx)
    return report


async def resolve_all(
    connections: Connections, ctx: Context, sites: Mapping[Target, Site]
) -> tuple[tuple[Resolution, ...], Holds]:
    """Resolve every open operation of the connected targets; what stays open holds its pool.

    Several at a time: each may have to wait for its job.
    """
    gate = asyncio.Semaphore(ctx.options.parallelism)

    async def one(operation: Operation, site: Site) -> Resolution | PoolHeld:
        async with gate:
            try:
                found = await resolve(operation, site, ctx)
                told = "resolved" if found.resolved else "still open"
                ctx.say(
                    f"{operation.intent.pool_name}: {told}: {found.verdict.ending}: {found.verdict.message}"
                )
                return found
            except PoolHeld as held:
                return held
            except ServiceError as error:
                return still_open(operation, f"it could not be looked into: {error.message}")
            finally:
                _let_go(operation, ctx)

    found = _open_of(connections, ctx)
    ended = await asyncio.gather(
        *(one(operation, sites[target]) for target, operation in found), return_exceptions=True
    )
    resolutions: list[Resolution] = []
    holds: dict[tuple[str, str], Finding] = {}
    for (target, operation), result in zip(found, ended, strict=True):
        key = (str(target), operation.intent.pool.pool_id)
        if isinstance(result, PoolHeld):
            holds[key] = _hold("pool-held", operation, result.message, result.hint)
        elif isinstance(result, BaseException):
            raise result
        else:
            resolutions.append(result)
            if not result.resolved:
                verdict = result.verdict
                holds[key] = _hold("unresolved-operation", operation, verdict.message, verdict.hint)
    return tuple(resolutions), holds


def accept(journal: Journal, ctx: Context, operation_id: str, state: State) -> None:
    """Close an open operation on a person's word; raises ``BadInput`` when there is no such one."""
    operation = journal.operation(operation_id)
    if operation is None or operation.closed is not None:
        raise BadInput(
            f"there is no open operation {operation_id}", "reconciler resolve lists the open operations"
        )
    decide(operation, state, ctx)


def sites_of(connections: Connections, clock: Clock) -> dict[Target, Site]:
    """One site per connected target."""
    return {
        target: Site.of(connection, clock)
        for target, connection in connections.items()
        if isinstance(connection, Connection)
    }


async def _apply(request: ApplyRequest, connections: Connections, ctx: Context, world: World) -> ApplyReport:
    sites = sites_of(connections, world.clock)
    resolutions, holds = await resolve_all(connections, ctx, sites)
    report = ApplyReport(ctx.run_id, None, resolutions=resolutions)
    if any(each.verdict.ending is Ending.ALARM for each in resolutions):
        return replace(report, exit_code=EXIT_CODES[Ending.ALARM])  # nothing else is even planned
    stamp = Stamp(world.new_id(), world.clock.now(), request.lifetime, request.shard)
    plan = await compute(request.manifest, request.limits, connections, stamp, holds)
    report = replace(report, plan=plan)
    if not plan.has_changes and not request.saved_plan:
        report = replace(report, remaining=0)
        return replace(report, exit_code=_code(report))
    await request.approve(plan)
    if request.saved_plan:  # a target that could not be read when it was made is not applied either
        report = replace(report, plan=replace(plan, failures=plan.failures or request.saved_plan.failures))
    if plan.run_blocked:
        raise Refused("the plan is blocked; nothing was sent", "see the findings of the plan")
    _keep_plan(plan, ctx)
    if request.group:
        claim(plan.pools, plan.limits, request.group, ctx.journal)
    if request.saved_plan:
        # Again: earlier operations, or a person, may have been waited for since it was read.
        check_fresh(request.saved_plan, world)
        ctx.journal.claim_plan(request.saved_plan.id, ctx.run_id)
    results = await run_pools(plan, sites, ctx)
    own = _in_flight(ctx)
    remaining = None
    if not ctx.stop.requested and any(each.ending is Ending.DONE for each in results):
        remaining = await _remaining(request, connections, world, results, holds, ctx.stop)
    report = replace(report, results=results, in_flight=own, remaining=remaining)
    code = _code(report)
    if code is ExitCode.DONE and ctx.stop.requested:
        code = ExitCode.INTERRUPTED  # it may have been stopped before some pool, or before the last proof
    return replace(report, exit_code=code)


def _closed(report: ApplyReport, ctx: Context) -> ApplyReport:
    """Note the end of the run; a journal that fails now must not keep what happened from the reader."""
    digest = report.plan.digest if report.plan else ""
    try:
        ctx.journal.close_run(report.run_id, int(report.exit_code), digest, _summary(report))
    except JournalError as error:
        ctx.say(f"the end of the run could not be kept: {error.message}")
        return replace(report, exit_code=report.exit_code or ExitCode.JOURNAL)
    return report


def _in_flight(ctx: Context) -> tuple[Operation, ...]:
    """What this run leaves open."""
    try:
        own = tuple(each for each in ctx.journal.unresolved() if each.owner == ctx.run_id)
    except JournalError as error:
        ctx.say(f"what is in flight could not be read: {error.message}")
        return ()
    for each in own:
        _let_go(each, ctx)
    return own


def _open_of(connections: Connections, ctx: Context) -> list[tuple[Target, Operation]]:
    """What any run left open on the connected targets."""
    return [
        (target, operation)
        for target, connection in connections.items()
        if isinstance(connection, Connection)
        for operation in ctx.journal.unresolved(str(target), connection.service.name)
    ]


def _let_go(operation: Operation, ctx: Context) -> None:
    """Let whoever comes next take an operation over at once; without this the lease runs out by itself."""
    with suppress(PoolHeld, JournalError):  # it is closed, or another's by now
        ctx.journal.renew_lease(operation.id, ctx.run_id, 0.0)


def _keep_plan(plan: Plan, ctx: Context) -> None:
    """Note what was approved, without the pools that take no part: the run can be told whole later."""
    differing = tuple(pool for pool in plan.pools if pool.drift or pool.blocked)
    ctx.journal.record_event(ctx.run_id, PLAN_APPROVED, document(replace(plan, pools=differing)))


async def _remaining(
    request: ApplyRequest,
    connections: Connections,
    world: World,
    results: Sequence[PoolResult],
    holds: Holds,
    stop: Stop,
) -> int | None:
    """Plan again: how many changes are left for the pools that were done; none is the proof."""
    done = {(result.target, result.pool) for result in results if result.ending is Ending.DONE}
    stamp = Stamp(world.new_id(), world.clock.now(), request.lifetime, request.shard)
    try:
        again = await compute(request.manifest, request.limits, connections, stamp, holds)
    except ServiceError as error:
        world.say(f"the plan after the run could not be made: {error.message}")
        return None
    except asyncio.CancelledError:
        if not stop.requested:
            raise
        world.say("interrupted while making the plan after the run")
        return None
    return sum(len(pool.pending) for pool in again.pools if (pool.target, pool.label) in done)


def _code(report: ApplyReport) -> ExitCode:
    """The worst of what happened to the pools, to earlier operations, and of the plan itself."""
    plan = report.plan
    endings = {each.ending for each in report.results}
    endings |= {each.verdict.ending for each in report.resolutions if not _superseded(each, report)}
    code = exit_code(endings)
    if code is ExitCode.DONE and report.remaining:
        return ExitCode.JOB_FAILED
    if code is ExitCode.DONE and plan and plan.failures:
        return ExitCode(plan.failures[0].exit_code)
    if code is ExitCode.DONE and plan and plan.blocked:
        return _blocked_code(plan)
    return code


def _superseded(found: Resolution, report: ApplyReport) -> bool:
    """Whether an earlier operation's end, good or bad, is past: this run has done what its pool needed."""
    pool = (found.operation.intent.pool.target, found.operation.intent.pool_name)
    done = {(str(each.target), each.pool) for each in report.results if each.ending is Ending.DONE}
    return found.resolved and pool in done


def _blocked_code(plan: Plan) -> ExitCode:
    """A pool held by another run is told apart from one that a guard refused."""
    rules = [
        {each.rule for each in pool.findings if each.severity is Severity.BLOCK}
        for pool in plan.pools
        if pool.blocked
    ]
    if any("unresolved-operation" in each for each in rules):
        return ExitCode.UNKNOWN
    held = not plan.run_blocked and all("pool-held" in each for each in rules)
    return ExitCode.HELD if held else ExitCode.REFUSED


def _hold(rule: str, operation: Operation, message: str, hint: str) -> Finding:
    return Finding(
        rule=rule,
        message=f"operation {operation.id} of run {operation.intent.run_id} is not resolved: {message}",
        pool=operation.intent.pool_name,
        source=f"the journal, opened {operation.opened:%Y-%m-%d %H:%M:%S} UTC",
        allow=hint,
    )


def _summary(report: ApplyReport) -> dict[str, object]:
    totals = report.plan.totals if report.plan else None
    return {
        "planned": totals.destroy if totals else None,
        "pools": [
            {
                "target": str(each.target),
                "pool": each.pool,
                "ending": each.ending.value,
                "message": each.message,
                "done": each.done,
                "planned": each.planned,
            }
            for each in report.results
        ],
        "remaining": report.remaining,
    }
