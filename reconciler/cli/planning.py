"""Owns the commands that look and never write: ``plan`` and ``show``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from reconciler.apply.context import Stop
from reconciler.cli import flags
from reconciler.cli.connect import Place, connections, duration, read_settings, world
from reconciler.cli.running import run_story
from reconciler.cli.screen import Screen
from reconciler.cli.surfaces import Outputs, different, show_plan, tell_github, write_outputs
from reconciler.engine import DEFAULT_LIFETIME, make_plan, with_flags
from reconciler.errors import BadInput, ExitCode, ReconcilerError
from reconciler.manifest.load import load
from reconciler.model import Limits, Manifest
from reconciler.plan import Plan
from reconciler.plan_file import load as load_plan
from reconciler.plan_file import save
from reconciler.planner import Connections, with_stragglers
from reconciler.render.explain import explain_json, explain_lines


def plan(
    paths: flags.Paths,
    out: Annotated[Path | None, typer.Option(help="Save the plan for a later apply.", metavar="FILE")] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when changes are pending.")
    ] = False,
    shown: flags.PlanFormat = flags.Format.TEXT,
    endpoint: flags.Endpoint = None,
    sandbox: flags.Sandbox = False,
    no_color: flags.NoColor = False,
    plan_ttl: flags.Lifetime = "1h",
    out_markdown: flags.OutMarkdown = None,
    out_html: flags.OutHtml = None,
    out_json: flags.OutJson = None,
    out_gitlab: flags.OutGitlab = None,
    limit_disks: flags.LimitDisks = None,
    limit_copies: flags.LimitCopies = None,
    limit_pools: flags.LimitPools = None,
    limit_gigabytes: flags.LimitGigabytes = None,
    limit_users: flags.LimitUsers = None,
    shard: flags.ShardOf = "1/1",
    desktops: Annotated[
        bool, typer.Option("--desktops", help="Also show desktops whose disks are not those of their pool.")
    ] = False,
) -> int:
    """Show which disks would go, what that destroys, and why; never writes."""
    screen = Screen(False if no_color else None)
    outputs = Outputs(out_markdown, out_html, out_json, out_gitlab)
    different(out, outputs)
    lifetime = duration(plan_ttl, "--plan-ttl")
    manifest = load(paths)
    given = flags.limits(limit_disks, limit_copies, limit_pools, limit_gigabytes, limit_users)
    limits = with_flags(manifest.limits, given)
    further = with_stragglers if desktops else None
    place = Place(endpoint, sandbox, shard=flags.shard(shard))
    made = compute_plan(manifest, limits, place, screen, lifetime, further)
    if out:
        save(made, out)
    write_outputs(made, outputs)
    show_plan(made, shown, screen)
    tell_github(made, screen)
    if out:
        screen.say(f"Saved to {out}; apply exactly this with: reconciler apply {out}")
    return exit_code_of(made, screen, detailed=detailed_exitcode)


def show(
    plan_file: Annotated[Path, typer.Argument(help="A plan saved with plan --out.", metavar="PLANFILE")],
    shown: flags.PlanFormat = flags.Format.TEXT,
    no_color: flags.NoColor = False,
    out_markdown: flags.OutMarkdown = None,
    out_html: flags.OutHtml = None,
    out_json: flags.OutJson = None,
    out_gitlab: flags.OutGitlab = None,
) -> int:
    """Show a saved plan."""
    loaded = load_plan(plan_file)
    write_outputs(loaded, Outputs(out_markdown, out_html, out_json, out_gitlab))
    show_plan(loaded, shown, Screen(False if no_color else None))
    return int(ExitCode.DONE)


def explain(
    pool: Annotated[str, typer.Argument(help="Name or id of one declared pool.", metavar="POOL")],
    paths: flags.Paths,
    shown: flags.OutputFormat = flags.Output.TEXT,
    endpoint: flags.Endpoint = None,
    sandbox: flags.Sandbox = False,
    no_color: flags.NoColor = False,
) -> int:
    """Show for one pool what matched what, by which rule, and what every guard measured."""
    screen = Screen(False if no_color else None)
    manifest = load(paths)
    made = compute_plan(manifest, manifest.limits, Place(endpoint, sandbox), screen, DEFAULT_LIFETIME)
    found = [each for each in made.pools if pool in (each.label, each.desired.id, each.live and each.live.id)]
    if not found:
        raise BadInput(f"no manifest declares a pool {pool!r}", "declared are the pools that plan lists")
    if shown is flags.Output.JSON:
        screen.data([explain_json(made, each) for each in found])
    else:
        for each in found:
            screen.lines(explain_lines(made, each))
    return int(ExitCode.DONE)


def compute_plan(
    manifest: Manifest,
    limits: Limits,
    place: Place,
    screen: Screen,
    lifetime: timedelta,
    further: Callable[[Plan, Connections], Awaitable[Plan]] | None = None,
) -> Plan:
    """Read the targets and plan, with a sign of life on a terminal while reading; ``further`` reads more."""
    settings = read_settings(place)

    async def story(_stop: Stop) -> Plan:
        async with connections(manifest.targets, place, settings) as opened:
            with screen.working("Reading the live pools"):
                real = world(screen.say)
                made = await make_plan(manifest, limits, opened, real, lifetime, shard=place.shard)
                return await further(made, opened) if further else made

    return run_story(story)


def exit_code_of(plan: Plan, screen: Screen, *, detailed: bool) -> int:
    """The exit code of a look: failed target, then blocked, then pending changes where asked for."""
    if plan.failures:
        first = plan.failures[0]
        screen.error(
            ReconcilerError(f"target {first.target} could not be planned: {first.message}", first.hint)
        )
        return first.exit_code
    if plan.blocked:
        blocking = sum(each.severity == "block" for each in plan.all_findings)
        screen.say(f"Error: the plan is blocked by {blocking} finding{'s'[: blocking != 1]}; see above.")
        return int(ExitCode.REFUSED)
    return int(ExitCode.CHANGES if detailed and (plan.has_changes or plan.straggling) else ExitCode.DONE)
