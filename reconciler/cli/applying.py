"""Owns the commands that act or decide: ``apply`` and ``resolve``."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconciler.apply.context import Context, Options, Stop
from reconciler.apply.resolve import Resolution
from reconciler.apply.run import exit_code
from reconciler.cli import flags
from reconciler.cli.connect import Place, connections, duration, journal, read_settings, world
from reconciler.cli.report import report_json, report_lines, report_page, resolution_json, resolution_lines
from reconciler.cli.running import run_story
from reconciler.cli.screen import Screen
from reconciler.cli.streams import lost_output
from reconciler.cli.surfaces import show_plan, tell_github, to_github
from reconciler.engine import (
    ApplyReport,
    ApplyRequest,
    accept,
    check_saved,
    manifest_of,
    resolve_all,
    sites_of,
    with_flags,
)
from reconciler.engine import apply as run_apply
from reconciler.errors import BadInput, ExitCode, ReconcilerError, Refused, ServiceError, StalePlan
from reconciler.journal.records import State
from reconciler.manifest.load import load
from reconciler.model import Target
from reconciler.plan import Plan
from reconciler.plan_file import is_plan_file
from reconciler.plan_file import load as load_plan
from reconciler.render.text import plan_lines
from reconciler.render.words import count

Approval = Callable[[Plan], Awaitable[None]]


def apply(
    paths: Annotated[
        list[Path], typer.Argument(help="Manifests, or one saved plan.", metavar="PATH…|PLANFILE")
    ],
    auto_approve: Annotated[
        bool, typer.Option("--auto-approve", help="Do not ask; every guard and limit still holds.")
    ] = False,
    approve: Annotated[
        str | None, typer.Option(help="Apply only if the plan has this digest.", metavar="DIGEST")
    ] = None,
    shown: flags.OutputFormat = flags.Output.TEXT,
    endpoint: flags.Endpoint = None,
    sandbox: flags.Sandbox = False,
    no_color: flags.NoColor = False,
    journal_url: flags.JournalUrl = None,
    wait_timeout: Annotated[str, typer.Option(help="How long one job may take.")] = "20m",
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not follow jobs; the next run proves them.")
    ] = False,
    parallelism: flags.Parallelism = 4,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on with other pools after a failure.")
    ] = False,
    shard: flags.ShardOf = "1/1",
    run_group: flags.RunGroup = "",
    limit_disks: flags.LimitDisks = None,
    limit_copies: flags.LimitCopies = None,
    limit_pools: flags.LimitPools = None,
    limit_gigabytes: flags.LimitGigabytes = None,
    limit_users: flags.LimitUsers = None,
) -> int:
    """Carry out a plan after confirmation, follow the jobs, and prove the result."""
    screen = Screen(False if no_color else None)
    given = flags.limits(limit_disks, limit_copies, limit_pools, limit_gigabytes, limit_users)
    saved = _saved(paths, given)
    share = flags.share(shard, run_group)
    if share.count > 1 and saved:
        raise BadInput("a saved plan holds the pools of its own share", "leave out --shard, or plan anew")
    manifest = manifest_of(saved) if saved else load(paths)
    if saved:
        check_saved(saved, world(screen.say))
    request = ApplyRequest(
        manifest=manifest,
        limits=with_flags(manifest.limits, given),
        approve=_approval(screen, shown, approve, saved, auto_approve=auto_approve),
        options=Options(
            wait_timeout=duration(wait_timeout, "--wait-timeout").total_seconds(),
            wait=not no_wait,
            parallelism=parallelism,
            keep_going=keep_going,
        ),
        shard=share,
        group=run_group,
        saved_plan=saved,
    )
    report = _run(request, Place(endpoint, sandbox, journal_url), screen)
    _tell(report, shown, screen)
    if approve and report.plan and not report.plan.has_changes:
        screen.say("Nothing to do, so the approved digest was not needed.")
    if report.plan and not report.results:
        tell_github(report.plan, screen)
    else:
        to_github(lambda: report_page(report), screen)
    return int(report.exit_code)


class AcceptAs(StrEnum):
    """What a person can decide about an open operation."""

    DONE = "done"
    NOT_ACCEPTED = "not-accepted"


def resolve(
    operation: Annotated[
        str | None, typer.Argument(help="The operation to decide.", metavar="OPERATION")
    ] = None,
    accept_as: Annotated[
        AcceptAs | None, typer.Option("--accept-as", help="Decide OPERATION on your own word.")
    ] = None,
    region: flags.Region = None,
    project_id: flags.ProjectId = None,
    profile: flags.Profile = "",
    shown: flags.OutputFormat = flags.Output.TEXT,
    endpoint: flags.Endpoint = None,
    sandbox: flags.Sandbox = False,
    no_color: flags.NoColor = False,
    journal_url: flags.JournalUrl = None,
) -> int:
    """Find out what became of operations that earlier runs left open; sends nothing."""
    if (operation is None) != (accept_as is None):
        raise BadInput("--accept-as and OPERATION go together", "reconciler resolve without both lists them")
    screen = Screen(False if no_color else None)
    place = Place(endpoint, sandbox, journal_url)
    decision = (operation, State[accept_as.name]) if operation and accept_as else None
    looked = _resolve(place, (flags.target(region, project_id), profile), decision, screen)
    if shown is flags.Output.JSON:
        screen.data([resolution_json(each) for each in looked.resolutions])
    else:
        screen.lines(resolution_lines(looked.resolutions))
        open_ones = sum(not each.resolved for each in looked.resolutions)
        held_ones = f", {looked.held} held by a run that is still at it" if looked.held else ""
        told = count(len(looked.resolutions), "operation")
        screen.say(f"{told} looked at, {open_ones} still open{held_ones}.")
    code = exit_code({each.verdict.ending for each in looked.resolutions})
    return int(code or (ExitCode.HELD if looked.held else looked.failed))


@dataclass(slots=True)
class _Looked:
    """What ``resolve`` found over all targets."""

    resolutions: list[Resolution] = field(default_factory=list)
    held: int = 0
    """Operations that their own runs still hold."""
    failed: ExitCode = ExitCode.DONE
    """That of a target that could not be looked at."""


def _run(request: ApplyRequest, place: Place, screen: Screen) -> ApplyReport:
    settings = read_settings(place)

    async def story(stop: Stop) -> ApplyReport:
        real = world(screen.say)
        with journal(place, settings, real.clock) as kept:
            async with connections(request.manifest.targets, place, settings) as opened:
                with screen.working("Reading the live pools"):
                    return await run_apply(request, opened, kept, real, stop)

    return run_story(story)


def _resolve(
    place: Place, only: tuple[Target | None, str], decision: tuple[str, State] | None, screen: Screen
) -> _Looked:
    """What became of the open operations, target by target; one that cannot be reached does not stop the others."""
    settings = read_settings(place)
    target, profile = only

    async def story(stop: Stop) -> _Looked:
        real, looked = world(screen.say), _Looked()
        with journal(place, settings, real.clock) as kept:
            ctx = Context(kept, real.clock, real.new_id(), real.new_id, stop=stop, say=screen.say)
            if decision:
                accept(kept, ctx, *decision)
                return looked
            keys = {each.intent.pool.target for each in kept.unresolved()}
            targets = [target] if target else [Target(*key.split("/", 1)) for key in sorted(keys)]
            for each in targets:
                # The journal knows targets, not how anybody logs in to them.
                named = replace(each, profile=profile)
                try:
                    async with connections([named], place, settings) as opened:
                        resolutions, holds = await resolve_all(opened, ctx, sites_of(opened, real.clock))
                except (BadInput, ServiceError) as error:
                    if len(targets) == 1:
                        raise
                    screen.error(error)
                    looked.failed = error.exit_code
                    continue
                looked.resolutions += resolutions
                held = [finding for finding in holds.values() if finding.rule == "pool-held"]
                looked.held += len(held)
                for finding in held:
                    screen.say(f"{finding.pool}: {finding.message}; {finding.allow}")
        return looked

    return run_story(story)


def _saved(paths: Sequence[Path], given: dict[str, int | None]) -> Plan | None:
    plans = [path for path in paths if is_plan_file(path)]
    if not plans:
        return None
    if len(paths) > 1:
        raise BadInput("a saved plan is applied alone", f"reconciler apply {plans[0]}")
    if any(value is not None for value in given.values()):
        raise BadInput("a saved plan carries its own limits", "leave the --limit flags out, or plan anew")
    return load_plan(plans[0])


def _approval(
    screen: Screen, shown: flags.Output, digest: str | None, saved: Plan | None, *, auto_approve: bool
) -> Approval:
    """How this run is approved; every way compares with what a person or a policy has seen."""
    if digest is not None and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise BadInput(
            f"--approve {digest!r} is not a digest", "a digest has 64 hexadecimal digits; plan prints it"
        )

    def show(plan: Plan) -> None:
        if shown is flags.Output.TEXT:
            show_plan(plan, flags.Format.TEXT, screen)
            return
        for line in plan_lines(plan):  # JSON on stdout holds the result alone
            screen.say(line.text)

    async def approved(plan: Plan) -> None:
        screen.end()
        show(plan)
        try:
            _compare(plan, saved, digest)
        except ReconcilerError:
            tell_github(plan, screen)
            raise
        if plan.run_blocked:
            tell_github(plan, screen)  # refused right after this
        if plan.run_blocked or not plan.has_changes:
            return
        if not (saved or digest is not None or auto_approve):
            await _ask(screen)
        screen.begin("Applying: every change is followed and proven")

    return approved


def _compare(plan: Plan, saved: Plan | None, digest: str | None) -> None:
    """Raise ``StalePlan`` unless the plan of now is what was approved."""
    differences: tuple[str, ...] = ()
    if saved:
        from reconciler import staleness  # noqa: PLC0415 - deepdiff, only for a saved plan

        differences = staleness.explain(saved, plan)
    fits = digest is None or plan.approved_by(digest)
    if (differences or not fits) and plan.failures:
        failure = plan.failures[0]
        raise ServiceError(
            f"what was approved cannot be compared: target {failure.target} could not be read: {failure.message}",
            failure.hint,
        )
    if differences:
        raise StalePlan(
            "the saved plan is not what would be done now:\n  " + "\n  ".join(differences),
            "make a new plan and have that approved",
        )
    if not fits:
        raise StalePlan(
            f"the plan's digest is {plan.digest}, not the approved {digest}",
            "what would be done now is not what was approved; review the plan again",
        )


async def _ask(screen: Screen) -> None:
    if not screen.interactive:
        raise Refused(
            "nobody can be asked: standard input is not a terminal; nothing was sent",
            "say --approve DIGEST with the digest that was reviewed, or --auto-approve, or apply a saved plan",
        )
    if lost := lost_output():
        raise Refused(f"the plan could not be shown: {lost.strerror}; nothing was sent")
    question = "\nDo you want to perform these actions? Only 'yes' will be accepted.\n  Enter a value: "
    if await screen.ask(question) != "yes":
        raise Refused("not confirmed; nothing was sent")


def _tell(report: ApplyReport, shown: flags.Output, screen: Screen) -> None:
    if shown is flags.Output.JSON:
        screen.data(report_json(report))
        return
    screen.lines(resolution_lines(report.resolutions))
    if not report.results and report.plan:
        show_plan(report.plan, flags.Format.TEXT, screen)
        return
    screen.lines(report_lines(report))
