"""Renders a plan as one self-contained HTML page that needs no script and loads nothing.

This module computes the geometry of the drawings. ``plan.html.j2`` and ``plan.css`` have the layout; ``page`` does
the escaping and the content security policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from reconciler.model import SHARES, Action
from reconciler.planning.change import Change
from reconciler.planning.finding import Severity
from reconciler.planning.plan import Plan, PoolPlan, totals
from reconciler.render import review, words
from reconciler.render.page import render_page
from reconciler.values import Struct

SHOWN_USERS = 50
SHOWN_BARS = 20
"""Pools in the chart of losses; the sections below it list every pool."""
_ONE = {"disks": "disk", "copies": "copy", "pools": "pool", "gigabytes": "GB", "users": "user"}
_MANY = {"gigabytes": "GB"}
_GAP = 0.6
_MIN_WIDTH = 1.5


class DiskStyle(StrEnum):
    """How a disk is drawn; the values are CSS classes."""

    KEEP = "keep"
    REMOVE = "remove"
    EXPAND = "expand"
    ADD = "add"
    TIE = "tie"
    NONE = "none"


class Meter(Struct, frozen=True):
    """One count of the blast radius and its limit, drawn on a scale of 0 to 100."""

    label: str
    measured: int
    limit: int | None
    source: str
    fill: float
    mark: float | None
    """Position of the limit on the scale; None if there is no limit."""

    @property
    def over(self) -> bool:
        """True if the count is above the limit."""
        return self.limit is not None and self.measured > self.limit


class Bar(Struct, frozen=True):
    """The loss of one pool, relative to the largest loss."""

    pool: PoolPlan
    width: float


class Segment(Struct, frozen=True):
    """One disk in a lane, on a scale of 0 to 100."""

    x: float
    width: float
    kind: DiskStyle
    label: str


class Lane(Struct, frozen=True):
    """The disks of a pool side by side, before or after the plan."""

    label: str
    gigabytes: int
    """GB of all disks of one desktop."""
    segments: tuple[Segment, ...]


def plan_html(plan: Plan, apply: str = words.APPLY) -> str:
    """The complete plan as one page; ``apply`` is how the command begins that applies it."""
    shown = [pool for pool in plan.pools if pool.drift or pool.ties]
    shown.sort(key=lambda pool: not pool.loss.disks)
    values = {
        "plan": plan,
        "review": review,
        "allowed": review.allowed(plan),
        "changed": review.changed(plan),
        "several": review.several(plan),
        "approval": words.approval(plan, apply),
        "meters": list(meters(plan)),
        "bars": list(bars(plan)),
        "pools": [(pool, lanes(pool)) for pool in shown],
        "blocking": [each for each in plan.all_findings if each.severity is Severity.BLOCK],
        "warning": [each for each in plan.all_findings if each.severity is Severity.WARN],
        "shown_users": SHOWN_USERS,
    }
    return render_page("plan.html.j2", ("plan.css",), values)


def meters(plan: Plan) -> Iterator[Meter]:
    """What apply would destroy (without blocked pools) and the limits of the run."""
    lost = totals([pool for pool in plan.pools if not pool.blocked])
    measured = {
        "disks": lost.destroy,
        "copies": lost.copies,
        "pools": lost.pools,
        "gigabytes": lost.gigabytes,
        "users": lost.users,
    }
    for name, limit in plan.limits.items():
        if name in SHARES:
            continue  # a percentage beside counts would be read as one of them; its guard says more
        number, most = measured[name], limit.value
        scale = max(number, most or 0, 1)
        yield Meter(
            label=_ONE[name] if number == 1 else _MANY.get(name, name),
            measured=number,
            limit=most,
            source=limit.source,
            fill=0.0 if most is None else _percent(number, scale),
            mark=None if most is None else _percent(most, scale),
        )


def bars(plan: Plan) -> Iterator[Bar]:
    """The pools that lose the most GB, largest first."""
    losing = sorted(
        (pool for pool in plan.pools if pool.loss.disks), key=lambda pool: (-pool.loss.gigabytes, pool.label)
    )
    largest = max((pool.loss.gigabytes for pool in losing), default=0)
    for pool in losing[:SHOWN_BARS]:
        yield Bar(pool, _percent(pool.loss.gigabytes, largest or 1))


def lanes(pool: PoolPlan) -> tuple[Lane, Lane]:
    """The disks of one desktop before and after, on one scale, each disk at the same position in both."""
    columns = [_column(change) for change in words.settled(pool)]
    columns += [_Column(disk, disk, (DiskStyle.TIE, DiskStyle.TIE)) for disk in words.candidates(pool)]
    whole = sum(column.size for column in columns) or 1
    # Subtract gaps and minimum widths from the scale first, so that no lane becomes wider than 100.
    room = max(0.0, 100 - len(columns) * (_GAP + _MIN_WIDTH))
    x = 0.0
    drawn: tuple[list[Segment], list[Segment]] = ([], [])
    for column in columns:
        for lane, disk, kind in zip(drawn, (column.before, column.after), column.kinds, strict=True):
            width = _MIN_WIDTH + room * (max(0, disk.size) if disk else column.size) / whole
            label = words.disk_words(disk) if disk else "none"
            lane.append(Segment(round(x, 2), round(width, 2), kind, label))
        x += _MIN_WIDTH + room * column.size / whole + _GAP
    return (
        Lane("now", sum(column.before.size for column in columns if column.before), tuple(drawn[0])),
        Lane("after", sum(column.after.size for column in columns if column.after), tuple(drawn[1])),
    )


class _Column(Struct, frozen=True):
    before: words.Side | None
    after: words.Side | None
    kinds: tuple[DiskStyle, DiskStyle]

    @property
    def size(self) -> int:
        return max(0, *(side.size if side else 0 for side in (self.before, self.after)))


_KINDS = {
    Action.KEEP: (DiskStyle.KEEP, DiskStyle.KEEP),
    Action.REMOVE: (DiskStyle.REMOVE, DiskStyle.NONE),
    Action.EXPAND: (DiskStyle.KEEP, DiskStyle.EXPAND),
    Action.ADD: (DiskStyle.NONE, DiskStyle.ADD),
    Action.REPLACE: (DiskStyle.REMOVE, DiskStyle.ADD),
}


def _column(change: Change) -> _Column:
    before, after = words.sides(change)
    if change.carried_out:
        return _Column(before, after, _KINDS[change.action])
    kind = DiskStyle.KEEP if before else DiskStyle.NONE  # only shown: apply does not change it
    return _Column(before, before, (kind, kind))


def _percent(part: int, whole: int) -> float:
    return round(min(100.0, 100 * part / whole), 2)
