"""``history``: lists the runs in the journal, shows one of them, or prunes old ones.

The text is left to ``render.history``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from reconciler.cli import flags
from reconciler.cli.connect import duration, journal, journal_place, journal_to_read, own_sandbox
from reconciler.cli.console import Console
from reconciler.cli.parameters import argument, flag
from reconciler.clock import CLOCK
from reconciler.errors import BadInput, ExitCode
from reconciler.journal.records import Journal
from reconciler.render.history import approved_plan, run_lines, runs_lines
from reconciler.render.line import count
from reconciler.render.text import banner
from reconciler.settings import LEAST_KEPT_DAYS

SHORTEST_PREFIX = 4
"""Characters of a run's id that are enough to look for it."""
AMBIGUOUS_SHOWN = 3
"""Runs that are named where several begin alike."""
LONGEST = timedelta(days=36_500)
"""How far back ``--since`` can go: longer than any journal is kept."""


@flags.options
def history(
    what: Annotated[
        str | None,
        argument(help="'show' to see one run, 'prune' to delete old ones.", metavar="show|prune"),
    ] = None,
    run: Annotated[
        str | None, argument(help="The run to show: its id, or how it begins.", metavar="RUN")
    ] = None,
    *,
    most: Annotated[int, flag("--most", min=1, max=10_000, help="How many runs to list.")] = 20,
    older_than: Annotated[
        str | None, flag("--older-than", help="What 'prune' deletes: 400d. At least 30d.", metavar="TIME")
    ] = None,
    since: Annotated[
        str | None, flag("--since", help="Only runs of that time: 12h, 30d.", metavar="TIME")
    ] = None,
    shown: Annotated[
        flags.HistoryOutput,
        flag("--format", help="How to show the result; jsonl: every run whole, a line each."),
    ] = flags.HistoryOutput.TEXT,
    where: flags.JournalOptions,
    anonymise: flags.Anonymise = False,
) -> int:
    """List the runs in the journal, show one of them in full, or prune what is old."""
    if (what, run is None) not in ((None, True), ("show", False), ("prune", True)):
        raise BadInput(
            "history takes either nothing or: show RUN, or: prune", "reconciler history lists the runs"
        )
    if (what == "prune") != (older_than is not None):
        raise BadInput(
            "--older-than belongs to history prune, and that needs it",
            "reconciler history prune --older-than 400d",
        )
    console = Console()
    if older_than is not None:
        return _prune(older_than, where, console)
    clock = CLOCK.get()
    start = clock.now() - min(duration(since, "--since"), LONGEST) if since else None
    if shown is flags.HistoryOutput.JSONL and run is None:
        return _export(start, where, console, anonymise=anonymise)
    if run is not None:
        return _show(run, shown, where, console, anonymise=anonymise)
    with journal_to_read(where) as kept:
        runs = kept.runs(most, start) if kept else ()
        services = own_sandbox(where)
        if kept and runs:
            services += kept.services([each.id for each in runs])
    if kept is None:
        console.info(_missing(where))
    if shown is flags.HistoryOutput.JSON:
        from reconciler.render.json.history import history_json  # noqa: PLC0415 - one of several forms

        console.json_text(history_json(runs))
    elif kept is not None:
        console.lines(banner(services))
        console.lines(runs_lines(runs))
    return int(ExitCode.DONE)


def _missing(where: flags.ConnectionOptions) -> str:
    return f"There is no journal yet at {journal_place(where)}."


def _show(
    run: str, shown: flags.HistoryOutput, where: flags.ConnectionOptions, console: Console, *, anonymise: bool
) -> int:
    """Show one run in full."""
    with journal_to_read(where) as kept:
        record = kept.run(_whole_id(run, kept)) if kept else None
        services = own_sandbox(where)
    if record is None:
        hint = "reconciler history lists the runs" if kept else _missing(where)
        raise BadInput(f"the journal has no run {run}", hint)
    if shown is not flags.HistoryOutput.TEXT:
        from reconciler.render.json.history import run_json  # noqa: PLC0415 - one of several forms

        console.json_text(
            run_json(record, 2 if shown is flags.HistoryOutput.JSON else None, anonymise=anonymise)
        )
    else:
        if not approved_plan(record):  # which says it itself
            console.lines(banner(services + [each.intent.pool.service for each in record.operations]))
        console.lines(run_lines(record, anonymise=anonymise))
    return int(ExitCode.DONE)


def _whole_id(given: str, kept: Journal) -> str:
    """The id of the one run that begins so; the same text where none does. ``BadInput`` where several do."""
    if len(given) < SHORTEST_PREFIX:
        return given
    found = [each for each in kept.run_ids() if each.startswith(given)]
    if len(found) > 1 and given not in found:
        some = ", ".join(found[:AMBIGUOUS_SHOWN])
        raise BadInput(
            f"{len(found)} runs begin with {given}", f"write more of the id, such as one of {some}"
        )
    return given if given in found or not found else found[0]


def _export(
    since: datetime | None, where: flags.ConnectionOptions, console: Console, *, anonymise: bool
) -> int:
    """Print every run whole, one at a time, so that the length of the journal does not matter."""
    from reconciler.render.json.history import run_json  # noqa: PLC0415 - one of several forms

    with journal_to_read(where) as kept:
        if kept is None:
            console.info(_missing(where))
            return int(ExitCode.DONE)
        for run_id in kept.run_ids(since):
            if record := kept.run(run_id):  # else it was pruned meanwhile
                console.json_text(run_json(record, None, anonymise=anonymise))
    return int(ExitCode.DONE)


def _prune(older_than: str, where: flags.ConnectionOptions, console: Console) -> int:
    """Delete what is old, and say how much."""
    age = duration(older_than, "--older-than")
    if age < timedelta(days=LEAST_KEPT_DAYS):
        raise BadInput(
            f"--older-than {older_than} is less than {LEAST_KEPT_DAYS} days, which the journal always keeps",
            "budgets, requests that can still arrive and plans that can still be applied need it",
        )
    with journal(where) as kept:
        gone = kept.prune(age)
    counts = (count(gone.runs, "run"), count(gone.operations, "operation"), count(gone.points, "drift point"))
    console.text(f"Pruned: {', '.join(counts)}.")
    return int(ExitCode.DONE)
