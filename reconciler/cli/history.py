"""``history``: lists the runs in the journal, or shows one of them.

The text is left to ``render.history``.
"""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli import flags
from reconciler.cli.connect import journal_place, journal_to_read, own_sandbox, read_settings
from reconciler.cli.console import Console
from reconciler.clock import CLOCK
from reconciler.errors import BadInput, ExitCode
from reconciler.render.history import approved_plan, run_lines, runs_lines
from reconciler.render.text import banner


@flags.options
def history(
    what: Annotated[str | None, typer.Argument(help="'show' to see one run.", metavar="[show]")] = None,
    run: Annotated[str | None, typer.Argument(help="The run to show.", metavar="[RUN]")] = None,
    *,
    most: Annotated[int, typer.Option("--most", min=1, max=10_000, help="How many runs to list.")] = 20,
    shown: flags.OutputFormat = flags.Output.TEXT,
    where: flags.JournalOptions,
) -> int:
    """List the runs in the journal, or show one of them in full."""
    if (what, run is None) not in ((None, True), ("show", False)):
        raise BadInput("history takes either nothing or: show RUN", "reconciler history lists the runs")
    console = Console()
    settings = read_settings(where.connection)
    with journal_to_read(where.connection, settings, CLOCK.get()) as kept:
        missing = "" if kept else f"There is no journal yet at {journal_place(where.connection, settings)}."
        runs = kept.runs(most) if kept and run is None else ()
        record = kept.run(run) if kept and run is not None else None
        services = own_sandbox(where.connection)
        if kept and runs:
            services += kept.services([each.id for each in runs])
    if run is None:
        if missing:
            console.info(missing)
        if shown is flags.Output.JSON:
            from reconciler.render.json.history import history_json  # noqa: PLC0415 - one of two forms

            console.json_text(history_json(runs))
        elif not missing:
            console.lines(banner(services))
            console.lines(runs_lines(runs))
        return int(ExitCode.DONE)
    if record is None:
        raise BadInput(f"the journal has no run {run}", missing or "reconciler history lists the runs")
    if shown is flags.Output.JSON:
        from reconciler.render.json.history import run_json  # noqa: PLC0415 - one of two forms

        console.json_text(run_json(record))
    else:
        if not approved_plan(record):  # which says it itself
            console.lines(banner(services + [each.intent.pool.service for each in record.operations]))
        console.lines(run_lines(record))
    return int(ExitCode.DONE)
