"""Renders the journal: a table of runs, or one run in full; as text and JSON.

Reading the journal is left to ``cli``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from reconciler.apply.partial import kept
from reconciler.apply.unnamed import unnamed_record
from reconciler.errors import BadInput
from reconciler.journal.records import (
    DAMAGED_HINT,
    DESKTOPS,
    IDENTITIES,
    PLAN_APPROVED,
    Operation,
    Origin,
    Run,
    RunRecord,
)
from reconciler.model import LostCopy
from reconciler.planning.anonymous import Unnamed, anonymised
from reconciler.planning.plan import Plan
from reconciler.planning.plan_file import read
from reconciler.render import words
from reconciler.render.line import Line, Tone, count
from reconciler.render.marks import announcement_words
from reconciler.render.text import plan_lines
from reconciler.render.ways_back import way_back_lines

SHOWN_TEXT: Final = 200
"""Characters shown of a message; the JSON has all of it."""


def runs_lines(runs: Sequence[Run]) -> Iterator[Line]:
    """One line per run, newest first."""
    if not runs:
        yield Line("The journal has no runs yet.")
        return
    yield Line(
        f"{'RUN':<36}  {'STARTED (UTC)':<19}  {'COMMAND':<12}  {'EXIT':<4}  {'DIGEST':<12}  AS", Tone.STRONG
    )
    for run in runs:
        code = "-" if run.exit_code is None else str(run.exit_code)
        yield Line(
            f"{run.id:<36}  {_time(run.started)}  {run.command:<12}  {code:<4}  {run.digest[:12] or '-':<12}  "
            f"{_acting(run)}"
        )


def run_lines(record: RunRecord, *, anonymise: bool = False) -> Iterator[Line]:
    """Everything the journal knows about one run; with ``anonymise`` without the names of users and desktops."""
    run, plan = record.run, approved_plan(record)
    if anonymise:
        plan, record = plan and anonymised(plan), unnamed_record(record)
    yield Line(f"Run {run.id}: {run.command}, version {run.tool_version}", Tone.STRONG)
    yield Line(f"  targets   {', '.join(run.targets)}")
    yield Line(f"  started   {_time(run.started)} UTC")
    yield Line(
        f"  ended     {f'{_time(run.ended)} UTC' if run.ended else 'not recorded: still running, or killed'}"
    )
    yield Line(f"  exit code {'-' if run.exit_code is None else run.exit_code}")
    yield Line(f"  digest    {run.digest or '-'}")
    if run.approved:
        people = ", ".join(run.approved.principals)
        yield Line(f"  approved  {run.approved.way}{f' by {people}' if people else ''}")
    if run.policy:
        yield Line(f"  policy    {run.policy}")
    yield from _origin_lines(run.origin)
    if plan:
        yield Line()
        yield from plan_lines(plan)
    for operation in record.operations:
        yield Line()
        yield from _operation_lines(operation)
        for event in record.events:
            if event.kind == DESKTOPS and event.operation_id == operation.id:
                yield from (Line(f"    desktop   {line}") for line in kept(event.detail))
    for message in record.announcements:
        yield Line()
        yield Line(f"  {message.pool_name}/{message.key.disk_id}: {announcement_words(message)}")
        said = " ".join(message.text.split())  # it may have lines of its own
        yield Line(f"    message   {message.id}: {words.shortened(said, SHOWN_TEXT)}")
    for broken in record.damaged:
        yield Line()
        yield Line(f"  {broken.message}", Tone.BLOCK)
        yield Line(f"    {DAMAGED_HINT}")
    for event in record.events:
        detail = {} if event.kind in (PLAN_APPROVED, DESKTOPS) else _brief(event.detail)
        said = "".join(f"  {name}: {value}" for name, value in detail.items() if value != "")
        yield Line(f"  {_time(event.at)}  {event.kind}{said}", Tone.FAINT)
    yield from way_back_lines(record)


def _brief(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an event says, without the text of a message, which may have many lines."""
    return {name: value for name, value in detail.items() if name != "text"}


def approved_plan(record: RunRecord) -> Plan | None:
    """The plan that the run carried out; None when there is none, or when only another version can read it."""
    kept = next((each for each in record.events if each.kind == PLAN_APPROVED), None)
    with suppress(BadInput):
        return read(kept.detail, f"the plan of run {record.run.id}") if kept else None
    return None


def _origin_lines(origin: Origin) -> Iterator[Line]:
    """Who started the run, and from what, as far as that is known."""
    told = {
        "by       ": origin.actor,
        "commit   ": origin.commit,
        "pull req.": origin.pull_request,
        "at       ": origin.run_url,
    }
    for name, value in told.items():
        if value:
            yield Line(f"  {name} {value}")


def _acting(run: Run) -> str:
    """As whom it acted, as its summary has it."""
    found = run.summary.get(IDENTITIES)
    return "; ".join(map(str, found)) if isinstance(found, list) and found else "-"


def _operation_lines(operation: Operation) -> Iterator[Line]:
    intent = operation.intent
    yield Line(f"  {intent.pool_name} ({intent.pool.pool_id}): {intent.step.value}, {operation.state.value}")
    for disk in intent.disks:
        yield Line(f"    disk      {disk.id or 'new'} {disk.type} {disk.size} GB")
        for copy in intent.copies:
            if copy.disk_id == disk.id:
                volume = copy.volume_id or "unknown"
                backups = ", ".join(each.id for each in copy.backups)
                backed = f", backups {backups}" if backups else ""
                yield Line(f"      copy    volume {volume}, {copy.size} GB, on {_desktop(copy)}{backed}")
    yield Line(f"    operation {operation.id}, opened {_time(operation.opened)} UTC")
    if operation.outcome:
        outcome = operation.outcome
        yield Line(
            f"    answer    {outcome.state.value}, HTTP {outcome.status or '-'}, job {outcome.job_id or '-'}, "
            f"request {outcome.request_id or '-'}"
        )
    closed = f"{_time(operation.closed)} UTC" if operation.closed else "open"
    yield Line(f"    result    {operation.verdict or '-'} ({closed})")


def _desktop(copy: LostCopy) -> str:
    """``name (id), of its users``; the id and how many they are where names were left out."""
    if isinstance(copy.users, Unnamed):
        return f"desktop {copy.desktop_id}, of {count(len(copy.users), 'user')}"
    users = ", ".join(copy.users) or "nobody"
    return f"{copy.desktop_name or 'a desktop without name'} ({copy.desktop_id}), of {users}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
