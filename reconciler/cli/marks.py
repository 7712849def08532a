"""``marks``: lists surplus disks that wait for their grace, and lets a person object without editing YAML.

Marks are made by ``engine.marks``; the text is left to ``render.marks``.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from reconciler import __version__
from reconciler.cli import flags
from reconciler.cli.actor import actor
from reconciler.cli.connect import journal, journal_place, journal_to_read, new_id, own_sandbox
from reconciler.cli.console import Console
from reconciler.cli.parameters import argument, flag
from reconciler.clock import CLOCK
from reconciler.errors import BadInput, ExitCode
from reconciler.journal.records import Journal, Mark
from reconciler.render.marks import marks_lines
from reconciler.render.text import banner

LONGEST = timedelta(days=365)
"""How far ahead a disk can be let wait at once."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?:Z| UTC)?)?")
_USAGE = "reconciler marks, or: marks clear POOL/DISK, or: marks extend POOL/DISK --until DATE"


@flags.options
def marks(
    what: Annotated[
        str | None,
        argument(
            help="'extend' to let a disk wait longer, 'clear' to let its grace begin again.",
            metavar="clear|extend",
        ),
    ] = None,
    disk: Annotated[
        str | None,
        argument(help="The disk: name or id of its pool, and its id.", metavar="POOL/DISK"),
    ] = None,
    *,
    until: Annotated[
        str | None,
        flag(help="Until when it waits: 2026-12-10, or 2026-12-10T09:00 (UTC).", metavar="DATE"),
    ] = None,
    shown: flags.OutputFormat = flags.Output.TEXT,
    where: flags.JournalOptions,
) -> int:
    """List surplus disks that wait for the end of their grace, or let one of them wait longer."""
    if (what, disk is None, until is None) not in (
        (None, True, True),
        ("clear", False, True),
        ("extend", False, False),
    ):
        raise BadInput("marks takes nothing, clear with a disk, or extend with a disk and --until", _USAGE)
    console = Console()
    if disk is not None:
        _object(disk, until, where, console)
        return int(ExitCode.DONE)
    clock = CLOCK.get()
    with journal_to_read(where) as kept:
        found = kept.marks() if kept else ()
        messages = kept.announcements() if kept else ()
        now = kept.now() if kept else clock.now()
    if kept is None:
        console.info(f"There is no journal yet at {journal_place(where)}.")
    if shown is flags.Output.JSON:
        from reconciler.render.json.marks import marks_json  # noqa: PLC0415 - one of two forms

        console.json_text(marks_json(found, now, messages))
    else:
        console.lines(banner([*own_sandbox(where), *(each.key.pool.service for each in found)]))
        console.lines(marks_lines(found, now, messages))
    return int(ExitCode.DONE)


def _object(disk: str, until: str | None, connection: flags.ConnectionOptions, console: Console) -> None:
    """Clear or extend one mark, and keep who did."""
    by = actor(os.environ)
    with journal(connection) as kept:
        mark = _one(disk, kept)
        moment = _moment(until, kept.now()) if until else None
        run_id, command = new_id(), f"marks {'extend' if moment else 'clear'}"
        kept.open_run(run_id, command, __version__, [mark.key.pool.target])
        code = ExitCode.ERROR
        try:
            done = (
                kept.extend_mark(mark.key, run_id, by, moment)
                if moment
                else kept.clear_mark(mark.key, run_id, by)
            )
            if not done:
                raise BadInput(f"{disk} is not marked any more", "reconciler marks lists what is")
            code = ExitCode.DONE
        finally:
            kept.close_run(run_id, int(code), "", {"disk": mark.key.disk_id, "by": by})
        after = next((each for each in kept.marks(mark.key.pool.target) if each.key == mark.key), None)
    name = f"{mark.pool_name}/{mark.key.disk_id}"
    if after:
        console.info(f"{name} waits at least until {after.due:%Y-%m-%d %H:%M} UTC (extended by {by}).")
    else:
        console.info(
            f"The mark of {name} is cleared by {by}; the next apply marks it again if it is surplus then."
        )


def _one(disk: str, kept: Journal) -> Mark:
    """The mark that POOL/DISK names; raises ``BadInput`` for none or several."""
    pool, _, disk_id = disk.rpartition("/")
    found = [
        each
        for each in kept.marks()
        if each.key.disk_id == disk_id and pool in (each.pool_name, each.key.pool.pool_id)
    ]
    if not found:
        raise BadInput(f"no disk {disk!r} is marked", "reconciler marks lists what is, as POOL/DISK")
    if len(found) > 1:
        where = ", ".join(f"{each.key.pool.target} at {each.key.pool.service}" for each in found)
        raise BadInput(
            f"{len(found)} disks {disk!r} are marked: {where}", "write the pool's id: POOL_ID/DISK"
        )
    return found[0]


def _moment(text: str, now: datetime) -> datetime:
    """The time of --until, which is ahead, and not too far."""
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        moment = datetime.fromisoformat(text.removesuffix(" UTC").removesuffix("Z")).replace(tzinfo=UTC)
    except ValueError:
        raise BadInput(
            f"--until {text!r} is not a date", "write 2026-12-10, or 2026-12-10T09:00 (UTC)"
        ) from None
    if not now < moment <= now + LONGEST:
        raise BadInput(
            f"--until {text} is not within the next 365 days; it is {now:%Y-%m-%d %H:%M} UTC",
            "name a later date, or declare the disk where it is to stay for good",
        )
    return moment
