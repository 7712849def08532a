"""``drift``: shows how far the pools are from their manifests; ``watch`` repeats the same round.

Detecting and remediating are left to ``engine.remediation``.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer

from reconciler.apply.context import RunContext, Stop
from reconciler.apply.results import DriftReport, DriftRound
from reconciler.cli import flags
from reconciler.cli.connect import connections, journal, new_id, read_settings
from reconciler.cli.console import Console
from reconciler.cli.interlock import Interlock
from reconciler.cli.outputs import to_github
from reconciler.cli.policy import policy_of
from reconciler.cli.signals import run_async
from reconciler.clock import CLOCK
from reconciler.engine.remediation import detect, remediate
from reconciler.errors import ExitCode, ReconcilerError
from reconciler.manifest.load import load
from reconciler.model import Shard
from reconciler.notify.notifications import notifications
from reconciler.planning.anonymous import anonymised
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
    anonymise: bool = False
    """True: the outcome names nobody."""
    noted: set[str] = field(default_factory=set)
    """What was said of the manifests so far; each line is said once, also in many rounds."""


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
    limits: flags.LimitOptions,
    anonymise: flags.Anonymise = False,
    follow_symlinks: flags.FollowSymlinks = False,
) -> int:
    """Show how far pools are from their manifests; exit 2 when they differ. Writes only with --correct."""
    console = Console()
    notify = notifications(prometheus, webhooks(os.environ, webhook or []))
    share = flags.share(shard, run_group) if correct else flags.shard(shard)
    asked = DriftRequest(
        list(paths), limits, connection, correct, share, run_group, follow_symlinks, anonymise
    )

    async def work(stop: Stop) -> DriftRound:
        with console.working("Reading the live pools"):
            outcome = await run_round(asked, console, stop)
        show(outcome, shown, console)  # before the webhooks: a slow one may be interrupted
        to_github(lambda: drift_page(outcome), console)
        try:
            if noteworthy(outcome):
                await notify.send(outcome, console.info)
            else:
                notify.write_gauges(outcome, console.info)
        except asyncio.CancelledError:
            if not stop.requested:
                raise
            console.info("Warning: interrupted before every webhook had answered")
        return outcome

    return int(run_async(work).exit_code)


async def run_round(asked: DriftRequest, console: Console, stop: Stop) -> DriftRound:
    """One round from the manifests on; what goes wrong is part of the outcome."""
    clock = CLOCK.get()
    started, begun = clock.now(), clock.monotonic()

    def outcome(code: ExitCode, report: DriftReport | None, error: ReconcilerError | None) -> DriftRound:
        return DriftRound(started, clock.monotonic() - begun, code, report, error)

    try:
        manifest = load(asked.paths, follow_symlinks=asked.follow_symlinks)

        def once(note: str) -> None:
            if note not in asked.noted:
                asked.noted.add(note)
                console.info(note)

        for note in manifest.notes:
            once(note)
        interlock = Interlock.of(manifest, asked.connection.project_id, once, writes=asked.remediate)
        settings = read_settings(asked.connection)
        policy = policy_of(asked.connection)  # read again in each round, as the manifests are
        limits = asked.limits.over(manifest.limits)
        with journal(asked.connection, settings, clock) as kept:
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
                    log=console.info,
                )
                act = remediate if asked.remediate else detect
                report = await act(manifest, limits, run)
    except ReconcilerError as error:
        return outcome(error.exit_code, None, error)
    if asked.anonymise:
        report = replace(report, plan=anonymised(report.plan))
    return outcome(report.exit_code, report, None)


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
