"""``drift``: shows how far the pools are from their manifests; ``watch`` repeats the same round.

Detecting and remediating are left to ``engine.remediation``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from reconciler.apply.context import RunContext, Stop
from reconciler.apply.results import DriftReport, DriftRound, Sight
from reconciler.apply.unnamed import unnamed_drift
from reconciler.cli import flags
from reconciler.cli.connect import connections, journal, new_id, read_settings
from reconciler.cli.console import Console
from reconciler.cli.interlock import Interlock
from reconciler.cli.outputs import plan_outputs, show_faults, to_github
from reconciler.cli.policy import policy_of, read_as, sources_of
from reconciler.cli.signals import run_async
from reconciler.clock import CLOCK
from reconciler.engine.remediation import detect, remediate
from reconciler.errors import ExitCode, ReconcilerError
from reconciler.journal.records import Alarm
from reconciler.manifest.load import load
from reconciler.manifest.sources import Seen, changes
from reconciler.model import Selection, Shard, Target
from reconciler.notify.notifications import Notifications, notifications
from reconciler.planning.selection import select
from reconciler.render.drift_report import drift_lines, drift_page
from reconciler.settings import webhooks

Correct = Annotated[
    bool,
    typer.Option("--correct", help="Remediate what the manifests' drift policy allows, not only detect."),
]
Textfile = Annotated[
    Path | None, typer.Option("--prometheus", help="Write gauges to this textfile.", metavar="FILE")
]
Webhooks = Annotated[
    list[str] | None,
    typer.Option(
        "--webhook",
        help="Notify this address: https gets JSON, others go through apprise. An address is a secret, and others "
        "on this machine can read a command line: prefer RECONCILER_WEBHOOK, or @FILE.",
        metavar="URL|@FILE",
    ),
]


@dataclass(slots=True)
class Memory:
    """What a round knows of those before it in this process."""

    noted: set[str] = field(default_factory=set)
    """What was said of the manifests so far; each line is said once, also in many rounds."""
    sights: dict[Target, datetime] = field(default_factory=dict)
    """When each target was last read completely; of one never read, when it was first asked for."""
    sources: Seen | None = None
    """The files that the round before was decided by; None when there was none, or it could not read them."""


@dataclass(frozen=True, slots=True)
class DriftRequest:
    """What one round reads, and how."""

    paths: list[Path]
    limits: flags.LimitOptions
    connection: flags.ConnectionOptions
    remediate: bool
    shard: Shard = field(default_factory=Shard)
    group: str = ""
    follow_symlinks: bool = False
    selection: Selection = field(default_factory=Selection)
    anonymise: bool = False
    """True: the outcome names nobody."""
    settled: bool = False
    """True: correct only by files that the round before has read exactly so."""
    memory: Memory = field(default_factory=Memory)


@flags.options
def drift(
    paths: flags.Paths,
    *,
    correct: Correct = False,
    shown: flags.OutputFormat = flags.Output.TEXT,
    prometheus: Textfile = None,
    webhook: Webhooks = None,
    connection: flags.ConnectionOptions,
    shard: flags.ShardOf = "1/1",
    run_group: flags.RunGroup = "",
    selection: flags.SelectionOptions,
    limits: flags.LimitOptions,
    anonymise: flags.Anonymise = False,
    follow_symlinks: flags.FollowSymlinks = False,
) -> int:
    """Show how far pools are from their manifests; exit 2 when they differ. Writes only with --correct."""
    console = Console()
    notify = notifications(prometheus, webhooks(os.environ, webhook or []))
    group = flags.group_of(run_group)
    share = flags.share(shard, group) if correct else flags.shard(shard)
    asked = DriftRequest(
        list(paths),
        limits,
        connection,
        correct,
        share,
        group,
        follow_symlinks,
        selection.selection,
        anonymise,
    )

    async def work(stop: Stop) -> DriftRound:
        with console.working("Reading the live pools"):
            outcome = await run_round(asked, console, stop)
        show(outcome, shown, console)  # before the webhooks: a slow one may be interrupted
        to_github(lambda: drift_page(outcome), console)
        if outcome.report:
            plan_outputs(outcome.report.plan, console)
        if outcome.error:
            show_faults(outcome.error, console)
        await notified(outcome, notify, console, stop)
        return outcome

    return int(run_async(work).exit_code)


async def notified(outcome: DriftRound, notify: Notifications, console: Console, stop: Stop) -> None:
    """Write the gauges, and tell the webhooks of a round that is worth it; a signal only cuts that short."""
    try:
        if noteworthy(outcome):
            await notify.send(outcome, console.info)
        else:
            notify.write_gauges(outcome, console.info)
    except asyncio.CancelledError:
        if not stop.requested:
            raise
        console.info("Warning: interrupted before every webhook had answered")


async def run_round(asked: DriftRequest, console: Console, stop: Stop) -> DriftRound:
    """One round from the manifests on; what goes wrong is part of the outcome."""
    clock = CLOCK.get()
    started, begun = clock.now(), clock.monotonic()

    alarms: list[Alarm] = []

    def outcome(code: ExitCode, report: DriftReport | None, error: ReconcilerError | None) -> DriftRound:
        if report:
            failed = {each.target for each in report.plan.failures}
            read = [each for each in asked.memory.sights if each not in failed]
            asked.memory.sights.update(dict.fromkeys(read, started))
        sights = tuple(Sight(*each) for each in sorted(asked.memory.sights.items()))
        return DriftRound(started, clock.monotonic() - begun, code, report, error, tuple(alarms), sights)

    memory, before = asked.memory, asked.memory.sources
    memory.sources = None
    try:
        manifest = select(load(asked.paths, follow_symlinks=asked.follow_symlinks), asked.selection)

        def once(note: str, say: Callable[[str], None] = console.info) -> None:
            if note not in memory.noted:
                memory.noted.add(note)
                say(note)

        memory.sights = {each: memory.sights.get(each, started) for each in manifest.targets}
        for note in manifest.notes:
            once(note, console.note)
        interlock = Interlock.of(manifest, asked.connection.project_id, once, writes=asked.remediate)
        settings = read_settings(asked.connection)
        policy = policy_of(asked.connection)  # read again in each round, as the manifests are
        sources = sources_of(asked.paths, asked.connection, follow_symlinks=asked.follow_symlinks)
        memory.sources = seen = read_as(manifest, policy, sources)
        limits = asked.limits.over(manifest.limits)
        with journal(asked.connection, settings, clock) as kept:
            alarms += [each for target in manifest.targets for each in kept.alarms(str(target))]
            async with connections(manifest.targets, asked.connection, settings, interlock) as opened:
                run = RunContext(
                    kept,
                    clock,
                    new_id,
                    opened,
                    stop=stop,
                    shard=asked.shard,
                    group=asked.group,
                    policy=policy,
                    check_sources=lambda: sources.check(seen),
                    unnamed=asked.anonymise,
                    log=console.info,
                    observer=console.saw,
                )
                if asked.remediate:
                    unsettled = _unsettled(before, seen) if asked.settled else ""
                    report = await remediate(manifest, limits, run, unsettled)
                else:
                    report = await detect(manifest, limits, run)
    except ReconcilerError as error:
        return outcome(error.exit_code, None, error)
    if asked.anonymise:
        report = unnamed_drift(report)
    return outcome(report.exit_code, report, None)


def _unsettled(before: Seen | None, now: Seen) -> str:
    """Why nothing may be corrected by these files yet; empty when the round before has read the very same."""
    if before is None:
        return "no round before this one has read the manifests"
    changed = changes(before, now)
    return f"the manifests are not those of the round before: {changed}" if changed else ""


def noteworthy(outcome: DriftRound) -> bool:
    """Whether the round is worth a notification."""
    return not (outcome.exit_code is ExitCode.DONE or being_changed(outcome)) or remediated(outcome)


def being_changed(outcome: DriftRound) -> bool:
    """Whether all that kept the round from being calm is a run that is changing a pool: no alarm."""
    calm = outcome.report and not outcome.report.error and not outcome.drifting
    return outcome.exit_code is ExitCode.HELD and bool(calm)


def remediated(outcome: DriftRound) -> bool:
    """Whether the round tried to remediate anything."""
    applied = outcome.report.applied if outcome.report else None
    return bool(applied and applied.results)


def show(outcome: DriftRound, shown: flags.Output, console: Console) -> None:
    """Print a round: its result on stdout, its errors on stderr."""
    if shown is flags.Output.JSON:
        from reconciler.render.json.drift import drift_json  # noqa: PLC0415 - one of two forms

        console.json_text(drift_json(outcome))
    else:
        console.lines(drift_lines(outcome))
    for error in (outcome.error, outcome.report.error if outcome.report else None):
        if error:
            console.error(error)
