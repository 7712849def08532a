"""Grace: which surplus disks are due to go, and which are only marked, by how long each has been surplus.

Pure: the marks and the time are passed in. Keeping marks is left to the journal and to ``engine.marks``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from reconciler.model import DesiredPool, Policy
from reconciler.planning.change import DESTROYING, Change, Heard, Told, Waits
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.plan import Plan, PoolPlan
from reconciler.values import Struct, field, replace

NONE = timedelta(0)
NEVER_ENDS = "grace-never-ends"
"""The rule of the warning that there is no journal which could say since when a disk is surplus."""

DiskKey = tuple[str, str, str]
"""Target (as text), pool id, disk id."""


class DiskMark(Struct, frozen=True):
    """What a journal says of one surplus disk."""

    since: datetime
    """When a run first saw it surplus; it has been since then."""
    extended_until: datetime | None = None
    """Not before this time, because a person said so."""
    extended_by: str = ""
    told: tuple[Told, ...] = ()
    """The messages about it since then, oldest first."""


class Marks(Struct, frozen=True):
    """What a journal knows of surplus disks, and what time it is by its clock."""

    of: Mapping[DiskKey, DiskMark] = field(default_factory=dict)
    now: datetime | None = None
    """None: there is no journal, so nothing is ever due."""
    waiting: frozenset[DiskKey] = frozenset()
    """Disks that were not due in the plan that was approved; they wait for the next one."""

    def by(self, service_time: datetime | None) -> Marks:
        """The same, judged by the earlier of two clocks: one that jumped ahead makes nothing due."""
        if self.now is None or service_time is None:
            return self
        return replace(self, now=min(self.now, service_time))


Settle = Callable[[PoolPlan], PoolPlan]
"""Sets apart what of a pool is only marked; part of drafting its plan, since only what goes is counted."""


def as_it_is(pool: PoolPlan) -> PoolPlan:
    """Sets nothing apart."""
    return pool


def grace_of(desired: DesiredPool, obeyed: Policy | None) -> timedelta:
    """A pool's grace: that of its entry or that of the policy, whichever is longer."""
    return max(desired.grace, obeyed.grace if obeyed else NONE)


def with_grace(pool: PoolPlan, obeyed: Policy | None, marks: Marks) -> PoolPlan:
    """The pool in which removals that are not due yet are only marked: shown, counted nowhere, not carried out."""
    live, grace = pool.live, grace_of(pool.desired, obeyed)
    if live is None or not (grace or marks.of or marks.waiting):
        return pool
    changes = tuple(_settled(each, (str(pool.target), live.id), grace, marks) for each in pool.changes)
    return replace(pool, changes=changes, grace=grace)


def _settled(change: Change, pool: tuple[str, str], grace: timedelta, marks: Marks) -> Change:
    if not (change.destroys and change.live):
        return change
    key = (*pool, change.live.id)
    mark = marks.of.get(key)
    change = _with_messages(change, mark, marks.now)
    waits = waiting(mark, grace)
    if waits is None or (key not in marks.waiting and _is_due(waits, marks.now)):
        return change
    return replace(change, carried_out=False, waits=waits)


def _with_messages(change: Change, mark: DiskMark | None, now: datetime | None) -> Change:
    """The change with the messages its people got, and for how long they can have known."""
    if mark is None or not mark.told:
        return change
    accepted = [each.at for each in mark.told if each.heard is Heard.ACCEPTED]
    heard_for = now - min(accepted) if accepted and now else None
    return replace(change, told=mark.told, heard_for=heard_for)


def waiting(mark: DiskMark | None, grace: timedelta) -> Waits | None:
    """Until when a disk waits, whether that time has come or not; None where nothing makes it wait."""
    if mark is None:
        return Waits(grace) if grace else None
    if not grace and mark.extended_until is None:
        return None
    due = max(mark.since + grace, mark.extended_until or mark.since)
    return Waits(grace, mark.since, due, mark.extended_by)


def _is_due(waits: Waits, now: datetime | None) -> bool:
    return now is not None and waits.due is not None and waits.due <= now


def surplus(pool: PoolPlan) -> frozenset[str]:
    """Ids of the disks that no declared disk needs, also where this pool does not carry their removal out."""
    return frozenset(
        each.live.id for each in pool.changes if each.action in DESTROYING and each.live and each.live.id
    )


def waiting_in(plan: Plan) -> frozenset[DiskKey]:
    """The disks that a plan only marks."""
    return frozenset(
        (str(pool.target), pool.live.id, change.live.id)
        for pool in plan.pools
        for change in pool.waiting
        if pool.live and change.live
    )


def with_marks(plan: Plan, marks: Marks) -> Plan:
    """The same plan with the times of marks that were made since; nothing becomes due by that."""

    def dated(pool: PoolPlan, change: Change) -> Change:
        if not (change.waits and pool.live and change.live):
            return change
        mark = marks.of.get((str(pool.target), pool.live.id, change.live.id))
        found = waiting(mark, pool.grace)
        return replace(_with_messages(change, mark, marks.now), waits=found or change.waits)

    return replace(
        plan,
        pools=tuple(
            replace(pool, changes=tuple(dated(pool, each) for each in pool.changes)) if pool.waiting else pool
            for pool in plan.pools
        ),
    )


def never_ends(pools: list[PoolPlan], marks: Marks) -> tuple[Finding, ...]:
    """A warning where grace cannot end because there is no journal that could say when it began."""
    number = sum(len(pool.waiting) for pool in pools)
    if not number or marks.now is not None:
        return ()
    return (
        Finding(
            rule=NEVER_ENDS,
            message=f"grace never ends without a journal that is kept from run to run: none here says since when "
            f"{number} disk{'s are' if number != 1 else ' is'} surplus",
            severity=Severity.WARN,
            source="there is no journal",
            allow="name the journal of the runs that apply: --journal or RECONCILER_JOURNAL",
        ),
    )
