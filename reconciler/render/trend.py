"""Renders the page of drift over time: surplus and missing disks as step charts, marks, and past removals.

A chart begins with the first look at the pools and ends with what the last one still says; where nobody looked for
longer than a reading counts, it has a gap.

Pure: the values from the journal are passed in. ``trend.html.j2`` and ``trend.css`` have the layout.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from reconciler.journal.records import DriftPoint, Mark, Operation, PoolKey
from reconciler.planning.drift import MEMORY
from reconciler.render.page import Drawn, render_page
from reconciler.values import Struct

SHOWN_POOLS = 100
SHOWN_REMOVALS = 500
SHOWN_MARKS = 500
COLUMNS = 300
"""Columns of a chart; each shows the highest and the last value within it."""
_HIGH = 40.0
"""Height of a chart with a width of 100."""
_SHORT = timedelta(days=3)
"""Up to this long, the ends of a chart are named with their times of day."""


class Span(NamedTuple):
    """A time throughout which it was known how the pools were."""

    begin: datetime
    end: datetime


class Trend(Struct, frozen=True):
    """The values of the page."""

    since: datetime
    until: datetime
    readings: tuple[DriftPoint, ...]
    """Oldest first, starting ``MEMORY`` before ``since``: such a reading still counts at ``since``."""
    checks: int
    """Number of drift checks since ``since``."""
    looks: tuple[Span, ...] = ()
    """When they were: from the first to the last check of a day."""
    unresolved: tuple[Operation, ...] = ()
    removals: tuple[Operation, ...] = ()
    """Newest first, as many as are shown."""
    sandboxes: tuple[str, ...] = ()
    """Names of the simulated services that any of the values come from."""
    more_removals: int = 0
    """How many there are beyond these."""
    marks: tuple[Mark, ...] = ()


class Point(NamedTuple):
    """The value from this time on, until the next point."""

    at: datetime
    value: int


class Curve(Struct, frozen=True):
    """A step chart over the time that was looked at, drawn on a scale of 100 by 40."""

    now: int
    peak: int
    line: Drawn
    """SVG path of the upper edge."""
    area: Drawn
    """SVG path of the area below it."""


class PoolTrend(Struct, frozen=True):
    """One pool over time."""

    pool: str
    target: str
    surplus: int
    missing: int
    gigabytes: Curve


def trend_html(trend: Trend) -> str:
    """The complete page."""
    pools, looked = pool_trends(trend), spans(trend)
    marks = sorted(trend.marks, key=lambda each: (each.due, each.pool_name, each.key.disk_id))
    values = {
        "trend": trend,
        "begin": looked[0].begin if looked else trend.since,
        "end": looked[-1].end if looked else trend.until,
        "form": "%Y-%m-%d" if looked and looked[-1].end - looked[0].begin > _SHORT else "%Y-%m-%d %H:%M",
        "looked": bool(looked),
        "last": looked[-1].end - MEMORY if looked else None,
        "gaps": len(looked[1:]),
        "gigabytes": curve(looked, total(trend, "surplus_gb")),
        "surplus": curve(looked, total(trend, "surplus")),
        "missing": curve(looked, total(trend, "missing")),
        "marks": marks[:SHOWN_MARKS],
        "more_marks": len(marks[SHOWN_MARKS:]),
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
    looked = spans(trend)
    for readings in _by_pool(trend.readings).values():
        last = readings[-1]
        alone = Trend(trend.since, trend.until, tuple(readings), 0)
        surplus, missing = (total(alone, field)[-1].value for field in ("surplus", "missing"))
        drawn = curve(looked, total(alone, "surplus_gb"))
        found.append(PoolTrend(last.pool_name, last.pool.target, surplus, missing, drawn))
    return sorted(
        found, key=lambda each: (-each.gigabytes.now, -each.missing, -each.gigabytes.peak, each.pool)
    )


def spans(trend: Trend) -> tuple[Span, ...]:
    """When it was known how the pools were: after each look, for as long as a reading counts."""
    looks = [*trend.looks, *(Span(each.at, each.at) for each in trend.readings)]
    found: list[Span] = []
    for first, last in sorted(looks):
        begin, end = max(first, trend.since), min(last + MEMORY, trend.until)
        if end < begin:
            continue
        if found and begin <= found[-1].end:
            found[-1] = Span(found[-1].begin, max(end, found[-1].end))
        else:
            found.append(Span(begin, end))
    return tuple(found)


def curve(looked: Sequence[Span], points: Sequence[Point]) -> Curve:
    """Draw the points of the time that was looked at; the highest one is at the top of the chart."""
    peak = max(point.value for point in points)
    if not looked:
        return Curve(points[-1].value, peak, Drawn(), Drawn())
    begin = looked[0].begin
    # A single look of this very moment is a flat line.
    length = (looked[-1].end - begin) or timedelta(seconds=1)

    def x(at: datetime) -> str:
        return f"{100 * ((at - begin) / length):.2f}"

    def y(value: int) -> str:
        return f"{_HIGH - _HIGH * value / (peak or 1):.2f}"

    lines, areas = [], []
    for span in looked:
        first = next(point.value for point in reversed(points) if point.at <= span.begin)
        within = [point for point in points if span.begin < point.at < span.end]
        steps = "".join(f"H{x(point.at)}V{y(point.value)}" for point in _visible(length, begin, within))
        ends = x(span.end) if span is not looked[-1] else "100"
        lines.append(f"M{x(span.begin)} {y(first)}{steps}H{ends}")
        areas.append(f"{lines[-1]}V{_HIGH:.0f}H{x(span.begin)}Z")
    return Curve(points[-1].value, peak, Drawn("".join(lines)), Drawn("".join(areas)))


def _visible(length: timedelta, begin: datetime, points: Sequence[Point]) -> Iterator[Point]:
    width = length / COLUMNS
    for _, group in groupby(points, lambda point: (point.at - begin) // width):
        column = list(group)
        highest = max(column, key=lambda point: point.value)
        if highest is not column[-1]:
            yield highest
        yield column[-1]


def _by_pool(readings: Iterable[DriftPoint]) -> dict[PoolKey, list[DriftPoint]]:
    found: dict[PoolKey, list[DriftPoint]] = defaultdict(list)
    for each in readings:
        found[each.pool].append(each)
    return found


def _points(readings: Sequence[DriftPoint], field: str, until: datetime) -> Iterable[Point]:
    """The values of one pool; zero from ``MEMORY`` after a reading until the next one, as nothing is known then."""
    for index, each in enumerate(readings):
        yield Point(each.at, getattr(each, field))
        following = readings[index + 1].at if index + 1 < len(readings) else until
        if following - each.at > MEMORY:
            yield Point(each.at + MEMORY, 0)
