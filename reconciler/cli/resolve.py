"""``resolve``: finds out how operations ended that earlier runs left open; sends nothing.

How one is decided is left to ``apply.resolve``, what a person may decide to ``apply.decision``.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

from reconciler.apply.context import Options, RunContext
from reconciler.apply.decision import Decision
from reconciler.apply.results import Resolution, worst
from reconciler.apply.stop import Stop
from reconciler.cli import flags
from reconciler.cli.actor import actor
from reconciler.cli.connect import connections, duration, journal, new_id, own_sandbox, run_context
from reconciler.cli.console import Console
from reconciler.cli.interlock import Interlock
from reconciler.cli.parameters import argument, flag
from reconciler.cli.policy import check_target, policy_of
from reconciler.cli.signals import run_async
from reconciler.engine.resolution import (
    accept,
    accept_damaged,
    concerns,
    open_operation,
    resolve_all,
    target_contexts,
)
from reconciler.errors import BadInput, ExitCode, Refused, ServiceError
from reconciler.journal.records import DAMAGED_HINT
from reconciler.journal.states import State
from reconciler.model import Target
from reconciler.render.apply_report import resolution_lines
from reconciler.render.line import count
from reconciler.render.text import banner
from reconciler.values import Struct, field, replace


class AcceptAs(StrEnum):
    """How a person can close an open operation."""

    DONE = "done"
    NOT_ACCEPTED = "not-accepted"


class _Request(Struct, frozen=True):
    """What ``resolve`` was asked for."""

    connection: flags.ConnectionOptions
    target: Target | None
    profile: str
    pools: frozenset[str]
    """Names or ids; empty for every pool."""
    options: Options
    operation: str = ""
    decision: Decision | None = None
    """What a person says became of ``operation``."""


@flags.options
def resolve(
    operation: Annotated[str | None, argument(help="The operation to close.", metavar="OPERATION")] = None,
    *,
    accept_as: Annotated[
        AcceptAs | None, flag("--accept-as", help="Close OPERATION by your own decision.")
    ] = None,
    despite_evidence: Annotated[
        bool,
        flag("--despite-evidence", help="Close it although the disks or the job contradict that."),
    ] = False,
    acknowledge: Annotated[
        str | None,
        flag(help="Close the alarm of this pool: somebody has looked at it.", metavar="NAME|ID"),
    ] = None,
    pool: Annotated[
        list[str] | None,
        flag("--pool", help="Only operations on this pool; may be repeated.", metavar="NAME|ID"),
    ] = None,
    wait_timeout: Annotated[str, flag(help="How long to wait for one job.", metavar="TIME")] = "20m",
    no_wait: Annotated[
        bool, flag("--no-wait", help="Do not follow jobs; only look at how they stand.")
    ] = False,
    only: flags.ResolveOptions,
    profile: flags.Profile = "",
    shown: flags.OutputFormat = flags.Output.TEXT,
    place: flags.PlaceOptions,
) -> int:
    """Find out how operations ended that earlier runs left open; sends nothing."""
    if (operation is None) != (accept_as is None):
        raise BadInput("--accept-as and OPERATION go together", "reconciler resolve without both lists them")
    if despite_evidence and not accept_as:
        raise BadInput("--despite-evidence needs --accept-as and OPERATION")
    console = Console()
    connection = replace(place, project_id=only.project_id)
    if acknowledge:
        if operation or pool:
            raise BadInput("--acknowledge closes an alarm and goes with nothing else of resolve")
        _acknowledge(acknowledge, connection, console)
        return int(ExitCode.DONE)
    seconds = duration(wait_timeout, "--wait-timeout").total_seconds()
    decision = Decision(State[accept_as.name], actor(os.environ), despite_evidence) if accept_as else None
    pools, options = frozenset(pool or ()), Options(wait_timeout=0.0 if no_wait else seconds)
    asked = _Request(connection, only.target, profile, pools, options, operation or "", decision)
    found = _resolve(asked, console)
    if shown is flags.Output.JSON:
        from reconciler.render.json.resolve import resolve_json  # noqa: PLC0415 - one of two forms

        console.json_text(resolve_json(found.resolutions))
    else:
        named = [each.operation.intent.pool.service for each in found.resolutions]
        console.lines(banner([*own_sandbox(connection), *named]))
        console.lines(resolution_lines(found.resolutions))
        open_ones = sum(not each.resolved for each in found.resolutions)
        held_ones = f", {found.held} held by a run that is still active" if found.held else ""
        checked = count(len(found.resolutions), "operation")
        console.note(f"{checked} checked, {open_ones} still open{held_ones}.")
    code = worst(each.result.status for each in found.resolutions).exit_code
    damaged = ExitCode.JOURNAL if found.damaged else ExitCode.DONE
    return int(code or damaged or (ExitCode.HELD if found.held else found.failed))


def _acknowledge(named: str, connection: flags.ConnectionOptions, console: Console) -> None:
    """Close the alarms of one pool, by a person's decision; raises ``BadInput`` unless it is one pool."""
    who = actor(os.environ)
    with journal(connection) as kept:
        open_ones = kept.alarms()
        meant = [each for each in open_ones if named in (each.pool_name, each.pool.pool_id)]
        pools = {each.pool for each in meant}
        if not pools:
            known = ", ".join(sorted({each.pool_name for each in open_ones})) or "none"
            raise BadInput(f"no pool of the name or id {named} has an open alarm", f"pools with one: {known}")
        if len(pools) > 1:
            ids = ", ".join(sorted(f"{each.pool_id} of {each.target}" for each in pools))
            raise BadInput(
                f"{len(pools)} pools of the name {named} have an alarm", f"name one by its id: {ids}"
            )
        for each in meant:
            kept.acknowledge(each.id, who)
            console.info(
                f"{each.pool_name}: the alarm of {each.at:%Y-%m-%d %H:%M:%S} UTC is closed by {who}: {each.message}"
            )
        for left in kept.unresolved():
            if left.intent.pool in pools:
                console.info(
                    f"{left.intent.pool_name}: operation {left.id} is still open and holds the pool: "
                    "reconciler resolve"
                )


