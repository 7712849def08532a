"""Renders the page of drift over time: surplus and missing disks as step charts, and past removals.

Pure: the values from the journal are passed in. ``trend.html.j2`` and ``trend.css`` have the layout.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from reconciler.planning.drift import MEMORY
from reconciler.render.page import Drawn, render_page

SHOWN_POOLS = 100
SHOWN_REMOVALS = 500
COLUMNS = 300
"""Columns of a chart; each shows the highest and the last value within it."""
_HIGH = 40.0
"""Height of a chart with a width of 100."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The drift of one pool at one time."""

    at: datetime
    key: str
    """Identifies the pool: the same in all its readings."""
    pool: str
    target: str
    surplus: int
    missing: int
    gigabytes: int
    """GB of the surplus disks on all desktops."""


@dataclass(frozen=True, slots=True)
class OperationRow:
    """One operation: a past removal, or one whose outcome is still unknown."""

    at: datetime
    pool: str
    target: str
    what: str
    state: str
    run: str


@dataclass(frozen=True, slots=True)
class Trend:
    """The values of the page."""

    since: datetime
    until: datetime
    readings: tuple[Reading, ...]
    """Oldest first, starting ``MEMORY`` before ``since``: such a reading still counts at ``since``."""
    checks: int
    """Number of drift checks since ``since``."""
    unresolved: tuple[OperationRow, ...] = ()
    removals: tuple[OperationRow, ...] = ()
    """Newest first, as many as are shown."""
    sandboxes: tuple[str, ...] = ()
    """Names of the simulated services that any of the values come from."""
    more_removals: int = 0
    """How many there are beyond these."""


class Point(NamedTuple):
    """The value from this time on, until the next point."""

    at: datetime
    value: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A step chart over the period of the page, drawn on a scale of 100 by 40."""

    now: int
    peak: int
    line: Drawn
    """SVG path of the upper edge."""
    area: Drawn
    """SVG path of the area below it."""


@dataclass(frozen=True, slots=True)
class PoolTrend:
    """One pool over time."""

    pool: str
    target: str
    surplus: int
    missing: int
    gigabytes: Curve


def trend_html(trend: Trend) -> str:
    """The complete page."""
    pools = pool_trends(trend)
    values = {
        "trend": trend,
        "gigabytes": curve(trend, total(trend, "gigabytes")),
        "surplus": curve(trend, total(trend, "surplus")),
        "missing": curve(trend, total(trend, "missing")),
        "pools": pools[:SHOWN_POOLS],
        "more_pools": len(pools[SHOWN_POOLS:]),
        "removals": trend.removals[:SHOWN_REMOVALS],
        "more_removals": len(trend.removals[SHOWN_REMOVALS:]) + trend.more_removals,
    }
    return render_page("trend.html.j2", ("plan.css", "trend.css"), values)


def total(trend: Trend, field: str) -> list[Point]:
    """The sum of one field over all pools, from ``since`` on; each reading counts for ``MEMORY`` at most."""
    changes: dict[datetime, int] = defaultdict(int)
    for readings in _by_pool(trend.readings).values():
        before = 0
        for at, value in _points(readings, field, trend.until):
            changes[max(at, trend.since)] += value - before
            before = value
    points = [Point(trend.since, 0)]
    for at in sorted(changes):
        if changes[at] and at <= trend.until:
            points.append(Point(at, points[-1].value + changes[at]))
    return points


def pool_trends(trend: Trend) -> list[PoolTrend]:
    """Every pool that had drift, sorted by surplus GB now, largest first."""
    found = []
    for readings in _by_pool(trend.readings).values():
        last = readings[-1]
        alone = Trend(trend.since, trend.until, tuple(readings), 0)
        surplus, missing = (total(alone, field)[-1].value for field in ("surplus", "missing"))
        drawn = curve(trend, total(alone, "gigabytes"))
        found.append(PoolTrend(last.pool, last.target, surplus, missing, drawn))
    return sorted(
        found, key=lambda each: (-each.gigabytes.now, -each.missing, -each.gigabytes.peak, each.pool)
    )


def curve(trend: Trend, points: Sequence[Point]) -> Curve:
    """Draw the points; the highest one is at the top of the chart."""
    peak = max(point.value for point in points)
    span = (trend.until - trend.since).total_seconds()

    def x(at: datetime) -> str:
        return f"{100 * (at - trend.since).total_seconds() / span:.2f}"

    def y(value: int) -> str:
        return f"{_HIGH - _HIGH * value / (peak or 1):.2f}"

    path = [f"M0 {y(points[0].value)}"]
    path += [f"H{x(point.at)}V{y(point.value)}" for point in _visible(trend, points[1:])]
    line = "".join((*path, "H100"))
    return Curve(points[-1].value, peak, Drawn(line), Drawn(f"{line}V{_HIGH:.0f}H0Z"))


def _visible(trend: Trend, points: Sequence[Point]) -> Iterator[Point]:
    width = (trend.until - trend.since) / COLUMNS
    for _, group in groupby(points, lambda point: (point.at - trend.since) // width):
        column = list(group)
        highest = max(column, key=lambda point: point.value)
        if highest is not column[-1]:
            yield highest
        yield column[-1]


def _by_pool(readings: Iterable[Reading]) -> dict[str, list[Reading]]:
    found: dict[str, list[Reading]] = defaultdict(list)
    for each in readings:
        found[each.key].append(each)
    return found


def _points(readings: Sequence[Reading], field: str, until: datetime) -> Iterable[Point]:
    """The values of one pool; zero from ``MEMORY`` after a reading until the next one, as nothing is known then."""
    for index, each in enumerate(readings):
        yield Point(each.at, getattr(each, field))
        following = readings[index + 1].at if index + 1 < len(readings) else until
        if following - each.at > MEMORY:
            yield Point(each.at + MEMORY, 0)
