"""Owns ``drift``, and the one round that it shares with ``watch``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from reconciler.apply.context import Stop
from reconciler.cli import flags
from reconciler.cli.connect import Place, connections, journal, read_settings, world
from reconciler.cli.drift_report import Outcome, drift_json, drift_lines, drift_page
from reconciler.cli.running import run_story
from reconciler.cli.screen import Screen
from reconciler.cli.surfaces import to_github
from reconciler.cli.telling import audience
from reconciler.correcting import DriftReport, Surroundings, correct, look
from reconciler.engine import with_flags
from reconciler.errors import ExitCode, ReconcilerError
from reconciler.manifest.load import load

Correct = Annotated[
    bool, typer.Option("--correct", help="Correct what the manifests' drift policy allows; else only look.")
]
Textfile = Annotated[
    Path | None, typer.Option("--prometheus", help="Write gauges to this textfile.", metavar="FILE")
]
Webhooks = Annotated[
    list[str] | None,
    typer.Option(
        "--webhook", help="Tell this address: https gets JSON, others go through apprise.", metavar="URL"
    ),
]


@dataclass(frozen=True, slots=True)
class Round:
    """What one round looks at, and how."""

    paths: list[Path]
    limits: Mapping[str, int | None]
    place: Place
    correct: bool
    group: str = ""


def drift(
    paths: flags.Paths,
    correct_it: Correct = False,
    shown: flags.OutputFormat = flags.Output.TEXT,
    prometheus: Textfile = None,
    webhook: Webhooks = None,
    endpoint: flags.Endpoint = None,
    sandbox: flags.Sandbox = False,
    no_color: flags.NoColor = False,
    journal_url: flags.JournalUrl = None,
    shard: flags.ShardOf = "1/1",
    run_group: flags.RunGroup = "",
    limit_disks: flags.LimitDisks = None,
    limit_copies: flags.LimitCopies = None,
    limit_pools: flags.LimitPools = None,
    limit_gigabytes: flags.LimitGigabytes = None,
    limit_users: flags.LimitUsers = None,
) -> int:
    """Tell how far pools are from their manifests; exit 2 when they are. Writes only with --correct."""
    screen = Screen(False if no_color else None)
    told = audience(prometheus, webhook or [])
    limits = flags.limits(limit_disks, limit_copies, limit_pools, limit_gigabytes, limit_users)
    share = flags.share(shard, run_group) if correct_it else flags.shard(shard)
    place = Place(endpoint, sandbox, journal_url, share)
    asked = Round(list(paths), limits, place, correct_it, run_group)

    async def story(stop: Stop) -> Outcome:
        with screen.working("Reading the live pools"):
            outcome = await go(asked, screen, stop)
        show(outcome, shown, screen)  # first: a slow webhook may be interrupted
        to_github(lambda: drift_page(outcome), screen)
        try:
            if noteworthy(outcome):
                await told.told(outcome, screen)
            else:
                told.gauges(outcome, screen)
        except asyncio.CancelledError:
            if not stop.requested:
                raise
            screen.say("Warning: interrupted before every webhook had answered")
        return outcome

    outcome = run_story(story)
    return int(outcome.exit_code)


async def go(asked: Round, screen: Screen, stop: Stop) -> Outcome:
    """One round from the manifests on; what goes wrong is part of the outcome."""
    real = world(screen.say)
    started, begun = real.clock.now(), real.clock.monotonic()

    def outcome(code: ExitCode, report: DriftReport | None, error: ReconcilerError | None) -> Outcome:
        return Outcome(started, real.clock.monotonic() - begun, code, report, error)

    try:
        manifest = load(asked.paths)
        settings = read_settings(asked.place)
        limits = with_flags(manifest.limits, asked.limits)
        with journal(asked.place, settings, real.clock) as kept:
            async with connections(manifest.targets, asked.place, settings) as opened:
                tell = correct if asked.correct else look
                around = Surroundings(opened, kept, real, stop, asked.place.shard, asked.group)
                report = await tell(manifest, limits, around)
    except ReconcilerError as error:
        return outcome(error.exit_code, None, error)
    return outcome(report.exit_code, report, None)


def noteworthy(outcome: Outcome) -> bool:
    """Whether there is anything to tell somebody elsewhere."""
    return outcome.exit_code is not ExitCode.DONE or corrected(outcome)


def corrected(outcome: Outcome) -> bool:
    """Whether the round tried to correct anything."""
    applied = outcome.report.applied if outcome.report else None
    return bool(applied and applied.results)


def show(outcome: Outcome, shown: flags.Output, screen: Screen) -> None:
    """Print a round: its result on stdout, what went wrong on stderr."""
    if shown is flags.Output.JSON:
        screen.data(drift_json(outcome))
    else:
        screen.lines(drift_lines(outcome))
    for error in (outcome.error, outcome.report.error if outcome.report else None):
        if error:
            screen.error(error)