class _Found(Struct):
    """What ``resolve`` found over all targets."""

    resolutions: list[Resolution] = field(default_factory=list)
    held: int = 0
    """Operations that their own runs still hold."""
    damaged: int = 0
    """Records that cannot be trusted; their pools are refused."""
    failed: ExitCode = ExitCode.DONE
    """The exit code of a target that could not be read."""


def _resolve(asked: _Request, console: Console) -> _Found:
    """What became of the open operations, target by target; one that cannot be reached does not stop the others."""
    # Of operations in the journal: no manifest is read, so a target has no other place.
    confirmed = frozenset(asked.connection.project_id or ())
    interlock = Interlock(lambda _: "", console.info, writes=True, confirmed=confirmed)
    policy = policy_of(asked.connection)

    async def work(stop: Stop) -> _Found:
        with journal(asked.connection) as kept:
            ctx = replace(
                run_context(kept, console, stop), run_id=new_id(), options=asked.options, policy=policy
            )
            if asked.decision:
                return _Found([await _decide(asked, asked.decision, ctx, interlock)])
            with console.working("Resolving what earlier runs left open"):
                return await _resolve_all(asked, ctx, console, interlock)

    return run_async(work)


async def _decide(asked: _Request, decision: Decision, ctx: RunContext, interlock: Interlock) -> Resolution:
    """Close one operation as a person decided, against a reading of its own target."""
    if broken := ctx.journal.damaged_operation(asked.operation):
        return accept_damaged(broken, decision, ctx)
    operation = open_operation(asked.operation, ctx)
    if not concerns(operation, asked.pools):
        raise BadInput(f"operation {operation.id} is on pool {operation.intent.pool_name}, not on --pool")
    target = _target(operation.intent.pool.target, asked.profile)
    check_target(ctx.policy, target)
    try:
        async with connections([target], asked.connection, interlock) as opened:
            return await accept(operation, decision, "", replace(ctx, connections=opened))
    except ServiceError as error:  # reading errors are part of the evidence, so this one is from opening
        unread = f"the service could not be read: {error.message}"
        return await accept(operation, decision, unread, ctx)


async def _resolve_all(asked: _Request, ctx: RunContext, console: Console, interlock: Interlock) -> _Found:
    found = _Found()
    for broken in ctx.journal.every_damaged():
        if not asked.pools or asked.pools & {broken.pool_name, broken.pool.pool_id}:
            found.damaged += 1
            console.info(f"{broken.pool_name}: {broken.message}. {DAMAGED_HINT}")
            console.info(f"  reconciler resolve --accept-as done {broken.id}")
    opened_ones = [each for each in ctx.journal.unresolved() if concerns(each, asked.pools)]
    for name in sorted(asked.pools):
        if not any(concerns(each, {name}) for each in opened_ones):
            console.info(f"{name}: no open operation on a pool of this name or id")
    keys = {each.intent.pool.target for each in opened_ones}
    targets = [asked.target] if asked.target else [_target(key, "") for key in sorted(keys)]
    for each in targets:
        # The journal stores targets without a profile, so the flag decides which credentials are used.
        named = replace(each, profile=asked.profile)
        try:
            check_target(ctx.policy, named)
            async with connections([named], asked.connection, interlock) as opened:
                connected = replace(ctx, connections=opened)
                resolutions, holds = await resolve_all(connected, target_contexts(connected), asked.pools)
        except (BadInput, Refused, ServiceError) as error:
            if len(targets) == 1:
                raise
            console.error(error)
            found.failed = error.exit_code
            continue
        found.resolutions += resolutions
        held = [finding for finding in holds.values() if finding.rule == "pool-held"]
        found.held += len(held)
        for finding in held:
            console.info(f"{finding.pool}: {finding.message}; {finding.allow}")
    return found


def _target(key: str, profile: str) -> Target:
    """The target that the journal calls ``region/project_id``."""
    return replace(Target(*key.split("/", 1)), profile=profile)
