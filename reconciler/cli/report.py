"""``report``: writes a page of drift over time and of marked disks, from the journal alone.

The page is left to ``render.trend``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from reconciler.cli import flags
from reconciler.cli.connect import duration, journal, own_sandbox
from reconciler.cli.console import Console
from reconciler.cli.outputs import write_text
from reconciler.cli.parameters import flag
from reconciler.clock import CLOCK
from reconciler.errors import ExitCode
from reconciler.journal.records import Journal
from reconciler.planning.drift import MEMORY
from reconciler.render.line import count
from reconciler.render.text import SANDBOX, banner
from reconciler.render.trend import SHOWN_REMOVALS, Span, Trend, trend_html
from reconciler.values import replace

DETECTING = frozenset({"drift", "correct"})
"""Commands, as named in the journal, whose runs detect drift."""
LONGEST = timedelta(days=36_500)
"""How far back a report can go: longer than any journal is kept."""


@flags.options
def report(
    out: Annotated[Path, flag(help="The page to write.", metavar="FILE", show_default=False)],
    *,
    since: Annotated[str, flag(help="How far back: 12h, 30d.", metavar="TIME")] = "30d",
    where: flags.JournalOptions,
) -> int:
    """Write a page of drift over time, of marked disks, of unresolved operations and of past removals."""
    length = min(duration(since, "--since"), LONGEST)
    clock = CLOCK.get()
    with journal(where) as kept:
        trend = trend_of(kept, clock.now(), length)
    own = [name.removeprefix(SANDBOX) for name in own_sandbox(where)]
    trend = replace(trend, sandboxes=tuple(sorted({*trend.sandboxes, *own})))
    write_text(out, trend_html(trend))
    pools = count(len({each.pool for each in trend.readings}), "pool")
    console = Console()
    for line in banner(f"{SANDBOX}{name}" for name in trend.sandboxes):
        if line.text:
            console.info(line.text)
    console.note(f"{pools} with drift since {trend.since:%Y-%m-%d}: {out}")
    return int(ExitCode.DONE)


def trend_of(kept: Journal, until: datetime, length: timedelta) -> Trend:
    """What the journal recorded in the time before ``until``."""
    since = until - length
    points = kept.drift_changes(since - MEMORY, MEMORY)
    unresolved = kept.unresolved()
    removed, more = kept.removals(since, SHOWN_REMOVALS)
    marks = kept.marks()
    keys = [each.pool for each in points] + [each.intent.pool for each in (*unresolved, *removed)]
    keys += [each.key.pool for each in marks]
    sandboxes = {key.service.removeprefix(SANDBOX) for key in keys if key.service.startswith(SANDBOX)}
    return Trend(
        since=since,
        until=until,
        readings=points,
        checks=sum(day.runs for day in kept.runs_by_day(DETECTING, since)),
        looks=tuple(Span(day.first, day.last) for day in kept.runs_by_day(DETECTING, since - MEMORY)),
        unresolved=unresolved,
        removals=removed,
        more_removals=more,
        marks=marks,
        sandboxes=tuple(sorted(sandboxes)),
    )
