"""Owns the HTML of a plan: one self-contained page that needs no script and loads nothing.

Layout is left to ``plan.html.j2`` and ``plan.css`` beside this file, escaping and the content security
policy to ``page``; here is the geometry of the drawings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from reconciler.model import Action
from reconciler.planning.change import Change
from reconciler.planning.finding import Severity
from reconciler.planning.plan import Plan, PoolPlan, totals
from reconciler.render import words
from reconciler.render.page import render_page

SHOWN_USERS = 50
SHOWN_BARS = 20
"""Pools in the drawing of what each loses; the sections below it name every pool."""
_ONE = {"disks": "disk", "copies": "copy", "pools": "pool", "gigabytes": "GB", "users": "user"}
_MANY = {"gigabytes": "GB"}
_GAP = 0.6
_NARROWEST = 1.5


class Kind(StrEnum):
    """How a disk is drawn; the values are class names of the stylesheet."""

    KEEP = "keep"
    REMOVE = "remove"
    EXPAND = "expand"
    ADD = "add"
    TIE = "tie"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Meter:
    """One count of the blast radius against its limit; drawn on a scale of 0 to 100."""

    label: str
    measured: int
    limit: int | None
    source: str
    fill: float
    mark: float | None
    """Where the limit stands on the scale; None when there is no limit."""

    @property
    def over(self) -> bool:
        """True when the count is above the limit."""
        return self.limit is not None and self.measured > self.limit


@dataclass(frozen=True, slots=True)
class Bar:
    """What one pool loses, relative to the pool that loses most."""

    pool: PoolPlan
    width: float


@dataclass(frozen=True, slots=True)
class Segment:
    """One disk in a lane, on a scale of 0 to 100."""

    x: float
    width: float
    kind: Kind
    label: str


@dataclass(frozen=True, slots=True)
class Lane:
    """The disks of a pool side by side, as they are or as they will be."""

    label: str
    gigabytes: int
    """GB of one desktop's disks."""
    segments: tuple[Segment, ...]


def plan_html(plan: Plan) -> str:
    """The whole plan as one page."""
    shown = [pool for pool in plan.pools if pool.drift or pool.ties]
    shown.sort(key=lambda pool: not pool.loss.disks)
    values = {
        "plan": plan,
        "meters": list(meters(plan)),
        "bars": list(bars(plan)),
        "pools": [(pool, lanes(pool)) for pool in shown],
        "blocking": [each for each in plan.all_findings if each.severity is Severity.BLOCK],
        "warning": [each for each in plan.all_findings if each.severity is Severity.WARN],
        "shown_users": SHOWN_USERS,
    }
    return render_page("plan.html.j2", ("plan.css",), values)


def meters(plan: Plan) -> Iterator[Meter]:
    """What an apply would destroy, blocked pools left out, against the limits of the run."""
    lost = totals([pool for pool in plan.pools if not pool.blocked])
    measured = {
        "disks": lost.destroy,
        "copies": lost.copies,
        "pools": lost.pools,
        "gigabytes": lost.gigabytes,
        "users": lost.users,
    }
    for name, limit in plan.limits.items():
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
    """The pools that lose most, by GB, largest first."""
    losing = sorted(
        (pool for pool in plan.pools if pool.loss.disks), key=lambda pool: (-pool.loss.gigabytes, pool.label)
    )
    largest = max((pool.loss.gigabytes for pool in losing), default=0)
    for pool in losing[:SHOWN_BARS]:
        yield Bar(pool, _percent(pool.loss.gigabytes, largest or 1))


def lanes(pool: PoolPlan) -> tuple[Lane, Lane]:
    """The disks of one desktop before and after: same scale, and each disk at the same place."""
    columns = [_column(change) for change in words.settled(pool)]
    columns += [_Column(side, side, (Kind.TIE, Kind.TIE)) for side in map(words.side, words.candidates(pool))]
    whole = sum(column.size for column in columns) or 1
    # Gaps and narrowest widths come off the scale first, so that no lane grows wider than 100.
    room = max(0.0, 100 - len(columns) * (_GAP + _NARROWEST))
    x = 0.0
    drawn: tuple[list[Segment], list[Segment]] = ([], [])
    for column in columns:
        for lane, disk, kind in zip(drawn, (column.before, column.after), column.kinds, strict=True):
            width = _NARROWEST + room * (max(0, disk.size) if disk else column.size) / whole
            label = words.disk_words(disk) if disk else "none"
            lane.append(Segment(round(x, 2), round(width, 2), kind, label))
        x += _NARROWEST + room * column.size / whole + _GAP
    return (
        Lane("now", sum(column.before.size for column in columns if column.before), tuple(drawn[0])),
        Lane("after", sum(column.after.size for column in columns if column.after), tuple(drawn[1])),
    )


@dataclass(frozen=True, slots=True)
class _Column:
    before: words.Side | None
    after: words.Side | None
    kinds: tuple[Kind, Kind]

    @property
    def size(self) -> int:
        return max(0, *(side.size if side else 0 for side in (self.before, self.after)))


_KINDS = {
    Action.KEEP: (Kind.KEEP, Kind.KEEP),
    Action.REMOVE: (Kind.REMOVE, Kind.NONE),
    Action.EXPAND: (Kind.KEEP, Kind.EXPAND),
    Action.ADD: (Kind.NONE, Kind.ADD),
    Action.REPLACE: (Kind.REMOVE, Kind.ADD),
}


def _column(change: Change) -> _Column:
    before, after = words.sides(change)
    if change.carried_out:
        return _Column(before, after, _KINDS[change.action])
    kind = Kind.KEEP if before else Kind.NONE  # only shown: apply leaves it as it is
    return _Column(before, before, (kind, kind))


def _percent(part: int, whole: int) -> float:
    return round(min(100.0, 100 * part / whole), 2)
