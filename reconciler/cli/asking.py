"""Owns the commands that answer questions: ``validate``, ``schema``, ``version``, ``history``."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler import __version__
from reconciler.cli import flags
from reconciler.cli.connect import Place, journal_place, journal_to_read, read_settings
from reconciler.cli.history import run_json, run_lines, runs_lines
from reconciler.cli.screen import Screen
from reconciler.clock import SystemClock
from reconciler.errors import BadInput, ExitCode
from reconciler.manifest.load import load
from reconciler.manifest.schema import json_schema
from reconciler.render.schema import plan_schema
from reconciler.render.words import count


def validate(paths: flags.Paths, no_color: flags.NoColor = False) -> int:
    """Check manifests; every fault of every file in one run."""
    screen = Screen(False if no_color else None)
    manifest = load(paths)
    screen.text(
        f"Valid: {count(len(manifest.pools), 'pool')} in {count(len(manifest.sources), 'file')}, "
        f"{count(len(manifest.targets), 'target')}."
    )
    return int(ExitCode.DONE)


def schema(
    plan: Annotated[bool, typer.Option("--plan", help="That of a plan's JSON instead.")] = False,
) -> int:
    """Print the JSON Schema of a manifest, for editors."""
    Screen().data(plan_schema() if plan else json_schema())
    return int(ExitCode.DONE)


def version() -> int:
    """Print the version."""
    Screen().text(f"reconciler {__version__}")
    return int(ExitCode.DONE)


def history(
    what: Annotated[str | None, typer.Argument(help="'show' to see one run whole.", metavar="[show]")] = None,
    run: Annotated[str | None, typer.Argument(help="The run to show.", metavar="[RUN]")] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=10_000, help="Latest runs listed.")] = 20,
    shown: flags.OutputFormat = flags.Output.TEXT,
    sandbox: flags.Sandbox = False,
    no_color: flags.NoColor = False,
    journal_url: flags.JournalUrl = None,
) -> int:
    """List the runs in the journal, or show one of them whole."""
    if (what, run is None) not in ((None, True), ("show", False)):
        raise BadInput("history takes nothing, or: show RUN", "reconciler history lists the runs")
    screen = Screen(False if no_color else None)
    place = Place(sandbox=sandbox, journal=journal_url)
    settings = read_settings(place)
    with journal_to_read(place, settings, SystemClock()) as kept:
        missing = "" if kept else f"There is no journal yet at {journal_place(place, settings)}."
        runs = kept.runs(most) if kept and run is None else ()
        record = kept.run(run) if kept and run is not None else None
    if run is None:
        if missing:
            screen.say(missing)
        if shown is flags.Output.JSON:
            screen.data([run_json(each) for each in runs])
        elif not missing:
            screen.lines(runs_lines(runs))
        return int(ExitCode.DONE)
    if record is None:
        raise BadInput(f"the journal has no run {run}", missing or "reconciler history lists the runs")
    if shown is flags.Output.JSON:
        screen.data(run_json(record.run, record))
    else:
        screen.lines(run_lines(record))
    return int(ExitCode.DONE)
