"""Every handle that is left of what a run destroyed: backups, volume ids, recycle bin, audit trace, a support ticket.

Nothing here promises a restore: no document says that a destroyed disk of a desktop pool can be brought back, so
each line says what it rests on. What was destroyed is read from the journal alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.journal.records import Operation, RunRecord
from reconciler.journal.states import NOT_APPLIED, State, Step
from reconciler.model import KnownBackup, LostCopy
from reconciler.render import words
from reconciler.render.line import Line, Tone
from reconciler.values import Struct

NO_PROMISE = (
    "No document says that a destroyed disk of a desktop pool can be restored; "
    "these are all the handles there are."
)
RECYCLE_BIN = (
    "The recycle bin of the disk service (EVS) is off by default, keeps a deleted disk for at most 7 days, and is not "
    "documented for the disks of desktop pools. If it is on in this region, look there for the volume ids."
)
"""Off by default, 7 days: EVS user guide, ``Recycle Bin Overview``; desktop pools are not among its services there."""
TRACE = (
    "Cloud Trace Service lists the operations of the last 7 days, older ones only where traces are transferred to a "
    "bucket. Look there for the service Workspace at"
)
"""Seven days: CTS service overview, ``How CTS Functions``; how it calls this operation is not documented."""
ON_A_LINE = 6
"""Ids on one line of a ticket."""
_REMOVING = frozenset({Step.REMOVE, Step.RETRY})
_CERTAIN = frozenset({State.DONE, State.PARTIAL})
_ENDED = {State.DONE: "", State.PARTIAL: " (done in part: some of these copies may be left)"}


class WayBack(Struct, frozen=True):
    """The handles of one operation."""

    operation: Operation
    certain: bool
    """False when it is not proven that anything was destroyed."""
    trace: str
    ticket: str
    """A text for the vendor's support, of several lines; names nobody, only ids."""

    @property
    def copies(self) -> tuple[LostCopy, ...]:
        """The copies it was about; of one done in part some are left. Empty when an older version did not keep them."""
        return self.operation.intent.copies


def ways_back(record: RunRecord) -> tuple[WayBack, ...]:
    """One for each operation of the run that destroyed something, or may have."""
    return tuple(
        WayBack(each, each.state in _CERTAIN, _trace(each), _ticket(each))
        for each in record.operations
        if each.intent.step in _REMOVING and each.state not in NOT_APPLIED
    )


def way_back_lines(record: RunRecord) -> Iterator[Line]:
    """The section at the end of a run; nothing where the run destroyed nothing."""
    found = ways_back(record)
    if not found:
        return
    yield Line()
    yield Line("Ways back", Tone.STRONG)
    yield Line(f"  {NO_PROMISE}")
    for each in found:
        intent = each.operation.intent
        how = _ENDED.get(each.operation.state, " (not proven: it may have destroyed nothing)")
        yield Line(f"  {intent.pool_name} ({intent.pool.pool_id}), operation {each.operation.id}{how}")
        if not each.copies:
            yield Line("    volumes     not kept: the journal knows only the ids of the disks, above")
        for copy in each.copies:
            yield Line(f"    volume      {_volume(copy)}")
            yield from (Line(f"      backup    {_backup(one)}") for one in copy.backups)
            if not copy.backups:
                yield Line("      backup    none is known", Tone.FAINT)
        yield Line(f"    audit trace {each.trace}")
    yield Line(f"  recycle bin   {RECYCLE_BIN}")
    for each in found:
        yield Line(f"  For a support ticket about {each.operation.intent.pool_name}:")
        yield from (Line(f"    {line}") for line in each.ticket.splitlines())


def _volume(copy: LostCopy) -> str:
    desktop = f"{copy.desktop_name} ({copy.desktop_id})" if copy.desktop_name else copy.desktop_id
    return f"{copy.volume_id or 'unknown'}, {copy.size} GB, of disk {copy.disk_id}, on desktop {desktop}"


def _backup(one: KnownBackup) -> str:
    return f"{one.id} of {words.made(one)}"


def _when(operation: Operation) -> str:
    return f"{operation.intent.signed_at:%Y-%m-%d %H:%M:%S} UTC"


def _request(operation: Operation) -> str:
    """What the service knows the call by."""
    outcome = operation.outcome
    found = (("request", outcome.request_id), ("job", outcome.job_id)) if outcome else ()
    return ", ".join(f"{name} {value}" for name, value in found if value) or "its answer was lost"


def _trace(operation: Operation) -> str:
    return f"{TRACE} {_when(operation)} ({_request(operation)}, pool {operation.intent.pool.pool_id})."


def _ticket(operation: Operation) -> str:
    intent = operation.intent
    region, _, project = intent.pool.target.partition("/")
    volumes = [copy.volume_id for copy in intent.copies if copy.volume_id]
    backups = sorted({each.id for copy in intent.copies for each in copy.backups})
    lines = [
        f"Region {region}, project {project}, Workspace desktop pool {intent.pool.pool_id}: on {_when(operation)} its "
        f"data disks were removed by batch-delete ({_request(operation)}).",
        *_listed("Disks", [disk.id for disk in intent.disks]),
        *_listed("Volumes", volumes),
        *_listed("Backups of these desktops", backups),
        "Please tell us whether any of these volumes can still be restored, and keep what is left of them until then.",
    ]
    return "\n".join(lines)


def _listed(what: str, ids: Sequence[str]) -> Iterator[str]:
    """The ids, so many a line that none of the lines is cut."""
    for start in range(0, len(ids), ON_A_LINE):
        yield f"{what}: {', '.join(ids[start : start + ON_A_LINE])}"
