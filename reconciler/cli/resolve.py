"""``resolve``: finds out how operations ended that earlier runs left open; sends nothing.

How one is decided is left to ``apply.resolve``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated

import typer

from reconciler.apply.context import RunContext, Stop
from reconciler.apply.results import Resolution, worst
from reconciler.cli import flags
from reconciler.cli.connect import connections, journal, new_id, read_settings
from reconciler.cli.console import Console
from reconciler.cli.signals import run_async
from reconciler.clock import CLOCK
from reconciler.engine.resolution import accept, resolve_all, target_contexts
from reconciler.errors import BadInput, ExitCode, ServiceError
from reconciler.journal.records import State
from reconciler.model import Target
from reconciler.render.apply_report import resolution_lines
from reconciler.render.words import count


class AcceptAs(StrEnum):
    """How a person can close an open operation."""

    DONE = "done"
    NOT_ACCEPTED = "not-accepted"


@flags.options
def resolve(
    operation: Annotated[
        str | None, typer.Argument(help="The operation to close.", metavar="OPERATION")
    ] = None,
    *,
    accept_as: Annotated[
        AcceptAs | None, typer.Option("--accept-as", help="Close OPERATION by your own decision.")
    ] = None,
    only: flags.TargetOptions,
    profile: flags.Profile = "",
    shown: flags.OutputFormat = flags.Output.TEXT,
    connection: flags.ConnectionOptions,
) -> int:
    """Find out how operations ended that earlier runs left open; sends nothing."""
    if (operation is None) != (accept_as is None):
        raise BadInput("--accept-as and OPERATION go together", "reconciler resolve without both lists them")
    console = Console()
    decision = (operation, State[accept_as.name]) if operation and accept_as else None
    found = _resolve(connection, (only.target, profile), decision, console)
    if shown is flags.Output.JSON:
        from reconciler.render.json.resolve import resolve_json  # noqa: PLC0415 - one of two forms

        console.json_text(resolve_json(found.resolutions))
    else:
        console.lines(resolution_lines(found.resolutions))
        open_ones = sum(not each.resolved for each in found.resolutions)
        held_ones = f", {found.held} held by a run that is still active" if found.held else ""
        checked = count(len(found.resolutions), "operation")
        console.info(f"{checked} checked, {open_ones} still open{held_ones}.")
    code = worst(each.result.status for each in found.resolutions).exit_code
    return int(code or (ExitCode.HELD if found.held else found.failed))


@dataclass(slots=True)
class _Found:
    """What ``resolve`` found over all targets."""

    resolutions: list[Resolution] = field(default_factory=list)
    held: int = 0
    """Operations that their own runs still hold."""
    failed: ExitCode = ExitCode.DONE
    """The exit code of a target that could not be read."""


def _resolve(
    connection: flags.ConnectionOptions,
    only: tuple[Target | None, str],
    decision: tuple[str, State] | None,
    console: Console,
) -> _Found:
    """What became of the open operations, target by target; one that cannot be reached does not stop the others."""
    settings, clock = read_settings(connection), CLOCK.get()
    target, profile = only

    async def work(stop: Stop) -> _Found:
        found = _Found()
        with journal(connection, settings, clock) as kept:
            ctx = RunContext(kept, clock, new_id, run_id=new_id(), stop=stop, log=console.info)
            if decision:
                accept(*decision, ctx)
                return found
            keys = {each.intent.pool.target for each in kept.unresolved()}
            targets = [target] if target else [Target(*key.split("/", 1)) for key in sorted(keys)]
            for each in targets:
                # The journal stores targets without a profile, so the flag decides which credentials are used.
                named = replace(each, profile=profile)
                try:
                    async with connections([named], connection, settings) as opened:
                        connected = replace(ctx, connections=opened)
                        resolutions, holds = await resolve_all(connected, target_contexts(connected))
                except (BadInput, ServiceError) as error:
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

    return run_async(work)
